"""Damages of a density, and harmless changes of how it is written."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.core.regrid import fourier_regrid, wave_numbers, wave_vectors


@dataclass(frozen=True)
class Damage:
    """One kind of damage.

    Attributes:
        name: in the table.
        apply: gives the damaged density; the density has no magnetization.
    """

    name: str
    apply: Callable[[ChargeDensity, np.random.Generator], ChargeDensity]


def noisy(density: ChargeDensity, rng: np.random.Generator, deviation: np.ndarray | float) -> ChargeDensity:
    """Density with white noise on every grid point.

    Args:
        density: values (nx, ny, nz), e/Å³.
        rng: source of the noise.
        deviation: standard deviation, e/Å³; one number or (nx, ny, nz).
    """
    return _with(density, density.values + deviation * rng.normal(size=density.shape))


def scaled(density: ChargeDensity, factor: float) -> ChargeDensity:
    return _with(density, density.values * factor)


def stretched(density: ChargeDensity, factors: tuple[float, float, float], *, keep_electrons: bool) -> ChargeDensity:
    """Density with longer lattice vectors.

    Args:
        density: values (nx, ny, nz), e/Å³.
        factors: of the lattice vectors.
        keep_electrons: keep the number of electrons, as a CHGCAR does; otherwise keep the values.
    """
    lattice = density.lattice * np.array(factors)[:, None]
    values = density.values / np.prod(factors) if keep_electrons else density.values
    return dataclasses.replace(density, values=values, lattice=lattice)


def transposed(density: ChargeDensity) -> ChargeDensity:
    """Grid with its first and last axis swapped, on the same lattice; harmless if the crystal has that symmetry."""
    return _with(density, density.values.transpose(2, 1, 0))


def with_axes_swapped(density: ChargeDensity) -> ChargeDensity:
    """Grid with its first two axes swapped, on the same lattice."""
    return _with(density, density.values.transpose(1, 0, 2))


def with_rows_cut(density: ChargeDensity) -> ChargeDensity:
    """Without the last number of every row: the later numbers move up, and zeros follow at the end."""
    rows = density.values.ravel(order="F").reshape(-1, density.shape[0])
    numbers = np.zeros(rows.size)
    kept = rows[:, :-1].ravel()
    numbers[: len(kept)] = kept
    return _with(density, numbers.reshape(density.shape, order="F"))


def truncated(density: ChargeDensity, share: float) -> ChargeDensity:
    """With zeros for the last share of the numbers, in the order of a file."""
    numbers = density.values.ravel(order="F").copy()
    numbers[round(len(numbers) * (1 - share)) :] = 0
    return _with(density, numbers.reshape(density.shape, order="F"))


def blurred(density: ChargeDensity, width: float) -> ChargeDensity:
    """Smoothed by a Gaussian of that width, Å."""
    return _from_waves(density, np.fft.fftn(density.values) * np.exp(-0.5 * width**2 * _g_squared(density)))


def spiked(density: ChargeDensity, rng: np.random.Generator, *, share: float, height: float) -> ChargeDensity:
    """Density with spikes at random points.

    Args:
        density: values (nx, ny, nz), e/Å³.
        rng: chooses the points.
        share: of the points; at least one point.
        height: of a spike, in units of the maximum.
    """
    numbers = density.values.ravel().copy()
    struck = rng.choice(len(numbers), max(1, round(share * len(numbers))), replace=False)
    numbers[struck] += height * density.values.max()
    return _with(density, numbers.reshape(density.shape))


def with_core(density: ChargeDensity, n_electrons: float, width: float = 0.1) -> ChargeDensity:
    """Density with a narrow Gaussian at its maximum, like the core of an all-electron density.

    Args:
        density: values (nx, ny, nz), e/Å³.
        n_electrons: of the Gaussian.
        width: of the Gaussian, Å.
    """
    place = np.array(np.unravel_index(density.values.argmax(), density.shape)) / density.shape
    waves = np.exp(-0.5 * width**2 * _g_squared(density) - 2j * np.pi * _millers(density) @ place)
    core = _from_waves(density, waves * n_electrons * density.values.size / density.volume)
    return _with(density, density.values + core.values)


def with_background(density: ChargeDensity, n_electrons: float) -> ChargeDensity:
    """Density with further electrons, spread evenly over the cell."""
    return _with(density, density.values + n_electrons / density.volume)


def moved(density: ChargeDensity, rng: np.random.Generator) -> ChargeDensity:
    """The same crystal with a random origin."""
    turns = _millers(density) @ rng.random(3)
    return _from_waves(density, np.fft.fftn(density.values) * np.exp(2j * np.pi * turns))


def doubled(density: ChargeDensity) -> ChargeDensity:
    """The same crystal in a cell that is twice as long, with its axes renamed."""
    values = np.concatenate([density.values, density.values])
    lattice = density.lattice * np.array([[2], [1], [1]])
    return dataclasses.replace(density, values=values.transpose(1, 2, 0), lattice=lattice[[1, 2, 0]])


def refined(density: ChargeDensity) -> ChargeDensity:
    """The same crystal on a finer grid."""
    nx, ny, nz = density.shape
    return fourier_regrid(density, (nx + 5, ny + 6, nz + 7))


HARMLESS = (
    Damage("other origin", moved),
    Damage("doubled cell, other axes", lambda density, _: doubled(density)),
    Damage("finer grid", lambda density, _: refined(density)),
)

DAMAGES = (
    Damage("noise, 1 % of the mean", lambda density, rng: noisy(density, rng, 0.01 * density.values.mean())),
    Damage("noise, 10 % of the mean", lambda density, rng: noisy(density, rng, 0.1 * density.values.mean())),
    Damage("noise, 100 % of the mean", lambda density, rng: noisy(density, rng, density.values.mean())),
    Damage("noise, 30 % of each value", lambda density, rng: noisy(density, rng, 0.3 * density.values)),
    Damage("times 0.5", lambda density, _: scaled(density, 0.5)),
    Damage("times 2", lambda density, _: scaled(density, 2.0)),
    Damage("times 1.1", lambda density, _: scaled(density, 1.1)),
    Damage("times the cell's volume", lambda density, _: scaled(density, density.volume)),
    Damage(
        "lattice 10 % longer, same field",
        lambda density, _: stretched(density, (1.1, 1.1, 1.1), keep_electrons=False),
    ),
    Damage(
        "lattice 20 % longer, same field",
        lambda density, _: stretched(density, (1.2, 1.2, 1.2), keep_electrons=False),
    ),
    Damage(
        "lattice 10 % longer, same electrons",
        lambda density, _: stretched(density, (1.1, 1.1, 1.1), keep_electrons=True),
    ),
    Damage(
        "lattice 20 % longer, same electrons",
        lambda density, _: stretched(density, (1.2, 1.2, 1.2), keep_electrons=True),
    ),
    Damage("one axis 20 % longer", lambda density, _: stretched(density, (1.2, 1.0, 1.0), keep_electrons=True)),
    Damage("grid transposed (a and c swapped)", lambda density, _: transposed(density)),
    Damage("grid with a and b swapped", lambda density, _: with_axes_swapped(density)),
    Damage("a number lost in every row", lambda density, _: with_rows_cut(density)),
    Damage("last half zero", lambda density, _: truncated(density, 0.5)),
    Damage("last tenth zero", lambda density, _: truncated(density, 0.1)),
    Damage("blurred by 0.1 Å", lambda density, _: blurred(density, 0.1)),
    Damage("blurred by 0.3 Å", lambda density, _: blurred(density, 0.3)),
    Damage("one spike of the maximum", lambda density, rng: spiked(density, rng, share=0.0, height=1.0)),
    Damage("spikes at 1 % of the points", lambda density, rng: spiked(density, rng, share=0.01, height=1.0)),
    Damage("a core of 2 electrons", lambda density, _: with_core(density, 2.0)),
    Damage("a core of 10 electrons", lambda density, _: with_core(density, 10.0)),
    Damage("one electron too many, evenly", lambda density, _: with_background(density, 1.0)),
)


def _with(density: ChargeDensity, values: np.ndarray) -> ChargeDensity:
    return dataclasses.replace(density, values=values)


def _millers(density: ChargeDensity) -> np.ndarray:
    """Miller indices of every Fourier coefficient, (nx, ny, nz, 3)."""
    return np.stack(np.meshgrid(*wave_numbers(density.shape), indexing="ij"), axis=-1)


def _g_squared(density: ChargeDensity) -> np.ndarray:
    """|G|², Å⁻²."""
    return (wave_vectors(wave_numbers(density.shape), density.lattice) ** 2).sum(axis=-1)


def _from_waves(density: ChargeDensity, waves: np.ndarray) -> ChargeDensity:
    return _with(density, np.fft.ifftn(waves).real)
