"""Prediction intervals and novelty: what crystals that a network has not seen say about its errors (no TensorFlow).

Intervals are split-conformal (arXiv:2107.07511) on the learned scale: the half width is the ceil((n + 1) · 0.9)-th
smallest of the n absolute errors on calibration crystals, each divided by how hard its crystal is
(`difficulty.py`), times how hard the crystal at hand is. Where all are as hard, a further crystal drawn like them
falls inside with at least 90 % probability, whatever the errors' distribution, as they had no part in the network: it
was validated on them, which chooses nothing unless `train.patience` says so. Else that holds nearly, as each is divided
by what the others' errors say about it. Of an ensemble, each crystal is judged by the one member that did not train on
it. What intervals hold is measured (`rhonet.evaluate`, `rhonet.study coverage`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.core.standardize import learned_scale
from rhonet.uncertainty.difficulty import Difficulty, answer_columns, fit_difficulty

PREDICTION_LEVEL = 0.9
# Where calibration curves have their points.
CURVE_LEVELS = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
NOVEL_SHARE = 0.05


@dataclass(frozen=True)
class ConformalWidths:
    """Errors of one property on its n calibration crystals.

    half_width: of the interval of the median crystal, on the learned scale of a regression property; for a class, what
        its probability may miss to 1 and the class still belongs to the set. Infinite where n is too small for the
        level.
    half_widths: the same at each of `CURVE_LEVELS`; () where nobody kept them.
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
            pairs = zip(CURVE_LEVELS, self.half_widths, strict=True)
            kept["half_widths"] = {f"{level:g}": width for level, width in pairs if math.isfinite(width)}
        return kept

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ConformalWidths:
        """Spread from what `to_dict` gave."""
        kept = values.get("half_widths")
        widths = () if kept is None else tuple(kept.get(f"{level:g}", math.inf) for level in CURVE_LEVELS)
        return cls(values["n"], values.get("half_width", math.inf), widths)


@dataclass(frozen=True)
class Calibration:
    """Half widths per property at a level, and what makes a density novel.

    distance_scale: distance to the training crystals (`uncertainty.novelty`) that becomes a novelty of 1; 95 % of the
        calibration crystals stay below. None under 19 crystals.
    n: calibration crystals.
    difficulty: how much wider or narrower than the median crystal's the interval of a crystal is.
    """

    level: float
    widths: dict[str, ConformalWidths]
    distance_scale: float | None
    n: int
    difficulty: Difficulty = field(default_factory=Difficulty)

    def to_dict(self) -> dict[str, Any]:
        """Plain values without infinities; `from_dict` reads them back."""
        widths = {name: item.to_dict() for name, item in self.widths.items()}
        kept = {"level": self.level, "spreads": widths, "distance_scale": self.distance_scale, "n": self.n}
        return kept | ({"difficulty": self.difficulty.to_dict()} if self.difficulty.terms else {})

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Calibration:
        """Calibration from what `to_dict` gave."""
        widths = {name: ConformalWidths.from_dict(item) for name, item in values["spreads"].items()}
        difficulty = Difficulty.from_dict(values["difficulty"]) if "difficulty" in values else Difficulty()
        return cls(values["level"], widths, values.get("distance_scale"), values["n"], difficulty)


def fit_calibration(predictions: Predictions, volumes: np.ndarray, distances: np.ndarray) -> Calibration:
    """Calibration from crystals that the network, or the member that predicted them, has not trained on.

    Args:
        predictions: of n crystals.
        volumes: (n,) cell volumes, Å³.
        distances: (n,) to the training crystals (`rhonet.uncertainty.novelty`).
    """
    widths, difficulty = fit_conformal_widths(predictions, volumes)
    scale = conformal_quantile(distances, 1 - NOVEL_SHARE)
    return Calibration(PREDICTION_LEVEL, widths, scale if math.isfinite(scale) else None, len(distances), difficulty)


def fit_conformal_widths(
    predictions: Predictions, volumes: np.ndarray
) -> tuple[dict[str, ConformalWidths], Difficulty]:
    """Spread of each property and how hard crystals are, from crystals that the network has not trained on."""
    errors = {item.name: learned_errors(item, predictions, volumes) for item in predictions.properties}
    judged = {item.name: errors[item.name] for item in predictions.properties if not item.is_class}
    difficulty, own = fit_difficulty(answer_columns(predictions, volumes), judged, predictions.units)
    widths = {}
    for name, values in errors.items():
        ratios = values / own.get(name, 1.0)
        ratios = ratios[~np.isnan(ratios)]
        curve = tuple(conformal_quantile(ratios, level) for level in CURVE_LEVELS)
        widths[name] = ConformalWidths(len(ratios), conformal_quantile(ratios, PREDICTION_LEVEL), curve)
    return widths, difficulty


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


def learned_errors(item: Property, predictions: Predictions, volumes: np.ndarray) -> np.ndarray:
    """What `calibration_errors` says about each sample, (n,); NaN without a label or where there is no logarithm."""
    labels, values = predictions.labels[item.name], predictions.values[item.name]
    usable = ~np.isnan(labels)
    if item.transform == "log":
        usable &= (labels > 0) & (values > 0)
    errors = np.full(len(labels), np.nan)
    errors[usable] = calibration_errors(item, labels[usable], values[usable], volumes[usable])
    return errors


def half_widths(item: Property, values: np.ndarray, upper: np.ndarray) -> np.ndarray:
    """Half widths (n,) of intervals, in the property's unit or of its logarithm; NaN where a number overflowed.

    Args:
        values, upper: (n,) predictions and upper ends, in the property's unit; the lower ends may be cut at 0.
    """
    values, upper = np.asarray(values, np.float64), np.asarray(upper, np.float64)
    if item.transform != "log":
        return np.where(np.isfinite(upper), upper - values, np.nan)
    usable = (values > 0) & np.isfinite(upper)
    return np.where(usable, np.log(np.where(usable, upper, 1.0) / np.where(usable, values, 1.0)), np.nan)


def conformal_quantile(errors: np.ndarray, level: float) -> float:
    """The ceil((n + 1) · level)-th smallest of n errors; infinite where there is none such."""
    rank = math.ceil((len(errors) + 1) * level - 1e-9)
    return float(np.sort(errors)[rank - 1]) if rank <= len(errors) else math.inf
