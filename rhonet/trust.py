"""What a density looks like to a network, and how far it is from the training crystals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from rhonet import views
from rhonet.calibration import Reference, Surroundings
from rhonet.config import ViewConfig
from rhonet.models.network import Network
from rhonet.pipeline import spectra

# Shares of all view points that lie below the quantiles which describe a channel.
QUANTILES = (0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99)


class Look(NamedTuple):
    """One density as one network sees it, averaged over the fixed views.

    standardized: (Z,) outputs. trunk: (T,) last features before the heads. statistics: (Q,) quantiles of the
    channels over all points of all views, which no training can make blind.
    """

    standardized: tf.Tensor
    trunk: tf.Tensor
    statistics: tf.Tensor


@dataclass(frozen=True, eq=False)
class Looks:
    """The looks of n records as arrays: (n, Z), (n, T), (n, Q)."""

    standardized: np.ndarray
    trunk: np.ndarray
    statistics: np.ndarray


def look(network: Network, cubes: tf.Tensor, lattice: tf.Tensor) -> Look:
    """How a network sees the views of one density.

    Args:
        network: in float32.
        cubes: (views, size, size, size, channels).
        lattice: (3, 3), Å, float32.
    """
    lattices = tf.repeat(lattice[None], tf.shape(cubes)[0], axis=0)
    answers = network.with_trunk({"cube": cubes, "lattice": lattices}, training=False)
    standardized, trunk = (tf.reduce_mean(answers[name], axis=0) for name in ("standardized", "trunk"))
    return Look(standardized, trunk, _statistics(cubes))


def look_at_records(network: Network, builder: Any, rows: np.ndarray, view: ViewConfig) -> Looks:
    """Looks of stored records, in the order of `rows` (ascending)."""

    def look_at(_: tf.Tensor, waves: views.Spectrum) -> Look:
        return look(network, views.render_fixed(waves, view), tf.cast(waves.lattice, tf.float32))

    looks = spectra(builder, rows, view).map(look_at, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    found: list[Look] = list(looks)  # pyright: ignore[reportArgumentType]
    return Looks(*(np.stack([getattr(one, name).numpy() for one in found]) for name in Look._fields))


def surroundings_of(looks: Looks) -> Surroundings:
    """Spaces spanned by the looks of a network's training crystals."""
    return Surroundings(Reference.fit(looks.trunk), Reference.fit(looks.statistics))


def distances(surroundings: Surroundings, trunk: Any, statistics: Any) -> tf.Tensor:
    """Mean distances of one density (features (T,) and (Q,)) to its nearest training crystals in both spaces, (2,)."""
    pairs = ((surroundings.trunk, trunk), (surroundings.statistics, statistics))
    return tf.stack([_distance(reference, features) for reference, features in pairs])


def distances_of(surroundings: Surroundings, looks: Looks) -> np.ndarray:
    """Distances of n records in both spaces, (n, 2)."""
    pairs = zip(looks.trunk, looks.statistics, strict=True)
    found = [distances(surroundings, tf.constant(a), tf.constant(b)).numpy() for a, b in pairs]
    return np.array(found).reshape(-1, 2)


def novelty(found: Sequence[tf.Tensor], scales: tuple[float, float]) -> tf.Tensor:
    """Novelty from the distances (2,) to each member's training crystals: 1 is what 95 % of unseen crystals keep below.

    The larger of both spaces counts: a field can look usual to a network that never learned to tell it apart.
    """
    return tf.reduce_max(tf.reduce_mean(tf.stack(found), axis=0) / tf.constant(scales, tf.float32))


def _statistics(cubes: tf.Tensor) -> tf.Tensor:
    """Quantiles of every channel over all points of all views, (channels · quantiles,)."""
    points = tf.sort(tf.reshape(cubes, (-1, cubes.shape[-1])), axis=0)
    count = tf.cast(tf.shape(points)[0] - 1, tf.float32)
    at = tf.cast(tf.round(count * tf.constant(QUANTILES)), tf.int32)
    return tf.reshape(tf.gather(points, at), (-1,))


def _distance(reference: Reference, features: tf.Tensor) -> tf.Tensor:
    mean, directions, points = (
        tf.constant(array, tf.float32) for array in (reference.mean, reference.directions, reference.points)
    )
    place = tf.linalg.matvec(directions, features - mean, transpose_a=True)
    nearest, _ = tf.math.top_k(-tf.norm(points - place, axis=1), reference.n_neighbours)
    return -tf.reduce_mean(nearest)
