"""Keras layers of the networks. They use `keras.ops` only and so run on every Keras backend."""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from rhonet.core.properties import Property
from rhonet.core.standardize import Scale, Standardizer


@keras.saving.register_keras_serializable("rhonet")
class PeriodicPadding3D(keras.layers.Layer):
    """Periodic padding of a cube (B, n, n, n, C) by `width` points on every side.

    A convolution without padding ("valid") of the result treats the periodic boundary exactly.
    """

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.width = width

    def call(self, cube: Any) -> Any:
        for axis in (1, 2, 3):
            size = cube.shape[axis]
            indices = [index % size for index in range(-self.width, size + self.width)]
            cube = ops.take(cube, ops.convert_to_tensor(indices, dtype="int32"), axis=axis)
        return cube

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], *(size + 2 * self.width for size in input_shape[1:4]), input_shape[4])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


def convolve(x: Any, channels: int, *, periodic: bool) -> Any:
    """Convolution over 3 x 3 x 3 points with ReLU, (B, n, n, n, channels).

    Args:
        x: input, (B, n, n, n, C).
        channels: number of output channels.
        periodic: True pads periodically at the borders of the cube, False with zeros.
    """
    if periodic:
        return keras.layers.Conv3D(channels, 3, activation="relu")(PeriodicPadding3D(1)(x))
    return keras.layers.Conv3D(channels, 3, padding="same", activation="relu")(x)


@keras.saving.register_keras_serializable("rhonet")
class Patches3D(keras.layers.Layer):
    """Cubic patches of w = `width` points per edge, moved into the channels: (B, n/w, n/w, n/w, w³·C).

    Raises:
        ValueError: when the layer is built for a cube whose n is not divisible by w.
    """

    def __init__(self, width: int, **options: Any) -> None:
        super().__init__(**options)
        self.width = width

    def build(self, input_shape: tuple) -> None:
        if any(size % self.width for size in input_shape[1:4]):
            raise ValueError(f"a cube of {input_shape[1]} points cannot be cut into patches of {self.width}")

    def call(self, cube: Any) -> Any:
        width, count, channels = self.width, cube.shape[1] // self.width, cube.shape[-1]
        split = ops.reshape(cube, (-1, count, width, count, width, count, width, channels))
        return ops.reshape(ops.transpose(split, (0, 1, 3, 5, 2, 4, 6, 7)), (-1, *[count] * 3, width**3 * channels))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        count = input_shape[1] // self.width
        return (input_shape[0], count, count, count, self.width**3 * input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "width": self.width}


@keras.saving.register_keras_serializable("rhonet")
class ResidualScale(keras.layers.Layer):
    """x + α·y with one learned α per channel, which starts at `initial`.

    Since α starts small, residual blocks train without normalisation.
    """

    def __init__(self, initial: float = 0.2, **options: Any) -> None:
        super().__init__(**options)
        self.initial = initial

    def build(self, input_shapes: list[tuple]) -> None:
        self.alpha = self.add_weight(
            shape=(input_shapes[0][-1],), initializer=keras.initializers.Constant(self.initial), name="alpha"
        )

    def call(self, inputs: list[Any]) -> Any:
        skip, branch = inputs
        return skip + self.alpha * branch

    def compute_output_shape(self, input_shapes: list[tuple]) -> tuple:
        return input_shapes[0]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "initial": self.initial}


@keras.saving.register_keras_serializable("rhonet")
class AttentionPooling3D(keras.layers.Layer):
    """Weighted averages of a cube (B, n, n, n, C) over its points, (B, heads·C).

    Each head has a learned map of weights, a softmax over the points.
    """

    def __init__(self, heads: int = 2, **options: Any) -> None:
        super().__init__(**options)
        self.heads = heads

    def build(self, input_shape: tuple) -> None:
        self.score = self.add_weight(shape=(input_shape[-1], self.heads), name="score")

    def call(self, cube: Any) -> Any:
        channels = cube.shape[-1]
        points = ops.reshape(cube, (-1, math.prod(cube.shape[1:4]), channels))
        weights = ops.softmax(ops.matmul(points, self.score) / math.sqrt(channels), axis=1)
        pooled = ops.matmul(ops.transpose(weights, (0, 2, 1)), points)
        return ops.reshape(pooled, (-1, self.heads * channels))

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], self.heads * input_shape[-1])

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "heads": self.heads}


