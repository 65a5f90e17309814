"""What Triton is told about a model: config.pbtxt, built and checked as the protocol buffer that it is."""

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
# Points per axis of the density that warms a server up, and its cubic cell in Å.
WARMUP_GRID, WARMUP_EDGE = 16, 4.0
WARMUP_BATCH = 8
INPUT_UNITS = {
    "density": "e/Å³ on a periodic grid",
    "magnetization": "µB/Å³ on the grid of density, or shape (0, 0, 0) without spin",
    "lattice": "Å, rows a, b, c",
}


@dataclass(frozen=True)
class TritonSettings:
    """How a repository is served.

    backend: "onnxruntime", in stock Triton images, or "python", which needs numpy and onnxruntime in its Python.
    max_batch: crystals that `rhonet` computes together.
    max_grid_points: largest grid of one request; the Python backend refuses larger ones.
    device: where to compute; "auto" takes a GPU where there is one.
    instances: copies of each model (on each GPU).
    threads: of one copy on the CPU; 0 takes all cores.
    queue_microseconds: how long a request may wait for others to be computed with.
    max_queue: requests that may wait; further ones are refused.

    Raises:
        ValueError: a number or name that Triton cannot serve with.
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
    """Configurations by model name: network, views, their ensemble, and on request the SavedModel.

    Scalars have shape (1,) in Triton, which knows no shape without axes: `rhonet` gives (B, 1), the others (1,).

    Args:
        fingerprint: of the model folder, by which one knows later whether it is the one that is served.
    """
    answers = _parameters(card, [item.name for item in graphs.answers]) | {FINGERPRINT: fingerprint}
    configs = {
        NETWORK_MODEL: _network(graphs, settings, answers),
        VIEWS_MODEL: _views(graphs, settings),
        DENSITY_MODEL: _ensemble(graphs, answers),
    }
    if tensorflow:
        configs[TENSORFLOW_MODEL] = _tensorflow(graphs, settings, answers)
    return configs


def config_text(config: model_config_pb2.ModelConfig) -> str:
    """Text of config.pbtxt."""
    from google.protobuf import text_format

    return text_format.MessageToString(config, as_utf8=True)


def read_config(path: Path) -> model_config_pb2.ModelConfig:
    """Configuration in a config.pbtxt.

    Raises:
        ModelError: it cannot be read or is none.
    """
    from google.protobuf import text_format
    from tritonclient.grpc import model_config_pb2

    try:
        return text_format.Parse(path.read_text(encoding="utf-8"), model_config_pb2.ModelConfig())
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        raise ModelError(f"{path}: cannot be read as a Triton configuration: {error}") from error


def is_ours(config: model_config_pb2.ModelConfig) -> bool:
    """Whether an export of ours wrote the configuration."""
    return config.parameters["made_by"].string_value == MADE_BY if "made_by" in config.parameters else False


def served_card(card: Card) -> str:
    """What clients need of a card, as JSON: properties, views, calibration, errors on test crystals, origin, limits."""
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


def _parameters(card: Card, answers: Iterable[str]) -> dict[str, str]:
    """The card for programs, and its essentials for readers of the configuration."""
    origin = card.content.get("model", {})
    said = {f"unit.{name}": unit for name, unit in INPUT_UNITS.items()}
    named = {item.name: item for item in card.properties}
    for name in answers:
        stem = name.removesuffix("_lower").removesuffix("_upper")
        item = named.get(name) or named.get(stem)
        if item is not None and item.unit:
            said[f"unit.{name}"] = item.unit
        if name in named and named[name].is_class:
            said[f"classes.{name}"] = ",".join(named[name].class_labels)
    said |= {f"model.{key}": origin[key] for key in ("trained", "commit", "rhonet") if key in origin}
    if "limits" in card.content:
        said["limits"] = card.content["limits"]["text"]
    return said | {"card": served_card(card)}


def _network(graphs: Graphs, settings: TritonSettings, answers: dict[str, str]) -> model_config_pb2.ModelConfig:
    """Batches of views that are ready: what takes the time, so that requests are computed together."""
    from tritonclient.grpc import model_config_pb2

    config = _computing(NETWORK_MODEL, settings, answers)
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
    """One native grid of any shape: rendered alone, as no two requests need have one shape."""
    from tritonclient.grpc import model_config_pb2

    said = {f"unit.{name}": unit for name, unit in INPUT_UNITS.items()}
    config = _computing(VIEWS_MODEL, settings, said | {"max_grid_points": str(settings.max_grid_points)})
    for item in graphs.views.inputs:
        config.input.add(name=item.name, data_type=model_config_pb2.TYPE_FP32, dims=item.shape)
    for item in graphs.views.outputs:
        _add_output(config, item)
    sample = config.model_warmup.add(name="one_grid", batch_size=1)
    for item in graphs.views.inputs:
        _add_warmup(sample, Tensor(item.name, tuple(WARMUP_GRID if axis < 0 else axis for axis in item.shape)))
    return config


def _ensemble(graphs: Graphs, answers: dict[str, str]) -> model_config_pb2.ModelConfig:
    """Both steps as one model: a native grid in, all that is said about it out."""
    from tritonclient.grpc import model_config_pb2

    config = _base(DENSITY_MODEL, answers)
    config.platform = "ensemble"
    for item in graphs.views.inputs:
        config.input.add(name=item.name, data_type=model_config_pb2.TYPE_FP32, dims=item.shape)
    network = {item.name for item in graphs.network.outputs}
    for item in graphs.answers:
        # The network answers for a batch of one, whose axis is taken off.
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


def _tensorflow(graphs: Graphs, settings: TritonSettings, answers: dict[str, str]) -> model_config_pb2.ModelConfig:
    """The SavedModel, for servers up to 25.02; takes and gives what the ensemble does."""
    from tritonclient.grpc import model_config_pb2

    config = _base(TENSORFLOW_MODEL, answers | {"TF_SIGNATURE_DEF": "predict_density"})
    config.platform = "tensorflow_savedmodel"
    _add_instances(config, settings)
    for item in graphs.views.inputs:
        config.input.add(name=item.name, data_type=model_config_pb2.TYPE_FP32, dims=item.shape)
    for item in graphs.answers:
        _add_output(config, item)
    return config


def _computing(name: str, settings: TritonSettings, said: dict[str, str]) -> model_config_pb2.ModelConfig:
    """Configuration of a model that computes with an ONNX file."""
    said = dict(said)
    if settings.threads:
        said["intra_op_thread_count"] = str(settings.threads)
    config = _base(name, said)
    config.backend = settings.backend
    config.default_model_filename = "model.onnx" if settings.backend == "onnxruntime" else "model.py"
    _add_instances(config, settings)
    return config


def _base(name: str, said: dict[str, str]) -> model_config_pb2.ModelConfig:
    from tritonclient.grpc import model_config_pb2

    config = model_config_pb2.ModelConfig(name=name)
    # One configuration tells about all versions, so the one that it was written for is served.
    config.version_policy.latest.num_versions = 1
    for key, value in sorted({"made_by": MADE_BY, "rhonet_version": __version__, **said}.items()):
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
        output.reshape.SetInParent()  # to the shape () that the model gives


def _add_warmup(sample: model_config_pb2.ModelWarmup, item: Tensor) -> None:
    """Zeros; the lattice, which zeros do not span, comes from a file."""
    from tritonclient.grpc import model_config_pb2

    entry = sample.inputs[item.name]
    entry.data_type = model_config_pb2.TYPE_FP32
    entry.dims.extend(item.shape)
    if item.name == "lattice":
        entry.input_data_file = LATTICE_FILE
    else:
        entry.zero_data = True
