"""Intervals as wide as a crystal is hard: learned from errors, bounded, and the same inside the exported model."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from rhonet.core.predictions import Predictions
from rhonet.experiments.fold_coverage import format_fold_coverage, measure_fold_coverage
from rhonet.uncertainty.calibration import Calibration, fit_calibration, fit_conformal_widths
from rhonet.uncertainty.coverage import coverage_curves
from rhonet.uncertainty.difficulty import FEWEST, MAX_FACTOR, Difficulty, fit_difficulty, prediction_features
from tests.evaluation.test_metrics import ALL, GAP, MODULUS, simulate


def uneven(n: int, *, seed: int = 0) -> Predictions:
    """Errors of the gap grow with the size of the modulus, from 0.1 to 3 times the usual."""
    plain = simulate(n, seed=seed)
    sizes = np.exp(np.clip(1.2 * np.log(plain.values["modulus"]), -2.3, 1.1))
    gap = plain.values["gap"] + sizes * (plain.labels["gap"] - plain.values["gap"])
    return dataclasses.replace(plain, labels={**plain.labels, "gap": gap})


def test_intervals_are_wider_where_errors_are_larger_with_equal_coverage():
    volumes = np.ones(2000)
    widths, difficulty = fit_conformal_widths(uneven(2000), volumes)
    new = uneven(2000, seed=1)
    factors = difficulty.factors(prediction_features(new, volumes), ["gap"])[:, 0]
    assert np.median(factors) == pytest.approx(1, rel=0.1)
    inside = np.abs(new.labels["gap"] - new.values["gap"]) <= widths["gap"].half_width * factors
    order = np.argsort(new.values["modulus"])
    for part in np.array_split(order, 4):
        assert inside[part].mean() == pytest.approx(0.9, abs=0.05)
    assert factors[order[-500:]].mean() > 4 * factors[order[:500]].mean()


def test_difficulty_is_constant_where_predictions_do_not_tell_it():
    _, difficulty = fit_conformal_widths(simulate(1000), np.ones(1000))
    names = [item.name for item in ALL if not item.is_class]
    factors = difficulty.factors(prediction_features(simulate(1000, seed=1), np.ones(1000)), names)
    np.testing.assert_allclose(factors, 1.0, atol=0.3)


@pytest.mark.parametrize("predictions", [uneven(FEWEST - 1), dataclasses.replace(uneven(300), groups=("a",) * 300)])
def test_few_errors_or_one_group_give_a_constant_difficulty(predictions):
    volumes = np.ones(len(predictions))
    _, difficulty = fit_conformal_widths(predictions, volumes)
    assert difficulty == Difficulty()
    assert (difficulty.factors(prediction_features(predictions, volumes), ["gap", "modulus"]) == 1).all()


def test_errors_that_are_all_zero_give_a_constant_difficulty():
    plain = uneven(300)
    exact = dataclasses.replace(plain, labels={**plain.labels, "gap": plain.values["gap"]})
    widths, difficulty = fit_conformal_widths(exact, np.ones(300))
    assert widths["gap"].half_width == 0
    assert "gap" not in difficulty.terms


def test_difficulty_of_a_crystal_is_fitted_without_its_group():
    predictions = dataclasses.replace(uneven(400), groups=tuple(f"{number // 4}" for number in range(400)))
    features = prediction_features(predictions, np.ones(400))
    errors = np.abs(predictions.labels["gap"] - predictions.values["gap"])
    _, before = fit_difficulty(features, {"gap": errors}, predictions.units)
    changed = np.where(predictions.units == 7, 3 * errors, errors)
    _, after = fit_difficulty(features, {"gap": changed}, predictions.units)
    ratios = after["gap"] / before["gap"]
    in_group = predictions.units == 7
    # Only the difficulty of the median crystal changes for this group, by one common factor.
    assert np.ptp(ratios[in_group]) < 1e-6
    assert np.ptp(ratios) > 1e-3


def test_extreme_predictions_give_a_bounded_difficulty():
    _, difficulty = fit_conformal_widths(uneven(1000), np.ones(1000))
    for size in (1e3, 1e9, 1e30):
        factors = difficulty.factors(np.full((1, len(difficulty.centers)), size, np.float32), ["gap", "modulus"])
        assert ((factors > MAX_FACTOR**-2) & (factors < MAX_FACTOR**2)).all()


def test_calibration_with_difficulty_survives_json():
    predictions = uneven(300)
    calibration = fit_calibration(predictions, np.ones(300), np.random.default_rng(0).random(300))
    assert "gap" in calibration.difficulty.terms
    assert Calibration.from_dict(json.loads(json.dumps(calibration.to_dict()))) == calibration


def test_curves_count_each_label_against_its_own_interval():
    calibration = fit_calibration(uneven(2000), np.ones(2000), np.ones(2000))
    new = uneven(2000, seed=1)
    widths = calibration.widths["gap"]
    widths = widths.half_width * calibration.difficulty.factors(prediction_features(new, np.ones(2000)), ["gap"])[:, 0]
    with_intervals = dataclasses.replace(
        new, lower={"gap": new.values["gap"] - widths}, upper={"gap": new.values["gap"] + widths}
    )
    curve = coverage_curves(calibration, with_intervals, np.ones(2000))["gap"]
    held = np.mean(np.abs(new.labels["gap"] - new.values["gap"]) <= widths)
    assert curve.shares[8] == pytest.approx(held, abs=1e-3)
    assert curve.shares[4] == pytest.approx(0.5, abs=0.06)


def test_interval_score_over_folds_shows_the_gain_of_uneven_widths():
    folds = [uneven(500, seed=seed) for seed in range(3)]
    folds = [dataclasses.replace(fold, ids=tuple(f"{k}-{name}" for name in fold.ids)) for k, fold in enumerate(folds)]
    coverages = measure_fold_coverage(folds, {name: 1.0 for fold in folds for name in fold.ids})
    by_name = {coverage.item.name: coverage for coverage in coverages}
    gap, modulus = by_name[GAP.name], by_name[MODULUS.name]
    assert gap.score is not None
    assert modulus.score is not None
    assert gap.score.upper < 0.9
    assert modulus.score.value == pytest.approx(1, abs=0.03)
    assert gap.half_widths[2] > 3 * gap.half_widths[0]
    assert abs(gap.coverage.value - 0.9) < 4 * math.sqrt(2 * 0.09 / 1500)
    row = next(line for line in format_fold_coverage(coverages).splitlines() if line.startswith("| gap "))
    assert f"| ± {float(f'{gap.half_widths[1]:.2g}'):g} [" in row
