"""Command: properties of any density file, with units, from an exported model."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from pathlib import Path

from rhonet.cli.command import new_parser, run_command
from rhonet.cli.inputs import add_file_arguments, reader_for, report_failures
from rhonet.core.density import ChargeDensity
from rhonet.core.errors import CallError, RefusedError, ServerError
from rhonet.core.startup import start_tensorflow
from rhonet.core.text import counted
from rhonet.serving.answer import Answer
from rhonet.serving.answer_notes import common_notes, warnings_of
from rhonet.serving.answer_table import FileAnswer, csv_rows, format_rows, json_rows
from rhonet.serving.model_card import RELEASED, Card, model_folder, read_card
from rhonet.serving.triton.client import TIMEOUT_SECONDS, ServerPredictor, address_argument, seconds_argument
from rhonet.serving.triton.config import DENSITY_MODEL

log = logging.getLogger("rhonet.predict")

FORMATS = ("table", "csv", "json")


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "predict",
        "Predict the properties of density files (CHGCAR, cube, ...; gz, bz2, xz too). One row per file;\n"
        "files that cannot be read are listed with their reason, and the exit code is then 1.\n\n"
        "90% within, the line below each file: 90 % prediction interval, ± or × factor.\n"
        "novelty: out-of-distribution score. Above 1, marked !, the density is unlike those trained on and the\n"
        "intervals do not hold; below 1 it may still be of another code or kind (docs/evaluation.md).\n"
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
        help="Triton server that predicts instead: grpc://HOST:8001 or http://HOST:8000 (python -m rhonet.serve)",
    )
    parser.add_argument(
        "--server-model", default=DENSITY_MODEL, metavar="NAME", help=f"model on the server (default: {DENSITY_MODEL})"
    )
    parser.add_argument(
        "--timeout",
        type=seconds_argument,
        default=TIMEOUT_SECONDS,
        metavar="S",
        help=f"seconds to wait for an answer of the server (default: {TIMEOUT_SECONDS:g})",
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
        except ServerError as error:  # keep the earlier answers, and try the next file
            rows.append(FileAnswer(file, formula, error=f"{file}: {error}"))
            continue
        common = common_notes(density, card)
        for note in common:
            notes.setdefault(note, []).append(file)
        warnings = (*warnings_of(density, answer, card), *common)
        rows.append(FileAnswer(file, formula, density.n_electrons, answer, "", warnings, density.total_moment))
    write = {"table": format_rows, "csv": csv_rows, "json": json_rows}[arguments.format]
    sys.stdout.write(write(rows, card))
    for row in rows:
        for warning in row.warnings:
            if warning not in notes:
                log.warning("%s: warning: %s", row.file, warning)
    for note, files in notes.items():
        # These notes are the same for many files, so each is printed once.
        more = f" and {counted(len(files) - 1, 'other file')}" if len(files) > 1 else ""
        log.warning("%s%s: note: %s", files[0], more, note)
    return report_failures([row.error for row in rows if row.error], n_files=len(rows))


def _model(arguments: argparse.Namespace) -> tuple[Card, Callable[[ChargeDensity], Answer]]:
    """Card and prediction function of the chosen model, on this machine or on a server."""
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


if __name__ == "__main__":
    run_command(main, build_parser())
