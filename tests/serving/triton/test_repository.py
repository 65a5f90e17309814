"""Triton repositories: configurations agree with the ONNX files, and versions are kept."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from rhonet.core.errors import DiskError, ModelError
from rhonet.serving.model_card import read_card
from rhonet.serving.triton.config import TritonSettings, read_config, served_card
from rhonet.serving.triton.repository import write_repository
from rhonet.serving.triton.tensors import read_graphs
from tests.serving.triton.handmade import LIMITS, write_model_folder, write_onnx

MODELS = ("rhonet", "rhonet_density", "rhonet_views")


@pytest.fixture
def made(tmp_path: Path) -> Path:
    """Folders onnx and model."""
    write_onnx(tmp_path / "onnx")
    write_model_folder(tmp_path / "model")
    return tmp_path


def write(made: Path, *, force: bool = False, tensorflow: bool = False, **settings: object) -> int:
    chosen = TritonSettings(**settings)  # pyright: ignore[reportArgumentType]
    return write_repository(
        made / "onnx", made / "model", made / "repository", settings=chosen, force=force, tensorflow=tensorflow
    )


def config_of(made: Path, model: str) -> model_config_pb2.ModelConfig:
    return read_config(made / "repository" / model / "config.pbtxt")


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def shapes_in(tensors: object, *, batched: bool) -> dict[str, list[int]]:
    """The shape between Triton and the backend, by tensor name."""
    shapes = {}
    for item in tensors:  # pyright: ignore[reportGeneralTypeIssues]
        assert item.data_type == model_config_pb2.TYPE_FP32
        own = list(item.reshape.shape) if item.HasField("reshape") else list(item.dims)
        shapes[item.name] = [-1, *own] if batched else own
    return shapes


def shapes_declared(tensors: object) -> dict[str, list[int]]:
    """The shape that ONNX Runtime declares, by tensor name; -1 for any length."""
    shapes = {}
    for item in tensors:  # pyright: ignore[reportGeneralTypeIssues]
        assert item.type == "tensor(float)"
        shapes[item.name] = [axis if isinstance(axis, int) else -1 for axis in item.shape]
    return shapes


@pytest.mark.parametrize("model", ["rhonet", "rhonet_views"])
@pytest.mark.parametrize("backend", ["onnxruntime", "python"])
def test_configuration_agrees_with_what_onnxruntime_declares(made, model, backend):
    write(made, backend=backend)
    config = config_of(made, model)
    session = onnxruntime.InferenceSession(
        str(made / "repository" / model / "1" / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    batched = config.max_batch_size > 0
    assert batched == (model == "rhonet")
    assert shapes_in(config.input, batched=batched) == shapes_declared(session.get_inputs())
    assert shapes_in(config.output, batched=batched) == shapes_declared(session.get_outputs())
    assert (config.backend, config.platform) == (backend, "")
    assert config.default_model_filename == {"onnxruntime": "model.onnx", "python": "model.py"}[backend]
    assert files(made / "repository" / model) >= {"1/model.onnx", "warmup/lattice"}
    assert ("1/model.py" in files(made / "repository" / model)) == (backend == "python")


def test_ensemble_joins_both_models_and_gives_everything(made):
    write(made)
    ensemble, views, network = (config_of(made, model) for model in ("rhonet_density", "rhonet_views", "rhonet"))
    assert (ensemble.platform, ensemble.max_batch_size) == ("ensemble", 0)
    first, second = ensemble.ensemble_scheduling.step
    assert set(first.input_map) == {item.name for item in views.input} == {item.name for item in ensemble.input}
    assert set(first.output_map) == {item.name for item in views.output}
    assert set(second.input_map) == {item.name for item in network.input}
    assert set(second.input_map.values()) <= set(first.output_map.values())
    assert set(second.output_map) == {item.name for item in network.output}
    assert {item.name for item in ensemble.output} == set(second.output_map) | {"novelty"}
    assert {item.name: list(item.dims) for item in ensemble.output if item.name != "phase"} == {
        item.name: [1] for item in ensemble.output if item.name != "phase"
    }


def test_settings_arrive_in_the_configuration(made):
    write(made, max_batch=16, max_grid_points=1000, device="gpu", instances=2, threads=3, queue_microseconds=7)
    network, views = config_of(made, "rhonet"), config_of(made, "rhonet_views")
    assert network.max_batch_size == 16
    assert network.dynamic_batching.max_queue_delay_microseconds == 7
    assert network.dynamic_batching.default_queue_policy.max_queue_size == 512
    assert [sample.batch_size for sample in network.model_warmup] == [1, 8]
    assert views.parameters["max_grid_points"].string_value == "1000"
    for config in (network, views):
        (group,) = config.instance_group
        assert (group.count, group.kind) == (2, model_config_pb2.ModelInstanceGroup.KIND_GPU)
        assert config.parameters["intra_op_thread_count"].string_value == "3"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"backend": "pytorch"}, "backend is 'pytorch', none of onnxruntime, python"),
        ({"device": "tpu"}, "device is 'tpu', none of auto, cpu, gpu"),
        ({"max_batch": 0}, "max_batch is 0; it must be at least 1"),
        ({"threads": -1}, "threads is -1; it must be at least 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        TritonSettings(**settings)


def test_card_travels_whole_and_in_the_configuration(made):
    write(made)
    for model in MODELS:
        assert (made / "repository" / model / "card.toml").read_bytes() == (made / "model" / "card.toml").read_bytes()
    text = (made / "repository" / "rhonet_density" / "config.pbtxt").read_text(encoding="utf-8")
    parameters = text_format.Parse(text, model_config_pb2.ModelConfig()).parameters
    card = read_card(made / "model")
    served = json.loads(parameters["card"].string_value)
    assert served == json.loads(served_card(card))
    assert served["calibration"] == card.content["calibration"]
    assert served["metrics"]["model"]["regression"] == {"bulk_modulus": {"mae": {"value": 1.5}}}
    assert served["view"] == card.content["view"]
    assert parameters["unit.magnetic_moment"].string_value == "µB"
    assert parameters["limits"].string_value == LIMITS


def test_second_export_is_a_second_version_with_its_own_card(made):
    assert write(made) == 1
    first = files(made / "repository")
    write_model_folder(made / "later", commit="def")
    write_onnx(made / "onnx2", scale=2.0)
    assert write_repository(made / "onnx2", made / "later", made / "repository") == 2
    repository = made / "repository"
    assert files(repository) == first | {name.replace("/1/", "/2/") for name in first}
    for model in MODELS:
        config = config_of(made, model)
        assert config.version_policy.latest.num_versions == 1
        assert read_config(repository / model / "2" / "config.pbtxt") == config
        assert 'commit = "abc"' in (repository / model / "1" / "card.toml").read_text()
        assert 'commit = "def"' in (repository / model / "2" / "card.toml").read_text()
    assert config_of(made, "rhonet").parameters["model.commit"].string_value == "def"
    old, new = ((repository / "rhonet" / version / "model.onnx").read_bytes() for version in "12")
    assert old != new
    assert not list(made.glob("*.partial*"))


def test_folder_where_one_is_becomes_a_repository(made, monkeypatch):
    (made / "repository").mkdir()
    monkeypatch.chdir(made / "repository")
    assert write_repository(made / "onnx", made / "model", Path()) == 1
    assert sorted(path.name for path in (made / "repository").iterdir()) == list(MODELS)


@pytest.mark.parametrize("content", [None, 'name: "rhonet_views"\nbackend: "pytorch"\n', "not a configuration"])
def test_model_of_others_is_not_overwritten(made, content):
    theirs = made / "repository" / "rhonet_views"
    (theirs / "5").mkdir(parents=True)
    if content is not None:
        (theirs / "config.pbtxt").write_text(content)
    (made / "repository" / "resnet").mkdir()
    before = files(made / "repository")
    with pytest.raises(ModelError, match=r"rhonet_views.*(--force|cannot be read as a Triton configuration)"):
        write(made)
    assert files(made / "repository") == before
    assert write(made, force=True) == 1
    assert sorted(path.name for path in theirs.iterdir()) == ["1", "card.toml", "config.pbtxt", "warmup"]
    assert (made / "repository" / "resnet").is_dir()


def test_saved_model_is_served_for_old_servers(made):
    with pytest.raises(ModelError, match="has no saved_model/, which rhonet_tensorflow serves"):
        write(made, tensorflow=True)
    (made / "model" / "saved_model").mkdir()
    (made / "model" / "saved_model" / "saved_model.pb").write_bytes(b"graph")
    write(made, tensorflow=True)
    config, ensemble = config_of(made, "rhonet_tensorflow"), config_of(made, "rhonet_density")
    assert (config.platform, config.max_batch_size) == ("tensorflow_savedmodel", 0)
    assert config.parameters["TF_SIGNATURE_DEF"].string_value == "predict_density"
    assert list(config.input) == list(ensemble.input)
    for own, other in zip(config.output, ensemble.output, strict=True):
        assert (own.name, own.dims) == (other.name, other.dims)
    assert "1/model.savedmodel/saved_model.pb" in files(made / "repository" / "rhonet_tensorflow")


def test_onnx_that_does_not_fit_is_one_clear_line(made):
    (made / "onnx" / "views.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"views.onnx: cannot be read as ONNX"):
        read_graphs(made / "onnx")
    (made / "onnx" / "views.onnx").unlink()
    with pytest.raises(ModelError, match=r"views.onnx: cannot be read as ONNX: .*No such file"):
        read_graphs(made / "onnx")
    (made / "onnx" / "views.onnx").write_bytes((made / "onnx" / "network.onnx").read_bytes())
    with pytest.raises(
        ModelError, match=r"views.onnx: takes views, lattice instead of density, magnetization, lattice"
    ):
        read_graphs(made / "onnx")


def test_halves_of_two_models_are_refused(made):
    path = made / "onnx" / "network.onnx"
    network = onnx.load(str(path))
    network.graph.input[0].type.tensor_type.shape.dim[5].dim_value = 7
    onnx.save(network, str(path))
    with pytest.raises(ModelError, match=r"network.onnx: takes views .*7.*, but .*views.onnx gives views .*3"):
        read_graphs(made / "onnx")


def test_disk_that_is_full_leaves_the_old_version(made, monkeypatch):
    write(made)
    before = files(made / "repository")

    def fill(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rhonet.serving.triton.repository.shutil.copy", fill)
    with pytest.raises(DiskError, match="repository: cannot be written: No space left on device; free some space"):
        write(made)
    assert files(made / "repository") == before
    assert not list(made.glob("*.partial*"))
