"""predictions.csv: every scored sample with its labels, predictions, intervals and baselines."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from rhonet.core.files import write_text
from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property

PREDICTIONS = "predictions.csv"


def write_predictions(
    path: Path, predictions: Predictions, *, baselines: Mapping[str, Predictions], formulas: Mapping[str, str]
) -> None:
    """Writes the table, whole or not at all: one row per sample, sorted by id, full precision, empty where unknown.

    Columns: id, formula, group (samples of one group are on one side of the split); then of each property its label
    `NAME [unit]`, `NAME_predicted [unit]`, the ends of its interval `NAME_lower` and `NAME_upper`, and the baselines
    `NAME_BASELINE`; last the novelty. A binary prediction is the probability of 1; of several classes the most
    probable one stands in `NAME_predicted`, and `NAME_p_CLASS` are all probabilities.

    Raises:
        OSError: it cannot be written.
    """
    write_text(path, predictions_csv(predictions, baselines=baselines, formulas=formulas))


def predictions_csv(
    predictions: Predictions, *, baselines: Mapping[str, Predictions], formulas: Mapping[str, str]
) -> str:
    """Text of the table that `write_predictions` writes; the baselines predicted the same samples."""
    predictions = predictions.sorted_by_id()
    others = {name: one.sorted_by_id() for name, one in baselines.items()}
    columns: dict[str, list[str]] = {
        "id": list(predictions.ids),
        "formula": [formulas.get(name, "") for name in predictions.ids],
        "group": list(predictions.groups or predictions.ids),
    }
    for item in predictions.properties:
        own = dict(_columns_of(item, predictions, others))
        # A property may be called like a column of the table, or of another property.
        columns |= {f"{head} (property)" if head in (*columns, "novelty") else head: one for head, one in own.items()}
    if predictions.novelty is not None:
        columns["novelty"] = [_number(value) for value in predictions.novelty]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _columns_of(
    item: Property, predictions: Predictions, baselines: Mapping[str, Predictions]
) -> Iterator[tuple[str, list[str]]]:
    """Columns of one property by their heads."""
    unit = f" [{item.unit}]" if item.unit else ""
    label, value = predictions.labels[item.name], predictions.values[item.name]
    names = item.class_labels if item.kind == "multiclass" else ()
    yield f"{item.name}{unit}", [names[int(one)] if names and not math.isnan(one) else _number(one) for one in label]
    yield f"{item.name}_predicted{unit}", _guesses(value, names)
    for at, name in enumerate(names):
        yield f"{item.name}_p_{name}", [_number(one) for one in value[:, at]]
    if item.name in predictions.lower:
        yield f"{item.name}_lower{unit}", [_number(one) for one in predictions.lower[item.name]]
        yield f"{item.name}_upper{unit}", [_number(one) for one in predictions.upper[item.name]]
    for baseline, other in baselines.items():
        yield f"{item.name}_{baseline}{unit}", _guesses(other.values[item.name], names)


def _guesses(values: np.ndarray, names: tuple[str, ...]) -> list[str]:
    return [names[int(one.argmax())] for one in values] if names else [_number(one) for one in values]


def _number(value: float) -> str:
    return f"{value:.9g}" if math.isfinite(value) else ""
