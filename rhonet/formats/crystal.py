"""Cell and atoms as binary files give them: arrays, checked before anything is built from them."""

from __future__ import annotations

import re

import ase
import numpy as np
from ase.data import atomic_numbers

from rhonet.formats.parsing.source import Source

HEAVIEST = 118
# Far beyond any cell, and any reciprocal cell in 1/bohr; they keep what is computed from cells finite.
SHORTEST_ANGSTROM, LONGEST_ANGSTROM = 1e-5, 1e5
FLATTEST = 1e-9


def check_lattice(source: Source, rows: np.ndarray, *, what: str) -> np.ndarray:
    """Rows a, b, c of a cell, (3, 3), in the unit given.

    Raises:
        FormatError: another shape, numbers that are not finite or absurd, or no volume.
    """
    if rows.shape != (3, 3) or not np.abs(rows).max() < LONGEST_ANGSTROM:
        raise source.error(f"{what} of shape {rows.shape} holds no cell: {rows.ravel()[:9].tolist()}")
    edges = np.linalg.norm(rows, axis=1)
    if not (edges.min() > SHORTEST_ANGSTROM and abs(np.linalg.det(rows)) > FLATTEST * edges.prod()):
        raise source.error(f"{what} spans no volume: {rows.tolist()}")
    return rows


def build_atoms(
    source: Source, numbers: np.ndarray, positions: np.ndarray, *, lattice: np.ndarray, scaled: bool = True
) -> ase.Atoms:
    """Atoms of a crystal.

    Args:
        source: the file, for error messages.
        numbers: atomic numbers (n,), of any numeric type.
        positions: (n, 3), in units of the cell's edges if `scaled`, else Å.
        lattice: (3, 3) Å.
        scaled: are positions relative to the cell?

    Raises:
        FormatError: shapes that do not fit, no atomic numbers, positions that are not finite.
    """
    if numbers.ndim != 1 or positions.shape != (len(numbers), 3):
        raise source.error(f"names atoms by numbers of shape {numbers.shape} and positions of shape {positions.shape}")
    if not np.isin(numbers, np.arange(1, HEAVIEST + 1)).all():
        raise source.error(f"holds atomic numbers that are none: {numbers[:8].tolist()}")
    if not np.isfinite(positions).all():
        raise source.error("holds positions of atoms that are not finite")
    atoms = ase.Atoms(numbers=numbers.astype(int), cell=lattice, pbc=True)
    if scaled:
        atoms.set_scaled_positions(positions)
    else:
        atoms.set_positions(positions)
    return atoms


def atomic_number(name: str) -> int | None:
    """Of the element that a kind of atoms is named after (Fe_pv, O1, Ni-up); None where the name begins with none."""
    match = re.match(r"([A-Z][a-z]?)(?![a-z])", name)
    return atomic_numbers.get(match[1]) or None if match else None
