"""Studies: their variants, folds, tables and JSON files."""

from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest

from rhonet.core.config import load_config
from rhonet.core.errors import CallError, DataError, RunError, WorkerError
from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.data.index import Index
from rhonet.evaluation.baselines.trees import BASELINES
from rhonet.evaluation.metrics import property_scores
from rhonet.experiments.comparison import compare, format_comparison, format_differences
from rhonet.experiments.studies import ALL as ALL_TASKS
from rhonet.experiments.studies import GROUPED, SINGLE_TASK, STUDIES, Variant, task_variants, task_ways
from rhonet.experiments.task_groups import TaskGroups
from rhonet.experiments.trials import (
    Result,
    Trial,
    _await_line,
    changed_config,
    plan_trial,
    pool_results,
    read_result,
    write_result,
)
from rhonet.study import build_parser as study_parser
from rhonet.study import main
from tests.evaluation.test_metrics import ALL, simulate

pytest_plugins = ("tests.fixtures",)
BASE = load_config("base")


def result_of(tmp_path, predictions: Predictions, *, variant: str = "all", seed: int = 0) -> Result:
    trial = Trial(tmp_path / variant / f"seed-{seed}", variant, seed, BASE)
    trial.path.mkdir(parents=True)
    write_result(trial, predictions, cpu_seconds=90.0, source="these")
    return read_result(trial, source="these")


def groups_of(*groups: tuple[str, ...]) -> TaskGroups:
    names = tuple(name for group in groups for name in group)
    return TaskGroups(names, np.eye(len(names)), np.zeros((len(names) - 1, 4)), groups)


ELECTRONIC = groups_of(("band_gap", "is_metal"), ("band_width",))


def variants_of(name: str) -> tuple[Variant, ...]:
    study = STUDIES[name]
    return study.variants(BASE, ELECTRONIC) if study.groups_tasks else study.variants(BASE)


@pytest.mark.parametrize("name", STUDIES)
def test_every_variant_is_a_proper_and_different_configuration(name):
    variants = variants_of(name)
    configs = [(changed_config(BASE, variant.changes), variant.baseline) for variant in variants]
    assert len({variant.name for variant in variants}) == len(variants)
    assert all(a != b for at, a in enumerate(configs) for b in configs[:at])
    assert name == "splits" or configs[0] == (BASE, "")
    assert {variant.baseline for variant in variants} <= {"", *BASELINES}


def test_tasks_are_trained_all_together_in_groups_and_alone():
    assert {one.name: one.changes for one in task_variants(BASE, ELECTRONIC)} == {
        "all": {},
        "group-band_gap": {"data": {"properties": ["band_gap", "is_metal"]}},
        "only-band_gap": {"data": {"properties": ["band_gap"]}},
        "only-is_metal": {"data": {"properties": ["is_metal"]}},
        "only-band_width": {"data": {"properties": ["band_width"]}},
    }


@pytest.mark.parametrize("groups", [ELECTRONIC, groups_of(("a", "b")), groups_of(("a",), ("b",), ("c", "d"))])
def test_every_way_to_train_predicts_each_property_once(groups):
    variants = task_variants(BASE, groups)
    parts = {one.name: one.changes.get("data", {}).get("properties", groups.names) for one in variants}
    for way in (SINGLE_TASK, GROUPED, ALL_TASKS):
        predicted = [name for variant in task_ways(groups)[way] for name in parts[variant]]
        assert sorted(predicted) == sorted(groups.names)


def test_learning_curve_takes_as_many_steps_for_every_share():
    for variant in STUDIES["learning-curve"].variants(BASE):
        config = changed_config(BASE, variant.changes)
        steps = config.data.train_share * config.train.views_per_epoch
        assert steps == pytest.approx(BASE.train.views_per_epoch, rel=0.01)


def test_folds_of_a_round_share_out_the_crystals(tmp_path, crystals, builder, index):
    from rhonet.data.index import read_index

    seen = []
    for seed in range(3):
        trial = plan_trial(tmp_path, "all", config=crystals.config(), seed=seed, folds=3)
        assert (trial.config.train.seed, trial.config.train.patience) == (seed, 0)
        seen += read_index(builder, trial.config.data, index.properties).rows("validation").tolist()
    assert sorted(seen) == sorted({*range(len(index.ids))} - {*index.rows("test")})


