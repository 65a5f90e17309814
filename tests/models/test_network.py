from __future__ import annotations

import ast
import dataclasses
import importlib.util
import itertools
from pathlib import Path

import keras
import numpy as np
import pytest

from rhonet.core.config import MODELS, SIZES, VIEW_KINDS, ModelConfig, ViewConfig
from rhonet.core.errors import ConfigError
from rhonet.core.properties import Property
from rhonet.core.standardize import Scale, Standardizer
from rhonet.models.network import ENCODERS, Network, build_network
from rhonet.models.sizes import NETWORK_SIZES
from tests.crystals import run_code
from tests.synthetic import CUBIC, SKEWED

SOURCES = sorted((Path(__file__).parents[2] / "rhonet" / "models").glob("*.py"))
GAP = Property("gap", unit="eV")
STANDARDIZER = Standardizer(
    (
        GAP,
        Property("modulus", unit="GPa", transform="log"),
        Property("moment", unit="µB", intensive=False),
        Property("metal", kind="binary"),
        Property("phase", kind="multiclass", classes=3),
    ),
    (Scale(1.5, 2.0), Scale(4.0, 0.5), Scale(0.1, 0.2), Scale(0.0, 1.0), Scale(0.0, 1.0)),
)
VIEW = ViewConfig(size=8, edge=4.0, channels=("density", "magnetization"))


def network_of(kind: str = "cartesian", name: str = "msa3dcnn", size: str = "tiny") -> Network:
    keras.utils.set_random_seed(0)
    return build_network(dataclasses.replace(VIEW, kind=kind), ModelConfig(name, size), STANDARDIZER)


def inputs_of(n: int = 2, *, scale: float = 1.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    lattices = np.stack([CUBIC, SKEWED] * n)[:n] * scale
    return {
        "cube": rng.normal(size=(n, 8, 8, 8, len(VIEW.fields))).astype(np.float32),
        "lattice": lattices.astype(np.float32),
    }


def test_the_networks_and_sizes_are_those_of_the_settings():
    assert (tuple(ENCODERS), tuple(NETWORK_SIZES)) == (MODELS, SIZES)


@pytest.mark.parametrize(("kind", "name"), list(itertools.product(VIEW_KINDS, MODELS)))
def test_outputs_are_named_by_property_in_physical_units(kind, name):
    network, inputs = network_of(kind, name), inputs_of()
    values = network.physical(inputs)
    z = np.asarray(network.standardized(inputs))
    assert z.shape == (2, 7)
    assert list(values) == [item.name for item in STANDARDIZER.properties]
    np.testing.assert_allclose(values["gap"], 1.5 + 2 * z[:, 0], rtol=1e-5)
    np.testing.assert_allclose(values["modulus"], np.exp(4 + 0.5 * z[:, 1]), rtol=1e-5)
    np.testing.assert_allclose(np.asarray(values["phase"]).sum(axis=1), 1, rtol=1e-6)
    assert np.asarray(values["phase"]).shape == (2, 3)


def test_extensive_property_grows_with_the_cell_and_others_do_not():
    network = network_of()
    small, large = (network.physical(inputs_of(scale=scale)) for scale in (1.0, 2.0))
    np.testing.assert_allclose(large["moment"], 8 * np.asarray(small["moment"]), rtol=1e-5)
    for name in ("gap", "modulus", "metal", "phase"):
        np.testing.assert_array_equal(large[name], small[name])


def test_only_the_cell_view_shows_the_lattice_to_the_network():
    for kind in VIEW_KINDS:
        network = network_of(kind)
        small, large = (np.asarray(network.standardized(inputs_of(scale=scale))) for scale in (1.0, 1.5))
        assert np.array_equal(small, large) == (kind != "cell")


@pytest.mark.parametrize("name", MODELS)
def test_periodic_network_sees_no_origin(name):
    # Shifts by whole strides: patches of 2 points twice, or two poolings of 2.
    network, inputs = network_of("paper", name), inputs_of()
    moved = inputs | {"cube": np.roll(inputs["cube"], (4, -4, 4), axis=(1, 2, 3))}
    np.testing.assert_allclose(network.standardized(moved), network.standardized(inputs), atol=1e-5)


@pytest.mark.parametrize("name", MODELS)
def test_larger_sizes_have_more_weights(name):
    view = dataclasses.replace(VIEW, size=16)
    networks = [build_network(view, ModelConfig(name, size), STANDARDIZER).standardized for size in SIZES]
    tiny, base, large = (network.count_params() for network in networks)
    assert 10_000 < tiny < base < large


def test_one_property_alone_works():
    network = build_network(VIEW, ModelConfig("msa3dcnn", "tiny"), Standardizer((GAP,), (Scale(0.0, 1.0),)))
    assert np.asarray(network.physical(inputs_of())["gap"]).shape == (2,)


def test_weights_follow_the_seed():
    for first, second in zip(*(network_of().standardized.get_weights() for _ in range(2)), strict=True):
        np.testing.assert_array_equal(first, second)


def test_answer_does_not_depend_on_the_batch():
    network, inputs = network_of(), inputs_of(4)
    alone = network.standardized({name: array[1:2] for name, array in inputs.items()})
    np.testing.assert_allclose(np.asarray(network.standardized(inputs))[1:2], alone, atol=1e-5)


def test_network_survives_its_file(tmp_path):
    network, inputs = network_of("cell"), inputs_of()
    network.physical.save(tmp_path / "network.keras")
    copy = keras.saving.load_model(tmp_path / "network.keras")
    for name, value in network.physical(inputs).items():
        np.testing.assert_allclose(copy(inputs)[name], value, rtol=1e-6)


def test_cube_that_cannot_be_halved_is_refused():
    with pytest.raises(ConfigError, match=r"view.size 6 does not suit msa3dcnn tiny: .*; take a multiple of 8"):
        build_network(dataclasses.replace(VIEW, size=6), ModelConfig("msa3dcnn", "tiny"), STANDARDIZER)


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_networks_are_written_in_keras_alone(path):
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert imported <= {"__future__", "collections", "dataclasses", "keras", "math", "numpy", "rhonet", "typing"}


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends_of_keras_give_the_same_numbers(backend, tmp_path):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    network, inputs = network_of("cell"), inputs_of()
    network.standardized.save_weights(tmp_path / "network.weights.h5")
    expected = np.asarray(network.standardized(inputs))
    np.savez(tmp_path / "inputs.npz", cube=inputs["cube"], lattice=inputs["lattice"], expected=expected)
    code = f"""
import os, sys
os.environ["KERAS_BACKEND"] = {backend!r}
sys.modules["tensorflow"] = None
import numpy as np
from tests.models.test_network import network_of
network, file = network_of("cell"), dict(np.load({str(tmp_path / "inputs.npz")!r}))
network.standardized.load_weights({str(tmp_path / "network.weights.h5")!r})
expected = file.pop("expected")
np.testing.assert_allclose(np.asarray(network.standardized(file)), expected, atol=1e-4)
"""
    done = run_code(code)
    assert done.returncode == 0, done.stderr
