"""CASTEP's formatted density, den_fmt (written with `write_formatted_density : true`).

A header holds the cell, the number of spins and the grid; then each line gives the three indices of a grid point and
the charge, in electrons per grid point times the number of grid points: ρ times the cell volume. With two spins the
spin density follows. Atoms stand in the .cell file beside it, the number of electrons in the .castep file.
"""

from __future__ import annotations

import re

import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.formats.castep_cell import find_atoms
from rhonet.formats.check import build_density, refuse_entry
from rhonet.formats.companion_files import castep_electrons
from rhonet.formats.crystal import LONGEST_ANGSTROM, check_lattice
from rhonet.formats.parsing.numerals import parse_floats, shown
from rhonet.formats.parsing.source import Source
from rhonet.formats.parsing.text import TextScanner

_PIECE = 1 << 17
_SPINS = re.compile(r"\s*(\d)\s+(?:([TF])\s+)?!\s*nspins.*")
_GRID = re.compile(r"\s*(\d{1,6})\s+(\d{1,6})\s+(\d{1,6})\s*!.*")
_OTHER_FIELDS = {"pot": "a potential", "chi": "an electron localisation function"}
_UNIT = "electrons/grid_point * number of grid_points"


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of a den_fmt file.

    Raises:
        FormatError: what does not fit, with the line; potentials (pot_fmt), localisation functions (elf_fmt) and
            non-collinear densities.
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
    found = _SPINS.fullmatch(line)
    if not found or found[1] not in "12":
        raise text.error(f"expected the number of spins, 1 or 2, found {shown(line)}")
    if found[2] == "T":
        raise text.error("a non-collinear density of CASTEP, which cannot be read")
    return int(found[1])


def _read_grid(text: TextScanner) -> tuple[int, int, int]:
    line = text.next_filled_line() or ""
    found = _GRID.fullmatch(line)
    if not found or 0 in (shape := (int(found[1]), int(found[2]), int(found[3]))):
        raise text.error(f"expected the grid, three numbers above 0, found {shown(line)}")
    return shape


def _read_unit(text: TextScanner) -> None:
    """The header's end, over one line or two, which names field and unit, and the blank line behind it."""
    said = text.next_filled_line() or ""
    if "END header" not in said:
        raise text.error(f"expected the END of the header, found {shown(said)}")
    field = re.search(r'"<a b c>\s*([^"]*)"', said)
    name = field[1].strip() if field else ""
    while line := text.next_line("a blank line behind the header").strip():
        if parse_floats(line):
            raise text.error(f"expected a blank line behind the header, found {shown(line)}")
        said += f" {line}"
    if name.split()[:1] != ["charge"]:
        what = _OTHER_FIELDS.get(name, f"the field {shown(name)}")
        raise text.error(f"holds {what}, not a density ('charge'; CASTEP: write_formatted_density)")
    if _UNIT not in " ".join(said.split()):
        raise text.error(f"expected values in {_UNIT}, found {shown(said)}")


def _read_fields(text: TextScanner, shape: tuple[int, int, int], *, n_fields: int) -> np.ndarray:
    """Values at their grid points, (n_fields, nx, ny, nz), in whichever order the lines come."""
    n_points = shape[0] * shape[1] * shape[2]
    columns = 3 + n_fields
    text.require_room(n_points * columns, "numbers")
    fields = np.empty((n_fields, n_points))
    given = np.zeros(n_points, dtype=bool)
    for start in range(0, n_points, _PIECE):
        first_line = text.line + 1
        points = min(_PIECE, n_points - start)
        rows = text.read_values(points * columns, f"numbers ({columns} to a line)").reshape(points, columns)
        indices = rows[:, :3].T
        wrong = np.flatnonzero(((indices < 1) | (indices > np.array(shape)[:, None]) | (indices % 1 != 0)).any(axis=0))
        if wrong.size:
            text.line = first_line + int(wrong[0])
            raise text.error(f"{shown(str(rows[wrong[0], :3]))} is no point of the {'x'.join(map(str, shape))} grid")
        flat = np.ravel_multi_index(tuple(indices.astype(np.intp) - 1), shape)
        given[flat] = True
        fields[:, flat] = rows[:, 3:].T
    if not given.all():
        missing = [int(index) + 1 for index in np.unravel_index(int(np.argmin(given)), shape)]
        raise text.error(f"grid point {missing} is missing, another is there twice")
    return fields.reshape(n_fields, *shape)
