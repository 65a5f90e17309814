"""Cells and atoms: checked as readers find them, or taken from a structure file where a density's own has none."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import ase
import ase.io
import ase.io.formats
import numpy as np
from ase.data import atomic_numbers

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import FormatError
from rhonet.formats.parsing.source import Source

# A structure fits a density where no number of its cell differs by more, relative to the longest edge.
LATTICE_TOLERANCE = 1e-3
HEAVIEST = 118
# Far beyond any cell, and any reciprocal cell in 1/bohr; they keep what is computed from cells finite.
SHORTEST_ANGSTROM, LONGEST_ANGSTROM = 1e-5, 1e5
# Smallest volume of a cell over the product of its edges.
FLATTEST = 1e-9


def read_structure(path: Path) -> ase.Atoms:
    """Periodic structure of any file that ASE reads; the last one where the file holds several.

    Raises:
        FormatError: the file cannot be read, or its structure has no cell.
    """
    try:
        structures = ase.io.read(path)
    except ase.io.formats.UnknownFileTypeError as error:
        raise FormatError(f"{path}: gives no structure: ASE knows no such format; give a CIF or a POSCAR") from error
    except Exception as error:  # ASE's readers raise whatever their format's parser meets.
        reason = str(error) or type(error).__name__
        raise FormatError(f"{path}: gives no structure (CIF, POSCAR, ... as ASE reads them): {reason}") from error
    atoms = structures[-1] if isinstance(structures, list) else structures
    if atoms.cell.rank < 3:
        raise FormatError(f"{path}: its structure has no cell, which the density needs")
    return atoms


def with_structure(density: ChargeDensity, structure: ase.Atoms, path: Path) -> ChargeDensity:
    """Density with the atoms of a structure that the user gave, if its own file names none.

    Args:
        density: as its reader gave it.
        structure: cell and atoms from the user.
        path: the density's file, for the error message.

    Raises:
        FormatError: the structure has another cell than the density (edges differ by over 0.1 %).
    """
    edges = np.linalg.norm(density.lattice, axis=1)
    if np.abs(np.asarray(structure.cell) - density.lattice).max() > LATTICE_TOLERANCE * edges.max():
        given, own = (np.round(np.asarray(cell), 4).tolist() for cell in (structure.cell, density.lattice))
        raise FormatError(f"{path}: the structure given has the cell {given} Å, but the density's is {own} Å")
    return density if density.atoms is not None else replace(density, atoms=structure)


def check_lattice(source: Source, rows: np.ndarray, *, what: str) -> np.ndarray:
    """The rows a, b, c of a cell, (3, 3), unchanged, once they are known to be one.

    Args:
        source: the file, for error messages.
        rows: candidate rows, Å or, for a reciprocal cell, 1/bohr.
        what: their name in the file.

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
        positions: (n, 3), fractions of the cell's rows if `scaled`, else Å.
        lattice: rows a, b, c, (3, 3), Å.
        scaled: are the positions fractions?

    Raises:
        FormatError: shapes do not fit, a number is no element's, or a position is not finite.
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
    """Atomic number of the element that a name begins with (Fe_pv, O1, Ni-up); None where it begins with none."""
    match = re.match(r"([A-Z][a-z]?)(?![a-z])", name)
    return atomic_numbers.get(match[1]) or None if match else None
