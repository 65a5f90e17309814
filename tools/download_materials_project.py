#!/usr/bin/env python3
"""Download densities and labels from the Materials Project into a folder that rhonet trains on.

    export MP_API_KEY=...        # from https://next-gen.materialsproject.org/api
    python tools/download_materials_project.py my_crystals mp-149 mp-22862
    python tools/download_materials_project.py my_crystals @ids.txt
    python tools/download_materials_project.py oxides --elements O --n-sites 1 8 --e-above-hull 0 0.02 --limit 200

FOLDER gets densities/ (one file per material, as delivered), properties.csv, dataset.toml and manifest.json. A
further call with the same folder fetches only what is missing. A density has 1 to 50 MB: use --dry-run to see the sizes
first. Materials without a usable density are listed at the end.

Exit code: 0 all fetched, 1 some failed (listed), 2 bad call, refused key or no answer.
"""

from __future__ import annotations

import argparse
import datetime
import logging
import os
import shutil
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tools.materials_project_client import Connection, Query
    from tools.materials_project_folder import DownloadFolder, FetchedMaterial
    from tools.materials_project_labels import Material, Task

KEY_VARIABLE = "MP_API_KEY"
ENDPOINT_VARIABLE = "MP_API_ENDPOINT"
OK, SOME_FAILED, BAD_CALL, INTERRUPTED = 0, 1, 2, 130
# The download stops if the service does not answer for so many materials in a row.
MAX_SERVICE_ERRORS = 3

log = logging.getLogger("rhonet.materials_project")


