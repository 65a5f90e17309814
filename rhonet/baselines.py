"""What a network has to beat on the same split: a dummy, and gradient boosting on the histogram of the density."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from rhonet.predictions import Predictions
from rhonet.properties import Property
from rhonet.standardize import learned_scale

DUMMY = "dummy"
HISTOGRAM_GB = "histogram_gb"

# Bins and quantiles of asinh(ρ/ρ0). The bins reach from -0.12 to 55 e/Å³: what lies beyond counts to the outermost.
_DENSITY_SCALE = 0.1
_BIN_CENTRES = np.linspace(-1.0, 7.0, 33)
_QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_MAGNETIC_FEATURES = 3
N_FEATURES = len(_BIN_CENTRES) + len(_QUANTILES) + 1 + _MAGNETIC_FEATURES

# Chosen by cross-validation (5 folds of chemical systems) inside the training split of the bundled set: on such
# small sets small leaves are what helps (mean R² 0.63; with leaves of 5 samples 0.62, of 8 0.49).
_TREES: dict[str, typing.Any] = {
    "max_iter": 200,
    "learning_rate": 0.05,
    "max_leaf_nodes": 8,
    "min_samples_leaf": 3,
    "max_features": 0.3,
    "early_stopping": False,
}

# Fewer labels than this cannot be split into leaves; the dummy's answer is given instead.
_LEAST_LABELS = 10


@dataclass(frozen=True, eq=False)
class Samples:
    """One split of a data set, as the baselines see it.

    Args:
        ids: one unique id per sample.
        features: (n, N_FEATURES), rows of `density_features`.
        volumes: (n,) cell volumes, Å³; used for properties that grow with the cell, and for nothing else.
        labels: per property (n,), in its unit, NaN = missing.

    Raises:
        ValueError: arrays of different lengths, or volumes that are not above 0.
    """

    ids: tuple[str, ...]
    features: np.ndarray
    volumes: np.ndarray
    labels: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        n = len(self.ids)
        arrays = {"features": self.features, "volumes": self.volumes}
        arrays |= {f"labels of {name}": labels for name, labels in self.labels.items()}
        for name, array in arrays.items():
            expected = (n, N_FEATURES) if name == "features" else (n,)
            if array.shape != expected:
                raise ValueError(f"{name} must have shape {expected}, got {array.shape}")
        if not (self.volumes > 0).all():
            raise ValueError(f"the cell volume of {self.ids[(~(self.volumes > 0)).argmax()]} is not above 0 Å³")


def density_features(values: np.ndarray, magnetization: np.ndarray | None = None) -> np.ndarray:
    """Statistics of a density that know neither lattice nor positions nor composition, (N_FEATURES,).

    The shares of volume per bin of asinh(ρ/0.1) (each point counts to its two nearest bins, linearly), quantiles
    of the same, the mean of ρ in e/Å³, and the mean, mean magnitude and largest magnitude of the magnetization.

    Args:
        values: ρ, (nx, ny, nz), e/Å³; may be negative.
        magnetization: (nx, ny, nz), µB/Å³; None counts as zero.
    """
    scaled = np.arcsinh(np.asarray(values, dtype=np.float64).ravel() / _DENSITY_SCALE)
    last = len(_BIN_CENTRES) - 1
    position = np.clip((scaled - _BIN_CENTRES[0]) / (_BIN_CENTRES[1] - _BIN_CENTRES[0]), 0, last)
    lower = np.minimum(position.astype(np.intp), last - 1)
    share = position - lower
    counts = np.bincount(lower, 1 - share, minlength=last + 1) + np.bincount(lower + 1, share, minlength=last + 1)
    magnetic = np.zeros(_MAGNETIC_FEATURES)
    if magnetization is not None:
        magnitude = np.abs(magnetization)
        moments = (magnetization.mean(dtype=np.float64), magnitude.mean(dtype=np.float64), magnitude.max())
        magnetic = np.array(moments, dtype=np.float64)
    mean = np.mean(values, dtype=np.float64)
    return np.concatenate([counts / scaled.size, np.quantile(scaled, _QUANTILES), [mean], magnetic])


def fit_predict_baselines(
    properties: Sequence[Property], train: Samples, *, test: Samples, seed: int = 0
) -> dict[str, Predictions]:
    """Baselines fitted on one split, predicting another: {"dummy": ..., "histogram_gb": ...}.

    The dummy says the training median (the constant of least MAE), or the training share of each class. The
    boosted trees see `density_features` only. Both learn what the network learns (`learned_scale`). With under
    10 training labels, or a single class, the trees give the dummy's answer; without any, the answer is NaN.

    Every property is learned on its own, from the training samples that have it, in the order of their ids: order
    and further properties do not matter. Labels of `test` only pass through to the result.

    Raises:
        ValueError: a training label that is not above 0 for a property learned in its logarithm.
    """
    order = np.argsort(np.array(train.ids))
    predicted: dict[str, dict[str, np.ndarray]] = {DUMMY: {}, HISTOGRAM_GB: {}}
    # One thread: the trees are too small to share, and answers must not depend on the number of cores.
    with threadpool_limits(limits=1):
        for item in properties:
            rows = order[~np.isnan(train.labels[item.name][order])]
            features, labels, volumes = train.features[rows], train.labels[item.name][rows], train.volumes[rows]
            if item.is_class:
                dummy, boosted = _classify(item, features, labels, test=test.features, seed=seed)
            else:
                outputs = _regress(features, learned_scale(item, labels, volumes), test=test.features, seed=seed)
                dummy, boosted = (_physical_scale(item, output, test.volumes) for output in outputs)
            predicted[DUMMY][item.name], predicted[HISTOGRAM_GB][item.name] = dummy, boosted
    labels_of_test = {item.name: test.labels[item.name] for item in properties}
    return {
        name: Predictions(tuple(properties), test.ids, labels_of_test, values) for name, values in predicted.items()
    }


def _regress(features: np.ndarray, labels: np.ndarray, *, test: np.ndarray, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Answers of the dummy and of the trees for `test` (m, features), (m,) each, on the learned scale."""
    dummy = np.full(len(test), np.median(labels) if len(labels) else np.nan)
    if len(labels) < _LEAST_LABELS or not len(test):
        return dummy, dummy
    trees = HistGradientBoostingRegressor(**_TREES, random_state=seed)
    return dummy, trees.fit(features, labels).predict(test)


def _classify(
    item: Property, features: np.ndarray, labels: np.ndarray, *, test: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the dummy and of the trees for `test` (m, features): (m,) binary, (m, classes) multiclass."""
    counts = np.bincount(labels.astype(np.intp), minlength=item.classes or 2)
    prior = counts / len(labels) if len(labels) else np.full(len(counts), np.nan)
    dummy = np.tile(prior, (len(test), 1))
    boosted = dummy
    if len(labels) >= _LEAST_LABELS and np.count_nonzero(counts) > 1 and len(test):
        trees = HistGradientBoostingClassifier(**_TREES, random_state=seed)
        boosted = np.zeros_like(dummy)
        boosted[:, np.flatnonzero(counts)] = trees.fit(features, labels).predict_proba(test)
    return (dummy, boosted) if item.kind == "multiclass" else (dummy[:, 1], boosted[:, 1])


def _physical_scale(item: Property, values: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    """Values (n,) in the property's unit: the inverse of `learned_scale`."""
    values = np.exp(values) if item.transform == "log" else values
    return values if item.intensive else values * volumes
