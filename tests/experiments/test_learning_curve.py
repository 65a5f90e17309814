"""Learning curves and their extrapolation."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import numpy as np
import pytest

from rhonet.core.config import Config
from rhonet.core.errors import DataError
from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.experiments.learning_curve import MEAN, fit_learning_curves, format_learning_curves
from rhonet.experiments.trials import Result, Trial

GAP, WIDTH, METAL = Property("gap", unit="eV"), Property("width", unit="eV"), Property("metal", kind="binary")
N = 2000


def curve(exponents: dict[str, float], *, unexplained: float = 0.3, shares=(1.0, 0.5, 0.25)) -> dict[str, list[Result]]:
    """Predictions whose 1 - R² is `unexplained` with all data, and that much times share^(-exponent) with less."""
    rng = np.random.default_rng(0)
    results = {}
    labels = {name: rng.normal(size=N) for name in exponents}
    errors = {name: rng.normal(size=N) for name in exponents}
    metal = (rng.random(N) < 0.5).astype(float)
    for share in shares:
        sizes = {name: math.sqrt(unexplained * share**-exponent) for name, exponent in exponents.items()}
        values = {name: labels[name] + sizes[name] * errors[name] for name in exponents}
        predictions = Predictions(
            (*(item for item in (GAP, WIDTH) if item.name in exponents), METAL),
            tuple(f"{at:04d}" for at in range(N)),
            labels | {"metal": metal},
            values | {"metal": np.full(N, 0.5)},
        )
        data = dataclasses.replace(Config().data, train_share=share)
        trial = Trial(Path("unused"), f"{share:.0%}", 0, dataclasses.replace(Config(), data=data))
        results[trial.variant] = [Result(trial, predictions, 60.0)]
    return results


def test_power_law_is_found_and_read_on():
    mean, gap, width = fit_learning_curves(curve({"gap": 0.5, "width": 0.5}))
    assert [one.name for one in (mean, gap, width)] == [MEAN, "gap", "width"]
    for one in (mean, gap, width):
        assert one.now.value == pytest.approx(0.7, abs=0.02)
        assert one.exponent.value == pytest.approx(0.5, abs=0.01)
        assert [ahead.value for ahead in one.ahead] == pytest.approx([1 - 0.3 * n**-0.5 for n in (2, 4, 16)], abs=0.02)
        # 0.3 · n^(-1/2) = 0.1
        assert one.aim.value == pytest.approx(9, rel=0.2)
        assert one.aim.lower < 9 < one.aim.upper


def test_order_of_the_shares_does_not_matter():
    there, back = (curve({"gap": 0.4}, shares=shares) for shares in ((1.0, 0.5, 0.1), (0.1, 0.5, 1.0)))
    assert format_learning_curves(fit_learning_curves(there)) == format_learning_curves(fit_learning_curves(back))


def test_curve_that_does_not_fall_takes_endless_data():
    _, gap = fit_learning_curves(curve({"gap": 0.0}))
    assert gap.aim.value > 100
    assert "x > 100" in format_learning_curves([gap])


def test_aim_that_is_reached_is_said_to_be():
    assert "reached" in format_learning_curves(fit_learning_curves(curve({"gap": 0.5}, unexplained=0.05)))


def test_one_share_is_no_curve():
    with pytest.raises(DataError, match="at least two shares"):
        fit_learning_curves(curve({"gap": 0.5}, shares=(1.0,)))