def test_shares_of_the_training_set_are_nested(crystals, builder, index):
    from rhonet.data.index import read_index

    def trained(share: float) -> set[int]:
        data = dataclasses.replace(crystals.config().data, train_share=share)
        part = read_index(builder, data, index.properties)
        assert set(part.rows("test")) == set(index.rows("test"))
        return set(part.rows("train"))

    assert set() < trained(0.3) < trained(0.7) < trained(1.0) == set(index.rows("train"))


def test_folder_of_another_configuration_is_not_taken_for_the_same(tmp_path):
    trial = plan_trial(tmp_path, "all", config=BASE, seed=0, folds=3)
    trial.path.mkdir(parents=True)
    (trial.path / "config.toml").write_text(trial.config.to_toml())
    assert plan_trial(tmp_path, "all", config=BASE, seed=0, folds=3) == trial
    with pytest.raises(RunError, match="seed-0: was run with another configuration"):
        plan_trial(tmp_path, "all", config=load_config("tiny"), seed=0, folds=3)


def test_result_comes_back_as_it_was_written(tmp_path):
    predictions = simulate(20, missing=0.2)
    result = result_of(tmp_path, predictions)
    assert result.predictions.properties == predictions.properties
    assert result.predictions.ids == predictions.ids
    for item in ALL:
        np.testing.assert_array_equal(result.predictions.labels[item.name], predictions.labels[item.name])
        np.testing.assert_array_equal(result.predictions.values[item.name], predictions.values[item.name])
    assert result.trial.is_done
    assert result.cpu_seconds == 90


def test_trial_of_other_data_is_refused(tmp_path):
    result = result_of(tmp_path, simulate(20))
    with pytest.raises(RunError, match=r"seed-0: was run on another state of the data set \(fingerprint these, now "):
        read_result(result.trial, source="others")
    (result.trial.path / "trial.json").unlink()
    with pytest.raises(RunError, match=r"trial.json: is missing, .* give another --out"):
        read_result(result.trial, source="these")


def test_failed_or_killed_trial_ends_the_study_at_once():
    pool = ProcessPoolExecutor(1)
    failed: Future[str] = Future()
    failed.set_exception(DataError("a label that cannot be learned"))
    with pytest.raises(DataError, match="a label that cannot be learned"):
        _await_line(failed, pool)
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(print)
    killed: Future[str] = Future()
    killed.set_exception(BrokenProcessPool())
    with pytest.raises(WorkerError, match="a trial's process was killed, probably for want of memory"):
        _await_line(killed, pool)


def test_pooled_score_is_that_of_all_predictions(tmp_path):
    parts = [result_of(tmp_path, simulate(30, seed=seed), seed=seed) for seed in range(2)]
    pooled = pool_results(parts)
    assert len(pooled) == 60
    truth, guess = pooled.labels["gap"], pooled.values["gap"]
    expected = 1 - np.sum((truth - guess) ** 2) / np.sum((truth - truth.mean()) ** 2)
    assert property_scores(pooled, resamples=0)["gap"][0] == pytest.approx(expected)


def test_crystals_that_several_seeds_predicted_count_once_in_intervals(tmp_path):
    once, fourfold = (
        pool_results([result_of(tmp_path, simulate(40), variant=f"{n}", seed=seed) for seed in range(n)])
        for n in (1, 4)
    )
    assert len(fourfold) == 4 * len(once)
    widths = [np.std(property_scores(part, resamples=500)["gap"][1:]) for part in (once, fourfold)]
    assert widths[1] == pytest.approx(widths[0], rel=0.05)


def test_paired_interval_sees_what_two_single_ones_hide(tmp_path):
    predictions = simulate(60, noise=1.0)
    gap = Property("gap", unit="eV")
    worse = predictions.values["gap"] + 0.1 * np.sign(predictions.values["gap"] - predictions.labels["gap"])
    results = {}
    for name, values in (("first", predictions.values["gap"]), ("worse", worse)):
        one = Predictions((gap,), predictions.ids, {"gap": predictions.labels["gap"]}, {"gap": values})
        results[name] = [result_of(tmp_path, one, variant=name)]
    first, second = compare(results)
    assert first.difference is None
    assert second.difference is not None
    assert second.difference.upper < 0
    assert second.average.upper > first.average.lower  # the intervals of both overlap
    assert second.difference.value == pytest.approx(second.average.value - first.average.value)


