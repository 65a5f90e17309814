"""XCrySDen structure files with grids (http://www.xcrysden.org/doc/XSF.html).

Lengths are Å. A grid lists its values with x running fastest, from the first to the last point of its span: a periodic
one repeats its first plane at the end of each axis. The format gives values no unit: Quantum ESPRESSO, critic2 and
most others write e/bohr³, ASE's users e/Å³; `find_unit` decides.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import ase
import numpy as np
from ase.data import atomic_numbers

from rhonet.core.density import ChargeDensity
from rhonet.core.text import counted
from rhonet.formats.check import build_density
from rhonet.formats.field_names import one_spin_density, other_field, with_article
from rhonet.formats.parsing.numerals import parse_floats, parse_integers, shown
from rhonet.formats.parsing.source import Source
from rhonet.formats.parsing.text import TextScanner
from rhonet.formats.structure import HEAVIEST, LONGEST_ANGSTROM, check_lattice
from rhonet.formats.units import UNITS, find_unit
from rhonet.formats.xsf_cell import Grid, Periodic, as_periodic

_PERIODIC_AXES = {"CRYSTAL": 3, "SLAB": 2, "POLYMER": 1, "MOLECULE": 0}
_BLOCK = re.compile(r"BEGIN_BLOCK_DATAGRID_?3D")
_GRID = re.compile(r"(?:BEGIN_)?DATAGRID_?3D[_:]?\s*(.*)", re.IGNORECASE)
_UP = re.compile(r"(.*?)(?:spin[_: ]?1|up|alpha)", re.IGNORECASE)
_DOWN = re.compile(r"(.*?)(?:spin[_: ]?2|down|dn|beta)", re.IGNORECASE)
_ONE_SPIN = re.compile(
    r"(?:.*[^A-Za-z])?(?:spin[_: ]?[12]"
    r"|(?:n|spin|rho|dens|density|chg|charge|electrons?|valence|total)[_: .-]?(?:up|down|dn|alpha|beta))"
    r"|up|down|dn|alpha|beta",
    re.IGNORECASE,
)
_MAX_GRIDS = 2


@dataclass
class _Content:
    """What has been read of the file so far.

    Attributes:
        periodic_axes: number of periodic axes; None before the file says it.
        cell: PRIMVEC, rows, (3, 3), Å.
        numbers: atomic numbers.
        positions: of the atoms, Å.
        words: comments and names of blocks and grids, which may state a unit or another field.
        names: of all grids so far.
        grids: those that were asked for.
    """

    periodic_axes: int | None = None
    cell: np.ndarray | None = None
    numbers: list[int] = field(default_factory=list)
    positions: list[list[float]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    grids: list[Grid] = field(default_factory=list)


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of an XSF file.

    `entry` names one of several grids, or gives its number, from 1. Two grids named as spin up and spin down make one
    density with its magnetization.

    Raises:
        FormatError: a line does not fit (its number is in the message), the grid is not one period of the crystal, or
            the unit of its values cannot be told.
    """
    with source.open() as stream:
        text = TextScanner(stream, source)
        content = _read_content(text, entry)
    if not content.grids:
        wanted = "" if entry is None else f" {entry!r} (there are {', '.join(map(shown, content.names)) or 'none'})"
        raise source.error(f"holds no grid of values{wanted}, only {counted(len(content.numbers), 'atom')}")
    if len(content.grids) == 1:
        _refuse_one_spin(source, content, entry)
    spin = len(content.grids) == 2
    if spin and not _is_spin_pair(*content.names):
        raise source.error(
            f"holds the grids {' and '.join(map(shown, content.names))}; choose one: {source.path}::1 or "
            f"{source.path}::2"
        )
    fields = [_as_periodic(source, content, grid) for grid in content.grids]
    first = fields[0]
    values, magnetization = first.values, None
    if spin:
        if fields[1].values.shape != values.shape or not np.allclose(fields[1].lattice, first.lattice, atol=1e-6):
            raise source.error("its grids of spin up and spin down differ in shape or span")
        values, magnetization = values + fields[1].values, values - fields[1].values
    volume = abs(np.linalg.det(first.lattice))
    unit, why = find_unit(
        source, mean_times_volume=float(values.mean()) * volume, words=content.words, atoms=first.atoms
    )
    values *= UNITS[unit]
    if magnetization is not None:
        magnetization *= UNITS[unit]
        why = f"Spin up and spin down are the grids {' and '.join(map(shown, content.names))}. {why}"
    return build_density(
        source,
        values=values,
        lattice=first.lattice,
        magnetization=magnetization,
        atoms=first.atoms,
        format="xsf",
        warnings=(why, *first.warnings),
    )


