"""Prediction intervals with the promised coverage, and a novelty above 1 for few crystals like the training set."""

from __future__ import annotations

import math

import numpy as np
import pytest

from rhonet.core.predictions import Predictions, merge_predictions
from rhonet.core.properties import Property
from rhonet.uncertainty.calibration import (
    Calibration,
    calibration_errors,
    conformal_quantile,
    fit_calibration,
)
from tests.evaluation.test_metrics import ALL, simulate

MOMENT = Property("moment", unit="µB", intensive=False)


def test_quantile_is_the_next_error_above_the_level():
    errors = np.arange(1.0, 10.0)[::-1]  # 9 errors
    assert conformal_quantile(errors, 0.9) == 9
    assert conformal_quantile(errors, 0.5) == 5
    assert conformal_quantile(errors[:8], 0.9) == math.inf
    assert conformal_quantile(np.array([]), 0.9) == math.inf


@pytest.mark.parametrize("n", [19, 99])
def test_interval_contains_a_new_sample_with_the_probability_of_its_level(n):
    rng = np.random.default_rng(0)
    covered = [
        abs(error[-1]) <= conformal_quantile(np.abs(error[:-1]), 0.9) for error in rng.normal(size=(4000, n + 1))
    ]
    assert np.mean(covered) == pytest.approx(0.9, abs=0.015)


def test_errors_are_on_the_learned_scale():
    volumes = np.array([10.0, 20.0, 40.0])
    labels = np.array([1.0, np.nan, 4.0])
    values = np.array([2.0, 3.0, 4.4])
    np.testing.assert_allclose(calibration_errors(MOMENT, labels, values, volumes), [0.1, 0.01])
    modulus, _, gap, metal, system = ALL
    np.testing.assert_allclose(calibration_errors(modulus, labels, values, volumes), np.log([2.0, 1.1]))
    np.testing.assert_allclose(calibration_errors(gap, labels, values, volumes), [1.0, 0.4])
    classes = np.array([1.0, 0.0, np.nan])
    np.testing.assert_allclose(calibration_errors(metal, classes, np.array([0.9, 0.2, 0.5]), volumes), [0.1, 0.2])
    probabilities = np.array([[0.1, 0.7, 0.2], [0.6, 0.3, 0.1], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(calibration_errors(system, classes, probabilities, volumes), [0.3, 0.4])


def test_half_widths_are_infinite_where_labels_are_too_few_and_survive_json():
    predictions = simulate(30, missing=0.8)
    distances = np.random.default_rng(1).random(30)
    calibration = fit_calibration(predictions, np.ones(30), distances)
    assert {name: widths.n for name, widths in calibration.widths.items()} == {
        item.name: int((~np.isnan(predictions.labels[item.name])).sum()) for item in ALL
    }
    assert any(math.isinf(widths.half_width) for widths in calibration.widths.values())
    assert Calibration.from_dict(calibration.to_dict()) == calibration


def test_fewer_than_nineteen_crystals_give_no_scale_of_novelty():
    distances = np.random.default_rng(6).random(19)
    assert fit_calibration(simulate(19), np.ones(19), distances).distance_scale is not None
    calibration = fit_calibration(simulate(18), np.ones(18), distances[:18])
    assert calibration.distance_scale is None
    assert Calibration.from_dict(calibration.to_dict()) == calibration


def test_five_percent_of_the_calibration_crystals_are_novel():
    distances = np.random.default_rng(2).lognormal(size=400)
    calibration = fit_calibration(simulate(400), np.ones(400), distances)
    assert calibration.distance_scale is not None
    assert np.mean(distances / calibration.distance_scale > 1) == pytest.approx(0.05, abs=0.01)


def test_merging_refuses_a_sample_that_occurs_twice():
    parts = [simulate(5), simulate(5, seed=1)]
    with pytest.raises(ValueError, match="named 2 times"):
        merge_predictions(parts)
    renamed = Predictions(ALL, tuple("abcde"), parts[1].labels, parts[1].values)
    merged = merge_predictions([parts[0], renamed])
    assert len(merged) == 10
    np.testing.assert_array_equal(merged.values["gap"][5:], parts[1].values["gap"])
