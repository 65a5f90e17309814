"""Gaps and band widths of level schemes that can be checked by hand."""

import numpy as np
import pytest

from tools.dft.bands import find_bands

WEIGHTS = np.array([0.25, 0.75])


def bands_of(levels, occupied, *, fermi=0.0, further=None):
    """Of one spin: levels (n_k, n_bands) and the occupations of all k points."""
    eigenvalues = np.array([levels], float)
    occupations = np.broadcast_to(np.array(occupied, float), eigenvalues.shape)
    more = None if further is None else np.array([further], float)
    return find_bands(eigenvalues, occupations, WEIGHTS, fermi_energy=fermi, further=more)


def test_gap_is_indirect():
    bands = bands_of([[-5, -1, 3], [-4, -2, 2]], [2, 2, 0])
    assert bands.gap == pytest.approx(3.0)
    assert (bands.valence_maximum, bands.conduction_minimum) == (-1.0, 2.0)
    assert bands.fermi_energy == pytest.approx(0.5)


def test_symmetry_points_narrow_the_gap():
    bands = bands_of([[-5, -1, 3], [-4, -2, 2]], [2, 2, 0], further=[[-6, -0.5, 1.25]])
    assert bands.gap == pytest.approx(1.75)
    assert bands.valence_maximum == -0.5


def test_symmetry_points_may_have_fewer_or_more_bands():
    few = bands_of([[-5, -1, 3, 9], [-4, -2, 2, 8]], [2, 2, 0, 0], further=[[-6, -0.5, 1.25]])
    many = bands_of([[-5, -1, 3], [-4, -2, 2]], [2, 2, 0], further=[[-6, -0.5, 1.25, 9]])
    assert few.gap == many.gap == pytest.approx(1.75)


def test_overlapping_bands_make_a_metal():
    bands = bands_of([[-5, -1, 0.5], [-4, 1, 2]], [2, 2, 0], fermi=0.7)
    assert bands.gap == 0
    assert bands.fermi_energy == bands.valence_maximum == bands.conduction_minimum == 0.7


def test_partial_occupation_makes_a_metal():
    assert bands_of([[-5, -1, 3], [-4, -2, 2]], [2, 1, 0]).gap == 0


def test_tail_of_the_smearing_makes_no_metal():
    assert bands_of([[-5, -1, 3], [-4, -2, 2]], [2, 1.99, 0.01]).gap == pytest.approx(3.0)


def test_odd_electrons_make_a_metal():
    occupations = np.array([[[2.0, 2.0], [2.0, 0.0]]])
    bands = find_bands(np.array([[[-3.0, -1.0], [-3.0, 2.0]]]), occupations, WEIGHTS, fermi_energy=0.1)
    assert bands.gap == 0


def test_width_ends_where_half_an_ev_is_empty():
    # Bands at -9..-8, -3.4..-2 and -1.6..0: the second hangs on the third, the first is apart.
    bands = bands_of([[-9, -3.4, -1.6, 4], [-8, -2, 0, 5]], [2, 2, 2, 0])
    assert bands.width == pytest.approx(3.4)


def test_width_of_a_metal_ends_at_the_fermi_energy():
    assert bands_of([[-4, -1], [-1, 3]], [2, 1], fermi=1.0).width == pytest.approx(5.0)


def test_spins_are_filled_apart():
    eigenvalues = np.array([[[-4, -1, 2], [-3, -2, 3]], [[-3.5, 0.5, 4], [-2.5, 1.5, 5]]], float)
    occupations = np.stack([np.broadcast_to(filled, (2, 3)) for filled in ([1, 1, 0], [1, 0, 0])]).astype(float)
    bands = find_bands(eigenvalues, occupations, WEIGHTS, fermi_energy=0.0)
    assert (bands.valence_maximum, bands.conduction_minimum) == (-1.0, 0.5)
    assert bands.gap == pytest.approx(1.5)


def test_energy_zero_is_the_callers():
    one = bands_of([[-5, -1, 3], [-4, -2, 2]], [2, 2, 0])
    other = bands_of([[2, 6, 10], [3, 5, 9]], [2, 2, 0], fermi=7.0)
    assert one.gap == pytest.approx(other.gap)
    assert one.width == pytest.approx(other.width)
    assert other.fermi_energy - one.fermi_energy == pytest.approx(7.0)
