"""Baselines on simple features: a dummy, and trees on features of the density, its grid or the composition."""

from __future__ import annotations

import typing
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from threadpoolctl import threadpool_limits

from rhonet.core.density import ChargeDensity
from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.core.standardize import learned_scale

DUMMY = "dummy"
GRID_GB = "grid_gb"
HISTOGRAM_GB = "histogram_gb"
COMPOSITION_RF = "composition_rf"
AUTOENCODER_GB = "autoencoder_gb"
BASELINES = (DUMMY, GRID_GB, HISTOGRAM_GB, COMPOSITION_RF, AUTOENCODER_GB)
"""The dummy predicts the training median. The others are gradient boosting on shape and scale of the stored grid, on
the histogram of the density and on the latent vector of an autoencoder, and a random forest on the composition."""

QUICK_BASELINES = (DUMMY, HISTOGRAM_GB, COMPOSITION_RF)
"""The baselines that take seconds only; every report contains them."""

# Bins and quantiles of asinh(ρ/ρ0), ρ0 in e/Å³. The bins reach from -0.12 to 55 e/Å³; densities beyond count to the
# outermost bins.
_DENSITY_SCALE = 0.1
_BIN_CENTRES = np.linspace(-1.0, 7.0, 33)
_QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_MAGNETIC_FEATURES = 3
N_DENSITY_FEATURES = len(_BIN_CENTRES) + len(_QUANTILES) + 1 + _MAGNETIC_FEATURES
N_GRID_FEATURES = 13


@dataclass(frozen=True)
class _Trees:
    """Estimators of scikit-learn for regression and for classes, with common settings.

    Attributes:
        regressor: class of the estimator for regression properties.
        classifier: class of the estimator for class properties.
        settings: keyword arguments of both.
    """

    regressor: type
    classifier: type
    settings: dict[str, typing.Any]


# Chosen by cross-validation (5 folds of chemical systems) inside the training split of the bundled set. On such small
# sets, small leaves are better.
_BOOSTING = _Trees(
    HistGradientBoostingRegressor,
    HistGradientBoostingClassifier,
    {
        "max_iter": 200,
        "learning_rate": 0.05,
        "max_leaf_nodes": 8,
        "min_samples_leaf": 3,
        "max_features": 0.3,
        "early_stopping": False,
    },
)
_FOREST = _Trees(RandomForestRegressor, RandomForestClassifier, {"n_estimators": 200, "max_features": 0.3})

# With fewer labels, which cannot be split into leaves, the prediction is that of the dummy.
_LEAST_LABELS = 10


@dataclass(frozen=True, eq=False)
class Samples:
    """The n samples of one split of a data set, with the inputs of the baselines.

    Attributes:
        ids: one unique id per sample.
        volumes: (n,) cell volumes, Å³; used only for properties that grow with the cell.
        labels: per property (n,), in its unit or class numbers, NaN where missing.
        features: per baseline (n, F). A baseline does not know a sample with a NaN in its features.
        groups: name of the group of each sample, as in `rhonet.core.predictions.Predictions`.

    Raises:
        ValueError: arrays of different lengths, or volumes that are not above 0.
    """

    ids: tuple[str, ...]
    volumes: np.ndarray
    labels: dict[str, np.ndarray]
    features: dict[str, np.ndarray]
    groups: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.ids)
        for name, table in self.features.items():
            if table.ndim != 2 or len(table) != n:
                raise ValueError(f"features of {name} must have shape ({n}, F), got {table.shape}")
        arrays = {"volumes": self.volumes} | {f"labels of {name}": labels for name, labels in self.labels.items()}
        for name, array in arrays.items():
            if array.shape != (n,):
                raise ValueError(f"{name} must have shape ({n},), got {array.shape}")
        if not (self.volumes > 0).all():
            raise ValueError(f"the cell volume of {self.ids[(~(self.volumes > 0)).argmax()]} is not above 0 Å³")


