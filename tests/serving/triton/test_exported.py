"""An exported model on a real Triton server gives what `rhonet.predict` gives locally."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tritonclient.grpc import model_config_pb2

from rhonet.serving.answer import Answer
from rhonet.serving.exported_model import Predictor
from rhonet.serving.triton.client import ServerPredictor, address_argument
from rhonet.serving.triton.config import TritonSettings, read_config
from rhonet.serving.triton.export import export_repository
from rhonet.serving.triton.server import RunningServer, start_server
from tests.crystals import smooth_density
from tests.serving.triton.asking import Asker
from tests.synthetic import chgcar_text

pytest_plugins = ("tests.fixtures", "tests.serving.triton.servers")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gevent")

# ONNX Runtime sums in another order than TensorFlow, in float32.
SAME = 1e-4
DENSITIES = [
    smooth_density(80, (12, 12, 12)),
    smooth_density(81, (16, 20, 15), spin=True),
    smooth_density(82, (9, 14, 24)),
]


@pytest.fixture(scope="module")
def repository(tiny_onnx: Path, tmp_path_factory) -> Path:
    """Repository of an untrained model for the Python backend, with the SavedModel as a further model."""
    destination = tmp_path_factory.mktemp("exported") / "repository"
    export_repository(tiny_onnx, destination, settings=TritonSettings(backend="python", threads=1), tensorflow=True)
    return destination


@pytest.fixture(scope="module")
def exported(triton: None, repository: Path, tmp_path_factory) -> Iterator[RunningServer]:
    served = tmp_path_factory.mktemp("served")
    for model in ("rhonet", "rhonet_views", "rhonet_density"):  # this server has no TensorFlow backend
        (served / model).symlink_to(repository / model)
    with start_server(served) as running:
        yield running


def assert_same(actual: Answer, expected: Answer) -> None:
    assert actual.values.keys() == expected.values.keys()
    for part in ("values", "lower", "upper"):
        for name, value in getattr(expected, part).items():
            # Moments lie close to zero.
            np.testing.assert_allclose(getattr(actual, part)[name], value, rtol=SAME, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(actual.novelty, expected.novelty, rtol=SAME)


@pytest.mark.server
@pytest.mark.parametrize("protocol", ["grpc", "http"])
def test_server_predicts_what_the_saved_model_predicts(exported, tiny_model, protocol):
    local = Predictor(tiny_model)
    remote = ServerPredictor(address_argument(f"{protocol}://{getattr(exported, protocol)}"))
    for density in DENSITIES:
        assert_same(remote.predict(density), local.predict(density))


@pytest.mark.server
@pytest.mark.parametrize("size", [1, 2, 7, 64])
def test_batches_of_views_give_what_single_grids_give(exported, size):
    asker = Asker(exported, "grpc")
    seen, single = [], []
    for density in DENSITIES:
        spin = density.magnetization
        arrays = {
            "density": density.values,
            "magnetization": np.zeros((0, 0, 0)) if spin is None else spin,
            "lattice": density.lattice,
        }
        inputs = {name: array.astype(np.float32) for name, array in arrays.items()}
        seen.append(asker.ask("rhonet_views", **inputs))
        single.append(asker.ask("rhonet_density", **inputs))
    rows = np.arange(size) % len(DENSITIES)
    together = asker.ask(
        "rhonet",
        views=np.concatenate([seen[row].as_numpy("views") for row in rows]),
        lattice=np.concatenate([seen[row].as_numpy("lattice_batch") for row in rows]),
    )
    names = [item.name for item in together.get_response().outputs]
    assert "phase" in names
    for name in names:
        expected = np.stack([single[row].as_numpy(name) for row in rows])
        np.testing.assert_allclose(together.as_numpy(name), expected, rtol=SAME, atol=1e-5, err_msg=name)


@pytest.mark.server
def test_command_gives_the_same_table_as_locally(exported, command, tiny_model, tmp_path):
    (tmp_path / "CHGCAR").write_text(chgcar_text(DENSITIES[1]))
    local = command("predict", tmp_path / "CHGCAR", "--model", tiny_model)
    remote = command("predict", tmp_path / "CHGCAR", "--server", f"grpc://{exported.grpc}")
    assert (local.code, local.stderr) == (remote.code, remote.stderr)
    for mine, theirs in zip(local.stdout.splitlines(), remote.stdout.splitlines(), strict=True):
        for one, other in zip(mine.split(), theirs.split(), strict=True):
            assert one == other or float(one) == pytest.approx(float(other), rel=1e-3, abs=1e-4)


def test_saved_model_takes_and_gives_what_its_configuration_says(repository):
    config = read_config(repository / "rhonet_tensorflow" / "config.pbtxt")
    module = tf.saved_model.load(str(repository / "rhonet_tensorflow" / "1" / "model.savedmodel"))
    signature = module.signatures[config.parameters["TF_SIGNATURE_DEF"].string_value]
    for tensors, specs in (
        (config.input, signature.structured_input_signature[1]),
        (config.output, signature.structured_outputs),
    ):
        assert {item.name for item in tensors} == set(specs)
        for item in tensors:
            shape = list(item.reshape.shape) if item.HasField("reshape") else list(item.dims)
            assert item.data_type == model_config_pb2.TYPE_FP32
            assert specs[item.name].dtype == tf.float32
            assert shape == [-1 if axis is None else axis for axis in specs[item.name].shape], item.name


def test_model_without_onnx_files_is_converted_and_left_as_it_was(tiny_model, tiny_onnx, tmp_path, monkeypatch):
    def convert(folder: Path) -> None:
        assert (folder / "saved_model" / "saved_model.pb").is_file()
        for name in ("views.onnx", "network.onnx"):
            shutil.copy(tiny_onnx / name, folder)

    monkeypatch.setattr("rhonet.serving.onnx_export.write_onnx", convert)
    export_repository(tiny_model, tmp_path, settings=TritonSettings())
    for model, name in (("rhonet", "network.onnx"), ("rhonet_views", "views.onnx")):
        assert (tmp_path / model / "1" / "model.onnx").read_bytes() == (tiny_onnx / name).read_bytes()
    assert not list(tiny_model.glob("*.onnx"))


@pytest.mark.server
@pytest.mark.slow
def test_released_model_is_served(triton, released_onnx, command, tmp_path):
    repository = tmp_path / "repository"
    export_repository(released_onnx, repository, settings=TritonSettings(backend="python", threads=1))
    (tmp_path / "CHGCAR").write_text(chgcar_text(DENSITIES[1]))
    local = command("predict", tmp_path / "CHGCAR", "--format", "json")
    with start_server(repository) as running:
        remote = command("predict", tmp_path / "CHGCAR", "--format", "json", "--server", f"http://{running.http}")
    assert (local.code, remote.code) == (0, 0), remote.stderr
    mine, theirs = json.loads(local.stdout), json.loads(remote.stdout)
    assert mine["properties"] == theirs["properties"]
    assert mine["interval_level"] == theirs["interval_level"]
    (one,), (other,) = mine["files"], theirs["files"]
    assert one["warnings"] == other["warnings"]
    assert one["sets"] == other["sets"]
    assert one["novelty"] == pytest.approx(other["novelty"], rel=SAME)
    for name, value in one["properties"].items():
        width = np.diff(one["intervals"][name]).item() if name in one["intervals"] else 1.0
        np.testing.assert_allclose(other["properties"][name], value, rtol=SAME, atol=SAME * width, err_msg=name)
