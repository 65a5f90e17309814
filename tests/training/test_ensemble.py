"""Ensembles: each member leaves out a fold; the exported model has prediction intervals and novelty."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from scipy.special import expit, softmax

from rhonet.core.density import ChargeDensity
from rhonet.data.index import as_records, read_index
from rhonet.data.records import decode_record
from rhonet.experiments.calibrate import predict_validation
from rhonet.models.layers import PhysicalUnits
from rhonet.models.network import Network
from rhonet.serving.answer import inputs_of
from rhonet.serving.export import model_of_run
from rhonet.serving.exported_model import Predictor
from rhonet.training.ensemble import members_of, network_of_run
from rhonet.training.experiment import Experiment
from rhonet.training.inference import standardized_outputs_of_records
from rhonet.training.runs import Run, note_scales
from rhonet.uncertainty.novelty import distances_of, peaks_of_records
from rhonet.uncertainty.temperature import fit_temperature
from rhonet.uncertainty.training_peaks import TrainingPeaks
from tests.crystals import smooth_density

pytest_plugins = ("tests.fixtures",)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]

SETTINGS = ("train.ensemble=2", "train.epochs=1")
CLASSES = {"is_metal", "phase"}


@pytest.fixture(scope="module")
def ensemble(crystals, tmp_path_factory) -> Run:
    from rhonet.experiments.train_model import start_training

    run = Run(tmp_path_factory.mktemp("ensemble") / "run")
    start_training(crystals.config(*SETTINGS), run)
    return run


@pytest.fixture(scope="module")
def predictor(ensemble) -> Predictor:
    return Predictor(ensemble.model)


def stored_densities(builder: Any) -> list[ChargeDensity]:
    records: Any = as_records(builder).as_numpy_iterator()
    return [decode_record(record) for record in records]


def test_every_crystal_outside_the_test_split_has_one_member_that_did_not_see_it(ensemble, index):
    members = members_of(ensemble, ensemble.config())
    records = [member.run.record()["data"]["records"] for member in members]
    assert sum(record["validation"] for record in records) == len(index.ids) - len(index.rows("test"))
    assert len({member.config.train.seed for member in members}) == 2
    calibration = ensemble.calibration()
    assert calibration is not None
    assert calibration.n == len(index.ids) - len(index.rows("test"))


def test_answer_is_the_mean_of_the_members_on_the_learned_scale(ensemble, predictor, builder, index):
    config = ensemble.config()
    density = stored_densities(builder)[0]
    learned = []
    for member in members_of(ensemble, config):
        network = network_of_run(member.run)
        (standardized,) = standardized_outputs_of_records(network, builder, np.array([0]), config.view)
        scale = network.units.standardizer.scales[0]
        learned.append(standardized[0] * scale.std + scale.mean)
    item = index.properties[0]
    expected = np.mean(learned)
    answer = predictor.predict(density).values[item.name]
    assert answer == pytest.approx(math.exp(expected) if item.transform == "log" else expected, rel=1e-4)


def test_probabilities_are_the_mean_of_the_members_tempered_logits(ensemble, builder, index, tmp_path):
    run = Run(Path(shutil.copytree(ensemble.path, tmp_path / "run")))
    config = run.config()
    columns = np.cumsum([0, *(item.size for item in index.properties)])
    logits: dict[str, list[np.ndarray]] = {name: [] for name in CLASSES}
    for member, temperature in zip(members_of(run, config), (2.0, 5.0), strict=True):
        (standardized,) = standardized_outputs_of_records(
            network_of_run(member.run), builder, np.array([0]), config.view
        )
        scales = member.run.record()["standardizer"]
        for at, item in enumerate(index.properties):
            if item.name in CLASSES:
                scales["scales"][at] = [0.0, 1 / temperature]
                logits[item.name].append(standardized[columns[at] : columns[at + 1]] / temperature)
        note_scales(member.run, scales)
    model = model_of_run(run)
    fields: Any = inputs_of(stored_densities(builder)[0])
    answer = model.predict_density(**fields)
    assert float(answer["is_metal"]) == pytest.approx(float(expit(np.mean(logits["is_metal"]))), rel=1e-4)
    np.testing.assert_allclose(answer["phase"], softmax(np.mean(logits["phase"], axis=0)), rtol=1e-4)


def test_network_is_judged_with_the_temperatures_that_its_crystals_gave(
    ensemble, builder, index, tmp_path, monkeypatch
):
    run = Run(Path(shutil.copytree(ensemble.path, tmp_path / "run")))
    member = members_of(run, run.config())[0]
    index = read_index(builder, member.config.data, index.properties)
    index = dataclasses.replace(index, labels=index.labels.copy())
    rows, column = index.rows("validation"), [item.name for item in index.properties].index("is_metal")
    network, before = network_of_run(member.run), member.run.record()["standardizer"]["scales"]
    at = sum(item.size for item in index.properties[:column])
    logits = standardized_outputs_of_records(network, builder, rows, member.config.view)[:, at : at + 1]
    # As sure as if it had been trained for long, and half wrong.
    head = network.standardized.get_layer("is_metal_standardized")
    monkeypatch.setattr("rhonet.uncertainty.temperature.FEWEST", 2)
    labels = np.arange(len(rows)) % 2.0
    index.labels[rows, column] = labels
    kernel, bias = (np.array(weight) for weight in head.get_weights())
    head.set_weights([50 * kernel, 50 * bias])
    monkeypatch.setattr("rhonet.experiments.calibrate.network_of_run", lambda run: with_scales(network, run))
    calibration_set = predict_validation(Experiment(member.run, member.config, builder, index, None))
    assert calibration_set is not None
    temperature = fit_temperature(index.properties[column], 50.0 * logits, labels)
    assert temperature > 1.5
    after = member.run.record()["standardizer"]["scales"]
    assert after[column] == [0.0, pytest.approx(1 / temperature, rel=1e-3)]
    assert [one for at, one in enumerate(after) if not index.properties[at].is_class] == [
        one for at, one in enumerate(before) if not index.properties[at].is_class
    ]
    told = calibration_set.predictions.values["is_metal"]
    np.testing.assert_allclose(told, expit(50.0 * logits[:, 0] / temperature), rtol=2e-3, atol=1e-6)


def with_scales(network: Network, run: Run) -> Network:
    """The network with the units of the run."""
    return dataclasses.replace(network, units=PhysicalUnits(run.record()["standardizer"]))


def test_intervals_hold_their_half_width_around_the_value(ensemble, predictor):
    answer = predictor.predict(smooth_density(70, spin=True))
    widths = ensemble.calibration().widths
    assert set(answer.lower) == set(answer.upper)
    assert set(answer.lower) == {name for name in widths if math.isfinite(widths[name].half_width)} - CLASSES
    assert "hardness" not in answer.lower  # too few of its labels for a level of 90 %
    for name in answer.lower:
        assert answer.lower[name] <= float(answer.values[name]) < answer.upper[name]
    gap, width = float(answer.values["band_gap"]), widths["band_gap"].half_width
    assert answer.lower["band_gap"] == pytest.approx(max(gap - width, 0.0), rel=1e-4)  # never below 0
    assert answer.upper["band_gap"] == pytest.approx(gap + width, rel=1e-4)


def test_novelty_grows_with_damage_and_is_small_for_training_crystals(ensemble, predictor, builder, index):
    densities = stored_densities(builder)
    known = [predictor.predict(densities[int(row)]).novelty for row in index.rows("train")]
    damaged = [
        predictor.predict(dataclasses.replace(densities[int(row)], values=densities[int(row)].values * 1000)).novelty
        for row in index.rows("train")
    ]
    assert np.median(known) < 1 < np.median(damaged)


def test_novelty_is_the_same_in_the_graph_and_outside(ensemble, predictor, builder):
    config = ensemble.config()
    peaks = peaks_of_records(builder, np.arange(4), config.view)
    training_peaks = [TrainingPeaks.load(member.run.training_peaks_file) for member in members_of(ensemble, config)]
    expected = np.mean([distances_of(one, peaks) for one in training_peaks], axis=0)
    expected /= ensemble.calibration().distance_scale
    served = [predictor.predict(density).novelty for density in stored_densities(builder)[:4]]
    np.testing.assert_allclose(served, expected, rtol=1e-3)


def test_both_signatures_give_the_same_names(ensemble):
    signatures = tf.saved_model.load(str(ensemble.model / "saved_model")).signatures
    single, batch = (set(signatures[name].structured_outputs) for name in ("predict_density", "serving_default"))
    assert single == batch
    assert {"novelty", "band_gap", "band_gap_lower", "band_gap_upper"} <= single
    assert "is_metal_lower" not in single


def test_interrupted_ensemble_goes_on_with_the_next_member(ensemble, crystals, tmp_path):
    from rhonet.experiments.train_model import resume_training

    run = Run(shutil.copytree(ensemble.path, tmp_path / "run"))
    shutil.rmtree(run.model)
    run.calibration_file.unlink()
    shutil.rmtree(run.path / "members" / "1")
    untouched = (run.path / "members" / "0" / "checkpoint" / "state.npz").stat().st_mtime_ns
    resume_training(run)
    assert (run.path / "members" / "0" / "checkpoint" / "state.npz").stat().st_mtime_ns == untouched
    assert json.loads(run.calibration_file.read_text()) == json.loads(ensemble.calibration_file.read_text())
    answers = [Predictor(folder).predict(smooth_density(71)) for folder in (ensemble.model, run.model)]
    for name, value in answers[0].values.items():
        np.testing.assert_array_equal(value, answers[1].values[name])
