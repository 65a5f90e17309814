"""From a model folder to a Triton repository."""

from __future__ import annotations

import logging
from pathlib import Path

from rhonet.runs import RunError
from rhonet.triton.config import Settings
from rhonet.triton.repository import write_repository
from rhonet.triton.tensors import NETWORK, VIEWS

log = logging.getLogger(__name__)


def export_repository(
    folder: Path, destination: Path, *, settings: Settings, tensorflow: bool = False, force: bool = False
) -> int:
    """Writes the models of a folder into a Triton repository; their version.

    Args:
        folder: of a model, with its ONNX files.
        destination, settings, tensorflow, force: see `write_repository`.

    Raises:
        RunError: the folder is no model's, or the repository cannot be written.
    """
    if not all((folder / name).is_file() for name in (VIEWS, NETWORK)):
        raise RunError(f"{folder}: has no {VIEWS} and {NETWORK}; export the model with --onnx")
    version = write_repository(folder, folder, destination, settings=settings, tensorflow=tensorflow, force=force)
    log.info("%s: version %d, for the %s backend", destination, version, settings.backend)
    return version
