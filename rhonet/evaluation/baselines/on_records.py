"""Predictions of the baselines for one split of a built data set, from features of its records."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from rhonet.core.config import DataConfig
from rhonet.core.density import ChargeDensity
from rhonet.core.predictions import Predictions
from rhonet.data.index import Index, records_at
from rhonet.data.records import decode_record
from rhonet.evaluation.baselines.composition import composition_features
from rhonet.evaluation.baselines.trees import (
    AUTOENCODER_GB,
    COMPOSITION_RF,
    GRID_GB,
    HISTOGRAM_GB,
    Samples,
    density_features,
    fit_predict_baselines,
    grid_features,
)

log = logging.getLogger(__name__)

# Features from the density and the reduced formula of a record. The formula is "" if the species are not known.
_FEATURES: dict[str, Callable[[ChargeDensity, str], np.ndarray]] = {
    GRID_GB: lambda density, formula: grid_features(density),
    HISTOGRAM_GB: lambda density, formula: density_features(density.values, density.magnetization),
    COMPOSITION_RF: lambda density, formula: composition_features(formula),
}


def predict_baselines(
    builder: Any, index: Index, *, data: DataConfig, split: str, names: Sequence[str], seed: int = 0
) -> dict[str, Predictions]:
    """Predictions of baselines for one split, by name of the baseline. The baselines are fitted on the training split.

    Args:
        builder: a built data set.
        index: its index.
        data: settings that the data set was built with.
        split: "train", "validation" or "test".
        names: of `rhonet.evaluation.baselines.trees.BASELINES`, in the order of the result.
        seed: of the trees and of the autoencoder.

    Raises:
        DataError: a training label that is not above 0, for a property that is learned in its logarithm.
    """
    rows = {name: index.rows(name) for name in ("train", split)}
    features = {name: _features(builder, rows[name], names) for name in rows}
    if COMPOSITION_RF in names:
        unnamed = sum(int(np.isnan(part[COMPOSITION_RF]).any(axis=1).sum()) for part in features.values())
        if unnamed:
            log.warning(
                "%d densities name no elements: %s does not learn from them and predicts the dummy's value for them; "
                "add a column formula to properties.csv",
                unnamed,
                COMPOSITION_RF,
            )
    if AUTOENCODER_GB in names:
        from rhonet.evaluation.baselines.autoencoder import latent_vectors

        both = np.union1d(rows["train"], rows[split])
        latent = latent_vectors(builder, index, both, data=data, seed=seed)
        for name, part in features.items():
            part[AUTOENCODER_GB] = latent[np.searchsorted(both, rows[name])]
    train, scored = (_samples(index, rows[name], features[name]) for name in ("train", split))
    predictions = fit_predict_baselines(index.properties, train, test=scored, seed=seed)
    return {name: predictions[name] for name in names}


def _features(builder: Any, rows: np.ndarray, names: Sequence[str]) -> dict[str, np.ndarray]:
    """Features of records that need no fit, (n, F) per baseline."""
    functions = {name: _FEATURES[name] for name in names if name in _FEATURES}
    features: dict[str, list[np.ndarray]] = {name: [] for name in functions}
    for record in records_at(builder, rows) if functions else ():
        density, formula = decode_record(record), record["formula"].decode()
        for name, compute in functions.items():
            features[name].append(compute(density, formula))
    return {name: np.stack(vectors) for name, vectors in features.items()}


def _samples(index: Index, rows: np.ndarray, features: dict[str, np.ndarray]) -> Samples:
    return Samples(
        ids=tuple(index.ids[rows].tolist()),
        groups=tuple(index.groups[rows].tolist()),
        volumes=index.volumes[rows],
        labels={item.name: index.labels[rows, column] for column, item in enumerate(index.properties)},
        features=features,
    )