def _as_periodic(source: Source, content: _Content, grid: Grid) -> Periodic:
    check_lattice(source, grid.span, what="the grid")
    if content.cell is not None:
        check_lattice(source, content.cell, what="PRIMVEC")
    atoms = None
    if content.numbers:
        atoms = ase.Atoms(numbers=content.numbers, positions=content.positions, cell=content.cell)
    return as_periodic(source, grid, cell=content.cell, periodic_axes=content.periodic_axes or 0, atoms=atoms)


def _refuse_one_spin(source: Source, content: _Content, entry: str | None) -> None:
    """Refuses the grid that was read, if its name says that it holds one spin direction only."""
    name = content.names[int(entry) - 1] if entry is not None and entry not in content.names else entry
    name = content.names[-1] if name is None else name
    of_pair = len(content.names) == 2 and _is_spin_pair(*content.names)
    if of_pair or _ONE_SPIN.fullmatch(name) or one_spin_density(name):
        pair = " and ".join(map(shown, content.names))
        remedy = "leave ::NAME out to read both" if of_pair else ""
        raise source.error(
            f"the grid {shown(name)} (of {pair}) holds the electrons of one spin direction only; "
            f"{remedy or 'write out the sum of both (if it is the sum, rename the grid)'}"
        )


def _is_spin_pair(first: str, second: str) -> bool:
    up, down = _UP.fullmatch(first), _DOWN.fullmatch(second)
    return up is not None and down is not None and up[1] == down[1]


def _next_line(text: TextScanner, content: _Content) -> str | None:
    """Next line that is neither blank nor a comment, stripped; comments go to `content.words`."""
    while (line := text.next_filled_line()) is not None:
        if not line.lstrip().startswith("#"):
            return line.strip()
        content.words.append(line.strip())
    return None


def _read_content(text: TextScanner, entry: str | None) -> _Content:
    content = _Content()
    line = _next_line(text, content)
    while line is not None:
        keyword, *rest = line.upper().split()
        following = None
        if keyword == "ANIMSTEPS" and rest != ["1"]:
            raise text.error("an animation of several structures; expected one structure with its density")
        if keyword in _PERIODIC_AXES:
            content.periodic_axes = _PERIODIC_AXES[keyword]
        elif keyword == "PRIMVEC":
            content.cell = _read_vectors(text, content, "PRIMVEC")
            content.periodic_axes = 3 if content.periodic_axes is None else content.periodic_axes
        elif keyword == "CONVVEC":
            _read_vectors(text, content, "CONVVEC")
        elif keyword == "PRIMCOORD":
            _read_primcoord(text, content)
        elif keyword == "ATOMS":
            following = _read_atoms(text, content)
        elif _BLOCK.fullmatch(keyword):
            _read_block(text, content, entry)
        elif keyword.startswith("BEGIN_BLOCK_BANDGRID"):
            raise text.error("energies of bands over the Brillouin zone (BXSF), not a density")
        elif keyword.startswith("BEGIN_BLOCK_DATAGRID"):
            raise text.error(f"a plane of values ({shown(line)}), expected a three-dimensional grid")
        elif keyword != "ANIMSTEPS":
            raise text.error(f"expected a keyword of XSF (CRYSTAL, PRIMVEC, PRIMCOORD, ...), found {shown(line)}")
        line = following or _next_line(text, content)
    return content


def _expect_line(text: TextScanner, content: _Content, what: str) -> str:
    line = _next_line(text, content)
    if line is None:
        raise text.error(f"the file ends where {what} should come; it looks truncated")
    return line


def _read_vectors(text: TextScanner, content: _Content, what: str) -> np.ndarray:
    """Three rows of three numbers, (3, 3)."""
    return np.array([_read_numbers(text, content, f"vector {axis} of {what}", count=3) for axis in "abc"])


