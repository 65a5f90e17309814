"""Derivatives of an exported model's predictions by the density on its native grid."""

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
    """One number that a model predicts, as a function of the density in one cell.

    slope_at: the number and its derivatives at ρ (nx, ny, nz), e/Å³, and m (likewise, µB/Å³, or None); they are not
        finite where |∇ρ| vanishes everywhere, for a homogeneous density.
    most_probable: class whose probability it is, None for a property that has none or two.
    """

    slope_at: Callable[[np.ndarray, np.ndarray | None], Slope]
    most_probable: int | None


class DifferentiableModel:
    """A SavedModel whose predictions can be differentiated by the density.

    Args:
        folder: holds saved_model/.

    Raises:
        ModelError: there is none, or none of ours.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._module, (predict,) = load_signatures(folder, "predict_density")
        self._predict = predict
        grid = tf.TensorSpec((None, None, None), tf.float32)

        # All numbers in one vector: a property that is chosen when it runs needs no graph of its own.
        @tf.function(input_signature=[grid, grid, tf.TensorSpec((3, 3), tf.float32), tf.TensorSpec((), tf.int32)])
        def slope(values: tf.Tensor, magnetization: tf.Tensor, lattice: tf.Tensor, at: tf.Tensor) -> tuple[Any, ...]:
            with tf.GradientTape() as tape:
                tape.watch([values, magnetization])
                answers = predict(density=values, magnetization=magnetization, lattice=lattice)
                answer = tf.concat([tf.reshape(answers[name], (-1,)) for name in sorted(answers)], axis=0)[at]
            unconnected = tf.UnconnectedGradients.ZERO
            return answer, *tape.gradient(answer, [values, magnetization], unconnected_gradients=unconnected)

        self._slope = slope

    def prediction(self, item: Property, density: ChargeDensity) -> Prediction:
        """Value in its unit, probability of class 1, or that of the class that is most probable for the density.

        Raises:
            ModelError: the model does not predict the property.
        """
        lattice, spin = tf.constant(density.lattice, tf.float32), density.collinear_magnetization()
        inputs = {"density": _float32(density.values), "magnetization": _float32(spin), "lattice": lattice}
        answers = {name: np.ravel(value) for name, value in self._predict(**inputs).items()}
        if item.name not in answers:
            raise ModelError(f"{self._folder}: card.toml names {item.name}, but the model lacks it; export it again")
        most_probable = int(np.argmax(answers[item.name])) if item.kind == "multiclass" else None
        before = sum(len(answers[name]) for name in sorted(answers) if name < item.name)
        at = tf.constant(before + (most_probable or 0), tf.int32)

        def slope_at(values: np.ndarray, magnetization: np.ndarray | None) -> Slope:
            answer, by_density, by_spin = self._slope(_float32(values), _float32(magnetization), lattice, at)
            return Slope(float(answer), by_density.numpy(), None if magnetization is None else by_spin.numpy())

        return Prediction(slope_at, most_probable)


def _float32(field: np.ndarray | None) -> tf.Tensor:
    """A field as models take it; (0, 0, 0) for none."""
    return tf.constant(np.zeros((0, 0, 0)) if field is None else field, tf.float32)
