"""Command: properties of any density file, with units, from an exported model."""

from __future__ import annotations

import argparse
import csv
import io
import json
import logging
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rhonet.cli import new_parser, run_command, start_tensorflow
from rhonet.model_card import read_card
from rhonet.properties import Property
from rhonet.reading import add_file_arguments, reader_for, report_failures
from rhonet.runs import RunError

log = logging.getLogger("rhonet.predict")

FORMATS = ("table", "csv", "json")
RELEASED = "base"


@dataclass(frozen=True)
class Row:
    """Answer for one file: values by property, or the reason why there is none."""

    file: str
    formula: str = ""
    n_electrons: float = float("nan")
    values: dict[str, np.ndarray] | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()
    total_moment: float | None = None


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "predict",
        "Predict the properties of density files (CHGCAR, cube, ...; gz, bz2, xz too). One row per file;\n"
        "files that cannot be read are listed with their reason, and the exit code is then 1.",
        "python -m rhonet.predict CHGCAR other.cube --format csv > answers.csv",
    )
    add_file_arguments(parser)
    parser.add_argument(
        "--model", type=Path, metavar="DIR", help=f"model or run folder (default: saved_models/{RELEASED})"
    )
    parser.add_argument("--format", choices=FORMATS, default="table", help="output (default: table)")
    return parser


def main(arguments: argparse.Namespace) -> int:
    folder = arguments.model or released_model()
    if (folder / "model").is_dir():
        folder = folder / "model"
    card, reader = read_card(folder), reader_for(arguments)
    start_tensorflow()
    from rhonet.serving import Predictor

    predictor = Predictor(folder)
    rows = []
    for file in arguments.files:
        density = reader.read(file)
        if isinstance(density, str):
            rows.append(Row(file, error=density))
            continue
        formula = density.atoms.get_chemical_formula(mode="metal") if density.atoms is not None else ""
        answer = predictor.predict(density).values
        rows.append(Row(file, formula, density.n_electrons, answer, "", density.warnings, density.total_moment))
    if arguments.format == "csv":
        sys.stdout.write(csv_rows(rows, card.properties))
    else:
        write = {"table": format_rows, "json": json_rows}[arguments.format]
        sys.stdout.write(write(rows, card.properties, typical_errors=card.test_errors))
    for row in rows:
        for warning in row.warnings:
            log.warning("%s: warning: %s", row.file, warning)
    return report_failures([row.error for row in rows if row.error], n_files=len(rows))


def released_model() -> Path:
    """Model that comes with rhonet.

    Raises:
        RunError: it is not installed.
    """
    folder = Path(__file__).parent.parent / "saved_models" / RELEASED
    if not folder.is_dir():
        raise RunError(f"{folder}: the released model is not there; give one with --model DIR")
    return folder


def format_rows(
    rows: Sequence[Row], properties: Sequence[Property], *, typical_errors: Mapping[str, float] | None = None
) -> str:
    """Aligned table, one line per file that could be read, below units and the errors that the test split had."""
    done = [row for row in rows if row.values is not None]
    if not done:
        return ""
    heads = ["file", "formula", "electrons", *(item.symbol or item.name for item in properties)]
    units = ["", "", "", *(item.unit or ("p(1)" if item.kind == "binary" else "") for item in properties)]
    body = [
        [_shortened(row.file), row.formula or "?", f"{row.n_electrons:.2f}", *_cells(row, properties)] for row in done
    ]
    errors = typical_errors or {}
    typical = [f"±{errors[item.name]:.2g}" if item.name in errors else "" for item in properties]
    table = [heads, units, *([["mean error on test crystals", "", "", *typical]] if errors else []), *body]
    widths = [max(len(line[at]) for line in table) for at in range(len(heads))]
    lines = [
        "  ".join(
            f"{cell:<{w}}" if at < 2 else f"{cell:>{w}}" for at, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def csv_rows(rows: Sequence[Row], properties: Sequence[Property]) -> str:
    """CSV with a column `property [unit]` each and the error, if any, in the last; full precision."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [f"{name} [{item.unit}]" if item.unit else name for item in properties for name in _columns(item)]
    writer.writerow(["file", "formula", "n_electrons", *heads, "error"])
    for row in rows:
        values = ["" for _ in heads]
        if row.values is not None:
            values = [f"{float(value):.7g}" for item in properties for value in np.ravel(row.values[item.name])]
        electrons = "" if row.values is None else f"{row.n_electrons:.6f}"
        writer.writerow([row.file, row.formula, electrons, *values, row.error])
    return text.getvalue()


def json_rows(
    rows: Sequence[Row], properties: Sequence[Property], *, typical_errors: Mapping[str, float] | None = None
) -> str:
    """JSON: units and the mean absolute errors on test crystals once, then one object per file."""
    answers = []
    for row in rows:
        answer: dict[str, object] = {"file": row.file, "formula": row.formula or None}
        if row.values is None:
            answer["error"] = row.error
        else:
            answer["n_electrons"] = row.n_electrons
            answer["total_moment"] = row.total_moment
            answer["properties"] = {item.name: _finite(row.values[item.name]) for item in properties}
            answer["warnings"] = list(row.warnings)
        answers.append(answer)
    errors = typical_errors or {}
    units = {
        item.name: {"unit": item.unit, "kind": item.kind, "test_mae": errors.get(item.name)} for item in properties
    }
    return json.dumps({"properties": units, "files": answers}, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


def _shortened(file: str, width: int = 40) -> str:
    """End of a long path: what tells files apart in a table."""
    return file if len(file) <= width else "…" + file[1 - width :]


def _finite(values: np.ndarray) -> list | float | None:
    """Plain numbers, None where one is not finite: JSON knows no infinity."""
    if values.ndim == 0:
        return float(values) if np.isfinite(values) else None
    return [_finite(value) for value in values]


def _columns(item: Property) -> list[str]:
    if item.kind == "multiclass":
        return [f"{item.name}_{number}" for number in range(item.classes)]
    return [item.name]


def _cells(row: Row, properties: Sequence[Property]) -> list[str]:
    assert row.values is not None
    cells = []
    for item in properties:
        value = row.values[item.name]
        if item.kind == "multiclass":
            cells.append(f"{int(np.argmax(value))} ({float(np.max(value)):.2f})")
        else:
            cells.append(f"{float(value):.2f}" if item.kind == "binary" else f"{float(value):.4g}")
    return cells


if __name__ == "__main__":
    run_command(main, build_parser())