def density_features(values: np.ndarray, magnetization: np.ndarray | None = None) -> np.ndarray:
    """Statistics of a density without lattice, positions or composition, (N_DENSITY_FEATURES,).

    The features are the shares of the volume per bin of asinh(ρ/0.1), its quantiles, the mean of ρ in e/Å³, and the
    mean, mean magnitude and largest magnitude of the magnetization. Each point is divided linearly between its two
    nearest bins.

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


def grid_features(density: ChargeDensity) -> np.ndarray:
    """Shape and scale of a stored grid, without the distribution of the electrons on it, (N_GRID_FEATURES,).

    The features are grid points along a, b, c, edge lengths (Å), cosines of the angles, volume (Å³), number of
    electrons, electrons per Å³, and Å³ per grid point.
    """
    edges = np.linalg.norm(density.lattice, axis=1)
    unit = density.lattice / edges[:, None]
    cosines = [unit[1] @ unit[2], unit[0] @ unit[2], unit[0] @ unit[1]]
    electrons, volume = density.n_electrons, density.volume
    scale = [volume, electrons, electrons / volume, volume / density.values.size]
    return np.array([*density.shape, *edges, *cosines, *scale])


def fit_predict_baselines(
    properties: Sequence[Property], train: Samples, *, test: Samples, seed: int = 0
) -> dict[str, Predictions]:
    """Predictions of baselines for one split, fitted on another: the dummy, and one baseline per table of features.

    The dummy predicts the training median, which is the constant with the lowest MAE, or the training share of each
    class. The others are trees that have only their features as input: a random forest on the composition, gradient
    boosting on all other features. All learn on the scale of the networks (`learned_scale`). The trees predict the same
    as the dummy if there are fewer than 10 training labels or a single class, and for a sample that they do not know.
    Without any training label, predictions are NaN.

    Every property is learned separately, from the training samples with a label of it, in the order of their ids. So
    neither the order of the samples nor other properties have an influence.

    Args:
        properties: what is predicted.
        train: samples that the baselines are fitted on.
        test: samples to predict; their labels have no influence and are copied to the result.
        seed: of the trees.

    Returns:
        Predictions by name of the baseline.

    Raises:
        DataError: a training label that is not above 0, for a property that is learned in its logarithm.
        ValueError: an infinite label of `test`.
    """
    order = np.argsort(np.array(train.ids))
    predicted: dict[str, dict[str, np.ndarray]] = {name: {} for name in (DUMMY, *train.features)}
    # One thread: the trees are too small for several, and predictions must not depend on the number of cores.
    with threadpool_limits(limits=1):
        for item in properties:
            rows = order[~np.isnan(train.labels[item.name][order])]
            targets = train.labels[item.name][rows]
            if not item.is_class:
                targets = learned_scale(item, targets, train.volumes[rows])
            dummy = _dummy(item, targets, len(test.ids))
            learned = {DUMMY: dummy}
            for name, table in train.features.items():
                trees = _FOREST if name == COMPOSITION_RF else _BOOSTING
                learned[name] = _fit_predict(
                    item, trees, table[rows], targets, test=test.features[name], dummy=dummy, seed=seed
                )
            for name, values in learned.items():
                predicted[name][item.name] = _physical_scale(item, values, test.volumes)
    labels = {item.name: test.labels[item.name] for item in properties}
    return {
        name: Predictions(tuple(properties), test.ids, labels, values, groups=test.groups)
        for name, values in predicted.items()
    }


def _dummy(item: Property, targets: np.ndarray, n: int) -> np.ndarray:
    """The same prediction for n samples, on the learned scale: the median (n,) or the class shares (n, classes)."""
    if not item.is_class:
        return np.full(n, np.median(targets) if len(targets) else np.nan)
    counts = np.bincount(targets.astype(np.intp), minlength=item.classes or 2)
    return np.tile(counts / len(targets) if len(targets) else np.full(len(counts), np.nan), (n, 1))


def _fit_predict(
    item: Property,
    trees: _Trees,
    features: np.ndarray,
    targets: np.ndarray,
    *,
    test: np.ndarray,
    dummy: np.ndarray,
    seed: int,
) -> np.ndarray:
    """Predictions of the trees for `test` (m, F), on the learned scale; those of the dummy where they have none."""
    known, predictable = (~np.isnan(table).any(axis=1) for table in (features, test))
    features, targets, values = features[known], targets[known], dummy.copy()
    one_class = item.is_class and len(np.unique(targets)) < 2
    if len(targets) < _LEAST_LABELS or one_class or not predictable.any():
        return values
    if item.is_class:
        fitted = trees.classifier(**trees.settings, random_state=seed).fit(features, targets)
        values[predictable] = 0
        values[np.ix_(predictable, fitted.classes_.astype(np.intp))] = fitted.predict_proba(test[predictable])
    else:
        fitted = trees.regressor(**trees.settings, random_state=seed).fit(features, targets)
        values[predictable] = fitted.predict(test[predictable])
    return values


def _physical_scale(item: Property, learned: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    """Values in the property's unit, the inverse of `learned_scale`; for a binary property those of class 1."""
    if item.is_class:
        return learned if item.kind == "multiclass" else learned[:, 1]
    values = np.exp(learned) if item.transform == "log" else learned
    values = np.maximum(values, 0.0) if item.nonnegative else values
    return values if item.intensive else values * volumes
