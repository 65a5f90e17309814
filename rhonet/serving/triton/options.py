"""The options of `python -m rhonet.export` that make a Triton repository."""

from __future__ import annotations

import argparse
from pathlib import Path

from rhonet.cli.command import CallError
from rhonet.serving.triton.config import DEVICES, TENSORFLOW_MODEL, Settings


def add_triton_options(parser: argparse.ArgumentParser) -> None:
    """Adds --triton DIR, its settings, and --force."""
    default = Settings()
    group = parser.add_argument_group("Triton")
    group.add_argument(
        "--triton",
        type=Path,
        metavar="DIR",
        help="Triton model repository to write into; a further version comes beside",
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
        ("max-batch", default.max_batch, "crystals computed together"),
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


def triton_settings(arguments: argparse.Namespace) -> Settings:
    """Settings from the options of `add_triton_options`.

    Raises:
        CallError: a number that makes no sense, or options without --triton.
    """
    try:
        settings = Settings(
            backend="python" if arguments.triton_python else "onnxruntime",
            max_batch=arguments.triton_max_batch,
            max_grid_points=arguments.triton_max_grid_points,
            device=arguments.triton_device,
            instances=arguments.triton_instances,
            threads=arguments.triton_threads,
        )
    except ValueError as error:
        raise CallError(f"--triton-...: {error}") from error
    if arguments.triton is None and (settings != Settings() or arguments.triton_tensorflow or arguments.force):
        raise CallError("--force and all options that begin with --triton- need --triton DIR")
    return settings
