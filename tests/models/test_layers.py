from __future__ import annotations

import dataclasses
import json

import keras
import numpy as np
import pytest

from rhonet.core.properties import Property
from rhonet.core.standardize import Scale, Standardizer
from rhonet.models.layers import (
    AttentionPooling3D,
    LatticeFeatures,
    Patches3D,
    PeriodicPadding3D,
    PhysicalUnits,
    ResidualScale,
    cell_volume,
)
from tests.synthetic import CUBIC, LEFT_HANDED, SKEWED

PROPERTIES = (
    Property("gap", unit="eV"),
    Property("modulus", unit="GPa", transform="log"),
    Property("moment", unit="µB", intensive=False),
    Property("metal", kind="binary"),
    Property("phase", kind="multiclass", classes=3),
)
STANDARDIZER = Standardizer(
    PROPERTIES,
    (Scale(1.5, 2.0), Scale(4.0, 0.5), Scale(0.1, 0.2), Scale(0.0, 1.0), Scale(0.0, 1.0)),
)
LATTICES = np.stack([CUBIC, SKEWED, LEFT_HANDED]).astype(np.float32)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        (PeriodicPadding3D(2), [noise(2, 4, 4, 4, 3)]),
        (Patches3D(2), [noise(2, 4, 4, 4, 3)]),
        (ResidualScale(0.3), [[noise(2, 4, 4, 4, 3), noise(2, 4, 4, 4, 3, seed=1)]]),
        (AttentionPooling3D(heads=3), [noise(2, 4, 4, 4, 3)]),
        (LatticeFeatures(), [LATTICES]),
        (PhysicalUnits(STANDARDIZER.to_dict()), [noise(3, 7), LATTICES]),
    ],
    ids=lambda item: getattr(item, "name", ""),
)
def test_layer_comes_back_from_its_configuration(layer, inputs):
    expected = layer(*inputs)
    # As in a saved model: the configuration through JSON, then the weights.
    copy = keras.layers.deserialize(json.loads(json.dumps(keras.layers.serialize(layer))))
    copy(*inputs)
    copy.set_weights(layer.get_weights())
    assert type(copy) is type(layer)
    assert copy.get_config() == layer.get_config()
    keras.tree.map_structure(np.testing.assert_array_equal, copy(*inputs), expected)
    shapes = [np.shape(item) if not isinstance(item, list) else [part.shape for part in item] for item in inputs]
    output_shapes = keras.tree.map_structure(lambda array: tuple(array.shape), expected)
    assert layer.compute_output_shape(*shapes) == output_shapes


def test_periodic_padding_is_that_of_numpy():
    cube = noise(2, 3, 4, 5, 2)
    for width in (1, 2, 7):
        padded = np.pad(cube, [(0, 0), *[(width, width)] * 3, (0, 0)], mode="wrap")
        np.testing.assert_array_equal(PeriodicPadding3D(width)(cube), padded)


def test_convolution_with_periodic_padding_commutes_with_shifts():
    cube, shift = noise(1, 6, 6, 6, 2), (1, -2, 3)
    convolve = keras.Sequential([PeriodicPadding3D(1), keras.layers.Conv3D(4, 3)])
    moved = np.roll(cube, shift, axis=(1, 2, 3))
    expected = np.roll(np.asarray(convolve(cube)), shift, axis=(1, 2, 3))
    np.testing.assert_allclose(convolve(moved), expected, atol=1e-5)


def test_patches_are_neighbours_put_side_by_side():
    cube = noise(2, 6, 6, 6, 3)
    patches = np.asarray(Patches3D(2)(cube))
    assert patches.shape == (2, 3, 3, 3, 24)
    np.testing.assert_array_equal(patches[1, 2, 0, 1].reshape(2, 2, 2, 3), cube[1, 4:6, 0:2, 2:4])
    with pytest.raises(ValueError, match="a cube of 5 points cannot be cut into patches of 2"):
        Patches3D(2)(noise(1, 5, 5, 5, 1))


def test_attention_pooling_is_an_average_that_ignores_positions():
    pool, cube = AttentionPooling3D(heads=2), noise(1, 4, 4, 4, 3)
    pooled = np.asarray(pool(cube)).reshape(2, 3)
    assert (pooled <= cube.max(axis=(0, 1, 2, 3))).all()
    assert (pooled >= cube.min(axis=(0, 1, 2, 3))).all()
    np.testing.assert_allclose(pool(np.roll(cube, 1, axis=2)), pool(cube), atol=1e-5)
    np.testing.assert_allclose(pool(np.ones_like(cube)), np.ones((1, 6)), atol=1e-5)


