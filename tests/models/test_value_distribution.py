"""Layers that describe the distribution of values, compared with NumPy."""

from __future__ import annotations

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

from rhonet.core.config import ModelConfig, ViewConfig
from rhonet.core.properties import Property
from rhonet.core.standardize import Scale, Standardizer
from rhonet.models.network import build_network
from rhonet.models.value_distribution import LEAST_STEP, QUANTILE_LEVELS, FittedScale, ValueDistribution3D, fit_to_cubes

VIEW = ViewConfig(size=8, edge=4.0)
CHANNELS = len(VIEW.fields)


def cubes_of(n: int = 6, *, channels: int = 3, seed: int = 0) -> np.ndarray:
    """Cubes whose channels have different means and widths, (n, 8, 8, 8, channels)."""
    rng = np.random.default_rng(seed)
    channel = np.arange(channels)
    return (rng.normal(size=(n, 8, 8, 8, channels)) * (1 + channel) + 2 * channel).astype(np.float32)


def network_of(name: str) -> keras.Model:
    keras.utils.set_random_seed(0)
    standardizer = Standardizer((Property("gap"),), (Scale(0.0, 1.0),))
    return build_network(VIEW, ModelConfig(name, "tiny"), standardizer).standardized


def inputs_of(cubes: np.ndarray) -> dict[str, np.ndarray]:
    return {"cube": cubes, "lattice": np.broadcast_to(4 * np.eye(3, dtype=np.float32), (len(cubes), 3, 3))}


@pytest.mark.parametrize("layer", [FittedScale(), ValueDistribution3D()], ids=["scale", "distribution"])
def test_layer_comes_back_from_its_configuration(layer):
    cubes = cubes_of()
    layer(cubes)
    layer.set_weights([1.5 * array + 0.5 for array in layer.get_weights()])
    expected = np.asarray(layer(cubes))
    copy = keras.layers.deserialize(json.loads(json.dumps(keras.layers.serialize(layer))))
    copy(cubes)
    copy.set_weights(layer.get_weights())
    np.testing.assert_array_equal(copy(cubes), expected)
    assert copy.get_config() == layer.get_config()
    assert layer.compute_output_shape(cubes.shape) == expected.shape
    assert not copy.trainable_variables


def test_distribution_agrees_with_numpy():
    cubes, layer = cubes_of(), ValueDistribution3D()
    layer(cubes)
    layer.fit(cubes)
    thresholds = np.quantile(cubes.reshape(-1, 3).astype(np.float64), QUANTILE_LEVELS, axis=0)
    points = cubes.reshape(len(cubes), -1, 3).astype(np.float64)
    excess = np.maximum(points[:, None] - thresholds[:, None], 0).mean(axis=2)
    shares = (excess[:, :-1] - excess[:, 1:]) / np.diff(thresholds, axis=0)
    extremes = [points.mean(axis=1)[:, None], points.max(axis=1)[:, None], points.min(axis=1)[:, None]]
    expected = np.concatenate([shares, excess, *extremes], axis=1).reshape(len(cubes), -1)
    # Shares are differences of means of 512 float32 numbers.
    np.testing.assert_allclose(layer(cubes), expected, atol=2e-5)
    # A softened share lies between the shares above either threshold.
    above = (points[:, None] > thresholds[:, None]).mean(axis=2)
    assert (shares <= above[:, :-1] + 1e-9).all()
    assert (shares >= above[:, 1:] - 1e-9).all()


def test_distribution_does_not_depend_on_positions():
    cubes, layer = cubes_of(2), ValueDistribution3D()
    shuffled = np.random.default_rng(1).permutation(cubes.reshape(2, -1, 3), axis=1).reshape(cubes.shape)
    # Shares divide rounding errors of float32 means by the step between two thresholds.
    np.testing.assert_allclose(layer(shuffled), layer(cubes), atol=5e-5)


