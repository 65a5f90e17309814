"""The answers to several density files as a text table, CSV or JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rhonet.core.files import plain_values
from rhonet.core.predictions import NOVEL
from rhonet.core.properties import Property
from rhonet.reports.wording import half_width_text
from rhonet.serving.answer import Answer
from rhonet.serving.model_card import Card
from rhonet.uncertainty.calibration import half_widths
from rhonet.uncertainty.prediction_sets import prediction_sets


@dataclass(frozen=True)
class FileAnswer:
    """The answer to one density file, or the reason why there is none.

    Attributes:
        file: path as the user gave it.
        formula: chemical formula; "" where it is not known.
        n_electrons: number of electrons; NaN without an answer.
        answer: what the model says; None without an answer.
        error: why there is no answer; "" otherwise.
        warnings: about the file and the answer.
        total_moment: µB; None without spin.
    """

    file: str
    formula: str = ""
    n_electrons: float = float("nan")
    answer: Answer | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()
    total_moment: float | None = None


def format_rows(rows: Sequence[FileAnswer], card: Card) -> str:
    """Text table: a line per answered file and, below it, the half widths of its 90 % prediction intervals.

    A model without intervals gets one line with its mean errors on test crystals instead. Files without an answer are
    left out; "" if no file has one.
    """
    answered = [(row, row.answer) for row in rows if row.answer is not None]
    if not answered:
        return ""
    properties = card.properties
    with_novelty = any(math.isfinite(answer.novelty) for _, answer in answered)
    tail = ["novelty"] if with_novelty else []
    heads = ["file", "formula", "electrons", *(item.symbol or item.name for item in properties), *tail]
    units = ["", "", "", *(item.unit or _CLASS_UNITS[item.kind] for item in properties)]
    table = [heads, units + [""] * len(tail)]
    half_width_cells = [_half_width_cells(answer, card) for _, answer in answered]
    errors = card.test_errors
    if errors and not any(any(cells) for cells in half_width_cells):
        mean_errors = [f"±{errors[item.name]:.2g}" if item.name in errors else "" for item in properties]
        table.append(["mean error on test crystals", "", "", *mean_errors, *[""] * len(tail)])
    for (row, answer), half_widths_of_row in zip(answered, half_width_cells, strict=True):
        cells = [_shortened(row.file), row.formula or "?", f"{row.n_electrons:.2f}", *_cells(answer, card)]
        table.append([*cells, *([_novelty_cell(answer.novelty)] if with_novelty else [])])
        if any(half_widths_of_row):
            assert card.calibration is not None
            table.append([f"  {card.calibration.level:.0%} within", "", "", *half_widths_of_row, *[""] * len(tail)])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = [
        "  ".join(
            f"{cell:<{width}}" if column < 2 else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        for line in table
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def csv_rows(rows: Sequence[FileAnswer], card: Card) -> str:
    """CSV: a row per file, with or without an answer.

    The columns are file, formula, n_electrons; `NAME [unit]` of each property, or `NAME_CLASS` of each class of a
    multiclass property; `NAME_lower [unit]` and `NAME_upper [unit]` of each prediction interval; `NAME_set` of each
    prediction set, which lists its classes, most probable first; novelty, warnings, error. Numbers have seven
    significant digits.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [f"{name} [{item.unit}]" if item.unit else name for item in card.properties for name in _columns(item)]
    bounded = _bounded(rows, card.properties)
    ends = [f"{item.name}_{end}{f' [{item.unit}]' if item.unit else ''}" for item in bounded for end in _ENDS]
    with_sets = [item for item in card.properties if item.is_class and math.isfinite(_set_width(card, item))]
    ends += [f"{item.name}_set" for item in with_sets]
    writer.writerow(["file", "formula", "n_electrons", *heads, *ends, "novelty", "warnings", "error"])
    for row in rows:
        answer = row.answer
        if answer is None:
            blank = [""] * (len(heads) + len(ends) + 2)
            writer.writerow([row.file, row.formula, "", *blank, row.error])
            continue
        values = [f"{float(value):.7g}" for item in card.properties for value in np.ravel(answer.values[item.name])]
        limits = [f"{getattr(answer, end)[item.name]:.7g}" for item in bounded for end in _ENDS]
        limits += ["|".join(_set(answer, card, item)) for item in with_sets]
        novelty = f"{answer.novelty:.4g}" if math.isfinite(answer.novelty) else ""
        electrons = f"{row.n_electrons:.6f}"
        writer.writerow([row.file, row.formula, electrons, *values, *limits, novelty, " ".join(row.warnings), ""])
    return text.getvalue()


