"""Triton's config.pbtxt of each model, built and read as a protocol buffer."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rhonet import __version__
from rhonet.core.errors import ModelError
from rhonet.serving.model_card import Card
from rhonet.serving.triton.tensors import FEEDS, GRID_INPUTS, Graphs, Tensor

if TYPE_CHECKING:
    from tritonclient.grpc import model_config_pb2

CONFIG = "config.pbtxt"
NETWORK_MODEL, VIEWS_MODEL, DENSITY_MODEL, TENSORFLOW_MODEL = (
    "rhonet",
    "rhonet_views",
    "rhonet_density",
    "rhonet_tensorflow",
)
BACKENDS = ("onnxruntime", "python")
DEVICES = ("auto", "cpu", "gpu")
MADE_BY = "rhonet.export"
LATTICE_FILE = "lattice"
FINGERPRINT = "model.fingerprint"
# Points per axis and edge of the cubic cell, Å, of the density that warms up a server.
WARMUP_GRID, WARMUP_EDGE = 16, 4.0
WARMUP_BATCH = 8
INPUT_UNITS = {
    "density": "e/Å³ on a periodic grid",
    "magnetization": "µB/Å³ on the grid of density, or shape (0, 0, 0) without spin",
    "lattice": "Å, rows a, b, c",
}


@dataclass(frozen=True)
class TritonSettings:
    """How Triton serves the models of a repository.

    Attributes:
        backend: "onnxruntime", which stock Triton images have, or "python", which needs numpy and onnxruntime in the
            server's Python.
        max_batch: largest number of crystals that `rhonet` computes together.
        max_grid_points: largest grid of one request; the Python backend refuses larger ones.
        device: "cpu", "gpu", or "auto" for a GPU if there is one.
        instances: copies of each model (on each GPU).
        threads: of one copy on the CPU; 0 for all cores.
        queue_microseconds: how long a request may wait for others to form a batch.
        max_queue: largest number of waiting requests; further ones are refused.

    Raises:
        ValueError: a number is too small, or a name is unknown.
    """

    backend: str = "onnxruntime"
    max_batch: int = 64
    max_grid_points: int = 256**3
    device: str = "auto"
    instances: int = 1
    threads: int = 0
    queue_microseconds: int = 1000
    max_queue: int = 512

    def __post_init__(self) -> None:
        for name, allowed in (("backend", BACKENDS), ("device", DEVICES)):
            if getattr(self, name) not in allowed:
                raise ValueError(f"{name} is {getattr(self, name)!r}, none of {', '.join(allowed)}")
        for name in ("max_batch", "max_grid_points", "instances", "threads", "queue_microseconds", "max_queue"):
            least = 0 if name in ("threads", "queue_microseconds") else 1
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")


def model_configs(
    graphs: Graphs, card: Card, settings: TritonSettings, *, fingerprint: str, tensorflow: bool = False
) -> dict[str, model_config_pb2.ModelConfig]:
    """Configurations by model name: network, views, the Triton ensemble of both and, if asked for, the SavedModel.

    Triton has no shape without axes, so a scalar output has shape (1,), or (B, 1) in `rhonet`.

    Args:
        graphs: interfaces of the two ONNX files.
        card: of the model.
        settings: how Triton serves the models.
        fingerprint: of the model folder; tells later whether the repository serves that model.
        tensorflow: adds the SavedModel, for servers up to 25.02.
    """
    parameters = _parameters(card, [item.name for item in graphs.outputs]) | {FINGERPRINT: fingerprint}
    configs = {
        NETWORK_MODEL: _network(graphs, settings, parameters),
        VIEWS_MODEL: _views(graphs, settings),
        DENSITY_MODEL: _ensemble(graphs, parameters),
    }
    if tensorflow:
        configs[TENSORFLOW_MODEL] = _tensorflow(graphs, settings, parameters)
    return configs


def config_text(config: model_config_pb2.ModelConfig) -> str:
    """Text of config.pbtxt."""
    from google.protobuf import text_format

    return text_format.MessageToString(config, as_utf8=True)


def read_config(path: Path) -> model_config_pb2.ModelConfig:
    """Configuration in a config.pbtxt.

    Raises:
        ModelError: the file cannot be read, or is not a configuration.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ModelError(f"{path}: cannot be read as a Triton configuration: {error}") from error


