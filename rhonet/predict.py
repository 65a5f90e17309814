"""Command: properties of any density file, with units, from an exported model."""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

from rhonet.cli.command import new_parser, run_command
from rhonet.cli.inputs import add_file_arguments, reader_for, report_failures
from rhonet.core.density import ChargeDensity
from rhonet.core.errors import CallError, RefusedError, ServerError
from rhonet.core.startup import start_tensorflow
from rhonet.core.text import counted
from rhonet.data.checks.summary import doubts_of
from rhonet.serving.answer import Answer
from rhonet.serving.answer_table import NOVEL, FileAnswer, csv_rows, format_rows, json_rows
from rhonet.serving.model_card import RELEASED, Card, model_folder, read_card
from rhonet.serving.triton.client import TIMEOUT_SECONDS, ServerPredictor, address_argument, seconds_argument
from rhonet.serving.triton.config import DENSITY_MODEL

log = logging.getLogger("rhonet.predict")

FORMATS = ("table", "csv", "json")
# Codes by the format of their files, where only one writes it.
CODES = {
    "abinit": "ABINIT",
    "castep": "CASTEP",
    "chgcar_json": "VASP",
    "gpaw": "GPAW",
    "pymatgen_hdf5": "VASP",
    "quantum_espresso": "Quantum ESPRESSO",
    "siesta": "SIESTA",
    "siesta_rho": "SIESTA",
    "vasp": "VASP",
    "vasp_hdf5": "VASP",
}
NO_SPIN = "No spin density in the file: it is taken as zero, and magnetic_moment is that of a crystal without spin."


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "predict",
        "Predict the properties of density files (CHGCAR, cube, ...; gz, bz2, xz too). One row per file;\n"
        "files that cannot be read are listed with their reason, and the exit code is then 1.\n\n"
        "90% within, below each file: so close (±, or a factor) lies the true value in nine cases of ten, if the\n"
        "crystal is like those trained on.\n"
        "novelty: above 1, marked !, the density is unlike those trained on and the intervals do not hold;\n"
        "below 1 it may still be of another code or kind (docs/evaluation.md).\n"
        "csv and json give the ends of every interval.",
        "python -m rhonet.predict CHGCAR other.cube --format csv > answers.csv",
    )
    add_file_arguments(parser)
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--model", type=Path, metavar="DIR", help=f"model or run folder (default: saved_models/{RELEASED})"
    )
    where.add_argument(
        "--server",
        type=address_argument,
        metavar="URL",
        help="Triton server that answers instead: grpc://HOST:8001 or http://HOST:8000 (python -m rhonet.serve)",
    )
    parser.add_argument(
        "--server-model", default=DENSITY_MODEL, metavar="NAME", help=f"model on it (default: {DENSITY_MODEL})"
    )
    parser.add_argument(
        "--timeout",
        type=seconds_argument,
        default=TIMEOUT_SECONDS,
        metavar="S",
        help=f"seconds to wait for its answer (default: {TIMEOUT_SECONDS:g})",
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="output (default: table)")
    return parser


def main(arguments: argparse.Namespace) -> int:
    reader = reader_for(arguments)
    card, predict = _model(arguments)
    rows: list[FileAnswer] = []
    notes: dict[str, list[str]] = {}
    for file in arguments.files:
        density = reader.read(file)
        if isinstance(density, str):
            rows.append(FileAnswer(file, error=density))
            continue
        formula = density.atoms.get_chemical_formula(mode="metal") if density.atoms is not None else ""
        try:
            answer = predict(density)
        except RefusedError as error:
            rows.append(FileAnswer(file, formula, error=f"{file}: refused by the server: {error}"))
            continue
        except ServerError as error:  # what was answered before is not lost, and the next file may be answered again
            rows.append(FileAnswer(file, formula, error=f"{file}: {error}"))
            continue
        doubts = doubts_of(density, card.view) if card.view is not None else ()
        warnings = (*density.warnings, *doubts, *_novelty_note(answer))
        common = (*_spin_note(density, card), *_code_note(density, card))
        for note in common:
            notes.setdefault(note, []).append(file)
        rows.append(
            FileAnswer(file, formula, density.n_electrons, answer, "", (*warnings, *common), density.total_moment)
        )
    write = {"table": format_rows, "csv": csv_rows, "json": json_rows}[arguments.format]
    sys.stdout.write(write(rows, card))
    for row in rows:
        for warning in row.warnings:
            if warning not in notes:
                log.warning("%s: warning: %s", row.file, warning)
    for note, files in notes.items():
        # Usual cases, and the same for many files: once is enough.
        others = f" and {counted(len(files) - 1, 'other file')}" if len(files) > 1 else ""
        log.warning("%s%s: note: %s", files[0], others, note)
    return report_failures([row.error for row in rows if row.error], n_files=len(rows))


def _model(arguments: argparse.Namespace) -> tuple[Card, Callable[[ChargeDensity], Answer]]:
    """Card of the model that was asked for, here or on a server, and what predicts with it."""
    if arguments.server is not None:
        remote = ServerPredictor(arguments.server, model=arguments.server_model, timeout_seconds=arguments.timeout)
        return remote.card, remote.predict
    if (arguments.server_model, arguments.timeout) != (DENSITY_MODEL, TIMEOUT_SECONDS):
        raise CallError("--server-model and --timeout need --server URL")
    folder = model_folder(arguments.model)
    card = read_card(folder)
    start_tensorflow()
    from rhonet.serving.exported_model import Predictor

    return card, Predictor(folder).predict


def _spin_note(density: ChargeDensity, card: Card) -> tuple[str, ...]:
    """What must be said where a moment is predicted without a magnetization to see it in."""
    predicts_moment = any(item.name == "magnetic_moment" for item in card.properties)
    return (NO_SPIN,) if predicts_moment and density.magnetization is None else ()


def _code_note(density: ChargeDensity, card: Card) -> tuple[str, ...]:
    """What must be said about a density of another code than those trained on, as far as files and card tell."""
    trained = card.content.get("data", {}).get("about", {}).get("code", "")
    code, stated = CODES.get(density.format, ""), re.split("[,(]", trained)[0].lower()
    known = {one for one in CODES.values() if one.lower() in stated}
    if not code or not known or code in known:
        return ()
    return (
        f"From {code}; the model was trained on densities of {trained}. Other pseudopotentials make other densities, "
        "and energies count from the zeros of the training data: do not compare them with your own.",
    )


def _novelty_note(answer: Answer) -> tuple[str, ...]:
    """What must be said about a density unlike those trained on."""
    if not answer.novelty > NOVEL:
        return ()
    doubt = " and its intervals do not hold" if answer.lower else ""
    return (
        f"Unlike the training crystals: its novelty is {answer.novelty:.2g}, 95 % of unseen ones stay below 1{doubt}.",
    )


if __name__ == "__main__":
    run_command(main, build_parser())
