"""One experiment and the networks of its ensemble."""

from __future__ import annotations

import numpy as np
import pytest

from rhonet.training.experiment import Experiment
from rhonet.training.runs import Run

pytest_plugins = ("tests.fixtures",)


@pytest.fixture
def make_experiment(builder, index, crystals, tmp_path):
    def make(*settings: str) -> Experiment:
        return Experiment(Run(tmp_path / "run"), crystals.config(*settings), builder, index, None)

    return make


def test_members_validate_on_every_crystal_outside_the_test_split_once(make_experiment, index):
    members = make_experiment("train.ensemble=3").members()
    validated = np.sort(np.concatenate([member.index.rows("validation") for member in members]))
    assert validated.tolist() == np.setdiff1d(np.arange(len(index.ids)), index.rows("test")).tolist()
    for member in members:
        assert member.index.rows("test").tolist() == index.rows("test").tolist()
    assert len({member.config.train.seed for member in members}) == 3
    assert [member.run.path.parts[-2:] for member in members] == [("members", str(at)) for at in range(3)]


def test_one_network_is_its_own_member(make_experiment):
    experiment = make_experiment()
    (member,) = experiment.members()
    assert (member.run, member.config, member.index) == (experiment.run, experiment.config, experiment.index)


def test_an_ensemble_has_trained_on_all_but_the_test_split(make_experiment, index):
    one, three = (make_experiment(f"train.ensemble={count}").describe_data()["records"] for count in (1, 3))
    assert one == {split: len(index.rows(split)) for split in ("train", "validation", "test")}
    assert three == {"train": one["train"] + one["validation"], "validation": 0, "test": one["test"]}