def _read_numbers(text: TextScanner, content: _Content, what: str, *, count: int) -> list[float]:
    line = _expect_line(text, content, what)
    numbers = parse_floats(line)
    if numbers is None or len(numbers) != count or max(map(abs, numbers)) > LONGEST_ANGSTROM:
        raise text.error(f"expected {what}, {count} numbers, found {shown(line)}")
    return numbers


def _read_primcoord(text: TextScanner, content: _Content) -> None:
    line = _expect_line(text, content, "the number of atoms")
    counts = parse_integers(line)
    if counts is None or len(counts) not in (1, 2) or counts[0] < 0:
        raise text.error(f"expected the number of atoms and 1, found {shown(line)}")
    content.numbers.clear()
    content.positions.clear()
    for i in range(counts[0]):
        line = _expect_line(text, content, f"atom {i + 1} of {counts[0]}")
        if not _take_atom(line, content):
            raise text.error(f"expected atom {i + 1} of {counts[0]} (element, x, y, z), found {shown(line)}")


def _read_atoms(text: TextScanner, content: _Content) -> str | None:
    """Reads the atoms up to the next keyword; gives that keyword's line."""
    content.numbers.clear()
    content.positions.clear()
    line = _next_line(text, content)
    while line is not None and _take_atom(line, content):
        line = _next_line(text, content)
    return line


def _take_atom(line: str, content: _Content) -> bool:
    """Adds the atom of a line (number or symbol, position, perhaps a force); False where the line is none."""
    element, *rest = line.split()
    numbers = parse_floats(" ".join(rest))
    if numbers is None or len(numbers) not in (3, 6) or max(map(abs, numbers)) > LONGEST_ANGSTROM:
        return False
    is_number = re.fullmatch("[0-9]{1,3}", element)
    number = int(element) if is_number else atomic_numbers.get(element.capitalize(), 0)
    if not 0 < number <= HEAVIEST:
        return False
    content.numbers.append(number)
    content.positions.append(numbers[:3])
    return True


def _read_block(text: TextScanner, content: _Content, entry: str | None) -> None:
    """Reads the grids of one block, from behind its first line to its end."""
    line = _expect_line(text, content, "the name of the block of grids")
    if not _GRID.fullmatch(line):
        content.words.append(line)
        line = _expect_line(text, content, "a grid")
    while not line.upper().startswith("END_BLOCK_DATAGRID"):
        grid = _GRID.fullmatch(line)
        if not grid:
            raise text.error(f"expected DATAGRID_3D_... or END_BLOCK_DATAGRID_3D, found {shown(line)}")
        content.words.append(grid[1])
        content.names.append(grid[1])
        _read_grid(text, content, entry)
        line = _expect_line(text, content, "END_BLOCK_DATAGRID_3D")


def _read_grid(text: TextScanner, content: _Content, entry: str | None) -> None:
    """Reads the grid whose name was read last, and keeps it if it was asked for."""
    name = content.names[-1]
    kept = entry is None or entry in (name, str(len(content.names)))
    if kept and (field_name := next(filter(None, map(other_field, content.words[-2:])), None)):
        raise text.error(
            f"{shown(name)} or its block calls itself {with_article(field_name)}, not a density "
            "(rename it if it is one)"
        )
    if kept and len(content.grids) == _MAX_GRIDS:
        names = ", ".join(map(shown, content.names))
        raise text.error(f"a third grid ({names}, ...); choose the density as FILE::1, FILE::2, ... or FILE::NAME")
    line = _expect_line(text, content, "the numbers of grid points")
    shape = parse_integers(line)
    if shape is None or len(shape) != 3 or min(shape) < 1:
        raise text.error(f"expected the numbers of grid points, three numbers above 0, found {shown(line)}")
    nx, ny, nz = shape
    origin = _read_numbers(text, content, "the origin of the grid", count=3)
    span = _read_vectors(text, content, "the grid")
    values = text.read_values(nx * ny * nz)
    rest = (text.readline() or "").strip() or _expect_line(text, content, "END_DATAGRID_3D")
    if not rest.upper().startswith("END_DATAGRID"):
        raise text.error(f"expected END_DATAGRID_3D behind the {nx * ny * nz} values of the grid, found {shown(rest)}")
    if kept:
        content.grids.append(Grid(values.reshape(nz, ny, nx).transpose(2, 1, 0), np.array(origin), span))