@keras.saving.register_keras_serializable("rhonet")
class LatticeFeatures(keras.layers.Layer):
    """Features of lattices (B, 3, 3) Å: logarithms of volume and edges, cosines of the angles, (B, 7).

    A `cell` view samples fractional coordinates and does not show the shape of the cell; these features add it. The
    layer always computes in float32: bfloat16 would round edges and volumes by up to 0.4 %.
    """

    def __init__(self, **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float32"})

    def call(self, lattice: Any) -> Any:
        edges = ops.sqrt(ops.sum(lattice**2, axis=-1))
        unit = lattice / edges[..., None]
        cosines = ops.stack([ops.sum(unit[:, i] * unit[:, j], axis=-1) for i, j in ((1, 2), (0, 2), (0, 1))], axis=-1)
        volume = ops.log(cell_volume(lattice))[:, None]
        return ops.concatenate([volume / 3 - 1.2, ops.log(edges) - 1.2, cosines], axis=-1)

    def compute_output_shape(self, input_shape: tuple) -> tuple:
        return (input_shape[0], 7)


@keras.saving.register_keras_serializable("rhonet")
class PhysicalUnits(keras.layers.Layer):
    """Properties by name in physical units, from the network's standardised outputs (B, Z) and lattices (B, 3, 3) Å.

    The output is a dictionary. A regression property has values (B,) in its unit, a binary property the probability
    of class 1 (B,), a multiclass property the probabilities of its classes (B, classes).
    """

    def __init__(self, standardizer: dict[str, Any], **options: Any) -> None:
        super().__init__(**{**options, "dtype": "float32"})
        self.standardizer = Standardizer.from_dict(standardizer)

    def call(self, standardized: Any, lattice: Any) -> dict[str, Any]:
        volume = cell_volume(lattice)
        outputs, start = {}, 0
        for item, scale in zip(self.standardizer.properties, self.standardizer.scales, strict=True):
            z = standardized[:, start : start + item.size]
            start += item.size
            outputs[item.name] = _to_physical(item, scale, z, volume)
        return outputs

    def compute_output_shape(self, standardized_shape: tuple, lattice_shape: tuple) -> dict[str, tuple]:
        batch = standardized_shape[0]
        return {
            item.name: (batch, item.classes) if item.kind == "multiclass" else (batch,)
            for item in self.standardizer.properties
        }

    def get_config(self) -> dict[str, Any]:
        return {
            **super().get_config(),
            "standardizer": self.standardizer.to_dict(),
        }


def cell_volume(lattice: Any) -> Any:
    """Volumes (B,) of lattices (B, 3, 3); positive for left-handed lattices, too."""
    # The determinant is written out, since `ops.cross` cannot be exported to ONNX.
    (ax, ay, az), (bx, by, bz), (cx, cy, cz) = ([lattice[:, row, axis] for axis in range(3)] for row in range(3))
    return ops.abs(ax * (by * cz - bz * cy) + ay * (bz * cx - bx * cz) + az * (bx * cy - by * cx))


def _to_physical(item: Property, scale: Scale, z: Any, volume: Any) -> Any:
    if item.kind == "multiclass":
        return ops.softmax(z * scale.std, axis=-1)
    value = z[:, 0]
    if item.kind == "binary":
        return ops.sigmoid(value * scale.std)
    value = value * scale.std + scale.mean
    if item.transform == "log":
        value = ops.exp(value)
    if item.nonnegative:
        value = ops.maximum(value, 0.0)
    return value if item.intensive else value * volume
