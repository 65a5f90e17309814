"""Latent vectors of densities from an unsupervised 3D autoencoder: a baseline after Kumar et al.

Kumar et al. (arXiv:2605.07227, doi:10.1021/acs.jcim.6c00235) train a convolutional autoencoder on charge densities on
the fractional grid of the cell. Its latent code is the input of gradient boosting, with one model per property; it
contains no information on the lattice. The autoencoder here is small enough for hundreds of crystals and one core. It
differs in one respect that improves it: it is given every crystal from several origins, so that the latent vector of a
crystal hardly depends on the choice of origin.
"""

from __future__ import annotations

import logging
import math
import time
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from rhonet.core.config import DataConfig, ViewConfig
from rhonet.data.index import Index
from rhonet.models.layers import Patches3D
from rhonet.views.pipeline import fixed_views

log = logging.getLogger(__name__)

SIZE = 16
LATENT = 64
ORIGINS = 8
STEPS = 600
_BATCH = 32
_LEARNING_RATE = 2e-3


def latent_vectors(
    builder: Any, index: Index, rows: np.ndarray, *, data: DataConfig, seed: int = 0, steps: int = STEPS
) -> np.ndarray:
    """Latent vectors of records, (n, 2·LATENT): mean and standard deviation of the code over ORIGINS origins.

    The autoencoder learns from the training split alone, without labels. If the training split has more records than
    the steps show once, it learns from a random choice of them. So the time does not depend on the number of records:
    600 steps take about a minute on one core.

    Args:
        builder: a built data set.
        index: its index.
        rows: record numbers, ascending.
        data: settings that the data set was built with.
        seed: of the weights, of the order of the cubes and of the choice of training records.
        steps: training steps, rounded up to whole epochs.
    """
    started = time.monotonic()
    tf.config.experimental.enable_op_determinism()
    view = ViewConfig(
        kind="paper",
        size=SIZE,
        channels=("density",),
        blurs=(),
        views=ORIGINS,
        finest=max(data.spacing, ViewConfig.finest),
    )
    chosen = np.random.default_rng(seed).permutation(index.rows("train"))[: max(1, steps * _BATCH // ORIGINS)]
    cubes = np.concatenate([batch.numpy() for batch in _cubes(builder, np.sort(chosen), view)])
    epochs = math.ceil(steps / math.ceil(len(cubes) / _BATCH))
    keras.utils.set_random_seed(seed)
    encoder, autoencoder = build_autoencoder(float(cubes.mean()), float(cubes.std()))
    schedule = keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, max(steps, epochs * len(cubes) // _BATCH))
    autoencoder.compile(keras.optimizers.Adam(schedule), loss="mse")
    losses = autoencoder.fit(cubes, cubes, batch_size=_BATCH, epochs=epochs, verbose=0).history["loss"]
    log.info(
        "autoencoder: %d epochs of %d cubes in %.0f s; it explains %.0f %% of their variance",
        epochs,
        len(cubes),
        time.monotonic() - started,
        100 * (1 - losses[-1] / max(cubes.var(), 1e-12)),
    )
    codes = np.concatenate([keras.ops.convert_to_numpy(encoder(batch)) for batch in _cubes(builder, rows, view)])
    codes = codes.reshape(len(rows), ORIGINS, LATENT)
    return np.concatenate([codes.mean(axis=1), codes.std(axis=1)], axis=1)


def build_autoencoder(mean: float, deviation: float) -> tuple[keras.Model, keras.Model]:
    """Encoder from cubes (B, SIZE, SIZE, SIZE, 1) to codes (B, LATENT), and the autoencoder that contains it.

    Args:
        mean: of the values of all training cubes.
        deviation: their standard deviation, which may be 0.
    """
    # Patches of 2x2x2 points take little time. Convolutions at full resolution, or with strides, would take most of it.
    cube = keras.Input((SIZE, SIZE, SIZE, 1), name="cube")
    scale = deviation or 1.0
    x: Any = Patches3D(2)(layers.Rescaling(1 / scale, -mean / scale)(cube))
    x = layers.AveragePooling3D(2)(_convolve(x, 32))
    x = _convolve(x, 64)
    coarse = x.shape[1:]
    latent = layers.Dense(LATENT, dtype="float32", name="latent")(layers.Flatten()(x))
    x = layers.Reshape(coarse)(layers.Dense(math.prod(coarse), activation="relu")(latent))
    x = layers.UpSampling3D(2)(_convolve(x, 32))
    patches = _convolve(x, 8, activation=None)
    half = SIZE // 2
    rebuilt = layers.Permute((1, 4, 2, 5, 3, 6))(layers.Reshape((half, half, half, 2, 2, 2))(patches))
    rebuilt = layers.Rescaling(scale, mean, dtype="float32")(layers.Reshape((SIZE, SIZE, SIZE, 1))(rebuilt))
    return keras.Model(cube, latent, name="encoder"), keras.Model(cube, rebuilt, name="autoencoder")


def _convolve(x: Any, channels: int, *, activation: str | None = "relu") -> Any:
    return layers.Conv3D(channels, 3, padding="same", activation=activation)(x)


def _cubes(builder: Any, rows: np.ndarray, view: ViewConfig) -> tf.data.Dataset:
    """Batches (B, SIZE, SIZE, SIZE, 1) of the views of all records, one record after the other."""
    return fixed_views(builder, rows, view, batch_size=_BATCH).map(lambda _, inputs: inputs["cube"])
