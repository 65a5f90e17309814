"""Temperatures that calibrate class probabilities."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.special import expit, softmax

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.core.standardize import Scale, Standardizer
from rhonet.experiments.fold_coverage import format_fold_probabilities, measure_fold_probabilities
from rhonet.uncertainty.temperature import FEWEST, MAX_TEMPERATURE, fit_temperature, log_losses, logits_of, temper
from tests.evaluation.test_metrics import GAP, single

METAL = Property("metal", kind="binary")
PHASE = Property("phase", kind="multiclass", classes=3)


def overconfident(item: Property, n: int, *, factor: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Logits (n, Z) and labels (n,); the labels were drawn with the logits divided by `factor`."""
    rng = np.random.default_rng(seed)
    honest = rng.normal(0, 1.5, (n, item.size))
    chances = expit(honest[:, 0]) if item.kind == "binary" else softmax(honest, axis=1)
    if item.kind == "binary":
        return factor * honest, (rng.uniform(size=n) < chances).astype(float)
    return factor * honest, np.array([float(rng.choice(3, p=row)) for row in chances])


@pytest.mark.parametrize("item", [METAL, PHASE], ids=lambda item: item.name)
def test_temperature_is_the_factor_by_which_logits_are_overconfident(item):
    assert fit_temperature(item, *overconfident(item, 20000, factor=3.0)) == pytest.approx(3.0, rel=0.06)
    logits, labels = overconfident(item, 2000, factor=3.0, seed=1)
    labels[::2] = np.nan
    assert fit_temperature(item, logits, labels) == fit_temperature(item, logits[1::2], labels[1::2])


@pytest.mark.parametrize("item", [METAL, PHASE], ids=lambda item: item.name)
def test_temperature_is_one_for_underconfident_networks_and_for_few_labels(item):
    assert fit_temperature(item, *overconfident(item, 2000, factor=0.3)) == 1.0
    logits, labels = overconfident(item, FEWEST, factor=5.0)
    assert fit_temperature(item, logits, labels) > 1
    labels[0] = np.nan
    assert fit_temperature(item, logits, labels) == 1.0


def test_network_that_knows_nothing_gets_the_largest_temperature():
    rng = np.random.default_rng(0)
    wrong = 30 * rng.normal(size=(200, 1))
    labels = rng.integers(0, 2, 200).astype(float)
    assert fit_temperature(METAL, wrong, labels) == pytest.approx(MAX_TEMPERATURE, rel=1e-3)


def test_log_losses_are_those_of_the_probabilities():
    logits = np.array([[2.0], [-1.0], [800.0]])
    np.testing.assert_allclose(
        log_losses(METAL, logits, np.array([1, 1, 0])), [-np.log(expit(2)), -np.log(expit(-1)), 800]
    )
    three = np.array([[1.0, 2.0, -1.0], [0.0, 0.0, 0.0]])
    expected = [-np.log(softmax(three[0])[2]), np.log(3)]
    np.testing.assert_allclose(log_losses(PHASE, three, np.array([2.0, 1.0])), expected)


def test_logits_give_their_probabilities_back():
    binary = np.array([0.0, 0.2, 1.0])
    np.testing.assert_allclose(expit(logits_of(METAL, binary)[:, 0]), binary, atol=2e-7)
    multiclass = np.array([[0.2, 0.5, 0.3], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(softmax(logits_of(PHASE, multiclass), axis=1), multiclass, atol=3e-7)


def test_only_class_properties_are_temperature_scaled():
    gap = Scale(1.0, 2.0)
    metal, labels = overconfident(METAL, 500, factor=2.0)
    phase, phases = overconfident(PHASE, 500, factor=4.0)
    outputs = np.concatenate([phase, np.zeros((500, 1)), metal], axis=1)
    before = Standardizer((PHASE, GAP, METAL), (Scale(0, 0.9), gap, Scale(0, 1)))
    after = temper(before, outputs, np.stack([phases, np.zeros(500), labels], axis=1))
    assert after.properties == before.properties
    assert after.scales[1] == gap
    assert after.scales[0] == Scale(0, 1 / fit_temperature(PHASE, phase, phases))
    assert after.scales[2] == Scale(0, 1 / fit_temperature(METAL, metal, labels))


def folds_of(factors: list[float]) -> list[Predictions]:
    folds = []
    for number, factor in enumerate(factors):
        logits, labels = overconfident(METAL, 2000, factor=factor, seed=number)
        fold = single(METAL, labels, expit(logits[:, 0]))
        folds.append(dataclasses.replace(fold, ids=tuple(f"{number}-{name}" for name in fold.ids)))
    return folds


def test_each_fold_takes_the_temperature_of_the_others():
    (alike,) = measure_fold_probabilities(folds_of([3.0, 3.0, 3.0]))
    assert alike.temperature == pytest.approx(3.0, rel=0.15)
    assert alike.n == 6000
    assert alike.gain.value == pytest.approx(alike.before - alike.after)
    assert alike.gain.lower > 0
    text = format_fold_probabilities([alike])
    assert f"| metal | {alike.before:.3f} | {alike.after:.3f} | +{alike.gain.value:.3f} [" in text
    # The overconfident fold gets the temperature 1 of the other one, which gets a temperature that it does not need.
    (crossed,) = measure_fold_probabilities(folds_of([3.0, 1.0]))
    assert crossed.gain.value < 0


def test_properties_that_are_no_classes_have_no_probabilities():
    assert measure_fold_probabilities([single(GAP, [1.0, 2.0], [1.0, 2.0])]) == ()
    assert measure_fold_probabilities([single(METAL, [np.nan], [0.5])]) == ()
