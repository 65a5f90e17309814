from __future__ import annotations

import csv
import dataclasses
import json
import re
import shutil
from typing import cast

import numpy as np
import pytest

from rhonet.core.density import ChargeDensity
from rhonet.evaluation.baselines.trees import BASELINES, QUICK_BASELINES
from rhonet.experiments.evaluate_model import predict_records
from rhonet.serving.answer import Answer
from rhonet.serving.exported_model import Predictor
from rhonet.serving.model_card import read_card
from tests.crystals import DATASET_TOML

pytest_plugins = ("tests.fixtures",)


def test_evaluation_of_a_run_gives_the_metrics_of_its_training(command, finished, tmp_path):
    answer = command("evaluate", finished.run.path, "--out", tmp_path / "out")
    assert answer.code == 0, answer.stderr
    assert answer.stdout == finished.stdout
    first = json.loads(finished.run.metrics_file.read_text())
    again = json.loads((tmp_path / "out" / "metrics.json").read_text())
    for name, scores in first["model"]["regression"].items():
        # Sums in the order of another process: float32.
        assert again["model"]["regression"][name]["mae"]["value"] == pytest.approx(scores["mae"]["value"], rel=1e-5)
    assert again["baselines"] == first["baselines"]
    assert again["split"] == first["split"]
    assert first["model"]["n"] == 5
    assert list(first["baselines"]) == list(QUICK_BASELINES)
    assert set(first["model"]["regression"]) == {"band_gap", "magnetic_moment", "hardness"}
    assert set(first["model"]["classes"]) == {"is_metal", "phase"}
    names = {"overview", "band_gap", "magnetic_moment", "hardness", "is_metal", "phase"}
    assert {path.stem for path in (tmp_path / "out" / "plots").iterdir()} == names
    assert {path.stem for path in finished.run.plots.iterdir()} == {*names, "history"}
    assert read_card(finished.run.model).content["metrics"]["model"]["n"] == 5
    for folder in (finished.run.path, tmp_path / "out"):
        page = (folder / "report.html").read_text()
        assert f"<h1>Evaluation of {finished.run.path.name}: test split</h1>" in page
        assert all(f'id="property-{name}"' in page for name in names - {"overview"})
        assert "Loss per epoch" in page
    assert "python -m rhonet.train " in (finished.run.path / "report.html").read_text()
    assert "python -m rhonet.evaluate" in (tmp_path / "out" / "report.html").read_text()
    # Every sample, as scored.
    rows = list(csv.DictReader((tmp_path / "out" / "predictions.csv").read_text().splitlines()))
    errors = [
        abs(float(row["band_gap [eV]"]) - float(row["band_gap_predicted [eV]"])) for row in rows if row["band_gap [eV]"]
    ]
    assert np.mean(errors) == pytest.approx(again["model"]["regression"]["band_gap"]["mae"]["value"], rel=1e-4)
    assert all(row["phase_predicted"] and row["group"] and row["hardness_histogram_gb [GPa]"] for row in rows)
    assert (finished.run.path / "predictions.csv").is_file()


@pytest.mark.slow
def test_all_baselines_stand_beside_the_model_on_request(command, finished, monkeypatch, tmp_path):
    monkeypatch.setattr("rhonet.evaluation.baselines.autoencoder.latent_vectors", latents_of_noise)
    answer = command("evaluate", finished.run.path, "--baselines", "all", "--out", tmp_path / "out")
    assert answer.code == 0, answer.stderr
    assert "baselines score model dummy grid-GB hist-GB comp-RF AE-GB" in " ".join(answer.stdout.split())
    assert max(map(len, answer.stdout.splitlines())) <= 100
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert list(metrics["baselines"]) == list(BASELINES)


def latents_of_noise(_: object, __: object, rows: np.ndarray, **___: object) -> np.ndarray:
    """In place of an autoencoder, which tests/evaluation/baselines/test_autoencoder.py trains."""
    return np.random.default_rng(0).random((len(rows), 3))