def is_ours(config: model_config_pb2.ModelConfig) -> bool:
    """Whether rhonet.export wrote the configuration."""
    return config.parameters["made_by"].string_value == MADE_BY if "made_by" in config.parameters else False


def served_card(card: Card) -> str:
    """The parts of a card that clients need, as JSON: properties, view, calibration, test errors, origin, limits."""
    whole = card.content
    kept: dict[str, Any] = {
        key: whole[key] for key in ("card_version", "calibration", "limits", "view") if key in whole
    }
    for part, keys in (("model", ("trained", "commit", "rhonet")), ("data", ("name", "fingerprint", "about"))):
        kept[part] = {key: whole[part][key] for key in keys if key in whole.get(part, {})}
    kept["properties"] = [dataclasses.asdict(item) for item in card.properties]
    errors = {name: {"mae": {"value": value}} for name, value in card.test_errors.items()}
    kept["metrics"] = {"model": {"regression": errors}}
    return json.dumps(kept, ensure_ascii=False)


def _parameters(card: Card, outputs: Iterable[str]) -> dict[str, str]:
    """Parameters of a configuration: the card for programs; units, classes, origin and limits for readers.

    Args:
        card: of the model.
        outputs: names of all outputs.
    """
    origin = card.content.get("model", {})
    parameters = {f"unit.{name}": unit for name, unit in INPUT_UNITS.items()}
    properties = {item.name: item for item in card.properties}
    for name in outputs:
        stem = name.removesuffix("_lower").removesuffix("_upper")
        item = properties.get(name) or properties.get(stem)
        if item is not None and item.unit:
            parameters[f"unit.{name}"] = item.unit
        if name in properties and properties[name].is_class:
            parameters[f"classes.{name}"] = ",".join(properties[name].class_labels)
    parameters |= {f"model.{key}": origin[key] for key in ("trained", "commit", "rhonet") if key in origin}
    if "limits" in card.content:
        parameters["limits"] = card.content["limits"]["text"]
    return parameters | {"card": served_card(card)}


def _network(graphs: Graphs, settings: TritonSettings, parameters: dict[str, str]) -> model_config_pb2.ModelConfig:
    """The networks on batches of views: the expensive half, so Triton joins requests to batches."""
    from tritonclient.grpc import model_config_pb2

    config = _computing(NETWORK_MODEL, settings, parameters)
    config.max_batch_size = settings.max_batch
    for item in graphs.network.inputs:
        config.input.add(name=item.name, data_type=model_config_pb2.TYPE_FP32, dims=item.shape[1:])
    for item in graphs.network.outputs:
        _add_output(config, Tensor(item.name, item.shape[1:]))
    batching = config.dynamic_batching
    batching.max_queue_delay_microseconds = settings.queue_microseconds
    batching.default_queue_policy.max_queue_size = settings.max_queue
    for size in sorted({1, min(WARMUP_BATCH, settings.max_batch)}):
        sample = config.model_warmup.add(name=f"batch_of_{size}", batch_size=size)
        for item in graphs.network.inputs:
            _add_warmup(sample, Tensor(item.name, item.shape[1:]))
    return config


def _views(graphs: Graphs, settings: TritonSettings) -> model_config_pb2.ModelConfig:
    """The views of one native grid of any shape; grids of different shapes cannot form a batch."""
    from tritonclient.grpc import model_config_pb2

    parameters = {f"unit.{name}": unit for name, unit in INPUT_UNITS.items()}
    config = _computing(VIEWS_MODEL, settings, parameters | {"max_grid_points": str(settings.max_grid_points)})
    for item in graphs.views.inputs:
        config.input.add(name=item.name, data_type=model_config_pb2.TYPE_FP32, dims=item.shape)
    for item in graphs.views.outputs:
        _add_output(config, item)
    sample = config.model_warmup.add(name="one_grid", batch_size=1)
    for item in graphs.views.inputs:
        _add_warmup(sample, Tensor(item.name, tuple(WARMUP_GRID if axis < 0 else axis for axis in item.shape)))
    return config


