"""The electron density of one material on its periodic grid."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import ase

LEAST_MOMENT = 0.01
"""Total moments below this, µB, are rounding noise (antiferromagnets) and define no direction."""
LEAST_SKEWNESS = 0.01
"""Smallest |∫m³| / ∫|m|³ that is not taken for rounding noise."""
# The spins have a main axis while the second largest mean square is below this share of the largest one.
_MAIN_AXIS = 0.98


@dataclass(frozen=True)
class ElectronCount:
    """How many electrons a density should integrate to.

    Attributes:
        count: electrons in the cell.
        source: where the count comes from, as the end of a sentence: "OUTCAR", "the cube's nuclear charges".
    """

    count: float
    source: str


@dataclass(frozen=True, eq=False)
class ChargeDensity:
    """Electron density on a periodic grid; the only input rhonet knows.

    Grid point (i, j, k) lies at i/nx·a + j/ny·b + k/nz·c, where a, b, c are the rows of `lattice`. Arrays are stored
    without a copy; their memory order may be C or Fortran.

    Attributes:
        values: ρ at the grid points, (nx, ny, nz), e/Å³; real and finite.
        lattice: rows a, b, c, (3, 3), Å; left-handed cells are allowed.
        magnetization: (nx, ny, nz) µB/Å³ of a collinear calculation (up minus down),
            (3, nx, ny, nz) of a non-collinear one, None without spin.
        atoms: structure of the same cell, for bookkeeping only, or None when the file names no atoms.
        format: name of the file format that the density was read from, "" for arrays made in memory.
        expected_electrons: number of electrons according to the file or the files beside it, None if they do not say.
        warnings: what the reader found odd, one sentence each.

    Raises:
        ValueError: wrong shapes, a cell without volume, or values that are not finite.

    Example:
        >>> density = ChargeDensity(np.full((4, 4, 4), 0.125), lattice=4.0 * np.eye(3))
        >>> round(density.volume, 6), round(density.n_electrons, 6)
        (64.0, 8.0)
    """

    values: np.ndarray = field(repr=False)
    lattice: np.ndarray
    magnetization: np.ndarray | None = field(default=None, repr=False)
    atoms: ase.Atoms | None = None
    format: str = ""
    expected_electrons: ElectronCount | None = None
    warnings: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        if self.values.ndim != 3 or 0 in self.values.shape:
            raise ValueError(f"density values must have shape (nx, ny, nz), got {self.values.shape}")
        if not np.isrealobj(self.values):
            raise ValueError(f"density values must be real, got {self.values.dtype}")
        if np.shape(self.lattice) != (3, 3):
            raise ValueError(f"lattice must have shape (3, 3), got {np.shape(self.lattice)}")
        if not np.isfinite(self.lattice).all() or not self.volume > 0:
            raise ValueError(f"lattice {np.asarray(self.lattice).tolist()} spans no volume")
        if not np.isfinite(self.values).all():
            raise ValueError(f"density holds {np.count_nonzero(~np.isfinite(self.values))} values that are not finite")
        if self.magnetization is None:
            return
        if self.magnetization.shape not in (self.values.shape, (3, *self.values.shape)):
            raise ValueError(
                f"magnetization must have shape {self.values.shape} or (3, nx, ny, nz), got {self.magnetization.shape}"
            )
        if not np.isfinite(self.magnetization).all():
            raise ValueError("magnetization holds values that are not finite")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Grid points along a, b, c."""
        nx, ny, nz = self.values.shape
        return nx, ny, nz

    @property
    def volume(self) -> float:
        """Cell volume, Å³; positive for left-handed cells too."""
        return float(abs(np.linalg.det(self.lattice)))

    @property
    def spacing(self) -> np.ndarray:
        """Distance of neighbouring grid points along a, b, c, (3,), Å."""
        return np.linalg.norm(self.lattice, axis=1) / self.shape

    @property
    def n_electrons(self) -> float:
        """Integral of ρ over the cell, electrons (valence electrons for a pseudopotential density)."""
        return float(self.values.mean(dtype=np.float64)) * self.volume

    @property
    def total_moment(self) -> float | None:
        """Integral of the magnetization, µB: signed if collinear, a length if non-collinear, None without spin."""
        if self.magnetization is None:
            return None
        moment = self.magnetization.mean(axis=(-3, -2, -1), dtype=np.float64) * self.volume
        return float(moment) if moment.ndim == 0 else float(np.linalg.norm(moment))

    @property
    def negative_share(self) -> float:
        """Share of grid points with ρ < 0."""
        return float(np.count_nonzero(self.values < 0)) / self.values.size

    def collinear_magnetization(self) -> np.ndarray | None:
        """Scalar magnetization (nx, ny, nz), µB/Å³; a non-collinear one is projected on its total moment.

        Where a non-collinear total moment vanishes (within `LEAST_MOMENT`), the magnetization is projected on its main
        axis, along which its mean square is largest. A common rotation of all spins then changes at most the sign of
        the result. Where there is no main axis (`has_main_axis`), the choice of the axis is arbitrary.
        """
        if self.magnetization is None or self.magnetization.ndim == 3:
            return self.magnetization
        moment = self.magnetization.mean(axis=(1, 2, 3), dtype=np.float64) * self.volume
        length = np.linalg.norm(moment)
        if length > LEAST_MOMENT:
            axis = moment / length
        else:
            axis = self._squares_of_spin()[1][:, -1]
            axis *= np.sign(axis[np.abs(axis).argmax()])
        return np.tensordot(axis, self.magnetization, axes=1)

    @property
    def has_main_axis(self) -> bool:
        """False for a non-collinear magnetization without total moment whose mean square has no single largest axis."""
        if self.magnetization is None or self.magnetization.ndim == 3 or (self.total_moment or 0.0) > LEAST_MOMENT:
            return True
        squares = self._squares_of_spin()[0]
        return bool(squares[-2] < _MAIN_AXIS * squares[-1]) or not squares[-1] > 0

    def _squares_of_spin(self) -> tuple[np.ndarray, np.ndarray]:
        """Sums of squares of the magnetization along its principal axes, ascending, and these axes (columns)."""
        assert self.magnetization is not None
        spin = self.magnetization.reshape(3, -1).astype(np.float64)
        squares, axes = np.linalg.eigh(spin @ spin.T)
        return squares, axes


def is_turned_by_convention(moment: float, magnetization: np.ndarray) -> bool:
    """Is the sign of a collinear magnetization reversed before a model sees it?

    Up and down are a convention. The sign is chosen so that the total moment is positive or, where that vanishes
    (within `LEAST_MOMENT`, antiferromagnets), the integral of m³. If both vanish, up and down are mostly equivalent
    by symmetry.

    Args:
        moment: integral of the magnetization, µB.
        magnetization: (nx, ny, nz), µB/Å³.
    """
    cubes = magnetization.astype(np.float64) ** 3
    return moment < -LEAST_MOMENT or (moment <= LEAST_MOMENT and cubes.sum() < -LEAST_SKEWNESS * np.abs(cubes).sum())