@pytest.mark.slow
def test_model_folder_can_be_evaluated_on_another_split(command, finished, tmp_path):
    shutil.copytree(finished.run.model, tmp_path / "model")
    answer = command("evaluate", tmp_path / "model", "--split", "validation")
    assert answer.code == 0, answer.stderr
    assert answer.stdout.startswith("validation split: 5 samples")
    assert (
        "the intervals were calibrated on the validation split (and, with train.patience, the epoch was chosen on it)"
        in answer.stderr
    )
    assert (tmp_path / "model" / "evaluation-validation" / "metrics.json").is_file()
    page = (tmp_path / "model" / "evaluation-validation" / "report.html").read_text()
    assert "history does not lie beside the model" in page
    again = command("evaluate", tmp_path / "model", "--split", "validation")
    assert again.says(2, "evaluation-validation: exists already and is not an empty folder; give another --out")


@pytest.mark.slow
def test_another_folder_is_scored_on_the_properties_that_it_has(command, finished, crystals, tmp_path):
    folder = tmp_path / "others"
    shutil.copytree(crystals.folder, folder)
    rows = [line.split(",") for line in (crystals.folder / "properties.csv").read_text().splitlines()]
    kept = [rows[0].index(name) for name in ("id", "file", "is_metal", "band_gap")]
    table = ["shear_modulus," + ",".join(rows[0][at] for at in kept)]
    table += ["1.0," + ",".join(row[at] for at in kept) for row in rows[1:]]
    (folder / "properties.csv").write_text("\n".join(table) + "\n")
    (folder / "dataset.toml").write_text('name = "others"\n[properties.shear_modulus]\nunit = "GPa"\n')
    # What trained the model is left out, under whatever name; no baseline could be fitted on others.
    records = [line.split(",") for line in finished.run.trained_records_file.read_text().splitlines()[1:]]
    assert len(records) == len(rows) - 1
    n_test = sum(split == "test" for _, split, _, _ in records)
    assert n_test == 5
    answer = command("evaluate", finished.run.path, "--data", folder, "--out", tmp_path / "out")
    assert answer.code == 0, answer.stderr
    assert f"{len(rows) - 1 - n_test} of {len(rows) - 1} crystals trained the model, as " in answer.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert [*metrics["model"]["regression"], *metrics["model"]["classes"]] == ["band_gap", "is_metal"]
    assert (metrics["model"]["n"], metrics["baselines"]) == (n_test, {})

    # Of a model that does not name them no crystal is known to be new: all are scored on request only.
    shutil.copytree(finished.run.model, tmp_path / "model")
    (tmp_path / "model" / "records.csv").rename(tmp_path / "records.csv")
    where = ("--data", folder, "--set", f"data.data_dir={crystals.data_dir}")
    refused = command("evaluate", tmp_path / "model", *where)
    assert refused.says(2, "records.csv: is missing, so crystals that trained the model cannot be told from new ones")
    answer = command("evaluate", tmp_path / "model", *where, "--split", "all")
    assert answer.code == 0, answer.stderr
    (tmp_path / "records.csv").rename(tmp_path / "model" / "records.csv")
    assert answer.stdout.startswith(f"all records: {len(rows) - 1} samples; groups by chemical_system\n")
    out = tmp_path / "model" / "evaluation-others"
    assert json.loads((out / "metrics.json").read_text())["model"]["n"] == len(rows) - 1
    assert "Evaluation of " in (page := (out / "report.html").read_text())
    assert ": all records</h1>" in page
    for options, message in (
        (
            ("--set", "data.split_by=formula"),
            "trained the model are recognised by the groups of its own split; leave it out",
        ),
        (("--split", "test"), "is not the model's own data set, and no split of it trained the model"),
        (("--baselines", "all"), "--baselines are for the model's own data"),
    ):
        assert command("evaluate", tmp_path / "model", *options, *where, "--out", tmp_path / "x").says(2, message)


