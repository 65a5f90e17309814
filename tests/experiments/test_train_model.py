"""`python -m rhonet.train`: from a user's folder to a model, and wrong calls."""

from __future__ import annotations

import dataclasses
import json
import re
import resource
import shutil
from pathlib import Path

import pytest

from rhonet.serving.model_card import read_card
from rhonet.training.runs import Run
from tests.crystals import Answer, Crystals, run_module, weights_in

pytest_plugins = ("tests.fixtures",)

# One epoch of the smaller network: seconds.
SHORT = ("model.name=plain3dcnn", "train.epochs=1", "train.views_per_epoch=1")


def test_users_folder_becomes_a_scored_and_exported_model(finished, crystals):
    run = finished.run
    assert run.config() == crystals.config()
    record = run.record()
    assert record["data"]["records"] == {"train": 14, "validation": 5, "test": 5}
    assert record["data"]["about"]["name"] == "toy"
    assert re.fullmatch("[0-9a-f]{16}", record["data"]["fingerprint"])
    assert record["versions"]["keras"]
    assert "--data" in record["command"]
    assert len(run.history_file.read_text().splitlines()) == 3
    assert {"checkpoint", "config.toml", "history.jsonl", "metrics.json", "model", "plots", "run.json"} < {
        path.name for path in run.path.iterdir()
    }
    card = read_card(run.model)
    assert [item.name for item in card.properties] == ["band_gap", "magnetic_moment", "is_metal", "hardness", "phase"]
    assert card.properties[4].classes == 3
    assert card.content["data"]["fingerprint"] == record["data"]["fingerprint"]
    assert "test split: 5 samples" in finished.stdout
    for name in ("band_gap (eV)", "hardness (GPa)", "is_metal", "phase", "dummy", "hist-GB"):
        assert name in finished.stdout
    assert "epoch" not in finished.stdout
    assert "epoch   3/3" in finished.stderr
    assert "WARNING" not in finished.stderr


@pytest.mark.slow
def test_without_test_records_the_model_is_exported_unscored_and_resumed_from_the_start(command, crystals, tmp_path):
    arguments = crystals.arguments(*SHORT, "data.fractions=1,0,0", "data.properties=band_gap")
    answer = command("train", *arguments, "--run-dir", tmp_path / "run")
    assert answer.code == 0, answer.stderr
    assert answer.stdout == ""
    assert "no record falls into the test split: the model will not be scored; see data.split_by and" in answer.stderr
    run = Run(tmp_path / "run")
    assert not run.metrics_file.exists()
    assert "metrics" not in read_card(run.model).content
    evaluated = command("evaluate", run.path)
    assert evaluated.says(2, "nothing to evaluate: 0 test and 24 train records")
    predicted = command("predict", crystals.folder / "0.cube", "--model", run.model)
    assert predicted.code == 0, predicted.stderr
    # As if it had been killed in its first epoch.
    for path in (run.checkpoint, run.model, run.tensorboard):
        shutil.rmtree(path)
    resumed = command("train", "--resume", run.path)
    assert resumed.code == 0, resumed.stderr
    assert f"going on with {run.path} at epoch 1" in resumed.stderr
    assert weights_in(resumed.stderr) == weights_in(answer.stderr)


