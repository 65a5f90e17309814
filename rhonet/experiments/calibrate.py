"""Calibration of a finished model: its networks predict their validation records, which gives intervals and novelty."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rhonet.core.files import explain_disk, write_text
from rhonet.core.predictions import Predictions, merge_predictions
from rhonet.core.standardize import Standardizer
from rhonet.training.ensemble import network_of_run
from rhonet.training.experiment import Experiment
from rhonet.training.inference import standardized_outputs_of_records, to_predictions
from rhonet.training.runs import Run, note_scales
from rhonet.uncertainty.calibration import fit_calibration
from rhonet.uncertainty.novelty import distances_of, peaks_of_records
from rhonet.uncertainty.temperature import temper
from rhonet.uncertainty.training_peaks import TrainingPeaks

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class CalibrationSet:
    """Predictions of one network for its n validation records.

    Attributes:
        predictions: in physical units, with labels.
        volumes: of the cells, (n,), Å³.
        distances: out-of-distribution scores, (n,): distances to the network's training crystals.
    """

    predictions: Predictions
    volumes: np.ndarray
    distances: np.ndarray


def predict_validation(experiment: Experiment) -> CalibrationSet | None:
    """Calibration set of a run's trained network; also saves its training peaks in the run folder.

    The temperatures of its classes are fitted first and written to run.json.

    Returns:
        None without validation records.

    Raises:
        RunError: the run has no checkpoint.
        DiskError: a file cannot be written.
    """
    run, view, builder, index = experiment.run, experiment.config.view, experiment.builder, experiment.index
    network = network_of_run(run)
    rows = index.rows("validation")
    if not len(rows):
        return None
    training_peaks = TrainingPeaks.fit(peaks_of_records(builder, index.rows("train"), view))
    with explain_disk(run.training_peaks_file, "free some space"):
        training_peaks.save(run.training_peaks_file)
    outputs = standardized_outputs_of_records(network, builder, rows, view)
    standardizer = temper(Standardizer.from_dict(run.record()["standardizer"]), outputs, index.labels[rows])
    note_scales(run, standardizer.to_dict())
    for item, scale in zip(standardizer.properties, standardizer.scales, strict=True):
        if item.is_class and scale.std < 1:
            log.info("%s: probabilities temperature-scaled, temperature %.1f", item.name, 1 / scale.std)
    predictions = to_predictions(network_of_run(run), outputs, index, rows)
    distances = distances_of(training_peaks, peaks_of_records(builder, rows, view))
    return CalibrationSet(predictions, index.volumes[rows], distances)


def calibrate(run: Run, calibration_sets: Sequence[CalibrationSet | None]) -> None:
    """Writes the run's calibration from the calibration sets of all its networks; writes nothing if one is missing.

    Raises:
        DiskError: it cannot be written.
    """
    known = [part for part in calibration_sets if part is not None]
    if len(known) < len(calibration_sets):
        log.warning(
            "no validation records: the model gives neither intervals nor novelty; see data.split_by and "
            "data.split_seed"
        )
        return
    calibration = fit_calibration(
        merge_predictions([part.predictions for part in known]),
        np.concatenate([part.volumes for part in known]),
        np.concatenate([part.distances for part in known]),
    )
    with explain_disk(run.calibration_file, "free some space"):
        write_text(run.calibration_file, json.dumps(calibration.to_dict(), indent=1) + "\n")
