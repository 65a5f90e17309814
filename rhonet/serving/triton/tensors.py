"""What an ONNX file takes and gives: names, types and shapes, read without running it."""

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
# What `views.onnx` gives the network, by the name of the network's input.
FEEDS = {"views": "views", "lattice": "lattice_batch"}


@dataclass(frozen=True)
class Tensor:
    """One float32 input or output.

    shape: -1 for an axis of any length.
    """

    name: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class Graph:
    """What one ONNX file takes and gives, in its order."""

    path: Path
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Graphs:
    """The two halves of a model.

    views: density, magnetization, lattice -> views, lattice_batch, and novelty where the model gives one.
    network: views, lattice -> properties and ends of their intervals, a batch at a time.
    """

    views: Graph
    network: Graph

    @property
    def answers(self) -> tuple[Tensor, ...]:
        """All that both say about one crystal: a property (), or (classes,), ends of intervals, novelty."""
        direct = [item for item in self.views.outputs if item.name not in FEEDS.values()]
        return tuple(Tensor(item.name, item.shape[1:]) for item in (*self.network.outputs, *direct))


def read_graphs(folder: Path) -> Graphs:
    """Interfaces of `views.onnx` and `network.onnx` in a folder, which must fit together.

    Raises:
        ModelError: a file is missing, is no ONNX, or does not take and give what the other one needs.
    """
    graphs = Graphs(read_graph(folder / VIEWS), read_graph(folder / NETWORK))
    _check_names(graphs.views.path, "takes", graphs.views.inputs, GRID_INPUTS)
    _check_names(graphs.network.path, "takes", graphs.network.inputs, NETWORK_INPUTS)
    given = {item.name: item.shape for item in graphs.views.outputs}
    for item in graphs.network.inputs:
        shape = given.get(FEEDS[item.name], ())
        if not _agree(shape[1:], item.shape[1:]):
            raise ModelError(
                f"{graphs.network.path}: takes {item.name} {item.shape}, but {graphs.views.path} gives "
                f"{FEEDS[item.name]} {shape}; export both from one model"
            )
    return graphs


def read_graph(path: Path) -> Graph:
    """Interface of one ONNX file.

    Raises:
        ModelError: it is missing, damaged, or has an input or output that is not float32.
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
        found = onnx.TensorProto.DataType.Name(kind.elem_type)
        raise ModelError(f"{path}: {info.name} is {found}, not float32 of known rank; export the model again")
    shape = (axis.dim_value if axis.HasField("dim_value") else -1 for axis in kind.shape.dim)
    return Tensor(info.name, tuple(shape))


def _agree(given: tuple[int, ...], taken: tuple[int, ...]) -> bool:
    """Whether two shapes can be the same, where -1 is any length."""
    pairs = zip(given, taken, strict=True) if len(given) == len(taken) else [(0, 1)]
    return all(one == other or -1 in (one, other) for one, other in pairs)


def _check_names(path: Path, verb: str, tensors: Sequence[Tensor], expected: Sequence[str]) -> None:
    names = [item.name for item in tensors]
    if sorted(names) != sorted(expected):
        raise ModelError(f"{path}: {verb} {', '.join(names)} instead of {', '.join(expected)}; export the model again")
