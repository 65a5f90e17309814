"""Derivatives of an exported model's predictions with respect to the density on its native grid."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rhonet.attribution.integrated_gradients import Slope
from rhonet.core.density import ChargeDensity
from rhonet.core.errors import ModelError
from rhonet.core.properties import Property
from rhonet.serving.exported_model import load_signatures


@dataclass(frozen=True)
class Prediction:
    """One predicted number as a function of the density in a fixed cell.

    Attributes:
        slope_at: gives the number and its derivatives at ρ (nx, ny, nz), e/Å³, and m (same shape, µB/Å³, or None). The
            derivatives at a homogeneous density are not finite, because |∇ρ| vanishes everywhere.
        most_probable: for a multiclass property the class whose probability the number is; None otherwise.
    """

    slope_at: Callable[[np.ndarray, np.ndarray | None], Slope]
    most_probable: int | None


class DifferentiableModel:
    """A SavedModel whose predictions can be differentiated with respect to the density.

    Args:
        folder: holds saved_model/.

    Raises:
        ModelError: the SavedModel is missing or damaged, or was not exported by rhonet.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._module, (predict,) = load_signatures(folder, "predict_density")
        self._predict = predict
        grid = tf.TensorSpec((None, None, None), tf.float32)

        # All outputs in one vector, of which an index chooses one: all properties share one graph.
        @tf.function(input_signature=[grid, grid, tf.TensorSpec((3, 3), tf.float32), tf.TensorSpec((), tf.int32)])
        def slope(values: tf.Tensor, magnetization: tf.Tensor, lattice: tf.Tensor, index: tf.Tensor) -> tuple[Any, ...]:
            with tf.GradientTape() as tape:
                tape.watch([values, magnetization])
                outputs = predict(density=values, magnetization=magnetization, lattice=lattice)
                number = tf.concat([tf.reshape(outputs[name], (-1,)) for name in sorted(outputs)], axis=0)[index]
            unconnected = tf.UnconnectedGradients.ZERO
            return number, *tape.gradient(number, [values, magnetization], unconnected_gradients=unconnected)

        self._slope = slope

    def prediction(self, item: Property, density: ChargeDensity) -> Prediction:
        """The number predicted for a property, as a function of the density.

        It is the value in its unit (regression), the probability of class 1 (binary), or the probability of the class
        that is most probable for `density` (multiclass).

        Args:
            item: the property.
            density: fixes the cell and, for a multiclass property, the class.

        Raises:
            ModelError: the model does not predict the property.
        """
        lattice, spin = tf.constant(density.lattice, tf.float32), density.collinear_magnetization()
        inputs = {"density": _float32(density.values), "magnetization": _float32(spin), "lattice": lattice}
        outputs = {name: np.ravel(value) for name, value in self._predict(**inputs).items()}
        if item.name not in outputs:
            raise ModelError(f"{self._folder}: card.toml names {item.name}, but the model lacks it; export it again")
        most_probable = int(np.argmax(outputs[item.name])) if item.kind == "multiclass" else None
        start = sum(len(outputs[name]) for name in sorted(outputs) if name < item.name)
        index = tf.constant(start + (most_probable or 0), tf.int32)

        def slope_at(values: np.ndarray, magnetization: np.ndarray | None) -> Slope:
            number, by_density, by_spin = self._slope(_float32(values), _float32(magnetization), lattice, index)
            return Slope(float(number), by_density.numpy(), None if magnetization is None else by_spin.numpy())

        return Prediction(slope_at, most_probable)


def _float32(field: np.ndarray | None) -> tf.Tensor:
    """A field as float32; shape (0, 0, 0) for None."""
    return tf.constant(np.zeros((0, 0, 0)) if field is None else field, tf.float32)
