"""Writes a density as a CHGCAR of VASP: cell and atoms, then ρ (and m) times the cell volume, x running fastest."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.formats.digits import rows_of_numbers

if TYPE_CHECKING:
    import ase

NOTE = "A CHGCAR from rhonet holds no PAW occupancies: viewers and analysis tools read it, VASP cannot start from it."
LEFT_HANDED = "VASP itself refuses the left-handed cell, as it was kept; other programs read it."
_COLUMNS = 5
_VALUES_AT_ONCE = 1 << 16


def write_chgcar(density: ChargeDensity, file: BinaryIO, *, title: str = "electron density") -> None:
    """Writes one block of grid values, two with collinear spin (ρ, m), four with non-collinear spin (ρ, mx, my, mz).

    Atoms keep their order; numbers have 11 significant digits. Memory: some MB beside the density.

    Args:
        density: e/Å³.
        file: where to.
        title: what the fields are, for the first line.

    Raises:
        ValueError: atoms that are not known, or a number that is too large.
    """
    file.write(_header(check_atoms(density), density.lattice, title).encode())
    grid = "".join(f"{points:5d}" for points in density.shape) + "\n"
    for field in _fields(density):
        file.write(grid.encode())
        _write_field(field, density.volume, file)


def check_atoms(density: ChargeDensity) -> ase.Atoms:
    """The density's atoms, which a CHGCAR names.

    Raises:
        ValueError: they are not known.
    """
    if density.atoms is None or not (density.atoms.numbers > 0).all():
        raise ValueError(
            "a CHGCAR names its atoms, but the density's are not known; give them (--structure FILE), or write a cube"
        )
    return density.atoms


def _header(atoms: ase.Atoms, lattice: np.ndarray, title: str) -> str:
    runs = [(symbol, len(list(run))) for symbol, run in groupby(atoms.get_chemical_symbols())]
    lines = [f"{atoms.get_chemical_formula(mode='metal')}, {title} written by rhonet", "   1.0"]
    lines += ["".join(f" {x:21.16f}" for x in row) for row in lattice]
    lines += ["".join(f" {symbol:>4}" for symbol, _ in runs), "".join(f" {count:4d}" for _, count in runs), "Direct"]
    lines += ["".join(f" {x:19.16f}" for x in row) for row in atoms.get_scaled_positions(wrap=False)]
    return "\n".join([*lines, "", ""])


def _fields(density: ChargeDensity) -> list[np.ndarray]:
    """The fields in the order of the file's blocks, (nx, ny, nz) each."""
    if density.magnetization is None:
        return [density.values]
    return [density.values, *density.magnetization.reshape(-1, *density.shape)]


def _write_field(field: np.ndarray, volume: float, file: BinaryIO) -> None:
    nx, ny, nz = field.shape
    planes = max(1, _VALUES_AT_ONCE // (nx * ny))
    left = np.empty(0)
    for start in range(0, nz, planes):
        piece = np.concatenate([left, field[:, :, start : start + planes].ravel(order="F") * volume])
        whole = len(piece) - len(piece) % _COLUMNS
        file.write(rows_of_numbers(piece[:whole].reshape(-1, _COLUMNS), columns=_COLUMNS))
        left = piece[whole:]
    file.write(rows_of_numbers(left[None], columns=_COLUMNS))
