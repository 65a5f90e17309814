"""Structure type of a crystal without a name for it: anonymous formula and space group."""

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
    """Such as "AB3-221": crystals of one type have the same proportions and space group.

    Coarser than a prototype's name: rutile and some other AB2 crystals of space group 136 are one type.

    Returns:
        "" where there are no atoms, over 200 of them (a search would take minutes), or no space group is found.
    """
    if atoms is None or not 0 < len(atoms) <= MOST_ATOMS:
        return ""
    cell: Any = (atoms.cell.array, atoms.get_scaled_positions(), atoms.numbers)
    with warnings.catch_warnings():
        # Until spglib 3 a failure is None, with a note that it will be an error.
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            found = spglib.get_symmetry_dataset(cell, symprec=POSITION_TOLERANCE)
        except spglib.SpglibError:
            return ""
    if found is None:
        return ""
    counts = sorted(atoms.symbols.formula.reduce()[0].count().values())
    letters = (f"{letter}{count if count > 1 else ''}" for letter, count in zip(ascii_uppercase, counts, strict=False))
    return f"{''.join(letters)}-{found.number}"


def chemical_system(symbols: Sequence[str]) -> str:
    """Elements in alphabetical order joined by hyphens, e.g. "Cl-Na"."""
    return "-".join(sorted(set(symbols)))


def reduced_formula(symbols: Sequence[str]) -> str:
    """Elements in alphabetical order with their smallest whole-number counts, e.g. "O3Ti2"."""
    counts = collections.Counter(symbols)
    divisor = math.gcd(*counts.values())
    return "".join(f"{symbol}{count // divisor if count > divisor else ''}" for symbol, count in sorted(counts.items()))
