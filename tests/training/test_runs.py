from __future__ import annotations

import errno
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from rhonet.core import provenance
from rhonet.core.config import Config, load_config
from rhonet.core.errors import ConfigError, DiskError, RunError
from rhonet.core.files import write_text
from rhonet.core.provenance import git_commit
from rhonet.training import runs
from rhonet.training.runs import Run, make_run, open_run, plan_run, write_history, write_record


@pytest.fixture
def full_disk(monkeypatch):
    """A disk on which no file can be put into its place."""

    def fail(source: Path, target: Path) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(target))

    monkeypatch.setattr(runs.os, "replace", fail)


def test_new_run_keeps_its_configuration(tmp_path):
    config = load_config("tiny", ["train.epochs=2"])
    run = plan_run(tmp_path / "runs" / "mine")
    assert not run.path.parent.exists()
    make_run(run, config)
    assert open_run(run.path).config() == config
    assert [path.name for path in run.path.iterdir()] == ["config.toml"]


def test_run_without_a_name_is_named_after_the_time(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert re.fullmatch(r"runs/\d{8}-\d{6}", str(plan_run(None).path))


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_what_exists_is_not_overwritten(tmp_path, make):
    make(tmp_path / "mine")
    with pytest.raises(RunError, match="mine: exists already; give another --run-dir, or go on with it by --resume"):
        plan_run(tmp_path / "mine")
    with pytest.raises(DiskError, match="mine: cannot be written: File exists; give another --run-dir"):
        make_run(Run(tmp_path / "mine"), Config())


def test_folder_that_cannot_be_made_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DiskError, match="mine: cannot be written: Not a directory; give another --run-dir"):
        make_run(Run(tmp_path / "file" / "mine"), Config())


@pytest.mark.parametrize("path", ["nothing", "."])
def test_folder_that_is_no_run_is_not_opened(tmp_path, path):
    with pytest.raises(RunError, match=r"not a run folder \(no config.toml\); runs are made by python -m rhonet.train"):
        open_run(tmp_path / path)


def test_spoilt_configuration_of_a_run_is_named(tmp_path):
    (tmp_path / "config.toml").write_text("[train]\nepoch = 3\n")
    with pytest.raises(ConfigError, match=r"config.toml: unknown setting train\.epoch"):
        open_run(tmp_path).config()


def test_record_says_how_the_run_came_about(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/x/rhonet/train.py", "--data", "my crystals", "--set", "train.epochs=2"])
    write_record(Run(tmp_path), data={"fingerprint": "abc"}, scales={"scales": []}, arithmetic={})
    record = Run(tmp_path).record()
    assert shlex.split(record["command"]) == [
        *["python", "-m", "rhonet.train", "--data", "my crystals", "--set", "train.epochs=2"]
    ]
    assert record["data"] == {"fingerprint": "abc"}
    assert record["standardizer"] == {"scales": []}
    assert record["versions"]["keras"].startswith("3.")
    assert {"python", "numpy", "tensorflow-datasets"} < set(record["versions"])
    assert re.fullmatch(r"([0-9a-f]{12}(\+changes)?)?", record["commit"])


@pytest.mark.parametrize("text", [None, "", '{"data": '])
def test_missing_or_damaged_record_is_one_clear_line(tmp_path, text):
    if text is not None:
        (tmp_path / "run.json").write_text(text)
    with pytest.raises(RunError, match=r"run.json: cannot be read: .*; start a new run"):
        Run(tmp_path).record()


def test_history_has_a_line_per_epoch_and_null_for_what_is_not_defined(tmp_path):
    epochs = [{"epoch": 1, "loss": {"train": 0.5, "validation": float("nan")}}, {"epoch": 2, "loss": {"train": 0.25}}]
    write_history(Run(tmp_path), epochs)
    lines = (tmp_path / "history.jsonl").read_text().splitlines()

    def refuse(name: str) -> float:
        raise AssertionError(name)

    read = [json.loads(line, parse_constant=refuse) for line in lines]
    assert read == [{"epoch": 1, "loss": {"train": 0.5, "validation": None}}, epochs[1]]


def test_history_is_read_back_and_missing_before_the_first_epoch(tmp_path):
    run = Run(tmp_path)
    assert run.history() == []
    write_history(run, [{"epoch": 1, "r2": {"gap": float("nan")}}, {"epoch": 2, "r2": {"gap": 0.5}}])
    assert run.history() == [{"epoch": 1, "r2": {"gap": None}}, {"epoch": 2, "r2": {"gap": 0.5}}]
    run.history_file.write_text('{"epoch": 1')
    with pytest.raises(RunError, match=r"history.jsonl: cannot be read: .*; start a new run"):
        run.history()


def test_full_disk_is_one_clear_line_and_leaves_no_halves(tmp_path, full_disk):
    run = Run(tmp_path)
    run.history_file.write_text("old\n")
    for write in (lambda: write_history(run, [{}]), lambda: write_record(run, data={}, scales={}, arithmetic={})):
        with pytest.raises(DiskError, match=r"(history.jsonl|run.json): cannot be written: No space left on device"):
            write()
    with pytest.raises(DiskError, match="new: cannot be written: No space left on device"):
        make_run(Run(tmp_path / "new"), Config())
    with pytest.raises(OSError, match="No space left"):
        write_text(tmp_path / "history.jsonl", "new")
    assert run.history_file.read_text() == "old\n"
    assert not list(tmp_path.rglob("*.partial*"))


def test_commit_is_that_of_a_checkout_of_rhonet_and_of_nothing_else(tmp_path, monkeypatch):
    copy = tmp_path / "somebody" / ".venv" / "rhonet" / "runs.py"
    copy.parent.mkdir(parents=True)
    copy.write_text("")
    monkeypatch.setattr(provenance, "__file__", str(copy))
    assert git_commit() == ""
    git = ["git", "-C", str(tmp_path / "somebody"), "-c", "user.name=a", "-c", "user.email=b"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "-m", "theirs"], check=True)
    assert git_commit() == ""
    subprocess.run([*git, "add", "--force", str(copy)], check=True)
    subprocess.run([*git, "commit", "--quiet", "-m", "ours"], check=True)
    assert re.fullmatch("[0-9a-f]{12}", git_commit())
    copy.write_text("changed")
    assert git_commit().endswith("+changes")
