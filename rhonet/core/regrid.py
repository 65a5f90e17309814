"""Resampling of periodic densities, reciprocal vectors, and the grid on which records are stored."""

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

    Exact for fields band-limited on both grids; keeps the electron count (and the moment) to rounding. Waves that a
    coarser grid cannot hold are dropped, not aliased to longer ones. At the Nyquist frequency of an even grid only
    the cosine exists: a finer grid gets this cosine, and a coarser one the sum of the waves +n/2 and -n/2 on its
    points.
    Values may ring below zero near cores. They are not clipped, as that would add electrons; the network's views damp
    the short waves instead.

    Args:
        density: values (nx, ny, nz), e/Å³; a magnetization is resampled as well.
        shape: grid points along a, b, c; each at least 1.
        workers: threads of the FFTs.

    Raises:
        ValueError: `shape` is not three numbers of at least 1.

    Example:
        >>> wave = 1 + np.cos(2 * np.pi * np.arange(4) / 4)
        >>> density = ChargeDensity(np.tile(wave, (2, 3, 1)), lattice=np.eye(3))
        >>> fourier_regrid(density, (2, 3, 6)).values[0, 0].round(6)
        array([2. , 1.5, 0.5, 0. , 0.5, 1.5])
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
    """Periods per cell of the plane waves of a grid along a, b and c, in the order of numpy's FFT."""
    return [np.fft.fftfreq(points, 1 / points) for points in shape]


def wave_vectors(numbers: Sequence[np.ndarray], lattice: np.ndarray) -> np.ndarray:
    """Reciprocal vectors G of all combinations of wave numbers, (nx, ny, nz, 3), rad/Å.

    Args:
        numbers: periods per cell along a, b and c, as from `wave_numbers`.
        lattice: rows a, b, c, (3, 3), Å.
    """
    return np.stack(np.meshgrid(*numbers, indexing="ij"), axis=-1) @ (2 * np.pi * np.linalg.inv(lattice).T)


def storage_shape(lattice: np.ndarray, spacing: float) -> tuple[int, int, int]:
    """Smallest FFT-friendly grid (factors 2, 3, 5 and 7 only) with at most that spacing along each lattice vector.

    In any cell, however skewed, such a grid holds every plane wave with |G| < π/spacing: along the lattice vector a,
    divided by n points, the wave has m = G·a/2π periods, and |m| ≤ |G||a|/2π < |a|/(2·spacing) ≤ n/2, which is below
    the Nyquist frequency. (For |G| = π/spacing exactly along a, the grid holds the cosine.)

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
    """Density on the grid of a record: at most `spacing` between points, but never finer than the density's own grid.

    Along axes where the density's grid is coarser than `storage_shape` its number of points is kept, as more points
    would add no information. There the spacing can exceed `spacing`, and the grid need not be FFT-friendly. All
    plane waves with |G| < π/spacing and the electron count are kept (to rounding). Values may ring below zero near
    cores; see `fourier_regrid`.

    Args:
        density: values (nx, ny, nz), e/Å³.
        spacing: largest distance of neighbouring grid points, Å.
        workers: threads of the FFTs.

    Raises:
        ValueError: `spacing` is not above 0.
    """
    nx, ny, nz = (
        min(needed, own) for needed, own in zip(storage_shape(density.lattice, spacing), density.shape, strict=True)
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
    """A real array with its last three axes on another grid, one axis after the other (they are independent)."""
    axes = sorted((-3, -2, -1), key=lambda axis: values.strides[axis])
    for axis in axes:
        values = _resample_axis(values, shape[axis], axis=axis, workers=workers)
    return values


def _resample_axis(values: np.ndarray, size: int, *, axis: int, workers: int) -> np.ndarray:
    old_size = values.shape[axis]
    if size == old_size:
        return values
    kept = min(size, old_size)
    spectrum = np.asarray(scipy.fft.rfft(values, axis=axis, workers=workers))
    spectrum = np.moveaxis(spectrum, axis, -1)[..., : kept // 2 + 1]
    if kept % 2 == 0:
        # An even grid holds the waves +n/2 and -n/2 in one coefficient. A finer grid separates them, so each gets
        # half of it; on a coarser grid both are one wave, so they add up (irfft ignores their sine).
        spectrum[..., -1] *= 0.5 if size > old_size else 2.0
    spectrum = np.moveaxis(spectrum, -1, axis)
    resampled = np.asarray(scipy.fft.irfft(spectrum, size, axis=axis, workers=workers, overwrite_x=True))
    resampled *= size / old_size
    return resampled