class NoDensityError(ValueError):
    """A material without a usable density; the message says why."""


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        fromfile_prefix_chars="@",
        usage="%(prog)s FOLDER (ID... | CONDITIONS) [--limit N] [--dry-run]",
    )
    # Blank lines of @FILE are skipped.
    parser.convert_arg_line_to_args = str.split  # pyright: ignore[reportAttributeAccessIssue]
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder, or that of an earlier call")
    parser.add_argument("ids", nargs="*", metavar="ID", help="mp-149, or @FILE with one id per line")
    conditions = parser.add_argument_group("conditions, of which all must hold")
    conditions.add_argument("--elements", nargs="+", default=[], metavar="EL", help="contains all of these")
    conditions.add_argument("--exclude-elements", nargs="+", default=[], metavar="EL", help="contains none of these")
    conditions.add_argument("--chemical-system", nargs="+", default=[], metavar="A-B", help="one of these: Cl-Na, Si-*")
    conditions.add_argument("--formula", nargs="+", default=[], metavar="F", help="one of these: NaCl, ABO3")
    conditions.add_argument("--e-above-hull", nargs=2, type=float, metavar=("LOW", "HIGH"), help="eV/atom")
    conditions.add_argument("--band-gap", nargs=2, type=float, metavar=("LOW", "HIGH"), help="eV")
    conditions.add_argument("--n-sites", nargs=2, type=int, metavar=("LOW", "HIGH"), help="atoms in the cell")
    conditions.add_argument("--n-elements", nargs=2, type=int, metavar=("LOW", "HIGH"), help="different elements")
    conditions.add_argument("--has", nargs="+", default=[], metavar="DATA", help="has elasticity, magnetism, ...")
    parser.add_argument(
        "--phonons", action="store_true", help="label dynamically_stable, too (slow: a table is searched)"
    )
    parser.add_argument("--limit", type=int, default=100, metavar="N", help="at most so many (default: 100)")
    parser.add_argument("--rate", type=float, default=5.0, metavar="R", help="requests a second (default: 5)")
    parser.add_argument("--dry-run", action="store_true", help="list what would be fetched, with sizes")
    return parser


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = build_parser()
    options = parser.parse_intermixed_args(arguments)
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    log.setLevel(logging.INFO)
    key = os.environ.get(KEY_VARIABLE, "").strip()
    if options.limit < 1 or options.rate <= 0:
        parser.error("--limit and --rate must be above 0")
    if not key:
        print(
            f"error: {KEY_VARIABLE} is not set; take a key from https://next-gen.materialsproject.org/api and "
            f"export {KEY_VARIABLE}=...",
            file=sys.stderr,
        )
        return BAD_CALL
    try:
        from tools.materials_project_client import Connection, ServiceError
        from tools.materials_project_folder import DownloadError, DownloadFolder
    except ImportError as error:
        print(f'error: {error}; install what the download needs: pip install "rhonet[mp]"', file=sys.stderr)
        return BAD_CALL
    query = _query(options)
    if bool(query.ids) == (not replace(query, ids=()).is_empty):
        parser.error("give either ids or conditions, such as --elements O")
    try:
        folder = DownloadFolder(options.folder)
        address = os.environ.get(ENDPOINT_VARIABLE, "")
        with closing(Connection(key, endpoint=address, per_second=options.rate)) as connection:
            if options.dry_run:
                failed = _list_sizes(connection, query, folder)
            else:
                with folder.locked():
                    failed = download(connection, query, folder, phonons=options.phonons)
    except (ServiceError, DownloadError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return BAD_CALL
    except KeyboardInterrupt:
        print("interrupted; call again to go on", file=sys.stderr)
        return INTERRUPTED
    for name, reason in failed.items():
        print(f"{name}: {reason}", file=sys.stderr)
    return SOME_FAILED if failed else OK


def download(connection: Connection, query: Query, folder: DownloadFolder, *, phonons: bool = False) -> dict[str, str]:
    """Fetch the materials that the folder lacks; returns the reasons of failures by material.

    Args:
        connection: to the service.
        query: materials to fetch.
        folder: is filled; must be locked.
        phonons: materials with phonon calculations get the label dynamically_stable.

    Raises:
        ServiceError: the search failed, or the service stopped answering; fetched materials are kept.
    """
    from tools.materials_project_client import ServiceError, versions
    from tools.materials_project_folder import Call

    materials, failed = _search(connection, query)
    call = Call(_now(), asdict(query), connection.endpoint, connection.db_version, versions())
    folder.start(call)
    wanted = [material for material in materials if not folder.holds(material.id)]
    log.info("%d materials, %d of them are there already", len(materials), len(materials) - len(wanted))
    silent = 0
    for count, material in enumerate(wanted, start=1):
        try:
            row = _fetch(connection, material, folder, phonons=phonons)
            folder.add(row)
            silent = 0
        except NoDensityError as error:
            failed[material.id] = str(error)
            log.warning("%d/%d %s: %s", count, len(wanted), material.id, error)
        except ServiceError as error:
            failed[material.id] = str(error)
            log.warning("%d/%d %s: %s", count, len(wanted), material.id, error)
            silent += 1
            if silent == MAX_SERVICE_ERRORS:
                raise ServiceError(
                    f"{error} (given up after {silent} materials in a row; call again to go on)"
                ) from None
        else:
            log.info("%d/%d %s %s %.1f MB", count, len(wanted), row.id, row.formula, row.n_bytes / 1e6)
            for flag in row.flags:
                log.warning("%s: warning: label left out: %s", row.id, flag)
    folder.finish(replace(call, failed=failed))
    print(f"{folder.path}: {len(folder.rows)} materials, {len(failed)} failed")
    return failed


def _list_sizes(connection: Connection, query: Query, folder: DownloadFolder) -> dict[str, str]:
    """Print what `download` would fetch, with sizes; returns the reasons of failures by material."""
    materials, failed = _search(connection, query)
    total = n_wanted = 0
    for material in materials:
        if folder.holds(material.id):
            continue
        try:
            task, n_bytes = _find_density(connection, material)
        except NoDensityError as error:
            failed[material.id] = str(error)
            continue
        print(
            f"{material.id:14} {material.formula:16} {material.n_sites:4} atoms {n_bytes / 1e6:8.2f} MB  task {task.id}"
        )
        total += n_bytes
        n_wanted += 1
    print(
        f"{n_wanted} to fetch, {total / 1e6:.2f} MB; {len(folder.rows)} in {folder.path}, {len(failed)} without density"
    )
    return failed


def _search(connection: Connection, query: Query) -> tuple[list[Material], dict[str, str]]:
    """Materials of the query, and the reasons of failures by id."""
    from tools.materials_project_client import canonical_ids

    materials = connection.search(query)
    known = {material.id for material in materials}
    missing = [name for name in canonical_ids(query.ids) if name not in known]
    if not query.ids and len(materials) == query.limit:
        log.info("stopped at %d materials; --limit N takes more", query.limit)
    return materials, dict.fromkeys(missing, "is not in the database, or deprecated")


def _find_density(connection: Connection, material: Material) -> tuple[Task, int]:
    """The material's first calculation with a density, and the size of that density in bytes."""
    for task in material.tasks:
        n_bytes = connection.density_size(task)
        if n_bytes is not None:
            return task, n_bytes
    tried = ", ".join(task.id for task in material.tasks)
    raise NoDensityError(
        f"there is no density of its static PBE calculations ({tried})"
        if tried
        else "has no static PBE or PBE+U calculation, so no density"
    )


def _fetch(connection: Connection, material: Material, folder: DownloadFolder, *, phonons: bool) -> FetchedMaterial:
    """Fetch one density, check that rhonet can read it, and move it to its place."""
    from ase.data import atomic_numbers

    from rhonet.core.errors import FormatError
    from rhonet.formats import read_density
    from tools.materials_project_folder import FetchedMaterial
    from tools.materials_project_labels import labels_of_cell

    strange = [symbol for symbol in material.chemical_system.split("-") if symbol not in atomic_numbers]
    if strange:
        raise NoDensityError(f"contains {strange[0]!r}, which is no element to rhonet")
    task, n_bytes = _find_density(connection, material)
    path = folder.unfinished(f"{material.id}.json.gz")
    if shutil.disk_usage(path.parent).free < 2 * n_bytes:
        raise NoDensityError(f"its density ({n_bytes / 1e6:.0f} MB) does not fit on the disk of {folder.path}")
    connection.fetch_density(task, path)
    try:
        density = read_density(path)
    except FormatError as error:
        path.unlink()
        raise NoDensityError(f"the density of task {task.id} cannot be read: {error}") from error
    symbols = set() if density.atoms is None else set(density.atoms.get_chemical_symbols())
    if symbols and symbols != set(material.chemical_system.split("-")):
        path.unlink()
        raise NoDensityError(f"the density of task {task.id} is one of {'-'.join(sorted(symbols))}: another material's")
    n_atoms = len(density.atoms) if density.atoms is not None else material.n_sites
    fitted = labels_of_cell(material, n_atoms, density.volume)
    stable = connection.dynamical_stability(material) if phonons else None
    labels = fitted.labels if stable is None else {**fitted.labels, "dynamically_stable": float(stable)}
    file, n_bytes, digest = folder.keep(path)
    return FetchedMaterial(
        material.id,
        file,
        n_bytes,
        digest,
        task.id,
        task.functional,
        material.formula,
        material.chemical_system,
        material.spacegroup,
        n_atoms,
        connection.db_version,
        _now(),
        labels,
        fitted.flags,
    )


def _query(options: argparse.Namespace) -> Query:
    from tools.materials_project_client import Query

    def pair(values: Sequence[float] | None) -> tuple | None:
        return None if values is None else tuple(values)

    return Query(
        tuple(options.ids),
        tuple(options.chemical_system),
        tuple(options.formula),
        tuple(options.elements),
        tuple(options.exclude_elements),
        pair(options.e_above_hull),
        pair(options.band_gap),
        pair(options.n_sites),
        pair(options.n_elements),
        tuple(options.has),
        options.limit,
    )


def _now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


if __name__ == "__main__":
    # As a script, Python sees tools/ only; its siblings and rhonet are imported from the checkout.
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    sys.exit(main())
