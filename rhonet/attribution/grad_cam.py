"""Grad-CAM: where in space the last feature maps that a model's networks pool push a prediction up or down.

After Selvaraju et al., arXiv:1610.02391, without its final ReLU, as a regression has no preferred sign. One look
forwards and backwards instead of hundreds, at the price of the feature maps' resolution and without any sum rule.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from scipy.ndimage import map_coordinates

from rhonet.core.config import Config, ViewConfig, load_resolved_config
from rhonet.core.density import ChargeDensity
from rhonet.core.properties import Property
from rhonet.core.standardize import Scale, Standardizer
from rhonet.models.network import Network, build_network
from rhonet.serving.answer_table import inputs_of
from rhonet.serving.model_card import SAVED_MODEL
from rhonet.training.runs import RunError
from rhonet.views import render


def grad_cam(folder: Path, density: ChargeDensity, *, properties: Sequence[Property], item: Property) -> np.ndarray:
    """Map of one prediction on the density's grid, (nx, ny, nz), in units of its largest magnitude.

    Zero where no view looks. Explains the standardised output; of several classes the most probable one.

    Args:
        folder: model folder with config.toml and saved_model/.
        density: what is explained.
        properties: all that the model predicts, in order.
        item: one of them.

    Raises:
        RunError, ConfigError: the model was made by a rhonet that builds other networks, or has no convolutions.
    """
    config = load_resolved_config(folder / "config.toml")
    if config.model.name == "values":
        raise RunError(f"{folder}: its networks have no convolutions to show; use --method integrated-gradients")
    networks = _open_networks(folder, config, properties)
    at = sum(other.size for other in properties[: properties.index(item)])
    maps = _maps(networks, density, config.view, columns=slice(at, at + item.size))
    frames = render.fixed_frames(config.view)
    field = spread_maps(maps, frames.rotation.numpy(), frames.origin.numpy(), density, config.view)
    return field / max(float(np.abs(field).max()), np.finfo(np.float64).tiny)


def spread_maps(
    maps: np.ndarray, rotations: np.ndarray, origins: np.ndarray, density: ChargeDensity, view: ViewConfig
) -> np.ndarray:
    """What the views' maps say about each grid point, averaged over all views that see it or one of its images.

    Args:
        maps: (views, m, m, m); each cell covers size/m points of the view along every axis.
        rotations: (views, 3, 3), of the views' frames.
        origins: (views, 3), fractional.
        density: its grid, (nx, ny, nz), and cell.
        view: size and spacing of the views.
    """
    # Computed on a grid as fine as the view's: maps are coarser still.
    finest = view.spacing if view.kind == "cartesian" else 0.0
    shape = [
        min(points, math.ceil(length / finest) if finest else points)
        for points, length in zip(density.shape, np.linalg.norm(density.lattice, axis=1), strict=True)
    ]
    fractions = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)
    total, seen = np.zeros(len(fractions)), np.zeros(len(fractions))
    for cells, rotation, origin in zip(maps, rotations, origins, strict=True):
        if view.kind == "cartesian":
            value, count = _look_up(cells, fractions - origin, density.lattice @ rotation.T / view.spacing, view.size)
        else:
            places = ((fractions - origin) % 1 * view.size + 0.5) * (len(cells) / view.size) - 0.5
            value, count = map_coordinates(cells, places.T, order=1, mode="grid-wrap"), np.ones(len(places))
        total += value
        seen += count
    coarse = (total / np.maximum(seen, 1)).reshape(shape)
    places = np.meshgrid(*[np.arange(n) * m / n for n, m in zip(density.shape, shape, strict=True)], indexing="ij")
    return map_coordinates(coarse, places, order=1, mode="grid-wrap")


def _look_up(cells: np.ndarray, fractions: np.ndarray, to_points: np.ndarray, size: int) -> tuple[np.ndarray, ...]:
    """Sum of a map over all periodic images of points that lie in its cube, and how many do, (n,) each.

    Args:
        cells: (m, m, m).
        fractions: (n, 3), fractional, from the cube's first point.
        to_points: (3, 3), from there to points of the cube.
        size: points along its edge; it reaches half a step beyond the outer ones.
    """
    corners = (np.array(list(itertools.product((-0.5, size - 0.5), repeat=3)))) @ np.linalg.inv(to_points)
    low = np.ceil(corners.min(axis=0) - fractions.max(axis=0)).astype(int)
    high = np.floor(corners.max(axis=0) - fractions.min(axis=0)).astype(int)
    total, count = np.zeros(len(fractions)), np.zeros(len(fractions))
    for image in itertools.product(*[range(a, b + 1) for a, b in zip(low, high, strict=True)]):
        points = (fractions + image) @ to_points
        inside = ((points >= -0.5) & (points < size - 0.5)).all(axis=1)
        if not inside.any():
            continue
        places = (points[inside] + 0.5) * (len(cells) / size) - 0.5
        total[inside] += map_coordinates(cells, places.T, order=1, mode="nearest")
        count += inside
    return total, count


def _maps(networks: Sequence[Network], density: ChargeDensity, view: ViewConfig, *, columns: slice) -> np.ndarray:
    """Feature maps of each view weighted by the answer's mean derivative, summed over networks, (views, m, m, m).

    Args:
        networks: members of an ensemble, or one.
        density: what they see.
        view: how they see it.
        columns: of their output; the largest of several is explained.
    """
    models = []
    for model in (network.standardized for network in networks):
        last = [layer for layer in model.layers if len(layer.output.shape) == 5][-1]
        models.append(keras.Model(model.inputs, [last.output, model.output]))

    @tf.function
    def look(values: tf.Tensor, magnetization: tf.Tensor, lattice: tf.Tensor) -> tf.Tensor:
        cubes = render.render_fixed(render.spectrum(values, magnetization, lattice, view), view)
        lattices = tf.repeat(lattice[None], view.views, axis=0)
        with tf.GradientTape() as tape:
            seen = [model([cubes, lattices], training=False) for model in models]
            answer = tf.reduce_max(tf.add_n([tf.reduce_mean(answers, axis=0) for _, answers in seen])[columns])
        features: Any = [features for features, _ in seen]
        weights: Any = tape.gradient(answer, features)
        weights = [tf.reduce_mean(one, axis=(1, 2, 3), keepdims=True) for one in weights]
        return tf.add_n([tf.reduce_sum(w * f, axis=-1) for w, f in zip(weights, features, strict=True)])

    fields = inputs_of(density)
    return look(*(tf.constant(fields[name]) for name in ("density", "magnetization", "lattice"))).numpy()


def _open_networks(folder: Path, config: Config, properties: Sequence[Property]) -> list[Network]:
    """The networks of a SavedModel, one or the members of an ensemble; their outputs stay standardised.

    Raises:
        RunError: the weights do not fit, or there is no SavedModel.
    """
    try:
        stored = list(tf.saved_model.load(str(folder / SAVED_MODEL))._tracked)
    except (OSError, AttributeError, tf.errors.OpError) as error:
        reason = str(error).splitlines()[0]
        raise RunError(f"{folder / SAVED_MODEL}: cannot be loaded: {reason}; export the model again") from error
    standardizer = Standardizer(tuple(properties), (Scale(0.0, 1.0),) * len(properties))
    networks: list[Network] = []
    while stored or not networks:
        network = build_network(config.view, config.model, standardizer)
        variables = network.standardized.weights
        weights, stored = stored[: len(variables)], stored[len(variables) :]
        if [tuple(one.shape) for one in weights] != [tuple(one.shape) for one in variables]:
            raise RunError(
                f"{folder}: its weights do not fit the network that this rhonet builds from its config.toml; take "
                "--method integrated-gradients, or the rhonet that it was made with"
            )
        for variable, weight in zip(variables, weights, strict=True):
            variable.assign(weight)
        networks.append(network)
    return networks
