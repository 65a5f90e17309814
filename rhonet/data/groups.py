"""Names of the groups that splits are made on: structure type, chemical system, reduced formula."""

from __future__ import annotations

import collections
import math
import warnings
from collections.abc import Sequence
from string import ascii_uppercase
from typing import TYPE_CHECKING, Any

import spglib

if TYPE_CHECKING:
    import ase

POSITION_TOLERANCE = 0.01
MOST_ATOMS = 200


def structure_type(atoms: ase.Atoms | None) -> str:
    """Anonymous formula and space group of a crystal, e.g. "AB3-221".

    Coarser than the name of a prototype: rutile and some other AB2 crystals of space group 136 have one type.

    Returns:
        the type; "" without atoms, with over `MOST_ATOMS` (the search would take minutes), or if no space group is
        found.
    """
    if atoms is None or not 0 < len(atoms) <= MOST_ATOMS:
        return ""
    cell: Any = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    with warnings.catch_warnings():
        # Before spglib 3 a failure is None, with a DeprecationWarning; from then on a SpglibError.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            symmetry = spglib.get_symmetry_dataset(cell, symprec=POSITION_TOLERANCE)
        except spglib.SpglibError:
            return ""
    if symmetry is None:
        return ""
    counts = sorted(atoms.symbols.formula.reduce()[0].count().values())
    letters = (f"{letter}{count if count > 1 else ''}" for letter, count in zip(ascii_uppercase, counts, strict=False))
    return f"{''.join(letters)}-{symmetry.number}"


def chemical_system(symbols: Sequence[str]) -> str:
    """Elements in alphabetical order joined by hyphens, e.g. "Cl-Na"."""
    return "-".join(sorted(set(symbols)))


def reduced_formula(symbols: Sequence[str]) -> str:
    """Elements in alphabetical order with their smallest whole-number counts, e.g. "O3Ti2"."""
    counts = collections.Counter(symbols)
    divisor = math.gcd(*counts.values())
    return "".join(f"{symbol}{count // divisor if count > divisor else ''}" for symbol, count in sorted(counts.items()))