def _ensemble(graphs: Graphs, parameters: dict[str, str]) -> model_config_pb2.ModelConfig:
    """Both steps as one Triton ensemble: takes a native grid, gives all outputs."""
    from tritonclient.grpc import model_config_pb2

    config = _base(DENSITY_MODEL, parameters)
    config.platform = "ensemble"
    for item in graphs.views.inputs:
        config.input.add(name=item.name, data_type=model_config_pb2.TYPE_FP32, dims=item.shape)
    network = {item.name for item in graphs.network.outputs}
    for item in graphs.outputs:
        # The network's outputs have a batch axis of length 1, which the reshape removes.
        shape = item.shape or (1,)
        output = config.output.add(name=item.name, data_type=model_config_pb2.TYPE_FP32, dims=shape)
        if item.name in network:
            output.reshape.shape.extend((1, *shape))
    steps = config.ensemble_scheduling.step
    first = steps.add(model_name=VIEWS_MODEL, model_version=-1)
    first.input_map.update({name: name for name in GRID_INPUTS})
    first.output_map.update({item.name: item.name for item in graphs.views.outputs})
    second = steps.add(model_name=NETWORK_MODEL, model_version=-1)
    second.input_map.update(FEEDS)
    second.output_map.update({name: name for name in network})
    return config


def _tensorflow(graphs: Graphs, settings: TritonSettings, parameters: dict[str, str]) -> model_config_pb2.ModelConfig:
    """The SavedModel, for servers up to 25.02; same inputs and outputs as the Triton ensemble."""
    from tritonclient.grpc import model_config_pb2

    config = _base(TENSORFLOW_MODEL, parameters | {"TF_SIGNATURE_DEF": "predict_density"})
    config.platform = "tensorflow_savedmodel"
    _add_instances(config, settings)
    for item in graphs.views.inputs:
        config.input.add(name=item.name, data_type=model_config_pb2.TYPE_FP32, dims=item.shape)
    for item in graphs.outputs:
        _add_output(config, item)
    return config


def _computing(name: str, settings: TritonSettings, parameters: dict[str, str]) -> model_config_pb2.ModelConfig:
    """Configuration of a model that runs an ONNX file."""
    threads = {"intra_op_thread_count": str(settings.threads)} if settings.threads else {}
    config = _base(name, parameters | threads)
    config.backend = settings.backend
    config.default_model_filename = "model.onnx" if settings.backend == "onnxruntime" else "model.py"
    _add_instances(config, settings)
    return config


def _base(name: str, parameters: dict[str, str]) -> model_config_pb2.ModelConfig:
    from tritonclient.grpc import model_config_pb2

    config = model_config_pb2.ModelConfig(name=name)
    # Versions share one configuration, so only the newest, for which it was written, is served.
    config.version_policy.latest.num_versions = 1
    for key, value in sorted({"made_by": MADE_BY, "rhonet_version": __version__, **parameters}.items()):
        config.parameters[key].string_value = value
    return config


def _add_instances(config: model_config_pb2.ModelConfig, settings: TritonSettings) -> None:
    from tritonclient.grpc import model_config_pb2

    kind = model_config_pb2.ModelInstanceGroup.Kind.Value(f"KIND_{settings.device.upper()}")
    config.instance_group.add(count=settings.instances, kind=kind)


def _add_output(config: model_config_pb2.ModelConfig, item: Tensor) -> None:
    from tritonclient.grpc import model_config_pb2

    output = config.output.add(name=item.name, data_type=model_config_pb2.TYPE_FP32, dims=item.shape or (1,))
    if not item.shape:
        output.reshape.SetInParent()  # to the shape () of the model's output


def _add_warmup(sample: model_config_pb2.ModelWarmup, item: Tensor) -> None:
    """Adds zeros as warm-up input; the lattice, which must not be zero, comes from a file."""
    from tritonclient.grpc import model_config_pb2

    entry = sample.inputs[item.name]
    entry.data_type = model_config_pb2.TYPE_FP32
    entry.dims.extend(item.shape)
    if item.name == "lattice":
        entry.input_data_file = LATTICE_FILE
    else:
        entry.zero_data = True