@pytest.mark.slow
def test_finished_run_is_resumed_without_training_again(command, finished, tmp_path):
    path = shutil.copytree(finished.run.path, tmp_path / "finished")
    before = (path / "checkpoint" / "state.npz").read_bytes()
    answer = command("train", "--resume", path)
    assert answer.code == 0, answer.stderr
    assert "trained 0 epochs" in answer.stderr
    assert "rendering" in finished.stderr
    assert "rendering" not in answer.stderr
    assert weights_in(answer.stderr) == weights_in(finished.stderr)
    assert answer.stdout == finished.stdout
    assert (path / "checkpoint" / "state.npz").read_bytes() == before
    assert "not to the weights of a run that never stopped" not in answer.stderr
    record = json.loads((path / "run.json").read_text())
    (resumed,) = record["resumed"]
    assert resumed["arithmetic"] == record["arithmetic"] == {"precision": "float32", "devices": "CPU", "count": 1}

    # As if it had been begun elsewhere.
    record["arithmetic"] = {"precision": "mixed_bfloat16", "devices": "GPU", "count": 2}
    (path / "run.json").write_text(json.dumps(record))
    answer = command("train", "--resume", path)
    assert (
        "trained in mixed_bfloat16 on 2 GPU(s) and goes on in float32 on 1 CPU(s): not to the weights" in answer.stderr
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--config", "huge"], "no configuration 'huge'; shipped: base,"),
        (["--config", "nothing.toml"], "nothing.toml: cannot be read: No such file or directory"),
        (["--set", "train.epoch=2"], "unknown setting train.epoch; did you mean 'epochs'?"),
        (["--set", "epochs=2"], "--set 'epochs=2': the form is section.key=value"),
        (["--set", "train.epochs=many"], "train.epochs must be int, got 'many'"),
        (["--run-dir", "."], ".: exists already; give another --run-dir"),
        (["--resume", "nothing"], "nothing: not a run folder (no config.toml)"),
        (["--resume", "."], ".: not a run folder (no config.toml)"),
        (["--resume", ".", "--set", "train.epochs=2"], "--resume goes on with the run's own configuration"),
        (["--resume", ".", "--data", "x"], "--resume goes on with the run's own configuration"),
    ],
)
def test_bad_call_is_answered_before_tensorflow_starts(arguments, message, command, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("rhonet.train.start_tensorflow", lambda: pytest.fail("TensorFlow was started"))
    assert command("train", *arguments).says(2, message)
    assert list(tmp_path.iterdir()) == []


def spoil_nothing(folder: Path) -> None:
    shutil.rmtree(folder)


def spoil_table(folder: Path) -> None:
    (folder / "properties.csv").unlink()


def spoil_column(folder: Path) -> None:
    table = folder / "properties.csv"
    table.write_text(table.read_text().replace("hardness", "hardnes"))


def spoil_file(folder: Path) -> None:
    density = folder / "2.cube"
    density.write_text(density.read_text()[:2000])


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (spoil_nothing, "toy: no such folder; give one: a folder with density files and properties.csv"),
        (spoil_table, "toy: there is no properties.csv; write one with the columns id,file,<property>..."),
        (spoil_column, "unknown property 'hardnes'"),
        (spoil_file, "1 of 24 density files cannot be used, 0 may be skipped"),
    ],
)
def test_bad_folder_leaves_no_run_behind(spoil, message, command, crystals, tmp_path):
    copy = Crystals(Path(shutil.copytree(crystals.folder, tmp_path / "toy")), tmp_path / "data")
    spoil(copy.folder)
    answer = command("train", *copy.arguments(), "--run-dir", tmp_path / "run")
    assert answer.says(2, message), answer
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("data.properties=band_gap,density", "data.properties: the data set has no density; it has band_gap"),
        ("data.fractions=0,1,0", "property 'band_gap' has no label in the training split; leave it out"),
        ("train.batch_size=1000", "14 training records x 4 views give no batch of 1000; lower train.batch_size"),
        ("view.size=6", "view.size 6 does not suit msa3dcnn tiny"),
    ],
)
def test_settings_that_do_not_fit_the_data_leave_no_run_behind(setting, message, command, crystals, tmp_path):
    answer = command("train", *crystals.arguments(setting), "--run-dir", tmp_path / "run")
    assert answer.says(2, message), answer
    assert not (tmp_path / "run").exists()


def test_changed_labels_are_noticed_on_resume(command, crystals, finished, tmp_path):
    run = Run(Path(shutil.copytree(finished.run.path, tmp_path / "run")))
    copy = Crystals(Path(shutil.copytree(crystals.folder, tmp_path / "toy")), tmp_path / "data")
    table = copy.folder / "properties.csv"
    table.write_text(table.read_text().replace(",made up", ",invented", 1).replace("c00,", "d00,"))
    run.config_file.write_text(copy.config().to_toml())
    answer = command("train", "--resume", run.path)
    assert answer.says(2, "was trained on data with the fingerprint"), answer
    assert "restore the data or start a new run" in answer.stderr


def test_changed_densities_are_noticed_on_resume(command, crystals, finished, tmp_path):
    run = Run(Path(shutil.copytree(finished.run.path, tmp_path / "run")))
    copy = Crystals(Path(shutil.copytree(crystals.folder, tmp_path / "toy")), tmp_path / "data")
    density = copy.folder / "2.cube"
    density.write_text(density.read_text() + "\n")
    run.config_file.write_text(copy.config().to_toml())
    answer = command("train", "--resume", run.path)
    assert answer.says(2, "was trained on data with the source"), answer


def test_spoilt_runs_are_one_clear_line(command, finished, tmp_path):
    run = Run(Path(shutil.copytree(finished.run.path, tmp_path / "run")))
    (run.checkpoint / "state.npz").write_bytes(b"PK")
    assert command("train", "--resume", run.path).says(2, "state.npz: cannot be read: ")
    run.record_file.write_text("{")
    assert command("train", "--resume", run.path).says(2, "run.json: cannot be read: ")
    run.config_file.write_text("[model]\nsize = 3\n")
    assert command("train", "--resume", run.path).says(2, "model.size must be str, got 3")


@pytest.mark.slow
def test_full_disk_is_one_clear_line(crystals, tmp_path):
    limit = 100_000  # bytes in a file: the checkpoint needs more
    done = run_module(
        "train",
        *crystals.arguments(*SHORT, "data.properties=band_gap"),
        "--run-dir",
        tmp_path / "run",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    answer = Answer(done.returncode, done.stdout, done.stderr)
    assert answer.says(2, "state.npz: cannot be written: File too large; free some space, then go on with --resume")


def test_data_set_of_another_version_is_refused(command, crystals, tmp_path):
    copy = dataclasses.replace(crystals, data_dir=Path(shutil.copytree(crystals.data_dir, tmp_path / "data")))
    # Other tests may have built further data sets beside it.
    for path in copy.data_dir.glob("*/*/*/metadata.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"record_version": 0}))
    answer = command("train", *copy.arguments(), "--run-dir", tmp_path / "run")
    assert answer.says(2, "was built with records of version 0, this rhonet reads 2"), answer
    assert not (tmp_path / "run").exists()
