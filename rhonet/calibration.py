"""Prediction intervals and novelty: what crystals that a network has not seen say about its errors (no TensorFlow).

Intervals are split-conformal (arXiv:2107.07511) on the learned scale: the half width is the ceil((n + 1) · 0.9)-th
smallest of the n absolute errors on calibration crystals, so that a further crystal drawn like them falls inside
with at least 90 % probability, whatever the errors' distribution. The calibration crystals are those that a network
validated on; of an ensemble, each crystal is judged by the one member that did not train on it.
"""

from __future__ import annotations

import math
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rhonet.predictions import Predictions
from rhonet.properties import Property
from rhonet.standardize import learned_scale

LEVEL = 0.9
# Where calibration curves have their points.
LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
NOVEL_SHARE = 0.05
NEIGHBOURS = 3
MOST_DIRECTIONS = 16
LEAST_VARIANCE = 1e-3


@dataclass(frozen=True)
class Spread:
    """Errors of one property on its n calibration crystals.

    half_width: of the interval, on the learned scale of a regression property; for a class, what its probability
        may miss to 1 and the class still belongs to the set. Infinite where n is too small for the level.
    half_widths: the same at each of `LEVELS`; () where nobody kept them.
    """

    n: int
    half_width: float
    half_widths: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values without infinities; `from_dict` reads them back."""
        kept: dict[str, Any] = {"n": self.n}
        if math.isfinite(self.half_width):
            kept["half_width"] = self.half_width
        if self.half_widths:
            pairs = zip(LEVELS, self.half_widths, strict=True)
            kept["half_widths"] = {f"{level:g}": width for level, width in pairs if math.isfinite(width)}
        return kept

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Spread:
        """Spread from what `to_dict` gave."""
        kept = values.get("half_widths")
        widths = () if kept is None else tuple(kept.get(f"{level:g}", math.inf) for level in LEVELS)
        return cls(values["n"], values.get("half_width", math.inf), widths)


@dataclass(frozen=True)
class Calibration:
    """Half widths per property at a level, and what makes a density novel.

    distance_scales: distances to the training crystals (in the network's last features, and in statistics of the
        views) that become a novelty of 1; 95 % of the calibration crystals stay below. None under 19 crystals.
    n: calibration crystals.
    """

    level: float
    spreads: dict[str, Spread]
    distance_scales: tuple[float, float] | None
    n: int

    def to_dict(self) -> dict[str, Any]:
        """Plain values without infinities; `from_dict` reads them back."""
        return {**asdict(self), "spreads": {name: spread.to_dict() for name, spread in self.spreads.items()}}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """Calibration from what `to_dict` gave."""
        spreads = {name: Spread.from_dict(item) for name, item in values["spreads"].items()}
        scales = values.get("distance_scales")
        return cls(values["level"], spreads, scales and (scales[0], scales[1]), values["n"])


def fit_calibration(predictions: Predictions, volumes: np.ndarray, distances: np.ndarray) -> Calibration:
    """Calibration from crystals that the network, or the member that predicted them, has not trained on.

    Args:
        predictions: of n crystals.
        volumes: (n,) cell volumes, Å³.
        distances: (n, 2) to the training crystals in both spaces (`rhonet.trust`).
    """
    spreads = {}
    for item in predictions.properties:
        errors = calibration_errors(item, predictions.labels[item.name], predictions.values[item.name], volumes)
        widths = tuple(conformal_quantile(errors, level) for level in LEVELS)
        spreads[item.name] = Spread(len(errors), conformal_quantile(errors, LEVEL), widths)
    return Calibration(LEVEL, spreads, _distance_scales(distances), len(distances))


def _distance_scales(distances: np.ndarray) -> tuple[float, float] | None:
    """Scales of both distances (n, 2) that leave the larger one below 1 for 95 % of the crystals."""
    level = 1 - NOVEL_SHARE
    scales = np.array([conformal_quantile(column, level) for column in distances.T])
    if not np.isfinite(scales).all():
        return None
    scales *= conformal_quantile((distances / scales).max(axis=1), level)
    return float(scales[0]), float(scales[1])


def calibration_errors(item: Property, labels: np.ndarray, values: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    """Absolute errors on the learned scale, or what the true class's probability misses to 1; labelled samples only.

    Args:
        item: the property.
        labels: (n,), NaN where missing.
        values: (n,) in its unit, probability of class 1, or (n, classes) probabilities.
        volumes: (n,) Å³.
    """
    known = ~np.isnan(labels)
    if item.kind == "multiclass":
        return 1 - values[known, labels[known].astype(np.intp)]
    if item.kind == "binary":
        return np.where(labels[known] == 1, 1 - values[known], values[known])
    truth, guess = (learned_scale(item, array[known], volumes[known]) for array in (labels, values))
    return np.abs(truth - guess)


def conformal_quantile(errors: np.ndarray, level: float) -> float:
    """The ceil((n + 1) · level)-th smallest of n errors; infinite where there is none such."""
    rank = math.ceil((len(errors) + 1) * level - 1e-9)
    return float(np.sort(errors)[rank - 1]) if rank <= len(errors) else math.inf


@dataclass(frozen=True, eq=False)
class Reference:
    """Training crystals in a space where distances mean something: centred, whitened principal directions.

    mean: (D,) of the features; directions: (D, d), d <= 16, each divided by its standard deviation.
    points: (n, d) training crystals.
    """

    mean: np.ndarray
    directions: np.ndarray
    points: np.ndarray

    @classmethod
    def fit(cls, features: np.ndarray) -> Reference:
        """Space of the features (n, D) of the training crystals; directions that hardly vary are left out."""
        mean, deviation = features.mean(axis=0), features.std(axis=0)
        scale = np.where(deviation > 1e-9, 1 / np.maximum(deviation, 1e-9), 0.0)
        _, singular, rows = np.linalg.svd((features - mean) * scale, full_matrices=False)
        variance = singular**2 / max(len(features), 1)
        kept = variance[:MOST_DIRECTIONS] > LEAST_VARIANCE * variance.sum()
        directions = scale[:, None] * rows[:MOST_DIRECTIONS][kept].T / np.sqrt(variance[:MOST_DIRECTIONS][kept])
        return cls(mean, directions, (features - mean) @ directions)

    @property
    def n_neighbours(self) -> int:
        """Nearest training crystals whose distances are averaged."""
        return min(NEIGHBOURS, len(self.points))


@dataclass(frozen=True, eq=False)
class Surroundings:
    """The training crystals of one network, in its last features and in statistics of the views."""

    trunk: Reference
    statistics: Reference

    def save(self, path: Path) -> None:
        """Writes a file that `load` reads; a crash leaves none.

        Raises:
            OSError: it cannot be written.
        """
        arrays = {f"{space}/{name}": array for space, one in vars(self).items() for name, array in vars(one).items()}
        partial = path.with_name(f"partial-{path.name}")
        np.savez_compressed(partial, allow_pickle=False, **arrays)
        os.replace(partial, path)

    @classmethod
    def load(cls, path: Path) -> Surroundings:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            spaces = ("trunk", "statistics")
            names = ("mean", "directions", "points")
            return cls(*(Reference(*(stored[f"{space}/{name}"] for name in names)) for space in spaces))