def json_rows(rows: Sequence[FileAnswer], card: Card) -> str:
    """JSON: first the properties with units and mean absolute errors on test crystals, then one object per file."""
    files = []
    for row in rows:
        entry: dict[str, object] = {"file": row.file, "formula": row.formula or None}
        if row.answer is None:
            entry["error"] = row.error
        else:
            answer = row.answer
            entry["n_electrons"] = row.n_electrons
            entry["total_moment"] = row.total_moment
            entry["properties"] = {
                item.name: plain_values(answer.values[item.name].tolist()) for item in card.properties
            }
            entry["intervals"] = {
                name: plain_values([float(answer.lower[name]), float(answer.upper[name])]) for name in answer.lower
            }
            entry["sets"] = {
                item.name: _set(answer, card, item)
                for item in card.properties
                if item.is_class and math.isfinite(_set_width(card, item))
            }
            entry["novelty"] = plain_values(answer.novelty)
            entry["warnings"] = list(row.warnings)
        files.append(entry)
    errors = card.test_errors
    about = {
        item.name: {"unit": item.unit, "kind": item.kind, "test_mae": errors.get(item.name)}
        | ({"classes": list(item.class_labels)} if item.is_class else {})
        for item in card.properties
    }
    level = card.calibration.level if card.calibration is not None else None
    tree = {"properties": about, "interval_level": level, "files": files}
    return json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


_ENDS = ("lower", "upper")
_CLASS_UNITS = {"regression": "", "binary": "p(yes)", "multiclass": "class (p)"}


def _half_width_cells(answer: Answer, card: Card) -> list[str]:
    """Half width of each property's prediction interval, "±0.4" or "×÷1.3"; "" without an interval."""
    cells = []
    for item in card.properties:
        if item.kind == "multiclass" and math.isfinite(_set_width(card, item)):
            cells.append("one of these")
        elif item.name in answer.upper:
            width = float(half_widths(item, answer.values[item.name], np.array(answer.upper[item.name])))
            cells.append(half_width_text(dataclasses.replace(item, intensive=True), width))
        else:
            cells.append("")
    return cells


def _bounded(rows: Sequence[FileAnswer], properties: Sequence[Property]) -> list[Property]:
    """Properties that have an interval in at least one answer."""
    named = {name for row in rows if row.answer is not None for name in row.answer.lower}
    return [item for item in properties if item.name in named]


def _novelty_cell(novelty: float) -> str:
    if not math.isfinite(novelty):
        return ""
    return f"{novelty:.2f}{' !' if novelty > NOVEL else ''}"


def _shortened(file: str, width: int = 40) -> str:
    """The end of a long path, since paths of one call differ there most."""
    return file if len(file) <= width else "…" + file[1 - width :]


def _columns(item: Property) -> list[str]:
    if item.kind == "multiclass":
        return [f"{item.name}_{label}" for label in item.class_labels]
    return [item.name]


def _set_width(card: Card, item: Property) -> float:
    """Largest distance to 1 of the probability of a class in the prediction set; infinite without a calibration."""
    calibration = card.calibration
    return math.inf if calibration is None else calibration.widths[item.name].half_width


def _set(answer: Answer, card: Card, item: Property) -> list[str]:
    """Classes of the prediction set, most probable first; without a calibration the most probable class alone."""
    value = np.asarray(answer.values[item.name])[None]
    width = _set_width(card, item)
    in_set = prediction_sets(item, value, width if math.isfinite(width) else 0.0)[0]
    probabilities = np.stack([1 - value, value], axis=1)[0] if item.kind == "binary" else value[0]
    order = np.argsort(-probabilities, kind="stable")
    return [item.class_labels[number] for number in order if in_set[number]]


def _cells(answer: Answer, card: Card) -> list[str]:
    cells = []
    for item in card.properties:
        value = answer.values[item.name]
        if item.kind == "multiclass":
            first, *others = _set(answer, card, item)
            cells.append(" | ".join([f"{first} ({float(np.max(value)):.2f})", *others]))
        else:
            cells.append(f"{float(value):.2f}" if item.kind == "binary" else f"{float(value):.4g}")
    return cells
