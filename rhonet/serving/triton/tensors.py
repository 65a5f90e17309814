"""Inputs and outputs of ONNX files: names and shapes, read without running them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rhonet.core.errors import ModelError
from rhonet.serving.model_card import NETWORK, VIEWS

if TYPE_CHECKING:
    import onnx

GRID_INPUTS = ("density", "magnetization", "lattice")
NETWORK_INPUTS = ("views", "lattice")
# Output of `views.onnx` for each input of `network.onnx`.
FEEDS = {"views": "views", "lattice": "lattice_batch"}


@dataclass(frozen=True)
class Tensor:
    """One float32 input or output.

    Attributes:
        name: of the tensor.
        shape: length of each axis; -1 for any length.
    """

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """Interface of one ONNX file.

    Attributes:
        path: of the file.
        inputs: in the order of the file.
        outputs: in the order of the file.
    """

    path: Path
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Graphs:
    """Interfaces of the two halves of a model.

    Attributes:
        views: density, magnetization, lattice -> views, lattice_batch, and novelty if the model gives one.
        network: views, lattice -> properties and the ends of their intervals, for a batch.
    """

    views: Graph
    network: Graph

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """Outputs of the whole model for one crystal: properties, () or (classes,), ends of intervals, novelty."""
        direct = [item for item in self.views.outputs if item.name not in FEEDS.values()]
        return tuple(Tensor(item.name, item.shape[1:]) for item in (*self.network.outputs, *direct))


def read_graphs(folder: Path) -> Graphs:
    """Interfaces of views.onnx and network.onnx in a folder.

    Raises:
        ModelError: a file is missing or is not an ONNX file, or the two do not fit together.
    """
    graphs = Graphs(read_graph(folder / VIEWS), read_graph(folder / NETWORK))
    _check_names(graphs.views.path, "takes", graphs.views.inputs, GRID_INPUTS)
    _check_names(graphs.network.path, "takes", graphs.network.inputs, NETWORK_INPUTS)
    shapes = {item.name: item.shape for item in graphs.views.outputs}
    for item in graphs.network.inputs:
        shape = shapes.get(FEEDS[item.name], ())
        if not _are_compatible(shape[1:], item.shape[1:]):
            raise ModelError(
                f"{graphs.network.path}: takes {item.name} {item.shape}, but {graphs.views.path} gives "
                f"{FEEDS[item.name]} {shape}; export both from one model"
            )
    return graphs


def read_graph(path: Path) -> Graph:
    """Interface of one ONNX file.

    Raises:
        ModelError: the file is missing or damaged, or has an input or output that is not float32.
    """
    import onnx
    from google.protobuf.message import DecodeError

    try:
        graph = onnx.load(str(path), load_external_data=False).graph
    except (OSError, DecodeError) as error:
        raise ModelError(f"{path}: cannot be read as ONNX: {error}; export the model again") from error
    weights = {item.name for item in graph.initializer}
    inputs = [_tensor(path, item) for item in graph.input if item.name not in weights]
    return Graph(path, tuple(inputs), tuple(_tensor(path, item) for item in graph.output))


def _tensor(path: Path, info: onnx.ValueInfoProto) -> Tensor:
    import onnx

    kind = info.type.tensor_type
    if kind.elem_type != onnx.TensorProto.FLOAT or not kind.HasField("shape"):
        type_name = onnx.TensorProto.DataType.Name(kind.elem_type)
        raise ModelError(f"{path}: {info.name} is {type_name}, not float32 of known rank; export the model again")
    shape = (axis.dim_value if axis.HasField("dim_value") else -1 for axis in kind.shape.dim)
    return Tensor(info.name, tuple(shape))


def _are_compatible(first: tuple[int, ...], second: tuple[int, ...]) -> bool:
    """Whether two shapes can be equal, where -1 is any length."""
    return len(first) == len(second) and all(a == b or -1 in (a, b) for a, b in zip(first, second, strict=True))


def _check_names(path: Path, verb: str, tensors: Sequence[Tensor], expected: Sequence[str]) -> None:
    names = [item.name for item in tensors]
    if sorted(names) != sorted(expected):
        raise ModelError(f"{path}: {verb} {', '.join(names)} instead of {', '.join(expected)}; export the model again")
