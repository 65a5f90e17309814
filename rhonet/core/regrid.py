"""Resampling of periodic densities, and the grid on which records are stored."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy.fft

from rhonet.core.density import ChargeDensity

# 8 Å at 0.25 Å are 32 points, although 8 / 0.25 may come out a little above 32 from a rounded lattice.
_ROUNDING = 1e-9


def fourier_regrid(density: ChargeDensity, shape: tuple[int, int, int], *, workers: int = 1) -> ChargeDensity:
    """Resample a density to a new grid by trigonometric interpolation.

    Exact for fields band-limited on both grids; keeps the electron count (and the moment) to rounding. A coarser
    grid loses the waves it cannot hold, instead of taking them for longer ones (aliasing). At the Nyquist frequency
    of an even grid only the cosine exists: a finer grid gets it as such, a coarser one what the waves ±n/2 leave on
    its points.
    Cores may ring below zero: values are not clipped, as that would add electrons. Whoever needs smooth fields
    damps the short waves, as the network's views do.

    Args:
        density: values (nx, ny, nz), e/Å³; a magnetization is resampled as well.
        shape: grid points along a, b, c; each at least 1.
        workers: threads of the FFTs.

    Raises:
        ValueError: `shape` is not three numbers of at least 1.
    """
    if len(shape) != 3 or min(shape) < 1:
        raise ValueError(f"a grid needs three numbers of at least 1, got {tuple(shape)}")
    return dataclasses.replace(
        density,
        values=_resample(density.values, shape, workers=workers),
        magnetization=None
        if density.magnetization is None
        else _resample(density.magnetization, shape, workers=workers),
    )


def wave_numbers(shape: Sequence[int]) -> list[np.ndarray]:
    """Turns that the waves of a grid make along a, b and c, in the order of numpy's FFT."""
    return [np.fft.fftfreq(points, 1 / points) for points in shape]


def wave_vectors(numbers: Sequence[np.ndarray], lattice: np.ndarray) -> np.ndarray:
    """Reciprocal vectors G of all combinations of turns, (nx, ny, nz, 3), rad/Å.

    Args:
        numbers: turns along a, b and c, such as `wave_numbers` gives.
        lattice: rows a, b, c, (3, 3), Å.
    """
    return np.stack(np.meshgrid(*numbers, indexing="ij"), axis=-1) @ (2 * np.pi * np.linalg.inv(lattice).T)


def storage_shape(lattice: np.ndarray, spacing: float) -> tuple[int, int, int]:
    """Smallest FFT-friendly grid (factors 2, 3, 5 and 7 only) with at most that spacing along each lattice vector.

    In any cell, however skewed, such a grid holds every plane wave with |G| < π/spacing: along the lattice vector a
    of n points, G makes m = G·a/2π turns, and |m| ≤ |G||a|/2π < |a|/(2·spacing) ≤ n/2, which is below the Nyquist
    frequency. (Of a wave with |G| = π/spacing exactly along a, the cosine is held.)

    Args:
        lattice: rows a, b, c, (3, 3), Å.
        spacing: distance of neighbouring grid points, Å, at most.

    Raises:
        ValueError: `spacing` is not above 0.
    """
    if not spacing > 0:
        raise ValueError(f"the grid spacing must be above 0 Å, got {spacing}")
    a, b, c = (_smooth_size(float(length) / spacing) for length in np.linalg.norm(lattice, axis=1))
    return a, b, c


def storage_grid(density: ChargeDensity, spacing: float, *, workers: int = 1) -> ChargeDensity:
    """Density on the grid that records are stored on: at most `spacing` between points, never finer than given.

    Axes on which the given grid is coarser than `storage_shape` keep it, as more points would hold nothing more; so
    the spacing can be larger than asked for, and the grid not FFT-friendly, where the file's own grid is so. All
    plane waves of the given grid with |G| < π/spacing are kept exactly, and the electron count is kept (to 1e-6
    relative, in fact to rounding). Values may ring below zero near cores; see `fourier_regrid`.

    Args:
        density: values (nx, ny, nz), e/Å³.
        spacing: Å.
        workers: threads of the FFTs.

    Raises:
        ValueError: `spacing` is not above 0.
    """
    nx, ny, nz = (
        min(wanted, given) for wanted, given in zip(storage_shape(density.lattice, spacing), density.shape, strict=True)
    )
    return fourier_regrid(density, (nx, ny, nz), workers=workers)


def _smooth_size(least: float) -> int:
    """Smallest whole number without prime factors above 7 that is not below `least`."""
    size = max(1, math.ceil(least * (1 - _ROUNDING)))
    while not _is_smooth(size):
        size += 1
    return size


def _is_smooth(size: int) -> bool:
    for factor in (2, 3, 5, 7):
        while size % factor == 0:
            size //= factor
    return size == 1


def _resample(values: np.ndarray, shape: tuple[int, int, int], *, workers: int) -> np.ndarray:
    """The last three axes of a real array on another grid, one axis after the other (they are independent)."""
    axes = sorted((-3, -2, -1), key=lambda axis: values.strides[axis])
    for axis in axes:
        values = _resample_axis(values, shape[axis], axis=axis, workers=workers)
    return values


def _resample_axis(values: np.ndarray, size: int, *, axis: int, workers: int) -> np.ndarray:
    given = values.shape[axis]
    if size == given:
        return values
    kept = min(size, given)
    spectrum = np.asarray(scipy.fft.rfft(values, axis=axis, workers=workers))
    spectrum = np.moveaxis(spectrum, axis, -1)[..., : kept // 2 + 1]
    if kept % 2 == 0:
        # An even grid holds the waves +n/2 and -n/2 in one coefficient. A finer grid tells them apart, so each gets
        # half of it; a coarser one sees both as one wave, so they add up (irfft ignores their sine).
        spectrum[..., -1] *= 0.5 if size > given else 2.0
    spectrum = np.moveaxis(spectrum, -1, axis)
    resampled = np.asarray(scipy.fft.irfft(spectrum, size, axis=axis, workers=workers, overwrite_x=True))
    resampled *= size / given
    return resampled