def test_every_point_has_a_finite_derivative():
    cube, layer = tf.constant(cubes_of(1)), ValueDistribution3D()
    layer(cube)
    layer.fit(cube.numpy())
    with tf.GradientTape() as tape:
        tape.watch(cube)
        total = tf.reduce_sum(layer(cube))
    gradient = np.asarray(tape.gradient(total, cube))
    assert np.isfinite(gradient).all()
    assert (gradient != 0).all()


def test_thresholds_of_a_channel_that_is_mostly_zero_differ():
    cubes, layer = np.zeros((2, 8, 8, 8, 1), np.float32), ValueDistribution3D()
    cubes[0, 0, 0, :2] = 5
    layer(cubes)
    layer.fit(cubes)
    assert (np.diff(layer.get_weights()[0], axis=0) > 0.99 * LEAST_STEP).all()
    assert np.isfinite(layer(cubes)).all()


def test_scale_is_fitted_to_each_channel():
    cubes, layer = cubes_of(), FittedScale()
    np.testing.assert_array_equal(layer(cubes), cubes)
    layer.fit(cubes, least=1e-3)
    scaled = np.asarray(layer(cubes))
    np.testing.assert_allclose(scaled.mean(axis=(0, 1, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(axis=(0, 1, 2, 3)), 1, rtol=1e-5)
    constant = np.full((2, 8, 8, 8, 3), 7, np.float32)
    layer.fit(constant, least=1e-3)
    np.testing.assert_array_equal(layer(constant), np.zeros_like(constant))
    np.testing.assert_allclose(layer(constant + 0.001), 1, rtol=1e-3)


def test_fitted_layers_keep_float32_in_mixed_precision():
    for layer in (FittedScale(dtype="mixed_bfloat16"), ValueDistribution3D(dtype="mixed_bfloat16")):
        assert layer.compute_dtype == "float32"


@pytest.mark.parametrize("name", ["msa3dcnn", "values"])
def test_fitting_sets_the_fitted_layers_and_no_trainable_weight(name):
    network, cubes = network_of(name), cubes_of(channels=CHANNELS)
    learned = [np.array(variable) for variable in network.trainable_variables]
    fit_to_cubes(network, cubes)
    for variable, before in zip(network.trainable_variables, learned, strict=True):
        np.testing.assert_array_equal(variable, before)
    scale = network.get_layer("channel_scale")
    np.testing.assert_allclose(scale.mean, cubes.mean(axis=(0, 1, 2, 3)), rtol=1e-4, atol=1e-5)
    scaled = np.asarray(scale(cubes))
    values = network.get_layer("value_distribution")
    expected = np.quantile(scaled.reshape(-1, CHANNELS), QUANTILE_LEVELS, axis=0)
    np.testing.assert_allclose(values.get_weights()[0], expected, atol=1e-4)
    described = np.asarray(network.get_layer("value_scale")(values(scaled)))
    np.testing.assert_allclose(described.mean(axis=0), 0, atol=1e-3)
    # Numbers that are equal for all cubes are not divided by their tiny deviation.
    assert described.std(axis=0).max() < 1.001
    again = [np.array(weight) for weight in network.get_weights()]
    fit_to_cubes(network, cubes)
    for weight, before in zip(network.get_weights(), again, strict=True):
        np.testing.assert_array_equal(weight, before)


def test_network_without_fitted_layers_does_not_change():
    network = network_of("plain3dcnn")
    before = network.get_weights()
    fit_to_cubes(network, cubes_of(channels=CHANNELS))
    for weight, old in zip(network.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)


def test_network_without_convolutions_does_not_depend_on_positions():
    network, cubes = network_of("values"), cubes_of(channels=CHANNELS)
    fit_to_cubes(network, cubes)
    points = cubes.reshape(len(cubes), -1, CHANNELS)
    shuffled = np.random.default_rng(1).permutation(points, axis=1).reshape(cubes.shape)
    np.testing.assert_allclose(network(inputs_of(shuffled)), network(inputs_of(cubes)), atol=1e-4)
    assert np.ptp(network(inputs_of(cubes))) > 1e-3