def test_variants_that_saw_different_data_are_not_paired(tmp_path):
    results = {name: [result_of(tmp_path, simulate(n), variant=name)] for name, n in (("first", 30), ("later", 31))}
    with pytest.raises(DataError, match=r"first and later .* same samples \(1 differ, e\.g\. crystal-00030 .*--out"):
        compare(results)
    assert len(compare(results, paired=False)) == 2


def test_difference_of_the_mean_leaves_out_what_has_no_score(tmp_path):
    full = simulate(40)
    blank = dataclasses.replace(full, labels={**full.labels, "gap": np.full(40, np.nan)})
    results = {name: [result_of(tmp_path, blank, variant=name)] for name in ("first", "second")}
    second = compare(results)[1]
    assert second.difference is not None
    assert (second.difference.lower, second.difference.upper) == (0, 0)
    assert math.isnan(second.differences["gap"].value)


def test_tables_name_variants_and_leave_out_what_was_not_predicted(tmp_path):
    predictions = simulate(40)
    gap = ALL[2]
    alone = Predictions(
        (gap,), predictions.ids, {"gap": predictions.labels["gap"]}, {"gap": predictions.values["gap"] * 0.5}
    )
    comparisons = compare(
        {
            "all": [result_of(tmp_path, predictions, variant="all")],
            "only-gap": [result_of(tmp_path, alone, variant="only-gap")],
        }
    )
    table = format_comparison(comparisons).splitlines()
    assert [line.count("|") for line in table] == [table[0].count("|")] * 4
    assert table[3].startswith("| only-gap | 1 | ")
    assert [cell.strip() == "" for cell in table[3].split("|")[5:-2]] == [True, True, False, True, True]
    differences = format_differences(comparisons).splitlines()
    assert len(differences) == 3
    assert differences[2].startswith("| only-gap | gap | ")
    assert not any(math.isnan(value) for comparison in comparisons for value in comparison.by_seed)
    assert json.dumps([comparison.to_dict() for comparison in comparisons], default=str)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["views", "--seeds", "1"], "at least two seeds"),
        (["views", "--seeds", "5", "--folds", "2"], "many as folds or a multiple"),
        (["views", "--workers", "0"], "one worker"),
        (["views", "--only", "colour"], "no variant 'colour'; there are as-configured"),
    ],
)
def test_wrong_call_of_the_study_is_one_clear_line(options, message):
    with pytest.raises(CallError, match=message):
        main(study_parser().parse_args(options))


def answer_at_random(trials: Sequence[Trial], *, workers: int, source: str) -> None:
    """In place of trainings: any values for the labels of each fold; the first trial of a fold has all properties."""
    from rhonet.experiments.train_model import open_data

    folds: dict[int, Index] = {}
    for trial in trials:
        fold, wanted = trial.config.data.fold, trial.config.data.properties
        if fold not in folds:
            _, folds[fold] = open_data(trial.config)
        index = folds[fold]
        rows, generator = index.rows("validation"), np.random.default_rng(trial.seed)
        items = tuple(item for item in index.properties if trial.variant == "all" or item.name in wanted)
        labels = {item.name: index.labels[rows, index.properties.index(item)] for item in items}
        shapes = {item.name: (len(rows), item.classes) if item.kind == "multiclass" else len(rows) for item in items}
        values = {name: generator.uniform(0, 1, shape) for name, shape in shapes.items()}
        trial.path.mkdir(parents=True)
        predictions = Predictions(items, tuple(index.ids[rows].tolist()), labels, values)
        write_result(trial, predictions, cpu_seconds=60.0, source=source)


