"""What networks say about a density on average over its views, and how far it is from their training crystals."""

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
    """Peaks (peaks, S) of every stored record, in the order of `rows` (ascending)."""

    def peaks_of(_: tf.Tensor, waves: render.Spectrum) -> tf.Tensor:
        return find_peaks(waves)

    found = spectra(builder, rows, view).map(peaks_of, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    return list(found.as_numpy_iterator())


def distance(training_peaks: TrainingPeaks, peaks: tf.Tensor) -> tf.Tensor:
    """How far the peaks (peaks, S) of one density are from those of the training crystals, a scalar.

    Each peak's distance d to the nearest one counts as log(1 + d), so that one monstrous peak is not all that counts;
    the mean over the peaks and the largest are then averaged: either many peaks are a little strange or one is very.
    """
    whitening, points = (tf.constant(array, tf.float32) for array in (training_peaks.whitening, training_peaks.points))
    return _distance(whitening, points, peaks)


def distances_of(training_peaks: TrainingPeaks, peaks: Sequence[np.ndarray]) -> np.ndarray:
    """Distances (n,) of n densities."""
    whitening, points = (tf.constant(array, tf.float32) for array in (training_peaks.whitening, training_peaks.points))
    return np.array([_distance_in_graph(whitening, points, tf.constant(one, tf.float32)).numpy() for one in peaks])


def novelty(found: Sequence[tf.Tensor], scale: float) -> tf.Tensor:
    """Novelty from the distances to each member's training crystals: 1 is what 95 % of unseen crystals keep below."""
    return tf.reduce_mean(tf.stack(found)) / scale


def _distance(whitening: tf.Tensor, points: tf.Tensor, peaks: tf.Tensor) -> tf.Tensor:
    places = tf.matmul(peaks, whitening)
    squares = [(places[:, axis, None] - points[:, axis]) ** 2 for axis in range(len(WIDTHS))]
    nearest = tf.sqrt(tf.reduce_min(tf.add_n(squares), axis=1))
    strangeness = tf.math.log(1 + nearest)
    return tf.exp((tf.reduce_mean(strangeness) + tf.reduce_max(strangeness)) / 2) - 1


_distance_in_graph = tf.function(
    _distance,
    input_signature=[
        tf.TensorSpec((None, len(WIDTHS)), tf.float32),
        tf.TensorSpec((None, len(WIDTHS)), tf.float32),
        tf.TensorSpec((None, len(WIDTHS)), tf.float32),
    ],
)
