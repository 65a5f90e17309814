"""Ensembles: members that leave out a fold each, one exported model with error bars and novelty."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from rhonet.dataset import as_records
from rhonet.density import ChargeDensity
from rhonet.export import network_of_run
from rhonet.members import members_of
from rhonet.records import decode_record
from rhonet.runs import Run
from rhonet.serving import Predictor
from rhonet.surroundings import Surroundings
from rhonet.trust import answers_of_records, distances_of, sites_of_records
from tests.crystals import smooth_density

pytest_plugins = ("tests.fixtures",)
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")]

SETTINGS = ("train.ensemble=2", "train.epochs=1")
CLASSES = {"is_metal", "phase"}


@pytest.fixture(scope="module")
def ensemble(crystals, tmp_path_factory) -> Run:
    from rhonet.experiment import start_training

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
        (standardized,) = answers_of_records(network, builder, np.array([0]), config.view)
        scale = network.units.standardizer.scales[0]
        learned.append(standardized[0] * scale.std + scale.mean)
    item = index.properties[0]
    expected = np.mean(learned)
    answer = predictor.predict(density).values[item.name]
    assert answer == pytest.approx(math.exp(expected) if item.transform == "log" else expected, rel=1e-4)


def test_intervals_hold_their_half_width_around_the_value(ensemble, predictor):
    answer = predictor.predict(smooth_density(70, spin=True))
    spreads = ensemble.calibration().spreads
    assert set(answer.lower) == set(answer.upper)
    assert set(answer.lower) == {name for name in spreads if math.isfinite(spreads[name].half_width)} - CLASSES
    assert "hardness" not in answer.lower  # too few of its labels for a level of 90 %
    for name in answer.lower:
        assert answer.lower[name] <= float(answer.values[name]) < answer.upper[name]
    gap, width = float(answer.values["band_gap"]), spreads["band_gap"].half_width
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
    sites = sites_of_records(builder, np.arange(4), config.view)
    surroundings = [Surroundings.load(member.run.surroundings_file) for member in members_of(ensemble, config)]
    expected = np.mean([distances_of(one, sites) for one in surroundings], axis=0)
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
    from rhonet.experiment import resume_training

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
