"""From a network to predictions: outputs averaged over views, then converted to physical units."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rhonet.core.config import ViewConfig
from rhonet.core.predictions import Predictions
from rhonet.data.index import Index
from rhonet.models.network import Network
from rhonet.views import render
from rhonet.views.pipeline import spectra


def average_views(network: Network, views: tf.data.Dataset, rows: np.ndarray) -> np.ndarray:
    """Standardized outputs (n, Z) of the given records, averaged over their views.

    Args:
        network: in float32 or mixed precision.
        views: from `rhonet.views.pipeline.fixed_views`, of the same records.
        rows: record numbers (n,), ascending.
    """
    width = network.standardized.output.shape[-1]
    sums, counts = np.zeros((len(rows), width)), np.zeros(len(rows))
    for numbers, inputs in views:
        places = np.searchsorted(rows, numbers.numpy())
        np.add.at(sums, places, keras.ops.convert_to_numpy(_forward(network.standardized, inputs)))
        np.add.at(counts, places, 1)
    return (sums / np.maximum(counts, 1)[:, None]).astype(np.float32)


def to_predictions(network: Network, standardized: np.ndarray, index: Index, rows: np.ndarray) -> Predictions:
    """Predictions in physical units and labels of the given records.

    Args:
        network: converts its outputs to physical units.
        standardized: outputs (n, Z) of the network.
        index: labels, ids and groups of all records.
        rows: record numbers (n,).
    """
    # A cubic cell of the same volume replaces the lattice: the conversion uses the volume only.
    lattices = np.cbrt(index.volumes[rows])[:, None, None] * np.eye(3)
    values: dict[str, Any] = network.units(standardized, lattices.astype(np.float32))
    return Predictions(
        properties=index.properties,
        ids=tuple(index.ids[rows].tolist()),
        labels={item.name: index.labels[rows, column] for column, item in enumerate(index.properties)},
        values={name: keras.ops.convert_to_numpy(value).astype(np.float64) for name, value in values.items()},
        groups=tuple(index.groups[rows].tolist()),
    )


@tf.function(reduce_retracing=True)
def _forward(model: keras.Model, inputs: dict[str, tf.Tensor]) -> tf.Tensor:
    return model(inputs, training=False)


def standardized_outputs(network: Network, cubes: tf.Tensor, lattices: tf.Tensor) -> tf.Tensor:
    """Standardized outputs (B, Z) of a network, averaged over the views of each density.

    Args:
        network: in float32.
        cubes: (B, views, size, size, size, channels).
        lattices: (B, 3, 3), Å, float32.
    """
    _, views, *cube = cubes.shape.as_list()
    inputs = {
        "cube": tf.reshape(cubes, (-1, *cube)),
        "lattice": tf.repeat(lattices, views, axis=0),
    }
    outputs = network.standardized(inputs, training=False)
    return tf.reduce_mean(tf.reshape(outputs, (-1, views, outputs.shape[-1])), axis=1)


def standardized_outputs_of_records(network: Network, builder: Any, rows: np.ndarray, view: ViewConfig) -> np.ndarray:
    """Standardized outputs (n, Z) of stored records, averaged over their views.

    Args:
        network: in float32.
        builder: built TFDS data set.
        rows: record numbers (n,), ascending; also the order of the outputs.
        view: how densities are rendered.
    """

    def outputs_of_record(_: tf.Tensor, waves: render.Spectrum) -> tf.Tensor:
        return standardized_outputs(
            network, render.render_fixed(waves, view)[None], tf.cast(waves.lattice[None], tf.float32)
        )[0]

    outputs = spectra(builder, rows, view).map(
        outputs_of_record, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
    )
    return np.stack(list(outputs.as_numpy_iterator()))
