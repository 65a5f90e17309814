"""Fits of E(V), and the search for its minimum, for analytic solids."""

import math

import numpy as np
import pytest

from tools.dft.equation_of_state import fit_equilibrium
from tools.dft.errors import CalculationFailed
from tools.dft.units import EV_PER_CUBIC_ANGSTROM
from tools.dft.volume_search import MAX_STEPS, SETTLED, VolumeSearch

RATIOS = np.array([1.0, 0.94, 1.06])


def birch_murnaghan(volumes, *, volume=40.0, modulus=100.0, derivative=4.0):
    """Energy, eV, of the third-order equation of state; modulus in GPa."""
    squeeze = (volume / np.asarray(volumes)) ** (2 / 3)
    shape = (squeeze - 1) ** 3 * derivative + (squeeze - 1) ** 2 * (6 - 4 * squeeze)
    return 9 / 16 * volume * modulus / EV_PER_CUBIC_ANGSTROM * shape


@pytest.mark.parametrize("modulus", [3.0, 100.0, 400.0])
@pytest.mark.parametrize("center", [0.95, 1.0, 1.05])
def test_fit_is_exact_for_a_second_order_solid(modulus, center):
    volumes = 40.0 * center * RATIOS
    equilibrium = fit_equilibrium(volumes, birch_murnaghan(volumes, modulus=modulus) - 1234.5)
    assert equilibrium.volume == pytest.approx(40.0, rel=1e-7)
    assert equilibrium.bulk_modulus == pytest.approx(modulus, rel=1e-5)
    assert equilibrium.energy == pytest.approx(-1234.5, abs=1e-9)


@pytest.mark.parametrize("derivative", [3.5, 5.5])
def test_other_stiffening_costs_little(derivative):
    volumes = 40.0 * 1.01 * RATIOS
    equilibrium = fit_equilibrium(volumes, birch_murnaghan(volumes, derivative=derivative))
    assert equilibrium.volume == pytest.approx(40.0, rel=3e-3)
    assert equilibrium.bulk_modulus == pytest.approx(100.0, rel=0.04)


def test_order_of_the_volumes_does_not_matter():
    volumes = 40.0 * RATIOS
    one, other = (fit_equilibrium(some, birch_murnaghan(some)) for some in (volumes, volumes[::-1]))
    assert one.volume == pytest.approx(other.volume)
    assert one.bulk_modulus == pytest.approx(other.bulk_modulus)


def test_energies_without_a_minimum_are_refused():
    with pytest.raises(CalculationFailed, match="no minimum"):
        fit_equilibrium([38.0, 40.0, 42.0], [0.0, 1.0, 0.0])


def pressure(ratio, modulus):
    """GPa, of a second-order solid at this fraction of its equilibrium volume."""
    return 1.5 * modulus * (ratio ** (-7 / 3) - ratio ** (-5 / 3))


@pytest.mark.parametrize("guessed", [0.5, 1.0, 2.0])
@pytest.mark.parametrize("start", [-0.5, -0.2, 0.0, 0.03, 0.2, 0.4])
def test_search_settles_near_the_minimum(guessed, start):
    modulus = 60.0
    search = VolumeSearch(start, modulus * guessed)
    while not search.settled:
        search.tell(pressure(math.exp(search.log_volume), modulus))
    # A last step too small for a solid softer than guessed leaves no more than that step again.
    assert abs(search.log_volume) < 2 * SETTLED
    assert len(search.history) <= MAX_STEPS


def test_search_keeps_to_its_bracket():
    rng = np.random.default_rng(0)
    for _ in range(50):
        search = VolumeSearch(rng.uniform(-0.4, 0.4), rng.uniform(8, 300))
        modulus, noise = rng.uniform(5, 300), rng.normal(0, 0.2)
        while not search.settled:
            search.tell(pressure(math.exp(search.log_volume), modulus) + noise)
            squeezed = [at for at, value in search.history if value > 0]
            stretched = [at for at, value in search.history if value <= 0]
            if squeezed and stretched:
                assert max(squeezed) < search.log_volume < min(stretched)


def test_start_at_the_minimum_takes_one_step():
    search = VolumeSearch(0.0, 100.0)
    search.tell(0.0)
    assert search.settled
    assert search.log_volume == 0.0


@pytest.mark.parametrize("value", [500.0, -80.0])
def test_solid_that_has_no_minimum_is_given_up(value):
    search = VolumeSearch(0.0, 100.0)

    def go_on():
        while not search.settled:
            search.tell(value)

    with pytest.raises(CalculationFailed, match="volume search"):
        go_on()
    assert len(search.history) <= MAX_STEPS
