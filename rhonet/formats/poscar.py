"""The POSCAR that heads every VASP text file: cell and atoms."""

from __future__ import annotations

import re
from dataclasses import dataclass

import ase
import numpy as np
from ase.data import atomic_numbers

from rhonet.formats.parsing.numerals import parse_float, parse_floats, parse_integers, shown, without_comment
from rhonet.formats.parsing.text import TextScanner

_MAX_SPECIES_LINES = 50


@dataclass(frozen=True)
class PoscarHeader:
    """Cell and atoms of a VASP file.

    Attributes:
        lattice: rows a, b, c, (3, 3), Å.
        n_atoms: number of atoms that the header lists.
        atoms: those atoms; None where the header does not name their elements.
        warnings: what was odd, one sentence each.
    """

    lattice: np.ndarray
    n_atoms: int
    atoms: ase.Atoms | None
    warnings: tuple[str, ...]


def read_poscar(text: TextScanner) -> PoscarHeader:
    """Header from the title line to the last position; VASP 4 (no element line) and VASP 5 and 6.

    The scale factor may be one positive number, one negative number (the cell volume, Å³) or three positive
    numbers (for x, y, z). Elements are never guessed from the title line.

    Raises:
        FormatError: a line does not fit; its number is in the message.
    """
    text.next_line("the title")
    scale_line = text.next_line("the scale factor")
    scale = parse_floats(without_comment(scale_line))
    if scale is None or len(scale) not in (1, 3) or not np.isfinite(scale).all() or 0 in scale:
        raise text.error(f"expected one scale factor or three, found {shown(scale_line)}; is this a VASP file?")
    if len(scale) == 3 and min(scale) < 0:
        raise text.error(f"three scale factors must be positive, found {shown(scale_line)}")
    rows = np.array([_three_numbers(text, f"lattice vector {name}") for name in "abc"])
    volume = abs(np.linalg.det(rows))
    if not volume > 0:
        raise text.error(f"the lattice vectors {rows.tolist()} span no volume")
    factors = np.full(3, (-scale[0] / volume) ** (1 / 3)) if scale[0] < 0 else np.broadcast_to(scale, 3)
    lattice = rows * factors

    names, counts, line = _read_species(text)
    n_atoms = sum(counts)
    if line.strip()[:1].lower() == "s":
        line = text.next_line("Direct or Cartesian")
    mode = line.strip()[:1].lower()
    if mode not in ("d", "c", "k"):
        raise text.error(f"expected Direct or Cartesian, found {shown(line)}")
    positions = [_three_numbers(text, f"the position of atom {i + 1} of {n_atoms}") for i in range(n_atoms)]

    numbers, warnings = _atomic_numbers(names, counts)
    if numbers is None:
        return PoscarHeader(lattice, n_atoms, None, warnings)
    if mode == "d":
        atoms = ase.Atoms(numbers=numbers, scaled_positions=positions, cell=lattice, pbc=True)
    else:
        atoms = ase.Atoms(numbers=numbers, positions=np.array(positions) * factors, cell=lattice, pbc=True)
    return PoscarHeader(lattice, n_atoms, atoms, warnings)


def _three_numbers(text: TextScanner, what: str) -> list[float]:
    """First three fields of the next line (flags of selective dynamics may follow)."""
    line = text.next_line(what)
    try:
        numbers = [parse_float(token) for token in line.split()[:3]]
    except ValueError as error:
        raise text.error(f"expected {what}: {error}") from None
    if len(numbers) < 3 or not np.isfinite(numbers).all():
        raise text.error(f"expected {what}, three numbers, found {shown(line)}")
    return numbers


def _read_species(text: TextScanner) -> tuple[list[str], list[int], str]:
    """Names (empty in VASP 4 files), counts, and the line after them; long lists may be wrapped over lines."""
    names: list[str] = []
    counts: list[int] = []
    line = text.next_line("the numbers of atoms")
    while parse_integers(line) is None:
        names += line.split()
        if not line.strip() or line.strip()[:1].isdigit() or len(names) > 20 * _MAX_SPECIES_LINES:
            raise text.error(f"expected elements or numbers of atoms, found {shown(line)}")
        line = text.next_line("the numbers of atoms")
    while (counts_of_line := parse_integers(line)) is not None:
        counts += counts_of_line
        line = text.next_line("Direct or Cartesian")
    if min(counts) < 0 or sum(counts) == 0 or (names and len(names) != len(counts)):
        text.line -= 1
        raise text.error(f"expected the number of atoms of each of {len(names) or 'the'} elements, found {counts}")
    return names, counts, line


def _atomic_numbers(names: list[str], counts: list[int]) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """Atomic number of each atom; "Na_pv" and "Na/1a2b3c" (VASP 6) are Na, anything else names no element."""
    if not names:
        return None, ("The header names no elements (VASP 4), so the atoms are left out.",)
    symbols = [re.split(r"[_/]", name)[0] for name in names]
    unknown = [name for name, symbol in zip(names, symbols, strict=True) if atomic_numbers.get(symbol, 0) < 1]
    if unknown:
        return None, (f"The header's {shown(unknown[0])} is no element, so the atoms are left out.",)
    return np.repeat([atomic_numbers[symbol] for symbol in symbols], counts), ()