def test_volume_is_positive_for_left_handed_lattices_too():
    np.testing.assert_allclose(cell_volume(LATTICES), np.abs(np.linalg.det(LATTICES)), rtol=1e-6)


def test_lattice_features_do_not_change_when_the_cell_is_rotated():
    turn = np.linalg.qr(noise(3, 3))[0]
    features = LatticeFeatures()
    np.testing.assert_allclose(features(LATTICES @ turn), features(LATTICES), atol=1e-5)
    cubic = np.asarray(features(LATTICES[:1]))[0]
    np.testing.assert_allclose(cubic, [*[np.log(4) - 1.2] * 4, 0, 0, 0], atol=1e-6)
    assert np.abs(np.asarray(features(LATTICES[1:2])) - cubic).max() > 0.05


def test_lattice_features_keep_float32_in_mixed_precision():
    assert LatticeFeatures(dtype="mixed_bfloat16").compute_dtype == "float32"
    assert PhysicalUnits(STANDARDIZER.to_dict(), dtype="mixed_bfloat16").compute_dtype == "float32"


def test_nonnegative_properties_are_not_predicted_negative():
    properties = tuple(dataclasses.replace(item, nonnegative=item.name in ("gap", "moment")) for item in PROPERTIES)
    z, standardizers = noise(3, 7), [STANDARDIZER, dataclasses.replace(STANDARDIZER, properties=properties)]
    z[:, [0, 2]] = [[-3, -3], [-0.6, -0.6], [1, 1]]
    free, bounded = (PhysicalUnits(standardizer.to_dict())(z, LATTICES) for standardizer in standardizers)
    for name in ("gap", "moment"):
        assert np.asarray(free[name])[0] < 0
        np.testing.assert_array_equal(bounded[name], np.maximum(free[name], 0), err_msg=name)
    for name in ("modulus", "metal", "phase"):
        np.testing.assert_array_equal(bounded[name], free[name], err_msg=name)


def test_physical_units_are_those_computed_by_hand():
    z = noise(3, 7)
    volumes = np.abs(np.linalg.det(LATTICES))
    values = PhysicalUnits(STANDARDIZER.to_dict())(z, LATTICES)
    exponentials = np.exp(z[:, 4:])
    expected = {
        "gap": 1.5 + 2 * z[:, 0],
        "modulus": np.exp(4 + 0.5 * z[:, 1]),
        "moment": (0.1 + 0.2 * z[:, 2]) * volumes,
        "metal": 1 / (1 + np.exp(-z[:, 3])),
        "phase": exponentials / exponentials.sum(axis=1, keepdims=True),
    }
    assert list(values) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(values[name], value, rtol=1e-5, err_msg=name)


def test_logits_of_classes_are_divided_by_their_temperature():
    z, cold = noise(3, 7), PhysicalUnits(STANDARDIZER.to_dict())
    scales = (*STANDARDIZER.scales[:3], Scale(0.0, 0.5), Scale(0.0, 0.25))
    warm = PhysicalUnits(dataclasses.replace(STANDARDIZER, scales=scales).to_dict())(z, LATTICES)
    divided = z / np.array([1, 1, 1, 2, 4, 4, 4], np.float32)
    for name, value in cold(divided, LATTICES).items():
        if name in ("metal", "phase"):
            np.testing.assert_allclose(warm[name], value, rtol=1e-6, err_msg=name)


def test_physical_units_are_the_inverse_of_the_standardizer():
    rng = np.random.default_rng(1)
    labels = np.stack([rng.normal(size=3), rng.uniform(1, 300, 3), rng.normal(size=3)], axis=1)
    volumes = np.abs(np.linalg.det(LATTICES.astype(float)))
    fitted = Standardizer.fit(STANDARDIZER.properties[:3], labels, volumes)
    values = PhysicalUnits(fitted.to_dict())(fitted.forward(labels, volumes), LATTICES)
    np.testing.assert_allclose(np.stack(list(values.values()), axis=1), labels, rtol=2e-5)
