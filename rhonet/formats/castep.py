"""CASTEP's formatted density, den_fmt (written with `write_formatted_density : true`).

A header holds the cell, the number of spins and the grid. Each further line gives the three indices of a grid point and
the charge, in electrons per grid point times the number of grid points: ρ times the cell volume. With two spins the
spin density follows. The .cell file beside it holds the atoms, the .castep file the number of electrons.
"""

from __future__ import annotations

import re
from pathlib import Path

import ase
import numpy as np
from ase.data import atomic_numbers
from ase.geometry import cell_to_cellpar, cellpar_to_cell
from ase.units import Bohr

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import FormatError
from rhonet.formats.check import build_density, refuse_entry
from rhonet.formats.companion_files import castep_electrons, find_companion
from rhonet.formats.parsing.numerals import parse_floats, shown
from rhonet.formats.parsing.source import Source, open_source
from rhonet.formats.parsing.text import TextScanner
from rhonet.formats.structure import LONGEST_ANGSTROM, check_lattice

MAX_CELL_BYTES = 8 << 20
# A .cell file belongs to a density where no edge or angle differs by a larger part.
_SAME_CELL = 1e-3
_LENGTH_UNITS = {"ang": 1.0, "bohr": Bohr, "a0": Bohr, "nm": 10.0}
_PIECE = 1 << 17
_SPINS = re.compile(r"\s*(\d)\s+(?:([TF])\s+)?!\s*nspins.*")
_GRID = re.compile(r"\s*(\d{1,6})\s+(\d{1,6})\s+(\d{1,6})\s*!.*")
_OTHER_FIELDS = {"pot": "a potential", "chi": "an electron localisation function"}
_DENSITY_UNIT = "electrons/grid_point * number of grid_points"


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of a den_fmt file.

    Raises:
        FormatError: a line does not fit (its number is in the message), or the file holds a potential (pot_fmt), a
            localisation function (elf_fmt) or a non-collinear density.
    """
    refuse_entry(source, entry, "a CASTEP density")
    with source.open() as stream:
        text = TextScanner(stream, source)
        lattice = check_lattice(source, _read_lattice(text), what="the lattice")
        n_spins = _read_spins(text)
        shape = _read_grid(text)
        _read_unit(text)
        fields = _read_fields(text, shape, n_fields=n_spins)
        rest = text.next_filled_line()
        if rest is not None:
            raise text.error(f"more lines than the {'x'.join(map(str, shape))} grid has points: {shown(rest)}")
    fields /= abs(np.linalg.det(lattice))
    expected, doubts = castep_electrons(source)
    atoms, warnings = find_atoms(source, lattice)
    return build_density(
        source,
        values=fields[0],
        lattice=lattice,
        magnetization=fields[1] if n_spins == 2 else None,
        atoms=atoms,
        format="castep",
        expected_electrons=expected,
        warnings=(*doubts, *warnings),
    )


def _read_lattice(text: TextScanner) -> np.ndarray:
    """Rows a, b, c, Å, from the first columns of the header's table."""
    for title in ("BEGIN header", "Real Lattice(A)"):
        line = text.next_filled_line() or ""
        if title not in line:
            raise text.error(f"expected {title!r} of CASTEP's header, found {shown(line)}")
    rows = []
    for axis in "abc":
        line = text.next_line(f"lattice vector {axis}")
        numbers = parse_floats(" ".join(line.split()[:3]))
        if numbers is None or len(numbers) != 3 or f"{axis} =" not in line or max(map(abs, numbers)) > LONGEST_ANGSTROM:
            raise text.error(f"expected lattice vector {axis}, three numbers and '{axis} =', found {shown(line)}")
        rows.append(numbers)
    return np.array(rows)


def _read_spins(text: TextScanner) -> int:
    line = text.next_filled_line() or ""
    match = _SPINS.fullmatch(line)
    if not match or match[1] not in "12":
        raise text.error(f"expected the number of spins, 1 or 2, found {shown(line)}")
    if match[2] == "T":
        raise text.error("a non-collinear density of CASTEP, which cannot be read")
    return int(match[1])


def _read_grid(text: TextScanner) -> tuple[int, int, int]:
    line = text.next_filled_line() or ""
    match = _GRID.fullmatch(line)
    if not match or 0 in (shape := (int(match[1]), int(match[2]), int(match[3]))):
        raise text.error(f"expected the grid, three numbers above 0, found {shown(line)}")
    return shape


