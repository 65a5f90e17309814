"""Novelty of a density: how far its density peaks are from those of the training crystals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from rhonet.core.config import ViewConfig
from rhonet.uncertainty.density_peaks import find_peaks
from rhonet.uncertainty.training_peaks import WIDTHS, TrainingPeaks
from rhonet.views import render
from rhonet.views.pipeline import spectra


def peaks_of_records(builder: Any, rows: np.ndarray, view: ViewConfig) -> list[np.ndarray]:
    """Peaks (peaks, S) of each record, in the order of `rows`.

    Args:
        builder: a built data set.
        rows: record numbers, ascending.
        view: the view whose plane waves are used.
    """

    def peaks_of(_: tf.Tensor, waves: render.Spectrum) -> tf.Tensor:
        return find_peaks(waves)

    peaks = spectra(builder, rows, view).map(peaks_of, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return list(peaks.as_numpy_iterator())


def distance(training_peaks: TrainingPeaks, peaks: tf.Tensor) -> tf.Tensor:
    """Distance of the peaks (peaks, S) of one density from those of the training crystals, a scalar.

    The distance d of a peak to the nearest training peak enters as log(1 + d), so that a single extreme peak does not
    dominate. The result combines the mean over the peaks with the maximum: it is large if many peaks are slightly
    unusual, or if one is very unusual.
    """
    whitening, points = (tf.constant(array, tf.float32) for array in (training_peaks.whitening, training_peaks.points))
    return _distance(whitening, points, peaks)


def distances_of(training_peaks: TrainingPeaks, peaks: Sequence[np.ndarray]) -> np.ndarray:
    """Distances (n,) of n densities, whose peaks have the shape (peaks, S) each."""
    whitening, points = (tf.constant(array, tf.float32) for array in (training_peaks.whitening, training_peaks.points))
    return np.array([_distance_in_graph(whitening, points, tf.constant(item, tf.float32)).numpy() for item in peaks])


def novelty(distances: Sequence[tf.Tensor], scale: float) -> tf.Tensor:
    """Novelty of a density: its mean distance to the training crystals of an ensemble's networks, over `scale`.

    Args:
        distances: distance to the training crystals of each network, scalars.
        scale: `Calibration.distance_scale`; with it, 95 % of the calibration crystals have a novelty below 1.
    """
    return tf.reduce_mean(tf.stack(distances)) / scale


def _distance(whitening: tf.Tensor, points: tf.Tensor, peaks: tf.Tensor) -> tf.Tensor:
    places = tf.matmul(peaks, whitening)
    squares = [(places[:, axis, None] - points[:, axis]) ** 2 for axis in range(len(WIDTHS))]
    nearest = tf.sqrt(tf.reduce_min(tf.add_n(squares), axis=1))
    logs = tf.math.log(1 + nearest)
    return tf.exp((tf.reduce_mean(logs) + tf.reduce_max(logs)) / 2) - 1


_distance_in_graph = tf.function(
    _distance,
    input_signature=[
        tf.TensorSpec((None, len(WIDTHS)), tf.float32),
        tf.TensorSpec((None, len(WIDTHS)), tf.float32),
        tf.TensorSpec((None, len(WIDTHS)), tf.float32),
    ],
)
