"""A model's predictions for stored records, scored beside the baselines on the same split."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

import numpy as np

from rhonet.baselines import Samples, density_features, fit_predict_baselines
from rhonet.dataset import Index, as_records
from rhonet.metrics import Evaluation, evaluate
from rhonet.predictions import Predictions
from rhonet.records import decode_record
from rhonet.serving import Predictor

log = logging.getLogger(__name__)


def evaluate_model(folder: Path, builder: Any, index: Index, *, out: Path, split: str = "test") -> Evaluation:
    """Scores an exported model on one split; prints the table, writes metrics.json and plots to `out`.

    The model is the very SavedModel that is served, fed with the stored grids. The baselines are fitted on
    the training split of the same data.

    Args:
        folder: model folder.
        builder: built data set; `index` is its index.
        out: folder for the results, made if missing.
        split: "train", "validation" or "test".
    """
    started = time.monotonic()
    rows = index.rows(split)
    predictions = predict_records(Predictor(folder), builder, index, rows)
    evaluation = evaluate(predictions)
    samples = {name: _samples(builder, index, index.rows(name)) for name in {"train", split}}
    baselines = fit_predict_baselines(index.properties, samples["train"], test=samples[split])
    scored = {name: evaluate(item) for name, item in baselines.items()}
    log.info("evaluated %d records of the %s split in %.0f s", len(rows), split, time.monotonic() - started)
    return evaluation


def predict_records(predictor: Predictor, builder: Any, index: Index, rows: np.ndarray) -> Predictions:
    """Predictions for stored records, each on its own, beside their labels."""
    outputs = [predictor.predict(decode_record(record)) for record in _selected(builder, rows)]
    return Predictions(
        properties=index.properties,
        ids=tuple(index.ids[rows].tolist()),
        labels={item.name: index.labels[rows, column] for column, item in enumerate(index.properties)},
        values={
            item.name: np.array([output[item.name] for output in outputs], np.float64).reshape(
                (len(rows), item.classes) if item.kind == "multiclass" else len(rows)
            )
            for item in index.properties
        },
    )


def _samples(builder: Any, index: Index, rows: np.ndarray) -> Samples:
    densities = [decode_record(record) for record in _selected(builder, rows)]
    features = [density_features(item.values, item.magnetization) for item in densities]
    return Samples(
        ids=tuple(index.ids[rows].tolist()),
        features=np.stack(features),
        volumes=index.volumes[rows],
        labels={item.name: index.labels[rows, column] for column, item in enumerate(index.properties)},
    )


def _selected(builder: Any, rows: np.ndarray) -> Any:
    """Stored records of the given numbers, ascending, as numpy."""
    wanted = set(rows.tolist())
    return (record for row, record in enumerate(as_records(builder).as_numpy_iterator()) if row in wanted)
