"""Atoms of a CASTEP calculation, from the .cell file beside its density."""

from __future__ import annotations

import re
from pathlib import Path

import ase
import numpy as np
from ase.data import atomic_numbers
from ase.geometry import cell_to_cellpar, cellpar_to_cell
from ase.units import Bohr

from rhonet.formats.companion_files import find_neighbour
from rhonet.formats.crystal import LONGEST_ANGSTROM
from rhonet.formats.parsing.numerals import parse_floats
from rhonet.formats.parsing.source import FormatError, Source, open_source

MAX_CELL_BYTES = 8 << 20
_SAME_CELL = 1e-3
_UNITS = {"ang": 1.0, "bohr": Bohr, "a0": Bohr, "nm": 10.0}


def find_atoms(source: Source, lattice: np.ndarray) -> tuple[ase.Atoms | None, tuple[str, ...]]:
    """Atoms of STEM-out.cell or STEM.cell, whose cell must be that of the density, and warnings about such files.

    Args:
        source: the density's file.
        lattice: the density's cell, rows, Å; the atoms get it.
    """
    warnings = []
    stem = Path(source.name).stem
    for name in (f"{stem}-out.cell", f"{stem}.cell"):
        path = find_neighbour(source, name)
        if path is None:
            continue
        try:
            return _read_cell_file(path, lattice), tuple(warnings)
        except FormatError as error:
            warnings.append(f"{path.name} beside it gives no atoms ({str(error).removeprefix(f'{path}: ')}).")
    return None, tuple(warnings)


def _read_cell_file(path: Path, lattice: np.ndarray) -> ase.Atoms:
    with open_source(path).open() as stream:
        text = stream.read(MAX_CELL_BYTES).decode("latin-1")
    text = re.sub(r"[!#;].*", "", text)
    blocks = {name.upper(): body for name, body in re.findall(r"(?is)%BLOCK\s+(\w+)(.*?)%ENDBLOCK", text)}
    own = _read_lattice(path, blocks)
    given, expected = cell_to_cellpar(own), cell_to_cellpar(lattice)
    if np.abs(given / expected - 1).max() > _SAME_CELL:
        raise FormatError(f"{path}: its cell is another one: a, b, c, angles {np.round(given, 3).tolist()}")
    if "POSITIONS_FRAC" in blocks:
        symbols, scaled, _ = _read_positions(path, blocks["POSITIONS_FRAC"])
    elif "POSITIONS_ABS" in blocks:
        symbols, positions, unit = _read_positions(path, blocks["POSITIONS_ABS"])
        scaled = np.linalg.solve(own.T, positions.T * unit).T
    else:
        raise FormatError(f"{path}: no POSITIONS_FRAC or POSITIONS_ABS")
    return ase.Atoms(symbols, scaled_positions=scaled, cell=lattice, pbc=True)


def _read_lattice(path: Path, blocks: dict[str, str]) -> np.ndarray:
    """Rows, Å, from LATTICE_CART or LATTICE_ABC (the latter turned as ASE likes it)."""
    name = next((name for name in ("LATTICE_CART", "LATTICE_ABC") if name in blocks), None)
    if name is None:
        raise FormatError(f"{path}: no LATTICE_CART or LATTICE_ABC")
    unit, lines = _split_unit(blocks[name])
    rows = [parse_floats(line) or [] for line in lines]
    shape = [3, 3, 3] if name == "LATTICE_CART" else [3, 3]
    if [len(row) for row in rows] != shape or not np.abs(rows).max() < LONGEST_ANGSTROM:
        raise FormatError(f"{path}: {name} is not made of {len(shape)} lines of 3 numbers")
    lattice = (
        np.array(rows) * unit if name == "LATTICE_CART" else cellpar_to_cell([*np.multiply(rows[0], unit), *rows[1]])
    )
    if not abs(np.linalg.det(lattice)) > 0:
        raise FormatError(f"{path}: {name} spans no volume")
    return lattice


def _read_positions(path: Path, block: str) -> tuple[list[str], np.ndarray, float]:
    """Symbols, positions (n, 3) as they stand, and their unit in Å; labels behind the symbol and spins are left out."""
    unit, lines = _split_unit(block)
    symbols, positions = [], []
    for line in lines:
        name, *fields = line.split()
        symbol = re.split("[:_]", name)[0].capitalize()
        numbers = parse_floats(" ".join(fields[:3])) or []
        if atomic_numbers.get(symbol, 0) < 1 or len(numbers) != 3 or not np.abs(numbers).max() < LONGEST_ANGSTROM:
            raise FormatError(f"{path}: {line.strip()[:40]!r} is no element with a position")
        symbols.append(symbol)
        positions.append(numbers)
    if not symbols:
        raise FormatError(f"{path}: no positions")
    return symbols, np.array(positions), unit


def _split_unit(block: str) -> tuple[float, list[str]]:
    """Unit on the first line of a block, in Å, and the filled lines behind it."""
    lines = [line for line in block.splitlines() if line.strip()]
    unit = _UNITS.get(lines[0].strip().lower()) if lines else None
    return (1.0, lines) if unit is None else (unit, lines[1:])