def test_another_split_of_the_own_data_is_refused_under_whatever_name_of_the_folder(
    command, finished, crystals, tmp_path
):
    where = ("--data", crystals.folder, "--out", tmp_path / "out")
    answer = command("evaluate", finished.run.path, *where, "--set", "data.split_seed=1")
    assert answer.says(2, "--set 'data.split_seed=1': for the model's own data only data.data_dir=DIR may change")
    answer = command("evaluate", finished.run.path, *where, "--split", "all")
    assert answer.says(2, "--split all needs a --data FOLDER of other crystals")


def test_scores_that_would_mean_nothing_are_refused(command, finished, tmp_path):
    answer = command("evaluate", finished.run.path, "--split", "all")
    assert answer.says(2, "--split all needs a --data FOLDER of other crystals")
    answer = command("evaluate", finished.run.path, "--set", "view.views=2")
    assert answer.says(2, "--set 'view.views=2': only data.KEY=VALUE")
    answer = command("evaluate", finished.run.path, "--set", "data.split_seed=1")
    assert answer.says(2, "--set 'data.split_seed=1': for the model's own data only data.data_dir=DIR may change")
    shutil.copytree(finished.run.model, tmp_path / "model")
    settings = tmp_path / "model" / "config.toml"
    settings.write_text(re.sub(r"ensemble = 1\b", "ensemble = 5", settings.read_text()))
    for split in ("train", "validation"):
        answer = command("evaluate", tmp_path / "model", "--split", split)
        assert answer.says(2, f"--split {split}: of the 5 networks of {tmp_path / 'model'} all but one have trained on")


def test_labels_in_another_unit_are_refused(command, finished, crystals, tmp_path):
    folder = tmp_path / "others"
    shutil.copytree(crystals.folder, folder)
    settings = DATASET_TOML.replace('"toy"', '"pascal"').replace('unit = "GPa"', 'unit = "Pa"')
    (folder / "dataset.toml").write_text(settings)
    answer = command("evaluate", finished.run.path, "--data", folder, "--out", tmp_path / "out")
    assert answer.says(2, "property 'hardness': the model gives regression in GPa, the data set has regression in Pa")
    assert not (tmp_path / "out").exists()


def test_what_is_no_model_is_refused(command, finished, tmp_path):
    for path in (tmp_path, tmp_path / "nothing", finished.run.config_file):
        answer = command("evaluate", path)
        assert answer.says(2, f"{path}: neither a finished run nor a model folder")
    (tmp_path / "file").touch()
    answer = command("evaluate", finished.run.path, "--out", tmp_path / "file")
    assert answer.says(2, "file: exists already and is not an empty folder")
    answer = command("evaluate", finished.run.path, "--out", tmp_path / "file" / "out")
    assert answer.says(2, "out: cannot be written: Not a directory; give another folder")


class Bounded:
    """In place of a served model: answers with an interval for the band gap, and a novelty."""

    def predict(self, density: ChargeDensity) -> Answer:
        gap = np.array(density.n_electrons)
        values = {"band_gap": gap, "is_metal": np.array(0.5)}
        return Answer(values, {"band_gap": float(gap) - 1}, {"band_gap": float(gap) + 2}, 0.25)


def test_intervals_and_novelty_of_the_model_reach_the_predictions(builder, index):
    gap_and_metal = [at for at, item in enumerate(index.properties) if item.name in ("band_gap", "is_metal")]
    few = dataclasses.replace(
        index, properties=tuple(index.properties[at] for at in gap_and_metal), labels=index.labels[:, gap_and_metal]
    )
    predictions = predict_records(cast(Predictor, Bounded()), builder, few, np.array([1, 4]))
    gap = predictions.values["band_gap"]
    assert set(predictions.lower) == set(predictions.upper) == {"band_gap"}
    np.testing.assert_array_equal(predictions.lower["band_gap"], gap - 1)
    np.testing.assert_array_equal(predictions.upper["band_gap"], gap + 2)
    assert predictions.novelty is not None
    assert predictions.novelty.tolist() == [0.25, 0.25]
