"""What tells crystals apart: descriptors that ignore origin, orientation, choice of the cell, and grid."""

from __future__ import annotations

import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.core.regrid import wave_numbers, wave_vectors

# Shells of |G|, rad/Å: every grid with a spacing of at most 0.5 Å holds them all.
_SHELLS = np.arange(0.25, 6.01, 0.25)
_SHELL_WIDTH = 0.25
_LONGEST_SHELL = _SHELLS[-1] + 4 * _SHELL_WIDTH

# Histogram: centres in asinh(ρ/(0.1 e/Å³)). Powder pattern: centres in ln(|G|·Å), 1.0 to 9 Å⁻¹; the lines are so wide
# that strains of a few percent move them by less than their width.
_DENSITY_SCALE = 0.1
_VALUES = np.linspace(-0.5, 6.0, 27)
_LINES = np.linspace(0.0, 2.2, 34)
_LINE_WIDTH = 0.1
# Numbers of each part of a `strain_tolerant_descriptor`: volume per electron, histogram, powder pattern.
DESCRIPTOR_PARTS = (1, len(_VALUES), len(_LINES))


def radial_spectrum(density: ChargeDensity) -> np.ndarray:
    """Amplitude of the plane waves of a density by wavelength, which is equal for equal crystals.

    Shifts, rotations, other choices of the cell (also supercells), grid and file format do not change it. Crystals
    with other lattice constants or other atoms have another spectrum.

    Returns:
        (1 + 2·24,): the mean density, and the root of the summed squares of the plane waves in 24 soft shells of |G|
        from 0.25 to 6 /Å, all in e/Å³; then the shells of the magnetization, which include its mean, µB/Å³ (zeros
        without spin).
    """
    mean = float(density.values.mean(dtype=np.float64))
    lengths, power = _long_waves(density.values, density.lattice, _LONGEST_SHELL)
    shells = _gaussian_sums(lengths[1:], power[1:], _SHELLS, _SHELL_WIDTH)
    magnetization = density.collinear_magnetization()
    spins = np.zeros(len(_SHELLS))
    if magnetization is not None:
        spins = _gaussian_sums(*_long_waves(magnetization, density.lattice, _LONGEST_SHELL), _SHELLS, _SHELL_WIDTH)
    return np.concatenate([[mean], np.sqrt(shells), np.sqrt(spins)])


def strain_tolerant_descriptor(density: ChargeDensity) -> np.ndarray:
    """Descriptor of a density: ln of the volume per electron, histogram, and powder pattern.

    The same (to the resolution of the grid) for any origin, orientation, cell and supercell. The histogram holds
    shares of the volume; the pattern is the root of |ρ_G|² relative to the mean density, summed over Gaussian lines.
    """
    values = np.asarray(density.values, np.float64)
    scaled = np.arcsinh(values.ravel() / _DENSITY_SCALE)
    width = _VALUES[1] - _VALUES[0]
    histogram = _gaussian_sums(scaled, np.full(scaled.size, 1 / scaled.size), _VALUES, width)
    mean = values.mean()
    longest = np.exp(_LINES[-1] + 3 * _LINE_WIDTH)
    lengths, power = _long_waves(values / mean, density.lattice, longest)
    seen = (lengths > np.exp(_LINES[0] - 3 * _LINE_WIDTH)) & (lengths < longest)
    pattern = np.sqrt(_gaussian_sums(np.log(lengths[seen]), power[seen], _LINES, _LINE_WIDTH))
    return np.concatenate([[np.log(1 / mean)], histogram, pattern])


def _long_waves(values: np.ndarray, lattice: np.ndarray, longest: float) -> tuple[np.ndarray, np.ndarray]:
    """|G| in rad/Å and |f(G)|² of the plane waves of a field with |G| below `longest`, and of some beyond."""
    spectrum = np.fft.fftn(values) / values.size
    limits = longest * np.linalg.norm(lattice, axis=1) / (2 * np.pi)
    numbers = wave_numbers(values.shape)
    kept = [np.flatnonzero(abs(axis) <= limit) for axis, limit in zip(numbers, limits, strict=True)]
    vectors = wave_vectors([axis[chosen] for axis, chosen in zip(numbers, kept, strict=True)], lattice)
    lengths = np.linalg.norm(vectors, axis=-1).ravel()
    return lengths, np.abs(spectrum[np.ix_(*kept)].ravel()) ** 2


def _gaussian_sums(places: np.ndarray, weights: np.ndarray, centres: np.ndarray, width: float) -> np.ndarray:
    """Weights (n,) summed under a Gaussian of that width around each centre; the weights lie at `places` (n,)."""
    return np.array([weights @ np.exp(-0.5 * ((places - centre) / width) ** 2) for centre in centres])
