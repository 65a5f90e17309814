"""Cell and atoms from a structure file (CIF, POSCAR, ...), for densities whose own file holds none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import ase
import ase.io
import ase.io.formats
import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.formats.parsing.source import FormatError

LATTICE_TOLERANCE = 1e-3


def read_structure(path: Path) -> ase.Atoms:
    """Periodic structure of any file that ASE reads; the last one where the file holds several.

    Raises:
        FormatError: the file cannot be read, or its structure has no cell.
    """
    try:
        found = ase.io.read(path)
    except ase.io.formats.UnknownFileTypeError as error:
        raise FormatError(f"{path}: gives no structure: ASE knows no such format; give a CIF or a POSCAR") from error
    except Exception as error:  # ASE's readers raise whatever their format's parser meets.
        reason = str(error) or type(error).__name__
        raise FormatError(f"{path}: gives no structure (CIF, POSCAR, ... as ASE reads them): {reason}") from error
    atoms = found[-1] if isinstance(found, list) else found
    if atoms.cell.rank < 3:
        raise FormatError(f"{path}: its structure has no cell, which the density needs")
    return atoms


def with_structure(density: ChargeDensity, structure: ase.Atoms, path: Path) -> ChargeDensity:
    """Density with the atoms of a structure that was given for it, if its file names none.

    Args:
        density: as its reader gave it.
        structure: what the caller gave.
        path: the density's file, for the error message.

    Raises:
        FormatError: the structure has another cell than the density (edges differ by over 0.1 %).
    """
    edges = np.linalg.norm(density.lattice, axis=1)
    if np.abs(np.asarray(structure.cell) - density.lattice).max() > LATTICE_TOLERANCE * edges.max():
        given, own = (np.round(np.asarray(cell), 4).tolist() for cell in (structure.cell, density.lattice))
        raise FormatError(f"{path}: the structure given has the cell {given} Å, but the density's is {own} Å")
    return density if density.atoms is not None else replace(density, atoms=structure)