def _read_unit(text: TextScanner) -> None:
    """Reads the header's end, which names field and unit on one line or two, and the blank line behind it."""
    end = text.next_filled_line() or ""
    if "END header" not in end:
        raise text.error(f"expected the END of the header, found {shown(end)}")
    field = re.search(r'"<a b c>\s*([^"]*)"', end)
    name = field[1].strip() if field else ""
    while line := text.next_line("a blank line behind the header").strip():
        if parse_floats(line):
            raise text.error(f"expected a blank line behind the header, found {shown(line)}")
        end += f" {line}"
    if name.split()[:1] != ["charge"]:
        what = _OTHER_FIELDS.get(name, f"the field {shown(name)}")
        raise text.error(f"holds {what}, not a density ('charge'; CASTEP: write_formatted_density)")
    if _DENSITY_UNIT not in " ".join(end.split()):
        raise text.error(f"expected values in {_DENSITY_UNIT}, found {shown(end)}")


def _read_fields(text: TextScanner, shape: tuple[int, int, int], *, n_fields: int) -> np.ndarray:
    """Values at their grid points, (n_fields, nx, ny, nz), in whichever order the lines come."""
    n_points = shape[0] * shape[1] * shape[2]
    columns = 3 + n_fields
    text.require_room(n_points * columns, "numbers")
    fields = np.empty((n_fields, n_points))
    seen = np.zeros(n_points, dtype=bool)
    for start in range(0, n_points, _PIECE):
        first_line = text.line + 1
        points = min(_PIECE, n_points - start)
        what = f"numbers ({columns} to a line)"
        rows = text.read_values(points * columns, what, columns=columns).reshape(points, columns)
        indices = rows[:, :3].T
        wrong = np.flatnonzero(((indices < 1) | (indices > np.array(shape)[:, None]) | (indices % 1 != 0)).any(axis=0))
        if wrong.size:
            text.line = first_line + int(wrong[0])
            raise text.error(f"{shown(str(rows[wrong[0], :3]))} is no point of the {'x'.join(map(str, shape))} grid")
        flat = np.ravel_multi_index(tuple(indices.astype(np.intp) - 1), shape)
        seen[flat] = True
        fields[:, flat] = rows[:, 3:].T
    if not seen.all():
        missing = [int(index) + 1 for index in np.unravel_index(int(np.argmin(seen)), shape)]
        raise text.error(f"grid point {missing} is missing, another is there twice")
    return fields.reshape(n_fields, *shape)


def find_atoms(source: Source, lattice: np.ndarray) -> tuple[ase.Atoms | None, tuple[str, ...]]:
    """Atoms of STEM-out.cell or STEM.cell beside the density, and warnings about files that give none.

    The cell there must be the density's.

    Args:
        source: the density's file.
        lattice: the density's cell, rows, Å; the atoms get it.
    """
    warnings = []
    stem = Path(source.name).stem
    for name in (f"{stem}-out.cell", f"{stem}.cell"):
        path = find_companion(source, name)
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
    own = _read_cell_lattice(path, blocks)
    own_parameters, parameters = cell_to_cellpar(own), cell_to_cellpar(lattice)
    if np.abs(own_parameters / parameters - 1).max() > _SAME_CELL:
        raise FormatError(f"{path}: its cell is another one: a, b, c, angles {np.round(own_parameters, 3).tolist()}")
    if "POSITIONS_FRAC" in blocks:
        symbols, scaled, _ = _read_positions(path, blocks["POSITIONS_FRAC"])
    elif "POSITIONS_ABS" in blocks:
        symbols, positions, unit = _read_positions(path, blocks["POSITIONS_ABS"])
        scaled = np.linalg.solve(own.T, positions.T * unit).T
    else:
        raise FormatError(f"{path}: no POSITIONS_FRAC or POSITIONS_ABS")
    return ase.Atoms(symbols, scaled_positions=scaled, cell=lattice, pbc=True)


def _read_cell_lattice(path: Path, blocks: dict[str, str]) -> np.ndarray:
    """Rows, Å, from LATTICE_CART or LATTICE_ABC (for the latter, in ASE's orientation)."""
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
    """Symbols, positions (n, 3) as they stand, and their unit in Å; labels of species and spins are left out."""
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
    unit = _LENGTH_UNITS.get(lines[0].strip().lower()) if lines else None
    return (1.0, lines) if unit is None else (unit, lines[1:])
