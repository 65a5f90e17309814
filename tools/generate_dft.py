#!/usr/bin/env python3
"""Compute electron densities and properties of small crystals with ABINIT: a data set without any database.

    python tools/generate_dft.py OUT --set-up                      # once: what is needed, and the PAW data sets
    python tools/generate_dft.py OUT --dry-run --limit 20          # what would be computed, and how long it takes
    nice -n 19 python tools/generate_dft.py OUT --workers 4        # compute; Ctrl-C and start again as you like
    python -m rhonet.train --data OUT                              # train on what is finished

The crystals come from a fixed list of prototype crystals in random order, so that any first part of the list is a
fair sample. The settings are those of the bundled data set (PBE, PAW). OUT becomes a folder with properties.csv, for
rhonet.train and tools/pack_crystals.py. Finished crystals are skipped; a crystal that was killed begins anew. One
chemical system in ten is held out for tests on unseen crystals and is not computed. See docs/generate_dft.md.

Exit code: 0 all done, 1 some crystals failed, 2 bad call or something is not installed.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

# Run as a script, Python looks for modules in tools/ only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rhonet.cli.command import BAD_CALL, INTERRUPTED, OK, SOME_FAILED, end_like_ctrl_c
from tools.dft.abinit_run import Abinit
from tools.dft.candidates import Candidate, candidates, named_candidate
from tools.dft.elements import ELEMENTS, find_element, valence_electrons
from tools.dft.errors import GenerateError
from tools.dft.paw_sets import check_paw_sets, download_paw_sets
from tools.dft.references import Reference, bundled_energies
from tools.dft.store import Store, check_path
from tools.dft.worker import Generation, missing_references, unfinished

log = logging.getLogger("tools.dft")

TESTED_ABINIT = "9.6"


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="generate_dft.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, metavar="OUT", help="folder to fill; may hold crystals of earlier calls")
    job = parser.add_mutually_exclusive_group()
    job.add_argument("--set-up", action="store_true", help="get the PAW data sets, and say what else is missing")
    job.add_argument("--dry-run", action="store_true", help="only list what would be computed, with its cost")
    choice = parser.add_argument_group("which crystals (default: the whole list)")
    choice.add_argument("--crystals", metavar="ID,...", help="these, on the list or not: rocksalt_Mg_O,fcc_Al")
    choice.add_argument("--elements", metavar="X,...", help="those of the list made of these elements only: Li,Na,F")
    choice.add_argument("--limit", type=_positive, metavar="N", help="the first N that are not finished")
    choice.add_argument("--retry-failed", action="store_true", help="try again what failed before")
    choice.add_argument(
        "--with-held-out", action="store_true", help="also compute the chemical systems reserved for blind tests"
    )
    work = parser.add_argument_group("how to work")
    work.add_argument("--workers", type=_positive, default=1, metavar="N", help="crystals side by side (default: 1)")
    work.add_argument(
        "--time-limit",
        type=_positive,
        default=600,
        metavar="S",
        help="seconds per crystal; then it is killed and counted as failed (default: 600)",
    )
    work.add_argument(
        "--own-references",
        action="store_true",
        help="compute all elemental energies here, and use none of the bundled data set's",
    )
    work.add_argument("--abinit", default="abinit", metavar="PROGRAM", help="default: the one in PATH")
    work.add_argument("--paw", type=Path, metavar="DIR", help="folder of PAW data sets (default: OUT/paw)")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", stream=sys.stderr)
    try:
        return set_up(options) if options.set_up else generate(options)
    except KeyboardInterrupt:
        print("generate_dft: interrupted; finished crystals are kept, the same call goes on", file=sys.stderr)
        return INTERRUPTED
    except (GenerateError, OSError) as error:
        print(f"generate_dft: error: {error}", file=sys.stderr)
        return BAD_CALL


def set_up(options: argparse.Namespace) -> int:
    """Downloads the PAW data sets if they are missing, and checks that ABINIT starts.

    Raises:
        GenerateError: the data sets or ABINIT are missing; the message says what to do.
    """
    folder = paw_folder(options)
    try:
        check_paw_sets(folder, ELEMENTS)
    except GenerateError:
        log.info("downloading PAW data sets to %s", folder)
        download_paw_sets(folder)
        check_paw_sets(folder, ELEMENTS)
    print(f"PAW data sets of {len(ELEMENTS)} elements: {folder}")
    print(f"ABINIT {find_abinit(options).version()}: {options.abinit}")
    return OK


def generate(options: argparse.Namespace) -> int:
    """Computes the chosen crystals that are not finished, or only lists them.

    Raises:
        GenerateError: a crystal does not exist or is held out, or a program is not installed.
    """
    chosen = choose(options)
    store = Store(options.out, {} if options.own_references else bundled_energies())
    wanted = unfinished(chosen, store, retry_failed=options.retry_failed)[: options.limit]
    references = missing_references(wanted, store, retry_failed=options.retry_failed)
    if options.dry_run:
        sys.stdout.write(plan_text(wanted, references, workers=options.workers))
        return OK
    failed = 0
    if wanted:
        check_path(paw_folder(options).absolute())
        check_paw_sets(paw_folder(options), {symbol for crystal in wanted for symbol in crystal.elements})
        abinit = find_abinit(options)
        with store.locked():
            log.info("%d finished, %d to compute, %d references", len(store.crystals), len(wanted), len(references))
            generation = Generation(
                store, abinit, workers=options.workers, seconds=options.time_limit, stop=abinit.stop
            )
            failed = generation.compute(references, wanted).failed
    print(f"{len(store.crystals)} crystals in {options.out}; in this call {failed} of {len(wanted)} failed")
    return SOME_FAILED if failed else OK


def choose(options: argparse.Namespace) -> list[Candidate]:
    """Crystals that the options select.

    Raises:
        GenerateError: a crystal or element does not exist, or a crystal is held out.
    """
    if options.crystals:
        named = [named_candidate(name) for name in dict.fromkeys(map(str.strip, options.crystals.split(",")))]
        held_out = [crystal for crystal in named if crystal.held_out and not options.with_held_out]
        if held_out:
            raise GenerateError(
                f"{held_out[0].id}: the chemical system {held_out[0].chemical_system} is held out for blind tests; "
                "leave the crystal out, or say --with-held-out"
            )
        return named
    chosen = [crystal for crystal in candidates() if options.with_held_out or not crystal.held_out]
    if options.elements:
        allowed = {find_element(symbol.strip()).symbol for symbol in options.elements.split(",")}
        chosen = [crystal for crystal in chosen if allowed.issuperset(crystal.elements)]
    return chosen


def plan_text(wanted: Sequence[Candidate], references: Sequence[Reference], *, workers: int) -> str:
    """List of what would be computed: a line per crystal with its cost, then the sum.

    Args:
        wanted: crystals to compute.
        references: elements whose energies are computed first.
        workers: crystals side by side.
    """
    lines = [f"{'crystal':<32} {'family':<14} {'valence electrons':>17} {'seconds':>8}"]
    lines += [
        f"{crystal.id:<32} {crystal.family:<14} {valence_electrons(crystal.symbols):>17g} {crystal.seconds:>8.0f}"
        for crystal in wanted
    ]
    if references:
        names = " ".join(reference.element for reference in references)
        lines.append(f"before these, reference energies of: {names}")
    hours = sum(crystal.seconds for crystal in wanted) / 3600
    lines.append(
        f"{len(wanted)} crystals, about {hours:.1f} core hours, {hours / workers:.1f} hours with {workers} of "
        "--workers on as many free cores"
    )
    return "\n".join(lines) + "\n"


def paw_folder(options: argparse.Namespace) -> Path:
    """Folder of the PAW data sets."""
    return options.paw or options.out / "paw"


def find_abinit(options: argparse.Namespace) -> Abinit:
    """ABINIT, after a check that it starts.

    Raises:
        GenerateError: it is missing or does not start.
    """
    abinit = Abinit(options.abinit, paw_folder(options))
    version = abinit.version()
    if not version.startswith(TESTED_ABINIT):
        log.warning("ABINIT %s: not tried; the bundled data set was made with %s", version, TESTED_ABINIT)
    return abinit


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError
    return number


if __name__ == "__main__":
    end_like_ctrl_c()  # otherwise a killed tool would leave its calculations running
    sys.exit(main())
