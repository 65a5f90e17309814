"""Prediction sets: the classes of a crystal that a calibrated model does not rule out (no TensorFlow)."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.uncertainty.calibration import Calibration


def prediction_sets(item: Property, values: np.ndarray, half_width: float) -> np.ndarray:
    """Which classes belong to the prediction set of each sample, (n, classes) bool; the most probable one always does.

    Args:
        item: a class property.
        values: (n,) probabilities of class 1, or (n, classes).
        half_width: what a class's probability may miss to 1.
    """
    chances = np.stack([1 - values, values], axis=1) if item.kind == "binary" else values
    return (1 - chances <= half_width) | (chances == chances.max(axis=1, keepdims=True))


def with_sets(predictions: Predictions, calibration: Calibration | None) -> Predictions:
    """The predictions with prediction sets of the class properties, where the calibration gives some."""
    widths = {} if calibration is None else calibration.widths
    sets = {
        item.name: prediction_sets(item, predictions.values[item.name], widths[item.name].half_width)
        for item in predictions.properties
        if item.is_class and item.name in widths and math.isfinite(widths[item.name].half_width)
    }
    return replace(predictions, sets=sets)
