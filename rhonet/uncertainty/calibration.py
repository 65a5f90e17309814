"""Prediction intervals and the threshold of novelty, from the errors on a calibration set (no TensorFlow).

The calibration set consists of crystals that the network was not trained on. Intervals are split-conformal
(arXiv:2107.07511) on the learned scale. Each absolute error on the calibration set is divided by the difficulty of its
crystal (`difficulty.py`). The ceil((n + 1) · 0.9)-th smallest of these n ratios, times the difficulty of a new crystal,
is the half width of the new crystal's interval.

If the difficulty is the same for all crystals, the interval of a new crystal from the same distribution contains the
true value with a probability of at least 90 %, for any distribution of the errors. This requires that the calibration
set had no influence on the network. The validation split meets this: nothing is chosen by the validation loss, unless
`train.patience` asks for early stopping. Otherwise it holds approximately: each error is divided by a difficulty fitted
without it. In an ensemble, each crystal is predicted by the one network that was not trained on it. `rhonet.evaluate`
and `rhonet.study coverage` measure the actual coverage.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.core.standardize import learned_scale
from rhonet.uncertainty.difficulty import Difficulty, fit_difficulty, prediction_features

# Level of prediction intervals and prediction sets.
PREDICTION_LEVEL = 0.9
# Levels of the points of a coverage curve.
CURVE_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
# Share of the calibration crystals that have a novelty above 1.
NOVEL_SHARE = 0.05


@dataclass(frozen=True)
class ConformalWidths:
    """Half widths of the intervals, or prediction sets, of one property.

    For a regression property, a half width is that of the crystal of median difficulty, on the learned scale. For a
    class property, it is the largest distance of a class's probability from 1 at which the class is in the set.

    Attributes:
        n: number of labelled calibration crystals.
        half_width: at `PREDICTION_LEVEL`; infinite if n is too small for the level.
        half_widths: at each of `CURVE_LEVELS`; () if they were not stored.
    """

    n: int
    half_width: float
    half_widths: tuple[float, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON, without infinities; `from_dict` reads them back."""
        kept: dict[str, Any] = {"n": self.n}
        if math.isfinite(self.half_width):
            kept["half_width"] = self.half_width
        if self.half_widths:
            pairs = zip(CURVE_LEVELS, self.half_widths, strict=True)
            kept["half_widths"] = {f"{level:g}": width for level, width in pairs if math.isfinite(width)}
        return kept

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ConformalWidths:
        """Half widths from the result of `to_dict`."""
        kept = values.get("half_widths")
        widths = () if kept is None else tuple(kept.get(f"{level:g}", math.inf) for level in CURVE_LEVELS)
        return cls(values["n"], values.get("half_width", math.inf), widths)


