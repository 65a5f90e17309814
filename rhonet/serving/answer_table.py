"""What a model says about densities, and how predictions are shown: as a table, as CSV, as JSON."""

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
    """Answer for one file, or the reason why there is none."""

    file: str
    formula: str = ""
    n_electrons: float = float("nan")
    answer: Answer | None = None
    error: str = ""
    warnings: tuple[str, ...] = ()
    total_moment: float | None = None


def format_rows(rows: Sequence[FileAnswer], card: Card) -> str:
    """Aligned table: a line per file that could be read and, where the model says so, one of how far off it may be."""
    done = [(row, row.answer) for row in rows if row.answer is not None]
    if not done:
        return ""
    properties = card.properties
    with_novelty = any(math.isfinite(answer.novelty) for _, answer in done)
    tail = ["novelty"] if with_novelty else []
    heads = ["file", "formula", "electrons", *(item.symbol or item.name for item in properties), *tail]
    units = ["", "", "", *(item.unit or _CLASS_UNITS[item.kind] for item in properties)]
    table = [heads, units + [""] * len(tail)]
    margins = [_margins(answer, card) for _, answer in done]
    errors = card.test_errors
    if errors and not any(any(cells) for cells in margins):
        usual = [f"±{errors[item.name]:.2g}" if item.name in errors else "" for item in properties]
        table.append(["mean error on test crystals", "", "", *usual, *[""] * len(tail)])
    for (row, answer), within in zip(done, margins, strict=True):
        cells = [_shortened(row.file), row.formula or "?", f"{row.n_electrons:.2f}", *_cells(answer, card)]
        table.append([*cells, *([_novelty_cell(answer.novelty)] if with_novelty else [])])
        if any(within):
            assert card.calibration is not None
            table.append([f"  {card.calibration.level:.0%} within", "", "", *within, *[""] * len(tail)])
    columns = [max(len(line[at]) for line in table) for at in range(len(heads))]
    lines = [
        "  ".join(
            f"{cell:<{w}}" if at < 2 else f"{cell:>{w}}" for at, (cell, w) in enumerate(zip(line, columns, strict=True))
        )
        for line in table
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def csv_rows(rows: Sequence[FileAnswer], card: Card) -> str:
    """CSV with a column `property [unit]` each (a class each), ends of its interval, novelty, warnings and error.

    `property_set` names the classes of the prediction set, most probable first. Full precision.
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
    """JSON: units and the mean absolute errors on test crystals once, then one object per file."""
    answers = []
    for row in rows:
        found: dict[str, object] = {"file": row.file, "formula": row.formula or None}
        if row.answer is None:
            found["error"] = row.error
        else:
            answer = row.answer
            found["n_electrons"] = row.n_electrons
            found["total_moment"] = row.total_moment
            found["properties"] = {
                item.name: plain_values(answer.values[item.name].tolist()) for item in card.properties
            }
            found["intervals"] = {
                name: plain_values([float(answer.lower[name]), float(answer.upper[name])]) for name in answer.lower
            }
            found["sets"] = {
                item.name: _set(answer, card, item)
                for item in card.properties
                if item.is_class and math.isfinite(_set_width(card, item))
            }
            found["novelty"] = plain_values(answer.novelty)
            found["warnings"] = list(row.warnings)
        answers.append(found)
    errors = card.test_errors
    about = {
        item.name: {"unit": item.unit, "kind": item.kind, "test_mae": errors.get(item.name)}
        | ({"classes": list(item.class_labels)} if item.is_class else {})
        for item in card.properties
    }
    level = card.calibration.level if card.calibration is not None else None
    tree = {"properties": about, "interval_level": level, "files": answers}
    return json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n"


_ENDS = ("lower", "upper")
_CLASS_UNITS = {"regression": "", "binary": "p(yes)", "multiclass": "class (p)"}


def _margins(answer: Answer, card: Card) -> list[str]:
    """How far off each property of an answer may be, "" where nobody knows: "±0.4", "×÷1.3"."""
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
    """Properties for which some answer has an interval."""
    named = {name for row in rows if row.answer is not None for name in row.answer.lower}
    return [item for item in properties if item.name in named]


def _novelty_cell(novelty: float) -> str:
    if not math.isfinite(novelty):
        return ""
    return f"{novelty:.2f}{' !' if novelty > NOVEL else ''}"


def _shortened(file: str, width: int = 40) -> str:
    """End of a long path: what tells files apart in a table."""
    return file if len(file) <= width else "…" + file[1 - width :]


def _columns(item: Property) -> list[str]:
    if item.kind == "multiclass":
        return [f"{item.name}_{label}" for label in item.class_labels]
    return [item.name]


def _set_width(card: Card, item: Property) -> float:
    """What the probability of a class in the prediction set may miss to 1; infinite where nobody knows."""
    calibration = card.calibration
    return math.inf if calibration is None else calibration.widths[item.name].half_width


def _set(answer: Answer, card: Card, item: Property) -> list[str]:
    """Classes of the prediction set, most probable first; the most probable one alone where there is none."""
    value = np.asarray(answer.values[item.name])[None]
    width = _set_width(card, item)
    members = prediction_sets(item, value, width if math.isfinite(width) else 0.0)[0]
    chances = np.stack([1 - value, value], axis=1)[0] if item.kind == "binary" else value[0]
    return [item.class_labels[at] for at in np.argsort(-chances, kind="stable") if members[at]]


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
