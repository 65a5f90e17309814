"""What a network has to beat on the same split: a dummy, and trees on simple features of density or composition."""

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
"""The training median; gradient boosting on shape and scale of the stored grid (what is trivial), on the histogram of
the density, and on the latent vector of an autoencoder; a random forest on the composition."""

QUICK_BASELINES = (DUMMY, HISTOGRAM_GB, COMPOSITION_RF)
"""Those that take seconds, and stand in every report."""

# Bins and quantiles of asinh(ρ/ρ0). The bins reach from -0.12 to 55 e/Å³: what lies beyond counts to the outermost.
_DENSITY_SCALE = 0.1
_BIN_CENTRES = np.linspace(-1.0, 7.0, 33)
_QUANTILES = (0.0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 1.0)
_MAGNETIC_FEATURES = 3
N_DENSITY_FEATURES = len(_BIN_CENTRES) + len(_QUANTILES) + 1 + _MAGNETIC_FEATURES
N_GRID_FEATURES = 13


@dataclass(frozen=True)
class _Trees:
    """Two estimators of scikit-learn and the settings of both."""

    regressor: type
    classifier: type
    settings: dict[str, typing.Any]


# Chosen by cross-validation (5 folds of chemical systems) inside the training split of the bundled set: on such
# small sets small leaves are what helps (mean R² 0.63; with leaves of 5 samples 0.62, of 8 0.49).
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

# Fewer labels than this cannot be split into leaves; the dummy's answer is given instead.
_LEAST_LABELS = 10


@dataclass(frozen=True, eq=False)
class Samples:
    """One split of a data set, as the baselines see it.

    Args:
        ids: one unique id per sample.
        volumes: (n,) cell volumes, Å³; used for properties that grow with the cell, and for nothing else.
        labels: per property (n,), in its unit, NaN = missing.
        features: per baseline (n, F), what it sees; a sample with a NaN in its row is unknown to that baseline.
        groups: of which group each sample is (rhonet.core.predictions).

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
    """Statistics of a density that know neither lattice nor positions nor composition, (N_DENSITY_FEATURES,).

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


def grid_features(density: ChargeDensity) -> np.ndarray:
    """Shape and scale of a stored grid, (N_GRID_FEATURES,), and nothing of how the electrons are spread on it.

    Grid points along a, b, c, edge lengths (Å), cosines of the angles, volume (Å³), number of electrons, electrons per
    Å³, and Å³ per grid point.
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
    """Baselines fitted on one split, predicting another: the dummy, and one per table of features, by name.

    The dummy says the training median (the constant of least MAE), or the training share of each class. The trees
    (a random forest for the composition, gradient boosting otherwise) see their features only. All learn what the
    network learns (`learned_scale`). With under 10 training labels, or a single class, the trees give the dummy's
    answer, and so they do for a sample that is unknown to them; without any label, the answer is NaN.

    Every property is learned on its own, from the training samples that have it, in the order of their ids: order
    and further properties do not matter. Labels of `test` only pass through to the result.

    Raises:
        ValueError: a training label that is not above 0 for a property learned in its logarithm.
    """
    order = np.argsort(np.array(train.ids))
    predicted: dict[str, dict[str, np.ndarray]] = {name: {} for name in (DUMMY, *train.features)}
    # One thread: the trees are too small to share, and answers must not depend on the number of cores.
    with threadpool_limits(limits=1):
        for item in properties:
            rows = order[~np.isnan(train.labels[item.name][order])]
            targets = train.labels[item.name][rows]
            if not item.is_class:
                targets = learned_scale(item, targets, train.volumes[rows])
            dummy = _dummy(item, targets, len(test.ids))
            answers = {DUMMY: dummy}
            for name, table in train.features.items():
                trees = _FOREST if name == COMPOSITION_RF else _BOOSTING
                sought = test.features[name]
                answers[name] = _fit_predict(item, trees, table[rows], targets, test=sought, dummy=dummy, seed=seed)
            for name, answer in answers.items():
                predicted[name][item.name] = _physical_scale(item, answer, test.volumes)
    labels = {item.name: test.labels[item.name] for item in properties}
    return {
        name: Predictions(tuple(properties), test.ids, labels, values, groups=test.groups)
        for name, values in predicted.items()
    }


def _dummy(item: Property, targets: np.ndarray, n: int) -> np.ndarray:
    """One answer for n samples, on the learned scale: the median (n,) or the share of each class (n, classes)."""
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
    """Answers of the trees for `test` (m, F), shaped and scaled as those of the dummy; its own where they have none."""
    known, sought = (~np.isnan(table).any(axis=1) for table in (features, test))
    features, targets, answer = features[known], targets[known], dummy.copy()
    one_class = item.is_class and len(np.unique(targets)) < 2
    if len(targets) < _LEAST_LABELS or one_class or not sought.any():
        return answer
    if item.is_class:
        fitted = trees.classifier(**trees.settings, random_state=seed).fit(features, targets)
        answer[sought] = 0
        answer[np.ix_(sought, fitted.classes_.astype(np.intp))] = fitted.predict_proba(test[sought])
    else:
        fitted = trees.regressor(**trees.settings, random_state=seed).fit(features, targets)
        answer[sought] = fitted.predict(test[sought])
    return answer


def _physical_scale(item: Property, answer: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    """Values in the property's unit, the inverse of `learned_scale`; for a binary property those of class 1."""
    if item.is_class:
        return answer if item.kind == "multiclass" else answer[:, 1]
    values = np.exp(answer) if item.transform == "log" else answer
    values = np.maximum(values, 0.0) if item.nonnegative else values
    return values if item.intensive else values * volumes
