"""Descriptors belong to a crystal, not to the way in which it is given; tests/experiments/test_leaks.py has strains."""

import dataclasses

import numpy as np
import pytest

from rhonet.core.regrid import fourier_regrid
from rhonet.data.descriptors import radial_spectrum
from tests.crystals import smooth_density
from tests.synthetic import density_of


def repeated(density, times):
    """The same crystal in a larger cell."""
    spin = density.magnetization
    return dataclasses.replace(
        density,
        values=np.tile(density.values, times),
        lattice=density.lattice * np.array(times)[:, None],
        magnetization=None if spin is None else np.tile(spin, times),
    )


def turned(density):
    """The crystal rotated in space, its axes renamed."""
    angle = 0.7
    turn = np.array([[np.cos(angle), np.sin(angle), 0], [-np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    return density_of(density.values.transpose(2, 0, 1), lattice=density.lattice[[2, 0, 1]] @ turn)


def shifted(density):
    return dataclasses.replace(density, values=np.roll(density.values, (1, 2, 3), axis=(0, 1, 2)))


@pytest.mark.parametrize(
    "other",
    [turned, shifted, lambda one: repeated(one, (2, 1, 3)), lambda one: fourier_regrid(one, (15, 12, 17))],
    ids=["turned", "shifted", "supercell", "finer grid"],
)
def test_spectrum_belongs_to_the_crystal_not_to_its_description(other):
    density = smooth_density(3)
    np.testing.assert_allclose(radial_spectrum(other(density)), radial_spectrum(density), atol=1e-9)


def test_spectrum_of_spin_does_not_depend_on_the_cell():
    density = smooth_density(4, spin=True)
    wanted = radial_spectrum(density)
    assert wanted[25:].max() > 0.01
    np.testing.assert_allclose(radial_spectrum(repeated(density, (1, 2, 1))), wanted, atol=1e-9)
    assert not radial_spectrum(dataclasses.replace(density, magnetization=None))[25:].any()


def test_spectrum_notices_a_slightly_larger_cell():
    density = smooth_density(5)
    wanted = radial_spectrum(density)
    larger = dataclasses.replace(density, lattice=density.lattice * 1.003, values=density.values / 1.003**3)
    assert np.linalg.norm(radial_spectrum(larger) - wanted) > 2e-3 * np.linalg.norm(wanted)
