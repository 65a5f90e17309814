"""The exported model: a SavedModel that goes from densities to properties, preprocessing included."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from rhonet import views
from rhonet.config import ViewConfig
from rhonet.density import ChargeDensity
from rhonet.models.network import Network
from rhonet.runs import RunError

SAVED_MODEL = "saved_model"


class DensityModel(tf.Module):
    """Network and view in one object that TensorFlow can save; two signatures.

    `predict_density`: one native grid of any shape -> {property: scalar, or (classes,) probabilities}.
    `serving_default`: a batch of grids of one shape -> {property: (B,) or (B, classes)}.

    Both take density (..., nx, ny, nz) e/Å³, magnetization likewise in µB/Å³ (or (..., 0, 0, 0) without
    spin) and lattice (..., 3, 3) Å, and average the network over the same fixed views.
    """

    def __init__(self, network: Network, view: ViewConfig) -> None:
        super().__init__(name="rhonet")
        self._network, self._view = network, view
        shapes = network.units.compute_output_shape((None, None), (None, 3, 3))
        self._outputs = {name: tf.TensorSpec(shape[1:], tf.float32) for name, shape in shapes.items()}
        self._tracked = [variable.value for variable in network.standardized.variables]

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, None), tf.float32, "density"),
            tf.TensorSpec((None, None, None), tf.float32, "magnetization"),
            tf.TensorSpec((3, 3), tf.float32, "lattice"),
        ]
    )
    def predict_density(self, density: tf.Tensor, magnetization: tf.Tensor, lattice: tf.Tensor) -> dict[str, tf.Tensor]:
        return self._predict(density, magnetization, lattice)

    @tf.function(
        input_signature=[
            tf.TensorSpec((None, None, None, None), tf.float32, "density"),
            tf.TensorSpec((None, None, None, None), tf.float32, "magnetization"),
            tf.TensorSpec((None, 3, 3), tf.float32, "lattice"),
        ]
    )
    def predict_batch(self, density: tf.Tensor, magnetization: tf.Tensor, lattice: tf.Tensor) -> dict[str, tf.Tensor]:
        # One after the other: no answer may depend on what else is in the batch, not even in its last bit.
        return tf.map_fn(
            lambda item: self._predict(*item), (density, magnetization, lattice), fn_output_signature=self._outputs
        )

    def _predict(self, density: tf.Tensor, magnetization: tf.Tensor, lattice: tf.Tensor) -> dict[str, tf.Tensor]:
        """The network averaged over the fixed views of one density, in physical units."""
        cubes = views.render_fixed(views.spectrum(density, magnetization, lattice, self._view), self._view)
        lattices = tf.repeat(lattice[None], self._view.views, axis=0)
        answers = self._network.standardized({"cube": cubes, "lattice": lattices}, training=False)
        standardized = tf.reduce_mean(answers, axis=0, keepdims=True)
        return {name: value[0] for name, value in self._network.units(standardized, lattice[None]).items()}


def save_model(network: Network, view: ViewConfig, folder: Path) -> None:
    """Writes the SavedModel with both signatures to `folder`/saved_model.

    Raises:
        ValueError: the network was built for mixed precision.
        OSError: it cannot be written.
    """
    if any(layer.compute_dtype != "float32" for layer in network.standardized.layers):
        raise ValueError("build the network under the float32 policy and give it the trained weights")
    module = DensityModel(network, view)
    signatures = {"serving_default": module.predict_batch, "predict_density": module.predict_density}
    try:
        tf.saved_model.save(module, str(folder / SAVED_MODEL), signatures=signatures)
    except tf.errors.OpError as error:
        raise OSError(error.message) from error


class Predictor:
    """A SavedModel ready to predict densities one by one; needs nothing but its folder.

    Args:
        folder: holds saved_model/.

    Raises:
        RunError: there is none, or none of ours.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._module = tf.saved_model.load(str(folder / SAVED_MODEL))
            self._predict = self._module.signatures["predict_density"]
        except (OSError, KeyError, tf.errors.OpError) as error:
            reason = str(error).splitlines()[0]
            raise RunError(f"{folder / SAVED_MODEL}: cannot be loaded: {reason}; export the model again") from error

    def predict(self, density: ChargeDensity) -> dict[str, np.ndarray]:
        """{property: scalar array in its unit, probability, or (classes,) probabilities}."""
        magnetization = density.collinear_magnetization()
        values = self._predict(
            density=tf.constant(density.values, tf.float32),
            magnetization=tf.constant(np.zeros((0, 0, 0)) if magnetization is None else magnetization, tf.float32),
            lattice=tf.constant(density.lattice, tf.float32),
        )
        return {name: value.numpy() for name, value in values.items()}
