"""Conversion of an exported model to ONNX files, for runtimes and servers without TensorFlow."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from rhonet.core.errors import ModelError, PackageError
from rhonet.serving.exported_model import NOVELTY, load_signatures
from rhonet.serving.model_card import MODEL, NETWORK, SAVED_MODEL, VIEWS

OPSET = 17
GRID_AXES: dict[str | None, tuple[str, ...]] = {"density": ("nx", "ny", "nz"), "magnetization": ("mx", "my", "mz")}


def write_onnx(folder: Path) -> None:
    """Converts the SavedModel of a model folder to three self-contained float32 ONNX files in that folder.

    - model.onnx: density (B, nx, ny, nz), e/Å³; magnetization (B, nx, ny, nz), µB/Å³, or (B, 0, 0, 0) without spin;
      lattice (B, 3, 3), Å -> the outputs of the signature `serving_default`.
    - views.onnx and network.onnx: the two halves, like the signatures `views` and `network`.

    Args:
        folder: holds saved_model/.

    Raises:
        PackageError: onnx or tf2onnx is not installed.
        ModelError: there is no SavedModel, or ONNX lacks one of its operations.
        OSError: a file cannot be written.
    """
    if missing := [name for name in ("onnx", "tf2onnx") if importlib.util.find_spec(name) is None]:
        raise PackageError(f"ONNX files need {' and '.join(missing)}: pip install 'rhonet[export]'")
    import onnx

    path = folder / SAVED_MODEL
    # `_module` must stay referenced: the signatures do not keep its variables alive.
    _module, (views, network) = load_signatures(folder, "views", "network")
    try:
        halves = _convert(views), _convert(network)
        files = {VIEWS: halves[0], NETWORK: halves[1], MODEL: _join(*halves)}
        for proto in files.values():
            onnx.checker.check_model(proto, full_check=True)
    except (ValueError, RuntimeError, NotImplementedError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{path}: something in it has no counterpart in ONNX: {error}") from error
    for name, proto in files.items():
        onnx.save(proto, str(folder / name))


def _join(views: Any, network: Any) -> Any:
    """Joins both halves to one ONNX model: a loop renders the views of each density, then the networks take all."""
    import onnx
    from onnx import TensorProto, helper

    each = onnx.GraphProto()
    each.CopyFrom(views.graph)
    _prefix_names(each, "each/")
    inputs = [
        value for name in ("density", "magnetization", "lattice") for value in views.graph.input if value.name == name
    ]
    outputs = [value.name for value in views.graph.output if value.name != "lattice_batch"]
    body = helper.make_graph(
        [
            *(helper.make_node("Gather", [value.name, "each/turn"], [f"each/{value.name}"]) for value in inputs),
            helper.make_node("Identity", ["each/go_on"], ["each/goes_on"]),
            *each.node,
        ],
        "each",
        [
            helper.make_tensor_value_info("each/turn", TensorProto.INT64, []),
            helper.make_tensor_value_info("each/go_on", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("each/goes_on", TensorProto.BOOL, []),
            *(value for value in each.output if value.name.removeprefix("each/") in outputs),
        ],
        each.initializer,
    )
    nodes = [
        helper.make_node("Shape", ["lattice"], ["all/count"], start=0, end=1),
        helper.make_node("Squeeze", ["all/count"], ["all/turns"]),
        helper.make_node("Loop", ["all/turns", ""], [f"all/{name}" for name in outputs], body=body),
        *(helper.make_node("Squeeze", [f"all/{name}", "all/second"], [name]) for name in outputs),
    ]
    batched = [
        helper.make_tensor_value_info(
            value.name,
            TensorProto.FLOAT,
            ["batch", *(size.dim_param or size.dim_value for size in _shape_of(value).dim)],
        )
        for value in inputs
    ]
    second = helper.make_tensor("all/second", TensorProto.INT64, [1], [1])
    novelty = [helper.make_tensor_value_info(NOVELTY, TensorProto.FLOAT, ["batch"])] if NOVELTY in outputs else []
    graph = helper.make_graph(
        [*nodes, *network.graph.node],
        "rhonet",
        batched,
        [*network.graph.output, *novelty],
        [second, *network.graph.initializer],
    )
    return helper.make_model(graph, opset_imports=network.opset_import, ir_version=network.ir_version)


def _prefix_names(graph: Any, prefix: str) -> None:
    """Adds a prefix to all names of a graph and of the graphs inside its nodes."""
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = prefix + value.name
    for node in graph.node:
        node.name = prefix + node.name
        for names in (node.input, node.output):
            names[:] = [prefix + name if name else "" for name in names]
        for attribute in node.attribute:
            if attribute.HasField("g"):
                _prefix_names(attribute.g, prefix)


def _shape_of(value: Any) -> Any:
    return value.type.tensor_type.shape


def _convert(signature: Any) -> Any:
    """ONNX model of one signature of a SavedModel.

    Raises:
        ValueError, RuntimeError, NotImplementedError: ONNX lacks an operation.
    """
    from tf2onnx import tf_loader
    from tf2onnx.optimizer import optimize_graph
    from tf2onnx.optimizer.identity_optimizer import IdentityOptimizer
    from tf2onnx.tfonnx import process_tf_graph

    inputs = list(signature.structured_input_signature[1].values())
    names = [spec.name for spec in inputs]

    def call(*tensors: tf.Tensor) -> dict[str, tf.Tensor]:
        return signature(**dict(zip(names, tensors, strict=True)))

    concrete = tf.function(call, input_signature=inputs, autograph=False).get_concrete_function()
    takes = [tensor.name for tensor in concrete.inputs if tensor.dtype != tf.resource]
    gives = [tensor.name for tensor in concrete.outputs]
    # TensorFlow orders the tensors of a dictionary by its sorted keys.
    results = sorted(concrete.structured_outputs)
    frozen = tf_loader.from_function(concrete, takes, gives)
    with tf.Graph().as_default() as graph:
        tf.import_graph_def(frozen, name="")
        converted = process_tf_graph(
            graph,
            opset=OPSET,
            input_names=takes,
            output_names=gives,
            tensors_to_rename=dict(zip(takes + gives, names + results, strict=True)),
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    # Runtimes optimize a file when they load it, but some identities that tf2onnx leaves are not valid ONNX.
    converted = optimize_graph(converted, optimizers={"remove_identity": IdentityOptimizer})
    proto = converted.make_model("rhonet")
    _set_shapes(proto.graph.input, {spec.name: _input_shape(spec) for spec in inputs})
    _set_shapes(
        proto.graph.output,
        {name: [size or "batch" for size in spec.shape] for name, spec in signature.structured_outputs.items()},
    )
    return proto


def _erfc(context: Any, node: Any, name: str, _: Any) -> Any:
    """Converts Erfc (from the activation `gelu`) to 1 - Erf: ONNX has no Erfc."""
    erf = context.make_node("Erf", node.input)
    one = context.make_const(f"{name}_one", np.array(1, np.float32))
    shapes, types, outputs = node.output_shapes, node.output_dtypes, node.output
    context.remove_node(node.name)
    return context.make_node(
        "Sub", [one.output[0], erf.output[0]], outputs=outputs, name=name, shapes=shapes, dtypes=types
    )


def _input_shape(spec: tf.TensorSpec) -> list[int | str]:
    """Shape of an input, with a name for each variable length."""
    lengths = iter(GRID_AXES.get(spec.name, ("batch",)))
    return [next(lengths) if size is None else size for size in spec.shape]


def _set_shapes(values: Any, shapes: dict[str, list[int | str]]) -> None:
    """Replaces the shapes of a graph's inputs or outputs; a text names a variable length."""
    for value in values:
        _shape_of(value).Clear()
        for length in shapes[value.name]:
            dimension = _shape_of(value).dim.add()
            if isinstance(length, str):
                dimension.dim_param = length
            else:
                dimension.dim_value = length
