"""Facts of a report: model, data, commands and training histories."""

from __future__ import annotations

import sys
from pathlib import Path

from rhonet.core.config import load_config
from rhonet.experiments.evaluate_model import describe_evaluation, histories_of
from rhonet.serving.model_card import Card
from rhonet.training.ensemble import members_of
from rhonet.training.runs import Run, make_run, write_history

CARD = Card(
    (),
    {
        "model": {"trained": "2026-11-22T20:07:09+00:00", "command": "train it", "rhonet": "0.1.0", "commit": "e7c17a"},
        "data": {"name": "toy/1.0.0", "fingerprint": "abc", "about": {"functional": "PBE", "code": ""}},
    },
)


def test_learning_curves_are_those_of_every_network_that_began(tmp_path):
    run = Run(tmp_path / "run")
    make_run(run, load_config("tiny", ["train.ensemble=3"]))
    for number, member in enumerate(members_of(run, run.config())[:2]):
        member.run.path.mkdir(parents=True)
        write_history(member.run, [{"epoch": 1, "loss": {"train": float(number)}}])
    assert [epochs[0]["loss"]["train"] for epochs in histories_of(run)] == [0, 1]


def test_a_run_of_one_network_has_its_own_curve(tmp_path):
    run = Run(tmp_path / "run")
    make_run(run, load_config("tiny"))
    assert histories_of(run) == []
    write_history(run, [{"epoch": 1}])
    assert histories_of(run) == [[{"epoch": 1}]]


def test_facts_name_model_data_and_commands(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/evaluate.py", "runs/a b"])
    facts = describe_evaluation(Path("runs/x/model"), CARD, data_name="toy/1.0.0", fingerprint="abc")
    assert facts["Trained"] == "2026-11-22 20:07 UTC"
    assert facts["Trained with"] == "rhonet 0.1.0, commit e7c17a"
    assert facts["Data"] == "toy/1.0.0, fingerprint abc"
    assert facts["Trained on"] == ""
    assert facts["Training data"] == "PBE"
    assert facts["Evaluated by"] == "python -m rhonet.evaluate 'runs/a b'"


def test_other_data_than_those_of_the_training_are_told_apart():
    facts = describe_evaluation(Path("m"), CARD, data_name="other/1.0.0", fingerprint="def")
    assert (facts["Trained on"], facts["Data"]) == (
        "toy/1.0.0, fingerprint abc",
        "other/1.0.0, fingerprint def",
    )
