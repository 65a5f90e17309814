"""Export of a run, or of a model folder, to a new model folder."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rhonet.core.errors import ModelError, RunError
from rhonet.core.files import explain_disk
from rhonet.training.ensemble import members_of, network_of_run
from rhonet.training.runs import Run

if TYPE_CHECKING:
    from rhonet.serving.exported_model import DensityModel

log = logging.getLogger(__name__)


def export_run(run: Run, folder: Path, *, onnx: bool = False) -> None:
    """Writes the model folder of a run, whole or not at all: saved_model/, card.toml, config.toml, records.csv.

    Args:
        run: to export.
        folder: to write; must not exist.
        onnx: adds the ONNX files (`rhonet.serving.onnx_export`).

    Raises:
        DiskError: a file cannot be written.
        ModelError: the folder exists, or ONNX lacks an operation of the model.
        PackageError: `onnx` needs packages that are not installed.
        RunError: the run has no checkpoint yet, or lacks a file.
    """
    from rhonet.serving.exported_model import save_model
    from rhonet.serving.model_card import write_card

    with _new_folder(folder) as partial:
        save_model(model_of_run(run), partial)
        for file in (run.config_file, run.trained_records_file):
            shutil.copy(_require(file), partial / file.name)
        write_card(run, partial)
        if onnx:
            _add_onnx(partial)


def export_model(model: Path, folder: Path, *, onnx: bool) -> None:
    """Copies a model folder, whole or not at all.

    Args:
        model: folder to copy.
        folder: to write; must not exist.
        onnx: adds the ONNX files (`rhonet.serving.onnx_export`), converted from the SavedModel.

    Raises:
        DiskError: a file cannot be read or written.
        ModelError: the folder exists, there is no SavedModel, or ONNX lacks one of its operations.
        PackageError: `onnx` needs packages that are not installed.
    """
    with _new_folder(folder) as partial:
        shutil.copytree(model, partial, dirs_exist_ok=True)
        if onnx:
            _add_onnx(partial)


def _add_onnx(folder: Path) -> None:
    from rhonet.serving.onnx_export import write_onnx

    write_onnx(folder)


@contextlib.contextmanager
def _new_folder(folder: Path) -> Iterator[Path]:
    """A temporary folder to fill; it is renamed to `folder` on success and deleted on an error.

    Raises:
        DiskError: a file cannot be written.
        ModelError: the folder exists.
    """
    if folder.exists():
        raise ModelError(f"{folder}: exists already; delete it or give another folder")
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with explain_disk(folder, "free some space or give another folder"):
            partial.mkdir(parents=True)
            yield partial
            os.replace(partial, folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def model_of_run(run: Run) -> DensityModel:
    """The model that a run exports: all members of its ensemble, calibrated if the training is finished.

    Raises:
        RunError: a member has no checkpoint yet, or lacks a file.
    """
    from rhonet.core.standardize import Standardizer
    from rhonet.serving.exported_model import DensityModel, ServedMember
    from rhonet.uncertainty.training_peaks import TrainingPeaks

    config = run.config()
    calibration = run.calibration()
    if calibration is None:
        log.warning("%s: the training is not finished, so the model gives neither intervals nor novelty", run.path)
    gives_novelty = calibration is not None and calibration.distance_scale is not None
    members = [
        ServedMember(
            network_of_run(member.run),
            Standardizer.from_dict(member.run.record()["standardizer"]),
            TrainingPeaks.load(_require(member.run.training_peaks_file)) if gives_novelty else None,
        )
        for member in members_of(run, config)
    ]
    return DensityModel(members, config.view, calibration)


def _require(file: Path) -> Path:
    if not file.is_file():
        raise RunError(f"{file}: is missing; train again")
    return file
