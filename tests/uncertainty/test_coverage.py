"""Coverage at every level, measured on crystals that the half widths do not come from."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from rhonet.uncertainty.calibration import CURVE_LEVELS, Calibration, fit_calibration
from rhonet.uncertainty.coverage import coverage_curves
from tests.evaluation.test_metrics import ALL, GAP, MODULUS, simulate, single


def fitted(n: int) -> Calibration:
    return fit_calibration(simulate(n), np.ones(n), np.random.default_rng(0).random(n))


def test_coverage_is_nominal_at_every_level_on_crystals_drawn_like_the_calibration():
    curves = coverage_curves(fitted(2000), simulate(2000, seed=1), np.ones(2000))
    assert set(curves) == {item.name for item in ALL}
    for curve in curves.values():
        assert curve.n == 2000
        # Four standard deviations of a share of 2000, once for calibration and once for the test.
        assert np.max(np.abs(np.array(curve.shares) - CURVE_LEVELS)) < 4 * math.sqrt(2 * 0.25 / 2000)


def test_worse_predictions_than_those_calibrated_on_are_covered_less():
    curve = coverage_curves(fitted(500), simulate(500, seed=1, noise=1.5), np.ones(500))["gap"]
    assert all(share < level for share, level in zip(curve.shares, CURVE_LEVELS, strict=True))


def test_levels_with_too_few_calibration_crystals_have_no_coverage():
    shares = coverage_curves(fitted(10), simulate(50, seed=1), np.ones(50))["gap"].shares
    assert math.isnan(shares[-1])
    assert not np.isnan(shares[:-1]).any()


def test_property_without_labels_or_half_widths_has_no_curve():
    calibration = fitted(30)
    no_labels = single(GAP, [np.nan, np.nan], [1.0, 2.0])
    assert coverage_curves(calibration, no_labels, np.ones(2)) == {}
    no_logarithm = single(MODULUS, [-1.0, 2.0], [1.0, 2.0])
    assert coverage_curves(calibration, no_logarithm, np.ones(2))["modulus"].n == 1
    unknown = single(GAP, [1.0, 2.0], [1.0, 2.0])
    without = Calibration(0.9, {}, 1.0, 30)
    assert coverage_curves(without, unknown, np.ones(2)) == {}


def test_prediction_without_a_logarithm_does_not_count():
    moduli = single(MODULUS, [1.0, 2.0, 3.0], [0.0, 2.0, 3.0])
    moduli = dataclasses.replace(moduli, lower={"modulus": np.zeros(3)}, upper={"modulus": np.array([0.0, 4.0, 6.0])})
    assert coverage_curves(fitted(30), moduli, np.ones(3))["modulus"].n == 2


@pytest.mark.parametrize("n", [5, 30])
def test_half_widths_grow_with_the_level_and_survive_json(n):
    calibration = fitted(n)
    widths = calibration.widths["gap"]
    assert list(widths.half_widths) == sorted(widths.half_widths)
    assert widths.half_widths[CURVE_LEVELS.index(0.9)] == widths.half_width
    assert Calibration.from_dict(calibration.to_dict()) == calibration
