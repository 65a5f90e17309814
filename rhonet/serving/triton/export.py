"""From a model folder to a Triton repository."""

from __future__ import annotations

import contextlib
import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rhonet.core.startup import start_tensorflow
from rhonet.serving.model_card import NETWORK, SAVED_MODEL, VIEWS, read_card
from rhonet.serving.triton.config import TritonSettings
from rhonet.serving.triton.repository import check_destination, write_repository

log = logging.getLogger(__name__)


def export_repository(
    folder: Path, destination: Path, *, settings: TritonSettings, tensorflow: bool = False, force: bool = False
) -> int:
    """Writes the model of a folder into a Triton repository; its version there.

    Its ONNX files are taken where it has some; else the SavedModel is converted, and the folder stays as it is.

    Args:
        folder: of a model.
        destination, settings, tensorflow, force: see `write_repository`.

    Raises:
        ModelError: the folder is no model's, its SavedModel cannot be converted, or the repository cannot be written.
    """
    read_card(folder)
    check_destination(destination, tensorflow=tensorflow, force=force)
    with _onnx_folder(folder) as onnx:
        version = write_repository(onnx, folder, destination, settings=settings, tensorflow=tensorflow, force=force)
    log.info("%s: version %d, for the %s backend", destination, version, settings.backend)
    return version


@contextlib.contextmanager
def _onnx_folder(folder: Path) -> Iterator[Path]:
    """Folder with the ONNX files of a model: its own, or one that is deleted afterwards."""
    if all((folder / name).is_file() for name in (VIEWS, NETWORK)):
        yield folder
        return
    log.info("%s: converting to ONNX, which takes up to a minute", folder)
    start_tensorflow()
    from rhonet.serving.onnx_export import write_onnx

    with tempfile.TemporaryDirectory(prefix="rhonet-onnx-") as scratch:
        (Path(scratch) / SAVED_MODEL).symlink_to((folder / SAVED_MODEL).resolve())
        write_onnx(Path(scratch))
        yield Path(scratch)
