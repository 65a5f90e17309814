"""The distribution of the values in a cube, regardless of their positions.

The layers are fitted to training cubes before training begins. `encode` builds a network from them alone, without any
convolution: the comparison that shows what convolutions add.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from rhonet.models.sizes import DROPOUT, NETWORK_SIZES

# The thresholds of a channel are these quantiles of its values at all points of the training cubes.
QUANTILE_LEVELS = (0.01, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.995)
# Least distance between two thresholds of a standardised channel. Without it, the thresholds of a magnetization that
# is mostly zero would coincide.
LEAST_STEP = 1e-2
# Least deviation that channels, and the numbers that describe their distributions, are divided by.
LEAST_DEVIATION = 1e-3


def encode(cube: Any, size: str, *, periodic: bool) -> Any:
    """Features (B, trunk) of a cube, which do not depend on where in the cube its values are.

    Args:
        cube: (B, n, n, n, channels).
        size: name in `NETWORK_SIZES`.
        periodic: has no effect; every encoder has this argument.
    """
    return encode_values(FittedScale(name="channel_scale")(cube), NETWORK_SIZES[size].trunk)


def encode_values(scaled: Any, width: int) -> Any:
    """Features (B, width) of the distributions of the channels of a standardised cube (B, n, n, n, channels)."""
    values = ValueDistribution3D(name="value_distribution")(scaled)
    values = FittedScale(name="value_scale")(values)
    return layers.Dropout(DROPOUT)(layers.Dense(width, activation="gelu")(values))


def fit_to_cubes(network: keras.Model, cubes: np.ndarray) -> None:
    """Fits the layers of this module to training cubes (N, n, n, n, channels), if the network has any of them."""
    fitted = {layer.name: layer for layer in network.layers if isinstance(layer, (FittedScale, ValueDistribution3D))}
    if not fitted:
        return
    fitted["channel_scale"].fit(cubes, least=LEAST_DEVIATION)
    scaled = keras.ops.convert_to_numpy(fitted["channel_scale"](cubes))
    fitted["value_distribution"].fit(scaled)
    values = keras.ops.convert_to_numpy(fitted["value_distribution"](scaled))
    fitted["value_scale"].fit(values, least=LEAST_DEVIATION)


@keras.saving.register_keras_serializable("rhonet")
class FittedScale(keras.layers.Layer):
    """(x - mean) / deviation, with mean and deviation of each channel (last axis) over training data, in float32.

    Both are weights that no optimizer changes. A layer that has not been fitted returns its input.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float32", "trainable": False})

    def build(self, input_shape: tuple) -> None:
        shape = (input_shape[-1],)
        self.mean = self.add_weight(shape=shape, initializer="zeros", trainable=False, name="mean")
        self.deviation = self.add_weight(shape=shape, initializer="ones", trainable=False, name="deviation")

    def call(self, values: Any) -> Any:
        return (values - self.mean) / self.deviation

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return input_shape

    def fit(self, values: np.ndarray, *, least: float) -> None:
        """Sets mean and standard deviation to those of values (..., channels); the deviation is at least `least`."""
        axes = tuple(range(values.ndim - 1))
        self.mean.assign(values.mean(axis=axes))
        self.deviation.assign(np.maximum(values.std(axis=axes), least))


@keras.saving.register_keras_serializable("rhonet")
class ValueDistribution3D(keras.layers.Layer):
    """Numbers that describe the distribution of each channel of a cube: (B, n, n, n, C) -> (B, 30·C), in float32.

    The thresholds t_k are quantiles of the training cubes. For each channel, the numbers are:
    - the shares (E_k - E_k+1) / (t_k+1 - t_k) of points above t_k, softened between two thresholds so that they have
      gradients;
    - the excesses E_k = ⟨max(x - t_k, 0)⟩, averaged over the points of the cube;
    - mean, maximum and minimum.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float32", "trainable": False})

    def build(self, input_shape: tuple) -> None:
        shape = (len(QUANTILE_LEVELS), input_shape[-1])
        initial = np.linspace(-2.0, 2.0, len(QUANTILE_LEVELS), dtype=np.float32)
        self.thresholds = self.add_weight(
            shape=shape,
            initializer=lambda shape, dtype: ops.convert_to_tensor(np.broadcast_to(initial[:, None], shape), dtype),
            trainable=False,
            name="at",  # saved weights have this name
        )

    def call(self, cube: Any) -> Any:
        points = ops.reshape(cube, (-1, int(np.prod(cube.shape[1:4])), cube.shape[-1]))
        # One threshold at a time: all at once would need memory for one cube per threshold.
        excess = ops.stack(
            [ops.mean(ops.relu(points - self.thresholds[level]), axis=1) for level in range(len(QUANTILE_LEVELS))],
            axis=1,
        )
        shares = (excess[:, :-1] - excess[:, 1:]) / (self.thresholds[1:] - self.thresholds[:-1])
        extremes = ops.stack([ops.mean(points, axis=1), ops.max(points, axis=1), ops.min(points, axis=1)], axis=1)
        numbers = ops.concatenate([shares, excess, extremes], axis=1)
        return ops.reshape(numbers, (-1, self._n_numbers * cube.shape[-1]))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self._n_numbers * input_shape[-1])

    def fit(self, cubes: np.ndarray) -> None:
        """Sets the thresholds to quantiles of standardised cubes (N, n, n, n, C)."""
        thresholds = np.quantile(cubes.reshape(-1, cubes.shape[-1]), QUANTILE_LEVELS, axis=0)
        for level in range(1, len(QUANTILE_LEVELS)):
            thresholds[level] = np.maximum(thresholds[level], thresholds[level - 1] + LEAST_STEP)
        self.thresholds.assign(thresholds)

    @property
    def _n_numbers(self) -> int:
        return 2 * len(QUANTILE_LEVELS) - 1 + 3
