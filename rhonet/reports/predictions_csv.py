"""predictions.csv: labels, predictions, intervals and baselines of every scored sample."""

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
    """Writes predictions.csv, whole or not at all: one row per sample, sorted by id.

    The columns are id, formula and group (the split never separates samples of one group); then for each property:

    - `NAME [unit]`: the label;
    - `NAME_predicted [unit]`: the prediction; for a binary property the probability of class 1, for a multiclass
      property the most probable class, whose probabilities follow in the columns `NAME_p_CLASS`;
    - `NAME_lower [unit]` and `NAME_upper [unit]`: the ends of the prediction interval, if there is one;
    - `NAME_BASELINE [unit]`: the prediction of each baseline.

    The last column is the novelty, if the model gives one. Numbers have nine significant digits; unknown values are
    empty cells.

    Args:
        path: file to write.
        predictions: of the model, n samples.
        baselines: predictions of each baseline for the same samples, by name.
        formulas: chemical formula by sample id, where it is known.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(path, predictions_csv(predictions, baselines=baselines, formulas=formulas))


def predictions_csv(
    predictions: Predictions, *, baselines: Mapping[str, Predictions], formulas: Mapping[str, str]
) -> str:
    """Content of predictions.csv.

    Args:
        predictions: of the model, n samples.
        baselines: predictions of each baseline for the same samples, by name.
        formulas: chemical formula by sample id, where it is known.
    """
    predictions = predictions.sorted_by_id()
    baselines = {name: baseline.sorted_by_id() for name, baseline in baselines.items()}
    columns: dict[str, list[str]] = {
        "id": list(predictions.ids),
        "formula": [formulas.get(name, "") for name in predictions.ids],
        "group": list(predictions.groups or predictions.ids),
    }
    for item in predictions.properties:
        own = dict(_columns_of(item, predictions, baselines))
        # A property may have the name of another column.
        columns |= {
            f"{head} (property)" if head in (*columns, "novelty") else head: cells for head, cells in own.items()
        }
    if predictions.novelty is not None:
        columns["novelty"] = _numbers(predictions.novelty)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _columns_of(
    item: Property, predictions: Predictions, baselines: Mapping[str, Predictions]
) -> Iterator[tuple[str, list[str]]]:
    """Head and cells of each column of one property."""
    unit = f" [{item.unit}]" if item.unit else ""
    labels, values = predictions.labels[item.name], predictions.values[item.name]
    classes = item.class_labels if item.kind == "multiclass" else ()
    yield (
        f"{item.name}{unit}",
        [classes[int(label)] if classes and not math.isnan(label) else _number(label) for label in labels],
    )
    yield f"{item.name}_predicted{unit}", _predicted_cells(values, classes)
    for column, name in enumerate(classes):
        yield f"{item.name}_p_{name}", _numbers(values[:, column])
    if item.name in predictions.lower:
        yield f"{item.name}_lower{unit}", _numbers(predictions.lower[item.name])
        yield f"{item.name}_upper{unit}", _numbers(predictions.upper[item.name])
    for name, baseline in baselines.items():
        yield f"{item.name}_{name}{unit}", _predicted_cells(baseline.values[item.name], classes)


def _predicted_cells(values: np.ndarray, classes: tuple[str, ...]) -> list[str]:
    """Values as text; the name of the most probable class where there are classes."""
    return [classes[int(row.argmax())] for row in values] if classes else _numbers(values)


def _numbers(values: np.ndarray) -> list[str]:
    return [_number(value) for value in values]


def _number(value: float) -> str:
    return f"{value:.9g}" if math.isfinite(value) else ""