@dataclass(frozen=True)
class Calibration:
    """What prediction intervals, prediction sets and novelty are computed from.

    Attributes:
        level: of intervals and sets.
        widths: half widths per property.
        distance_scale: distance to the training crystals (`uncertainty.novelty`) at which the novelty is 1; 95 % of the
            calibration crystals are nearer. None if there are too few calibration crystals.
        n: number of calibration crystals.
        difficulty: widths of the intervals of a crystal, relative to those of the median crystal.
    """

    level: float
    widths: dict[str, ConformalWidths]
    distance_scale: float | None
    n: int
    difficulty: Difficulty = field(default_factory=Difficulty)

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON, without infinities; `from_dict` reads them back."""
        widths = {name: item.to_dict() for name, item in self.widths.items()}
        kept = {"level": self.level, "spreads": widths, "distance_scale": self.distance_scale, "n": self.n}
        return kept | ({"difficulty": self.difficulty.to_dict()} if self.difficulty.terms else {})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """Calibration from the result of `to_dict`."""
        widths = {name: ConformalWidths.from_dict(item) for name, item in values["spreads"].items()}
        difficulty = Difficulty.from_dict(values["difficulty"]) if "difficulty" in values else Difficulty()
        return cls(values["level"], widths, values.get("distance_scale"), values["n"], difficulty)


def fit_calibration(predictions: Predictions, volumes: np.ndarray, distances: np.ndarray) -> Calibration:
    """Calibration from crystals that the network was not trained on.

    Args:
        predictions: predictions for the n calibration crystals. In an ensemble, each crystal is predicted by the
            network that was not trained on it.
        volumes: (n,) cell volumes, Å³.
        distances: (n,) distances to the training crystals (`rhonet.uncertainty.novelty`).
    """
    widths, difficulty = fit_conformal_widths(predictions, volumes)
    scale = conformal_quantile(distances, 1 - NOVEL_SHARE)
    return Calibration(PREDICTION_LEVEL, widths, scale if math.isfinite(scale) else None, len(distances), difficulty)


def fit_conformal_widths(
    predictions: Predictions, volumes: np.ndarray
) -> tuple[dict[str, ConformalWidths], Difficulty]:
    """Half widths per property, and the difficulty, from n crystals that the network was not trained on.

    Args:
        predictions: predictions for the n crystals.
        volumes: (n,) cell volumes, Å³.
    """
    errors = {item.name: learned_errors(item, predictions, volumes) for item in predictions.properties}
    regression = {item.name: errors[item.name] for item in predictions.properties if not item.is_class}
    features = prediction_features(predictions, volumes)
    difficulty, difficulties = fit_difficulty(features, regression, predictions.units)
    widths = {}
    for name, values in errors.items():
        ratios = values / difficulties.get(name, 1.0)
        ratios = ratios[~np.isnan(ratios)]
        curve = tuple(conformal_quantile(ratios, level) for level in CURVE_LEVELS)
        widths[name] = ConformalWidths(len(ratios), conformal_quantile(ratios, PREDICTION_LEVEL), curve)
    return widths, difficulty


def calibration_errors(item: Property, labels: np.ndarray, values: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    """Errors of the labelled samples: absolute errors on the learned scale, or 1 minus the true class's probability.

    Args:
        item: the property.
        labels: (n,), NaN where missing.
        values: predictions (n,) in the property's unit, or probabilities: (n,) of class 1, (n, classes) of a multiclass
            property.
        volumes: (n,) cell volumes, Å³.

    Raises:
        DataError: a label or prediction that is not above 0, for a property that is learned in its logarithm.
    """
    known = ~np.isnan(labels)
    if item.kind == "multiclass":
        return 1 - values[known, labels[known].astype(np.intp)]
    if item.kind == "binary":
        return np.where(labels[known] == 1, 1 - values[known], values[known])
    truth, predicted = (learned_scale(item, array[known], volumes[known]) for array in (labels, values))
    return np.abs(truth - predicted)


def learned_errors(item: Property, predictions: Predictions, volumes: np.ndarray) -> np.ndarray:
    """Error of each sample as in `calibration_errors`, (n,); NaN without a label or where there is no logarithm.

    Args:
        item: the property.
        predictions: predictions for n samples.
        volumes: (n,) cell volumes, Å³.
    """
    labels, values = predictions.labels[item.name], predictions.values[item.name]
    usable = ~np.isnan(labels)
    if item.transform == "log":
        usable &= (labels > 0) & (values > 0)
    errors = np.full(len(labels), np.nan)
    errors[usable] = calibration_errors(item, labels[usable], values[usable], volumes[usable])
    return errors


def half_widths(item: Property, values: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Half widths (n,) of intervals, in the property's unit, or of its logarithm if it is learned in the logarithm.

    A half width is NaN where a number overflowed. It is measured to the upper end, since the lower one may be cut off
    at 0.

    Args:
        item: the property.
        values: (n,) predictions, in the property's unit.
        upper: (n,) upper ends of the intervals, in the property's unit.
    """
    values, upper = np.asarray(values, np.float64), np.asarray(upper, np.float64)
    if item.transform != "log":
        return np.where(np.isfinite(upper), upper - values, np.nan)
    usable = (values > 0) & np.isfinite(upper)
    return np.where(usable, np.log(np.where(usable, upper, 1.0) / np.where(usable, values, 1.0)), np.nan)


def conformal_quantile(errors: np.ndarray, level: float) -> float:
    """The ceil((n + 1) · level)-th smallest of n errors; infinite if that rank is above n."""
    rank = math.ceil((len(errors) + 1) * level - 1e-9)
    return float(np.sort(errors)[rank - 1]) if rank <= len(errors) else math.inf
