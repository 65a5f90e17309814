"""Derivatives of exported models are right, and attributions from them add up."""

from __future__ import annotations

import numpy as np
import pytest

from rhonet.attribution.differentiable_model import DifferentiableModel
from rhonet.attribution.integrated_gradients import integrate_gradients
from rhonet.core.density import ChargeDensity
from rhonet.core.errors import ModelError
from rhonet.core.properties import PROPERTIES, Property
from rhonet.formats import read_density
from rhonet.serving.exported_model import Predictor
from rhonet.serving.model_card import released_model
from tests.crystals import REPOSITORY, smooth_density
from tests.tiny_model import ITEMS

pytest_plugins = ("tests.fixtures",)

COMPLETE = 0.02


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: item.name)
def test_derivatives_are_those_of_the_prediction(differentiable, item):
    density = smooth_density(60, (9, 8, 10), spin=True)
    spin = density.magnetization
    assert spin is not None
    prediction = differentiable.prediction(item, density)
    slope = prediction.slope_at(density.values, spin)
    assert slope.magnetization is not None
    for field, by_field in enumerate((slope.density, slope.magnetization)):
        # Along the derivative, as short as float32 allows; ReLUs bend within it.
        step = np.zeros((2, *density.shape))
        step[field] = by_field / np.abs(by_field).max() * 1e-3
        there, back = (prediction.slope_at(density.values + s * step[0], spin + s * step[1]).value for s in (1, -1))
        assert there - back == pytest.approx(2 * float((step[field] * by_field).sum()), rel=0.1)


@pytest.mark.slow
def test_explained_is_what_is_predicted(differentiable, tiny_model):
    density = smooth_density(63, spin=True)
    answer = Predictor(tiny_model).predict(density).values
    for item in ITEMS:
        prediction = differentiable.prediction(item, density)
        expected = answer[item.name] if item.kind != "multiclass" else np.max(answer[item.name])
        assert prediction.slope_at(density.values, density.magnetization).value == pytest.approx(expected, rel=1e-5)


def two_atoms(*, spin: bool) -> ChargeDensity:
    """Sharper than `smooth_density`, so that predictions differ from those for the mean by more than noise."""
    rng, shape = np.random.default_rng(0), (12, 10, 15)
    lattice = 3.5 * np.eye(3) + rng.uniform(-0.3, 0.3, (3, 3))
    places = np.stack(np.meshgrid(*[np.arange(n) / n for n in shape], indexing="ij"), axis=-1)
    values, magnetization = np.full(shape, 0.02), np.zeros(shape)
    for moment in (-0.05, 0.4):
        offset = places - rng.random(3)
        atom = 4 * np.exp(-2 * (((offset - np.round(offset)) @ lattice) ** 2).sum(axis=-1))
        values, magnetization = values + atom, magnetization + moment * atom
    return ChargeDensity(values, lattice, magnetization=magnetization if spin else None)


@pytest.mark.parametrize(("item", "spin"), [*((item, True) for item in ITEMS), (ITEMS[0], False)])
def test_attributions_add_up_to_the_difference(differentiable, item, spin):
    density = two_atoms(spin=spin)
    attribution = integrate_gradients(density, differentiable.prediction(item, density).slope_at, tolerance=COMPLETE)
    assert attribution.gap < COMPLETE
    assert (attribution.magnetization is None) != spin


@pytest.mark.slow
def test_attributions_against_an_empty_cell_add_up(differentiable):
    density = two_atoms(spin=False)
    slope_at = differentiable.prediction(ITEMS[0], density).slope_at
    attribution = integrate_gradients(density, slope_at, baseline="zero", steps=256)
    # With random weights, positive and negative attributions are hundreds of times their sum.
    assert attribution.attributed == pytest.approx(attribution.difference, abs=COMPLETE * attribution.parts[0])


@pytest.mark.slow
def test_attributions_of_the_released_model_add_up():
    archive = REPOSITORY / "tfds_builders/dft_crystals/archive/densities-000.h5"
    density = read_density(f"{archive}::rocksalt_Be_Se")
    prediction = DifferentiableModel(released_model()).prediction(PROPERTIES["bulk_modulus"], density)
    assert integrate_gradients(density, prediction.slope_at).gap < COMPLETE


def test_model_without_the_property_is_refused(differentiable):
    with pytest.raises(ModelError, match=r"the model lacks it; export it again"):
        differentiable.prediction(Property("colour"), smooth_density(0))


def test_missing_model_is_refused(tmp_path):
    with pytest.raises(ModelError, match=r"cannot be loaded: .*; export the model again"):
        DifferentiableModel(tmp_path)