def test_study_of_tasks_groups_the_users_own_columns_and_states_the_claim(crystals, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("rhonet.experiments.trials.run_trials", answer_at_random)
    # 24 crystals have too few labels for the rule.
    monkeypatch.setattr("rhonet.experiments.task_groups.LEAST_SHARED", 10)
    out = tmp_path / "study"
    command = ["tasks", *crystals.arguments(), "--seeds", "2", "--workers", "1", "--out", str(out)]
    assert main(study_parser().parse_args(command)) == 0
    text = (out / "study.md").read_text()
    assert text == capsys.readouterr().out
    # Gap and metal are functions of the mean density (tests/crystals.py); each property comes from the table.
    assert "Together: band gap, is metal." in text
    for variant in ("all", "group-band_gap", "only-hardness", "only-phase", "only-magnetic_moment"):
        assert f"| {variant} | 2 | " in text
    assert "bulk" not in text
    assert "## Does the claim hold?" in text
    assert "### `all` over `single-task`" in text
    assert "![Dendrogram of the targets](tasks.png)" in text
    assert (out / "tasks.png").read_bytes().startswith(b"\x89PNG")
    values = json.loads((out / "study.json").read_text())
    assert values["groups"]["groups"][0] == ["band_gap", "is_metal"]
    assert [gain["way"] for gain in values["gains"]] == ["all", "grouped", "all"]


@pytest.mark.slow
def test_study_writes_its_table_and_is_done_at_once_when_repeated(crystals, tmp_path, capsys):
    command = ["models", *crystals.arguments(), "--seeds", "2", "--only", "as-configured,plain3dcnn"]
    arguments = study_parser().parse_args([*command, "--workers", "2", "--out", str(tmp_path / "study")])
    assert main(arguments) == 0
    text = (tmp_path / "study" / "study.md").read_text()
    assert text == capsys.readouterr().out
    assert "| plain3dcnn | 2 | " in text
    stamps = {path: path.stat().st_mtime_ns for path in (tmp_path / "study").rglob("predictions.npz")}
    assert len(stamps) == 4
    assert main(arguments) == 0
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}

    # The same trials, asked another question.
    shutil.copytree(tmp_path / "study" / "as-configured", tmp_path / "coverage" / "as-configured")
    command = ["coverage", *crystals.arguments(), "--seeds", "2", "--out", str(tmp_path / "coverage")]
    assert main(study_parser().parse_args(command)) == 0
    text = capsys.readouterr().out
    assert "## Coverage" in text
    assert "## Probabilities" in text
    values = json.loads((tmp_path / "coverage" / "study.json").read_text())
    assert all(item["n"] > 9 for item in values["coverage"])
    assert [item["property"] for item in values["probabilities"]] == ["is_metal", "phase"]


@pytest.mark.slow
def test_baselines_answer_for_the_crystals_of_the_networks_folds(crystals, builder, index, tmp_path, capsys):
    command = ["baselines", *crystals.arguments(), "--seeds", "2", "--workers", "1", "--out", str(tmp_path / "study")]
    assert main(study_parser().parse_args([*command, "--only", "dummy,grid_gb,composition_rf"])) == 0
    assert "| grid_gb | 2 | " in capsys.readouterr().out
    seen = {}
    for name in ("dummy", "grid_gb", "composition_rf"):
        for seed in range(2):
            trial = plan_trial(tmp_path / "study", name, config=crystals.config(), seed=seed, folds=2, baseline=name)
            assert trial.is_done
            result = read_result(trial, source=builder.info.metadata["fingerprint"])
            seen[name, seed] = result.predictions.ids
            assert result.predictions.groups == tuple(index.groups[np.isin(index.ids, result.predictions.ids)])
    assert seen["dummy", 0] == seen["grid_gb", 0] == seen["composition_rf", 0]
    assert set(seen["dummy", 0]).isdisjoint(seen["dummy", 1])


@pytest.mark.slow
def test_study_of_leaks_lists_the_nearest_pairs(crystals, tmp_path, capsys):
    out = tmp_path / "study"
    command = ["leaks", *crystals.arguments(), "--seeds", "2", "--workers", "1", "--only", "grid_gb", "--out", str(out)]
    assert main(study_parser().parse_args(command)) == 0
    text = capsys.readouterr().out
    assert text == (out / "study.md").read_text()
    assert "| test to train | 5 | " in text
    leaks = json.loads((out / "study.json").read_text())["leaks"]
    assert {pair["split"] for pair in leaks["pairs"]} == {"validation", "test"}
