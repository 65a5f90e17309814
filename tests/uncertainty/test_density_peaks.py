"""Maxima of a density and their fingerprints, against densities whose maxima are known."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from rhonet.core.config import ViewConfig
from rhonet.core.density import ChargeDensity
from rhonet.uncertainty.density_peaks import find_peaks
from rhonet.uncertainty.training_peaks import WIDTHS
from rhonet.views import render
from tests.synthetic import CUBIC, LEFT_HANDED, SKEWED, density_of

# Without a low-pass filter, which would change the Gaussians.
VIEW = ViewConfig(size=8, softness=0.0)
ATOMS = ((0.1, 0.2, 0.3), (0.613, 0.721, 0.809))
STRENGTHS = (8.0, 3.0)
WIDTH = 0.4


def atoms_in(lattice: np.ndarray, *, scale: int = 16, shift: float = 0.0, copies: int = 1) -> ChargeDensity:
    """Two Gaussian atoms of 8 and 3 electrons in a cell, or a row of such cells along a."""
    lattice = lattice * np.array([[copies], [1], [1]])
    shape = (scale * copies, scale, scale)
    millers = np.stack(np.meshgrid(*[np.fft.fftfreq(n) * n for n in shape], indexing="ij"), axis=-1)
    g_squared = ((2 * np.pi * millers @ np.linalg.inv(lattice).T) ** 2).sum(axis=-1)
    waves = np.zeros(shape, complex)
    for copy in range(copies):
        for atom, strength in zip(ATOMS, STRENGTHS, strict=True):
            place = (np.array(atom) + shift + np.array([copy, 0, 0])) / [copies, 1, 1]
            waves += strength * np.exp(-0.5 * WIDTH**2 * g_squared - 2j * np.pi * millers @ place)
    return density_of(np.fft.ifftn(waves).real * waves.size / abs(np.linalg.det(lattice)), lattice=lattice)


def peaks_of(density: ChargeDensity, view: ViewConfig = VIEW) -> np.ndarray:
    nothing = tf.zeros((0, 0, 0))
    values = tf.constant(density.values, tf.float32)
    return find_peaks(render.spectrum(values, nothing, tf.constant(density.lattice), view)).numpy()


@pytest.mark.parametrize("lattice", [CUBIC * 1.2, SKEWED * 1.2, LEFT_HANDED * 1.2])
def test_fingerprint_of_an_atom_is_its_peak_at_every_width(lattice):
    fingerprints = np.sinh(peaks_of(atoms_in(lattice, scale=24))) * 0.1
    assert len(fingerprints) == 2
    for fingerprint, strength in zip(fingerprints, STRENGTHS, strict=True):
        variances = WIDTH**2 + np.array(WIDTHS) ** 2
        peak = strength / (2 * np.pi * variances) ** 1.5
        # The tails of the other atom and of periodic images add to the widest; positions are found to 0.01 Å.
        np.testing.assert_allclose(fingerprint[:2], peak[:2], rtol=0.02)
        assert (fingerprint > 0.98 * peak).all()


def test_peaks_do_not_depend_on_origin_and_choice_of_the_cell():
    first = peaks_of(atoms_in(SKEWED))
    assert len(first) == 2
    np.testing.assert_allclose(peaks_of(atoms_in(SKEWED, shift=0.037)), first, atol=0.02)
    np.testing.assert_allclose(peaks_of(atoms_in(SKEWED, copies=3)), first, atol=0.02)


@pytest.mark.parametrize("shift", [0.0, 0.02, 0.23, 0.31, 0.44])
def test_rounding_where_the_density_vanishes_makes_no_peak(shift):
    assert len(peaks_of(atoms_in(CUBIC * 2, scale=32, shift=shift))) == 2


def test_strongest_peak_comes_first():
    peaks = peaks_of(atoms_in(CUBIC))
    assert peaks[0, 0] > peaks[1, 0]


@pytest.mark.parametrize("shape", [(1, 1, 1), (4, 4, 4), (3, 1, 8)])
def test_constant_density_has_one_peak(shape):
    peaks = peaks_of(density_of(np.full(shape, 0.2), lattice=SKEWED))
    np.testing.assert_allclose(peaks, np.full((1, len(WIDTHS)), np.arcsinh(2.0)), rtol=1e-5)


def test_peaks_of_noise_are_finite_and_limited_in_number():
    noise = density_of(np.random.default_rng(0).normal(size=(40, 40, 40)) + 1, lattice=CUBIC * 2.5)
    peaks = peaks_of(noise)
    assert np.isfinite(peaks).all()
    assert 1 < len(peaks) <= 128


@pytest.mark.parametrize("kind", ["cell", "paper"])
def test_peaks_are_found_in_the_plane_waves_of_every_kind_of_view(kind):
    assert len(peaks_of(atoms_in(CUBIC), ViewConfig(kind=kind, size=16))) == 2
