"""Integrated gradients of functions whose attributions are known."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from rhonet.attribution.integrated_gradients import FEWEST_STEPS, Attribution, Slope, integrate_gradients
from rhonet.core.density import ChargeDensity
from tests.synthetic import LEFT_HANDED, density_of, random_density

SHAPES = [(4, 6, 5), (1, 1, 7), (3, 3, 3)]


def quadratic(values: np.ndarray, magnetization: np.ndarray | None) -> Slope:
    """Σ ρ² + 3 Σ m²: its derivative grows along the line."""
    value, spin = float((values**2).sum()), None
    if magnetization is not None:
        value, spin = value + 3 * float((magnetization**2).sum()), 6 * magnetization
    return Slope(value, 2 * values, spin)


def bent(values: np.ndarray, magnetization: np.ndarray | None) -> Slope:
    """A function with one kink on the line, as ReLU networks have many."""
    total = float(values.sum())
    return Slope(max(0, total - 0.3), np.full(values.shape, float(total > 0.3)), None)


def cut_at_both_ends(values: np.ndarray, magnetization: np.ndarray | None) -> Slope:
    """0 at both ends of the line and positive between them, as a band gap cut at 0 can be; attributions cancel."""
    height, center = float(values.std()), 0.5
    rise = max(0.0, 0.3 - abs(height - center))
    slope = 0.0 if not rise else math.copysign(1.0, center - height)
    return Slope(rise, slope * (values - values.mean()) / (values.size * height or 1.0), None)


def with_spin(seed: int) -> ChargeDensity:
    density = random_density((4, 5, 6), seed=seed)
    noise = np.random.default_rng(seed).normal(size=density.shape)
    return dataclasses.replace(density, magnetization=noise - noise.mean() + 0.1)


@pytest.mark.parametrize("shape", SHAPES)
def test_attributions_of_a_quadratic_function_are_its_summands(shape):
    density = random_density(shape, seed=1)
    attribution = integrate_gradients(density, quadratic, baseline="zero")
    cell = density.volume / density.values.size
    np.testing.assert_allclose(attribution.values * cell, density.values**2, rtol=1e-12)
    assert attribution.steps == FEWEST_STEPS


def test_gap_without_a_difference_is_a_share_of_the_span():
    noise = np.random.default_rng(0).normal(size=(4, 5, 6))
    density = density_of(noise / noise.std())
    attribution = integrate_gradients(density, cut_at_both_ends, baseline="mean")
    assert (attribution.prediction, attribution.baseline) == (0, 0)
    assert attribution.span == pytest.approx(0.3, rel=0.01)
    assert 0 < attribution.gap < 0.01


@pytest.mark.parametrize("baseline", ["mean", "zero"])
def test_attributions_to_both_fields_add_up_to_the_difference(baseline):
    density = with_spin(0)
    attribution = integrate_gradients(density, quadratic, baseline=baseline)
    assert attribution.attributed == pytest.approx(attribution.difference, rel=1e-12)
    assert attribution.gap == 0
    assert sum(attribution.parts) == pytest.approx(attribution.attributed)
    assert attribution.attributed_to_spin == pytest.approx(float(attribution.as_density().total_moment or 0))
    assert attribution.as_density().n_electrons + attribution.attributed_to_spin == pytest.approx(
        attribution.attributed
    )


def test_mean_baseline_has_the_same_electrons_and_moment():
    density, seen = with_spin(2), []

    def spy(values: np.ndarray, magnetization: np.ndarray | None) -> Slope:
        assert magnetization is not None
        seen.append((np.ptp(values), values.mean(), magnetization.mean()))
        return quadratic(values, magnetization)

    integrate_gradients(density, spy)
    spreads, means, moments = np.transpose(seen)
    assert spreads.min() == 0
    np.testing.assert_allclose(means, density.values.mean(), rtol=1e-12)
    np.testing.assert_allclose(moments, 0.1, rtol=1e-9)


def test_up_and_down_are_a_convention():
    density = with_spin(3)
    assert density.magnetization is not None
    turned = dataclasses.replace(density, magnetization=-density.magnetization)
    first, second = (integrate_gradients(either, quadratic, baseline="zero") for either in (density, turned))
    assert first.magnetization is not None
    np.testing.assert_array_equal(first.magnetization, second.magnetization)


def test_kinks_need_more_steps_up_to_the_limit():
    density = density_of(np.random.default_rng(4).random((3, 4, 5)))
    density = dataclasses.replace(density, values=density.values / density.values.sum())
    fine = integrate_gradients(density, bent, baseline="zero", tolerance=1e-3)
    assert fine.gap <= 1e-3
    assert fine.steps > FEWEST_STEPS
    coarse = integrate_gradients(density, bent, baseline="zero", tolerance=1e-3, steps=20)
    assert coarse.steps == 20
    assert coarse.gap > fine.gap


def test_homogeneous_density_has_no_attributions():
    def no_derivative(values: np.ndarray, magnetization: np.ndarray | None) -> Slope:
        return Slope(7.0, np.full(values.shape, np.nan), None)

    attribution = integrate_gradients(density_of(np.ones((2, 3, 4))), no_derivative)
    np.testing.assert_array_equal(attribution.values, 0)
    assert (attribution.difference, attribution.gap) == (0, 0)


def test_gap_is_infinite_where_nothing_should_be_attributed_but_is():
    density = density_of(np.ones((2, 2, 2)))
    attribution = Attribution(density, density.values, None, prediction=1.0, baseline=1.0, steps=1, span=0.0)
    assert attribution.gap == math.inf


def test_smoothing_keeps_the_sum_and_spreads_a_point_by_its_width():
    lattice = LEFT_HANDED * 8 / np.linalg.norm(LEFT_HANDED, axis=1, keepdims=True)
    values = np.zeros((40, 40, 40))
    values[20, 20, 20] = 1
    density = ChargeDensity(values, lattice)
    smooth = Attribution(density, values, None, prediction=1.0, baseline=0.0, steps=1, span=1.0).smoothed(0.5)
    assert smooth.values.sum() == pytest.approx(1)
    places = np.stack(np.meshgrid(*[(np.arange(40) - 20) / 40] * 3, indexing="ij"), axis=-1) @ lattice
    variance = (smooth.values[..., None] * places**2).sum(axis=(0, 1, 2))
    np.testing.assert_allclose(variance, 0.25, rtol=1e-3)
