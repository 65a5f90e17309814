"""Prediction sets: the classes that a calibrated model does not exclude for a crystal (no TensorFlow)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.uncertainty.calibration import Calibration


def prediction_sets(item: Property, values: np.ndarray, half_width: float) -> np.ndarray:
    """Prediction set of each sample, (n, classes) bool: which classes it contains; the most probable one always.

    Args:
        item: a class property.
        values: probabilities: (n,) of class 1 for a binary property, else (n, classes).
        half_width: largest distance of a class's probability from 1 at which the class is in the set.
    """
    probabilities = np.stack([1 - values, values], axis=1) if item.kind == "binary" else values
    return (1 - probabilities <= half_width) | (probabilities == probabilities.max(axis=1, keepdims=True))


def with_sets(predictions: Predictions, calibration: Calibration | None) -> Predictions:
    """The predictions, with prediction sets for the class properties that have a finite half width."""
    widths = {} if calibration is None else calibration.widths
    sets = {
        item.name: prediction_sets(item, predictions.values[item.name], widths[item.name].half_width)
        for item in predictions.properties
        if item.is_class and item.name in widths and math.isfinite(widths[item.name].half_width)
    }
    return replace(predictions, sets=sets)
