"""Coverage over folds, each with intervals that were fitted on the other folds."""

from __future__ import annotations

import dataclasses
import math

import pytest

from rhonet.core.errors import DataError
from rhonet.core.predictions import Predictions
from rhonet.experiments.fold_coverage import format_fold_coverage, measure_fold_coverage
from tests.evaluation.test_metrics import ALL, GAP, MODULUS, simulate, single


def folds_of(n: int, noises: list[float]) -> list[Predictions]:
    """One fold of n samples for each noise."""
    folds = [simulate(n, seed=at, noise=noise) for at, noise in enumerate(noises)]
    return [dataclasses.replace(fold, ids=tuple(f"{at}-{name}" for name in fold.ids)) for at, fold in enumerate(folds)]


def volumes_of(folds: list[Predictions]) -> dict[str, float]:
    return {name: 1.0 for fold in folds for name in fold.ids}


def test_coverage_is_nominal_where_folds_are_drawn_alike():
    folds = folds_of(500, [1.0, 1.0, 1.0])
    coverages = measure_fold_coverage(folds, volumes_of(folds))
    assert [item.item for item in coverages] == list(ALL)
    for item in coverages:
        assert item.n == 1500
        # Four standard deviations, once for the intervals and once for the samples.
        assert abs(item.coverage.value - 0.9) < 4 * math.sqrt(2 * 0.09 / 1500)
        assert item.coverage.lower < item.coverage.value < item.coverage.upper


def test_intervals_of_a_fold_do_not_use_its_own_errors():
    gaps = [single(GAP, [0.0] * 20, [error] * 20) for error in (0.1, 0.1, 5.0)]
    folds = [dataclasses.replace(fold, ids=tuple(f"{at}-{k}" for k in range(20))) for at, fold in enumerate(gaps)]
    (gap,) = measure_fold_coverage(folds, volumes_of(folds))
    # The worst fold's errors widen the intervals of the two others, not its own.
    assert gap.coverage.value == pytest.approx(2 / 3)
    assert gap.half_widths == (0.1, 5.0, 5.0)


def test_widths_are_shown_in_units_and_factors():
    folds = folds_of(200, [1.0, 1.0])
    text = format_fold_coverage(measure_fold_coverage(folds, volumes_of(folds)))
    rows = {line.split(" | ")[0].strip("| "): line for line in text.splitlines() if line.startswith("| ")}
    assert "± " in rows["gap"]
    assert "] eV | " in rows["gap"]
    assert "×÷ " in rows["modulus"]


def test_labels_without_a_logarithm_and_properties_with_few_labels_are_left_out():
    few = [single(GAP, [1.0, 2.0], [1.0, 2.0]), single(GAP, [1.0, 2.0], [1.0, 2.5])]
    few = [dataclasses.replace(fold, ids=(f"{at}-a", f"{at}-b")) for at, fold in enumerate(few)]
    assert measure_fold_coverage(few, volumes_of(few)) == ()
    assert format_fold_coverage(()) == "Too few labelled samples for 90% intervals.\n"
    moduli = [single(MODULUS, [-1.0] + [2.0] * 20, [1.0] * 21) for _ in range(2)]
    moduli = [dataclasses.replace(fold, ids=tuple(f"{at}-{k}" for k in range(21))) for at, fold in enumerate(moduli)]
    assert measure_fold_coverage(moduli, volumes_of(moduli))[0].n == 40


def test_samples_belong_to_one_fold():
    fold = simulate(20)
    with pytest.raises(DataError, match="2 folds with 40 samples, 20 different"):
        measure_fold_coverage([fold, fold], volumes_of([fold]))
    with pytest.raises(DataError, match="1 folds"):
        measure_fold_coverage([fold], volumes_of([fold]))
