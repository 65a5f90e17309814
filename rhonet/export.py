"""Command: export the trained weights of a run as a SavedModel with its card, on request also as ONNX files."""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

from rhonet.cli.command import OK, new_parser, run_command
from rhonet.core.errors import CallError
from rhonet.core.startup import start_tensorflow
from rhonet.serving.export import export_model, export_run
from rhonet.serving.triton.config import DEVICES, TENSORFLOW_MODEL, TritonSettings
from rhonet.serving.triton.export import export_repository
from rhonet.serving.triton.repository import check_destination
from rhonet.training.runs import open_run

log = logging.getLogger("rhonet.export")


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "export",
        "Export the trained weights of a run, finished or not: SavedModel (signatures serving_default,\n"
        "predict_density, and its two halves views and network), model card and configuration.",
        "python -m rhonet.export runs/mine --to saved_models/mine --onnx",
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="RUN_OR_MODEL",
        help="run folder; or model folder, to whose copy the additions are made",
    )
    parser.add_argument(
        "--to", type=Path, metavar="DIR", help="new model folder; not needed for --triton of a model folder"
    )
    parser.add_argument(
        "--onnx", action="store_true", help="add model.onnx, for batches of grids, and its halves views and network"
    )
    add_triton_options(parser)
    return parser


def main(arguments: argparse.Namespace) -> int:
    settings = triton_settings(arguments)
    if arguments.triton is not None:
        check_destination(arguments.triton, tensorflow=arguments.triton_tensorflow, force=arguments.force)
    is_model = (arguments.source / "card.toml").is_file()
    folder = arguments.to or arguments.source
    if not is_model:
        open_run(arguments.source)  # report a folder that is neither run nor model before a missing option
    if arguments.to is None:
        if arguments.triton is None or arguments.onnx or not is_model:
            raise CallError("--to DIR is missing: the model folder to write; --triton of a model folder needs none")
    elif is_model:
        if not arguments.onnx and arguments.triton is None:
            raise CallError(f"{arguments.source}: is exported already; --onnx or --triton DIR makes more of it")
        start_tensorflow()
        export_model(arguments.source, arguments.to, onnx=arguments.onnx)
    else:
        run = open_run(arguments.source)
        start_tensorflow()
        export_run(run, arguments.to, onnx=arguments.onnx)
    if arguments.triton is not None:
        export_repository(
            folder,
            arguments.triton,
            settings=settings,
            tensorflow=arguments.triton_tensorflow,
            force=arguments.force,
        )
    print(arguments.to or arguments.triton)
    return OK


def add_triton_options(parser: argparse.ArgumentParser) -> None:
    """Adds --triton DIR, its settings, and --force."""
    default = TritonSettings()
    group = parser.add_argument_group("Triton")
    group.add_argument(
        "--triton",
        type=Path,
        metavar="DIR",
        help="Triton model repository to write into; models that are there get a further version",
    )
    group.add_argument(
        "--triton-python",
        action="store_true",
        help="for servers without the ONNX Runtime backend: models in Python, which need numpy and onnxruntime",
    )
    group.add_argument(
        "--triton-tensorflow",
        action="store_true",
        help=f"adds {TENSORFLOW_MODEL}, the SavedModel, for servers up to 25.02",
    )
    for name, value, text in (
        ("max-batch", default.max_batch, "largest batch of crystals"),
        ("max-grid-points", default.max_grid_points, "largest grid of a request"),
        ("instances", default.instances, "copies of each model, on each GPU"),
        ("threads", default.threads, "threads of a copy on the CPU, 0: all cores"),
    ):
        group.add_argument(f"--triton-{name}", type=int, default=value, metavar="N", help=f"{text} (default: {value})")
    group.add_argument(
        "--triton-device", choices=DEVICES, default=default.device, help=f"where to compute (default: {default.device})"
    )
    group.add_argument(
        "--force",
        action="store_true",
        help="replace models of the same names in the repository, with all their versions",
    )


def triton_settings(arguments: argparse.Namespace) -> TritonSettings:
    """Settings from the options of `add_triton_options`.

    Raises:
        CallError: a number is out of range, or the options are given without --triton.
    """
    try:
        settings = TritonSettings(
            backend="python" if arguments.triton_python else "onnxruntime",
            max_batch=arguments.triton_max_batch,
            max_grid_points=arguments.triton_max_grid_points,
            device=arguments.triton_device,
            instances=arguments.triton_instances,
            threads=arguments.triton_threads,
        )
    except ValueError as error:
        raise CallError(f"--triton-...: {error}") from error
    if arguments.triton is None and (settings != TritonSettings() or arguments.triton_tensorflow or arguments.force):
        raise CallError("--force and all options that begin with --triton- need --triton DIR")
    return settings


if __name__ == "__main__":
    run_command(main, build_parser())
