"""Damaged densities: harmless changes keep the density peaks, damages do what their names say."""

from __future__ import annotations

import numpy as np
import pytest

from rhonet.core.config import ViewConfig
from rhonet.core.density import ChargeDensity
from tests.synthetic import SKEWED
from tests.uncertainty.test_density_peaks import atoms_in
from tools.field_damage import DAMAGES, HARMLESS, Damage, blurred, stretched, truncated, with_core, with_rows_cut
from tools.novelty_power import find_all_peaks


@pytest.fixture
def density() -> ChargeDensity:
    return atoms_in(SKEWED)


def name_of(damage: Damage) -> str:
    return damage.name


@pytest.mark.parametrize("kind", HARMLESS, ids=name_of)
def test_harmless_changes_keep_the_density_peaks(density, kind):
    changed = kind.apply(density, np.random.default_rng(0))
    before, after = find_all_peaks([density, changed], ViewConfig())
    assert changed.n_electrons / changed.volume == pytest.approx(density.n_electrons / density.volume)
    # Places are found to 0.01 Å, peaks therefore to 2 %.
    np.testing.assert_allclose(after, before, atol=0.02)


@pytest.mark.parametrize("kind", DAMAGES, ids=name_of)
def test_damage_changes_the_field_but_leaves_it_a_density(density, kind):
    damaged = kind.apply(density, np.random.default_rng(0))
    assert np.isfinite(damaged.values).all()
    assert damaged.n_electrons > 0
    same_field = damaged.shape == density.shape and np.allclose(damaged.values, density.values)
    assert not same_field or not np.allclose(damaged.lattice, density.lattice)


def test_stretching_keeps_the_field_or_the_electrons(density):
    same_field = stretched(density, (1.1, 1.0, 1.2), keep_electrons=False)
    assert same_field.n_electrons == pytest.approx(1.32 * density.n_electrons)
    np.testing.assert_allclose(same_field.spacing, density.spacing * [1.1, 1.0, 1.2])
    assert stretched(density, (1.1, 1.0, 1.2), keep_electrons=True).n_electrons == pytest.approx(density.n_electrons)


def test_file_ends_too_early(density):
    half = truncated(density, 0.5).values.ravel(order="F")
    assert not half[len(half) // 2 :].any()
    np.testing.assert_array_equal(half[: len(half) // 2], density.values.ravel(order="F")[: len(half) // 2])
    nx = density.shape[0]
    np.testing.assert_array_equal(
        with_rows_cut(density).values.ravel(order="F")[nx - 1 : 2 * nx - 2], density.values[:-1, 1, 0]
    )


def test_blur_keeps_and_core_adds_electrons(density):
    assert blurred(density, 0.3).n_electrons == pytest.approx(density.n_electrons)
    assert blurred(density, 0.3).values.max() < density.values.max()
    core = with_core(density, 3.0)
    assert core.n_electrons == pytest.approx(density.n_electrons + 3)
    assert core.values.argmax() == density.values.argmax()
