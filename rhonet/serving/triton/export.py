"""Export of a model folder to a Triton repository."""

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
    """Writes a model into a Triton repository; returns its version there.

    Takes the ONNX files of the model folder if there are some; otherwise converts the SavedModel without changing the
    folder.

    Args:
        folder: of the model.
        destination: repository; made if it is missing.
        settings: how Triton serves the models.
        tensorflow: adds rhonet_tensorflow, for servers up to 25.02.
        force: replaces models of the same names with all their versions, whoever wrote them.

    Raises:
        DiskError: a file of the repository cannot be written.
        ModelError: the folder is not a model folder, its SavedModel cannot be converted, or the repository holds a
            model of that name that was not written by rhonet.export.
        PackageError: the SavedModel must be converted, but onnx or tf2onnx is not installed.
    """
    read_card(folder)
    check_destination(destination, tensorflow=tensorflow, force=force)
    with _onnx_folder(folder) as onnx:
        version = write_repository(onnx, folder, destination, settings=settings, tensorflow=tensorflow, force=force)
    log.info("%s: version %d, for the %s backend", destination, version, settings.backend)
    return version


@contextlib.contextmanager
def _onnx_folder(folder: Path) -> Iterator[Path]:
    """Folder with the ONNX files of a model: the model folder, or a temporary one after a conversion."""
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
