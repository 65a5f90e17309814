"""Command: check a folder of densities and labels before any training."""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from rhonet.cli.command import OK, SOME_FAILED, new_parser, run_command
from rhonet.core.errors import FolderError
from rhonet.core.files import write_text
from rhonet.core.text import counted
from rhonet.data.checks.facts import DensityFacts, gather_facts
from rhonet.data.checks.report import FolderReport, check_report_path, report_on_files, report_on_table
from rhonet.data.checks.search import find_densities, write_table
from rhonet.data.folder import Sample, check_folder
from rhonet.data.properties_csv import TABLE_NAME
from rhonet.formats import named_files

log = logging.getLogger("rhonet.prepare")

REPORT_NAME = "report.json"


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "prepare",
        "Check a folder of density files and properties.csv before training: every density is opened, the labels\n"
        "are compared with each other and with the densities. Exit code 0: no problem, 1: errors or warnings.",
        "python -m rhonet.prepare my_crystals --workers 4",
    )
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder with density files and properties.csv")
    parser.add_argument(
        "--write-table",
        action="store_true",
        help="begin a properties.csv that lists the densities, with empty columns for the labels",
    )
    parser.add_argument(
        "--workers", type=_positive, default=1, metavar="N", help="number of processes that read (default: 1)"
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help=f"file of the JSON report (default: FOLDER/{REPORT_NAME}; an older report is replaced)",
    )
    return parser


def main(arguments: argparse.Namespace) -> int:
    folder, report_path = arguments.folder, arguments.report or arguments.folder / REPORT_NAME
    if not folder.is_dir():
        reason = "is a file; give the folder that holds it" if folder.exists() else "no such folder; give one"
        raise FolderError(f"{folder}: {reason}: a folder with density files")
    check_report_path(report_path)
    if arguments.write_table and (folder / TABLE_NAME).exists():
        raise FolderError(f"{folder / TABLE_NAME}: exists and is not overwritten; leave --write-table out")
    if (folder / TABLE_NAME).exists():
        checked = check_folder(folder)
        listed = {file for sample in checked.folder.samples for file in named_files(sample.path)}
        search = find_densities(folder, skip=listed)
        report = report_on_table(checked, _read_all(checked.folder.samples, arguments.workers), search)
    else:
        search = find_densities(folder)
        facts = _read_all(search.samples, arguments.workers)
        usable = {density.id for density in facts if not density.error}
        begun = None
        if arguments.write_table:
            begun = write_table(folder, [sample for sample in search.samples if sample.id in usable])
        report = report_on_files(folder, search, facts, begun=begun)
    sys.stdout.write(report.to_text())
    _write_report(report, report_path)
    return SOME_FAILED if report.has_problems else OK


def _read_all(samples: Sequence[Sample], workers: int) -> list[DensityFacts]:
    started = time.monotonic()
    # disable=None: no progress bar unless stderr is a terminal
    facts = list(tqdm(gather_facts(samples, workers=workers), total=len(samples), unit="file", disable=None))
    log.info("%s read in %.0f s", counted(len(facts), "density", "densities"), time.monotonic() - started)
    return facts


def _write_report(report: FolderReport, path: Path) -> None:
    replaced = " (the older one is replaced)" if path.exists() else ""
    try:
        # Bytes of file names that are not UTF-8 become JSON's own escapes.
        write_text(path, report.to_json().encode("utf-8", "backslashreplace").decode())
    except OSError as error:
        raise FolderError(f"{path}: cannot be written: {error.strerror}; give another place with --report") from error
    log.info("report: %s%s", path, replaced)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


if __name__ == "__main__":
    run_command(main, build_parser())
