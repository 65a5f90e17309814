"""The report on the terminal: complete, at most 100 columns wide, and clear about undefined scores; metrics.json."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from rhonet.core.config import DEFAULT_PROPERTIES
from rhonet.core.predictions import Predictions
from rhonet.core.properties import PROPERTIES, Property
from rhonet.evaluation.baselines.trees import BASELINES
from rhonet.evaluation.metrics import Evaluation, evaluate
from rhonet.reports.terminal import SplitSummary, format_report, write_metrics

SPLIT = SplitSummary("test", "chemical_system", 0, (0.8, 0.1, 0.1), {"train": 320, "validation": 40, "test": 40})
ITEMS = tuple(PROPERTIES[name] for name in DEFAULT_PROPERTIES)


def simulate(
    items: tuple[Property, ...] = ITEMS, *, n: int = 40, noise: float = 0.3, size: float = 1.0, seed: int = 0
) -> Predictions:
    """Log-normal labels around `size`; predictions with that relative noise."""
    rng = np.random.default_rng(seed)
    labels, values = {}, {}
    for item in items:
        if item.is_class:
            labels[item.name], values[item.name] = (rng.random(n) < 0.7).astype(float), rng.random(n)
        else:
            labels[item.name] = size * rng.lognormal(0, 1, n)
            values[item.name] = labels[item.name] * rng.lognormal(0, noise, n)
    return Predictions(items, tuple(f"crystal-{at}" for at in range(n)), labels, values)


def report(predictions: Predictions, **others: Evaluation) -> str:
    evaluation = evaluate(predictions, resamples=100)
    names = others or dict.fromkeys(BASELINES, evaluation)
    return format_report(evaluation, baselines=names, split=SPLIT)


def line_of(text: str, start: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(start))


@pytest.mark.parametrize(("noise", "size"), [(0.1, 1.0), (3.0, 1000.0), (3.0, 1e-3)])
def test_the_report_fits_a_hundred_columns_however_bad_the_model(noise, size):
    lines = report(simulate(noise=noise, size=size)).splitlines()
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)


def test_a_row_says_what_was_measured():
    predictions = simulate()
    scored = evaluate(predictions, resamples=100)
    row = line_of(report(predictions), "bulk_modulus (GPa)")
    modulus = scored.regression[0]
    assert modulus.r2_log is not None
    for value in (modulus.r2.value, modulus.r2.lower, modulus.r2.upper, modulus.r2_log.value):
        assert f"{value:.2f}" in row
    for value in (modulus.mae.value, modulus.rmse.value):
        assert f"{value:.3g}" in row
    assert row.endswith(" 40")
    # No logarithm, no R² of it: one number fewer.
    assert (
        len(line_of(report(predictions), "band_gap (eV)").split())
        == len(line_of(report(predictions), "bulk_").split()) - 1
    )


def test_classes_and_averages_have_blocks_of_their_own():
    text = report(simulate())
    metal = evaluate(simulate(), resamples=0).classes[0]
    row = line_of(text, "is_metal")
    assert f"{metal.auc.value:.2f} [" in row
    assert f"{40 - metal.n_positive}/{metal.n_positive}" in row
    assert "all (9)" in text
    assert "without volume-like (7)" in text
    assert text.count(" hist-GB") == 3


def test_every_predictor_has_its_mae_or_auc_side_by_side():
    predictions = simulate()
    scored, poor = evaluate(predictions, resamples=10), evaluate(simulate(noise=1.0, seed=1), resamples=0)
    text = report(predictions, dummy=poor, composition_rf=scored)
    assert line_of(text, "baselines ").split() == ["baselines", "score", "model", "dummy", "comp-RF"]
    block = text[text.index("beside the") :]
    own, other = (f"{scores.regression[0].mae.value:.3g}" for scores in (scored, poor))
    assert line_of(block, "bulk_modulus").split() == ["bulk_modulus", "(GPa)", "MAE", own, other, own]
    own, other = (f"{scores.classes[0].auc.value:.2f}" for scores in (scored, poor))
    assert line_of(block, "is_metal").split() == ["is_metal", "AUC", own, other, own]
    assert "comp-RF: random forest on Magpie-like features of the composition" in text
    assert "hist-GB" not in text


def test_blocks_without_properties_do_not_appear():
    only = report(simulate((PROPERTIES["is_metal"],)))
    assert "regression" not in only
    assert "average" not in only
    text = report(simulate((PROPERTIES["band_gap"],)))
    assert "classes" not in text
    assert "without volume-like" not in text


def test_the_header_names_split_counts_and_what_the_intervals_are():
    first, second = report(simulate()).splitlines()[:2]
    assert first == "test split: 40 samples; 320 train, 40 validation, 40 test; split by chemical_system, seed 0"
    assert second.startswith("[95%] intervals: 100 bootstrap resamples")


def test_what_is_not_available_is_na_with_its_reason_below():
    predictions = simulate()
    predictions.labels["magnetic_moment"][:] = 0
    predictions.labels["band_gap"][:] = np.nan
    predictions.labels["is_metal"][:] = 1
    predictions.values["bulk_modulus"][0] = -1
    text = report(predictions)
    assert line_of(text, "magnetic_moment").count("n/a") == 2
    assert line_of(text[text.index("beside the") :], "band_gap").count("n/a") == 1 + len(BASELINES)
    assert "n/a: magnetic_moment, R², MAE/MAD: all labels are equal" in text
    assert "n/a: band_gap, R², MAE, RMSE, MAE/MAD: no labels" in text
    assert "n/a: is_metal, AUC, balanced acc.: labels of one class only" in text
    assert "n/a: bulk_modulus, R² of log: 1 of 40 predictions are not above 0" in text
    assert "not in the averages: bulk_modulus, band_gap, magnetic_moment" in text
    assert "all (6)" in text


def test_left_out_resamples_are_counted_below():
    predictions = simulate()
    predictions.labels["magnetic_moment"][1:] = 0
    text = report(predictions)
    evaluation = evaluate(predictions, resamples=100)
    (left_out,) = (item.r2.left_out for item in evaluation.regression if item.target.name == "magnetic_moment")
    assert left_out > 0
    assert f"undefined there: magnetic_moment {left_out}" in text
    assert evaluation.averages["all"].r2.left_out == 0, "one moment does not count there"
    assert "resamples left out" not in report(simulate())


def test_a_long_name_has_a_line_of_its_own_and_loses_nothing():
    long = dataclasses.replace(PROPERTIES["band_gap"], name="the_quasiparticle_gap_at_the_zone_boundary")
    lines = report(simulate((PROPERTIES["band_gap"], long))).splitlines()
    at = lines.index("the_quasiparticle_gap_at_the_zone_boundary (eV)")
    assert lines[at + 1].startswith(" ")
    assert lines[at + 1].endswith(" 40")


@pytest.mark.parametrize(
    ("error", "shown"),
    [(188.4, "188"), (5.3, "5.30"), (0.03234, "0.0323"), (12345.0, "12345"), (0.0, "0"), (2.5e-7, "2.5e-07")],
)
def test_errors_have_three_significant_digits(error, shown):
    gap = PROPERTIES["band_gap"]
    labels = np.array([1.0, 2.0, 3.0])
    predictions = Predictions((gap,), ("a", "b", "c"), {"band_gap": labels}, {"band_gap": labels + error})
    assert f" {shown} " in line_of(report(predictions), "band_gap")


def test_the_file_holds_the_split_the_model_and_the_baselines(tmp_path: Path):
    evaluation = evaluate(simulate(), resamples=10)
    path = tmp_path / "new" / "metrics.json"
    write_metrics(path, evaluation, baselines={"dummy": evaluation}, split=SPLIT)
    tree = json.loads(path.read_text(encoding="utf-8"))
    assert tree["split"] == json.loads(json.dumps(dataclasses.asdict(SPLIT)))
    assert tree["model"] == tree["baselines"]["dummy"] == evaluation.to_dict()
    assert [item.name for item in path.parent.iterdir()] == ["metrics.json"]


def test_a_file_that_cannot_be_replaced_stays_whole(tmp_path: Path, monkeypatch):
    evaluation = evaluate(simulate(), resamples=10)
    path = tmp_path / "metrics.json"
    write_metrics(path, evaluation, baselines={}, split=SPLIT)
    before = path.read_bytes()

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_metrics(path, evaluation, baselines={"dummy": evaluation}, split=SPLIT)
    assert path.read_bytes() == before


def test_what_is_not_zero_has_a_line_of_its_own():
    predictions = simulate()
    predictions.labels["magnetic_moment"][:10] = 0
    predictions.labels["band_gap"][:] = 0
    text = report(predictions)
    scored = {item.target.name: item.where_not_zero for item in evaluate(predictions, resamples=100).regression}
    moment, gap = scored["magnetic_moment"], scored["band_gap"]
    assert moment is not None
    assert gap is not None
    lines = text.splitlines()
    rows = [lines[at + 1] for at, line in enumerate(lines) if line.startswith("magnetic_moment")]
    assert rows[0].startswith("  where not zero ")
    assert f"{moment.r2.value:.2f} [{moment.r2.lower:.2f}, {moment.r2.upper:.2f}]" in rows[0]
    assert rows[0].endswith(" 30")
    assert rows[1].split() == ["where", "not", "zero", "MAE", *[f"{moment.mae.value:.3f}"] * (1 + len(BASELINES))]
    # All labels are zero: one row says so, and the comparison has none.
    rows = [lines[at + 1] for at, line in enumerate(lines) if line.startswith("band_gap")]
    assert rows[0].endswith(" 0")
    assert not rows[1].startswith("  where not zero")
    assert "n/a: band_gap where not zero, R², MAE, RMSE, MAE/MAD: all labels are zero" in text
    assert "where not zero: samples whose label is, in size, above 0.001 of the largest one" in text
    assert "where not zero" not in report(simulate())
    assert max(map(len, lines)) <= 100


def test_intervals_have_a_block_with_their_coverage():
    predictions = simulate()
    assert "intervals  " not in report(predictions)
    gap = predictions.values["band_gap"]
    bounded = dataclasses.replace(
        predictions, lower={"band_gap": gap - 0.4}, upper={"band_gap": gap + 0.4}, novelty=np.linspace(0, 1.3, 40)
    )
    text = report(bounded)
    (scored,) = evaluate(bounded, resamples=0).intervals
    block = text[text.index("90% intervals") :]
    row = line_of(block, "band_gap (eV)")
    coverage = scored.coverage
    assert row.split(" ", 2)[2].split() == [
        "0.800",
        f"{coverage.value:.2f}",
        f"[{coverage.lower:.2f},",
        f"{coverage.upper:.2f}]",
        "40",
    ]
    assert "bulk_modulus" not in block
    assert "novelty above 1: 0.23 [0.12, 0.38] of the samples" in text
    assert max(map(len, text.splitlines())) <= 100
