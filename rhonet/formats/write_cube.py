"""Writes one field as a Gaussian cube: cell and atoms in bohr, then values per bohr³, z running fastest."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np
from ase.units import Bohr

from rhonet.core.density import ChargeDensity
from rhonet.formats.digits import rows_of_numbers

_COLUMNS = 6
_VALUES_AT_ONCE = 1 << 16


def write_cube(density: ChargeDensity, field: np.ndarray, file: BinaryIO, *, title: str) -> None:
    """Writes a field on the grid of a density, in 11 significant digits; the grid's origin is the cell's corner.

    The column between atomic number and position is 0: how many electrons belong to which atom is not known.
    Without atoms the file lists none. Memory: some MB beside the field.

    Args:
        density: cell, grid and atoms.
        field: (nx, ny, nz), e/Å³ or µB/Å³.
        title: first line, what the field is.

    Raises:
        ValueError: a number that is too large.
    """
    file.write(_header(density, title).encode())
    nx, ny, nz = field.shape
    planes = max(1, _VALUES_AT_ONCE // (ny * nz))
    for start in range(0, nx, planes):
        rows = field[start : start + planes].reshape(-1, nz) * Bohr**3
        file.write(rows_of_numbers(rows, columns=_COLUMNS))


def _header(density: ChargeDensity, title: str) -> str:
    numbers = [] if density.atoms is None else density.atoms.numbers
    fractions = np.empty((0, 3)) if density.atoms is None else density.atoms.get_scaled_positions(wrap=False)
    formula = "atoms unknown" if density.atoms is None else density.atoms.get_chemical_formula(mode="metal")
    lines = [title, f"{formula}, periodic cell, written by rhonet", _line(len(numbers), 0.0, 0.0, 0.0)]
    lines += [_line(n, *(row / n / Bohr)) for n, row in zip(density.shape, density.lattice, strict=True)]
    positions = fractions @ density.lattice / Bohr
    lines += [_line(number, 0.0, *position) for number, position in zip(numbers, positions, strict=True)]
    return "\n".join([*lines, ""])


def _line(first: int, *numbers: float) -> str:
    return f"{first:5d}" + "".join(f" {number:17.12f}" for number in numbers)
