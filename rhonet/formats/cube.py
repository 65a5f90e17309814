"""Gaussian cube files (https://gaussian.com/cubegen/), as most quantum chemistry and solid-state codes write them."""

from __future__ import annotations

import re

import ase
import numpy as np
from ase.units import Bohr

from rhonet.core.density import ChargeDensity, ElectronCount
from rhonet.core.text import counted
from rhonet.formats.check import build_density
from rhonet.formats.field_names import one_spin_density, other_field, with_article
from rhonet.formats.parsing.numerals import parse_floats, shown
from rhonet.formats.parsing.source import Source
from rhonet.formats.parsing.text import TextScanner
from rhonet.formats.units import find_cube_unit

_PIECE = 1 << 18
_HEAVIEST = 118
_OUTSIDE = 0.01


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of a cube file, the box taken as the periodic cell.

    Lengths are bohr when the voxel counts are positive and Å when they are negative. Values are e/bohr³ in both
    cases, unless a comment line says e/Å³ or pymatgen wrote them (`find_cube_unit`). The origin becomes the cell's
    corner; the atoms move with it. `entry` ("1", "2", ...) chooses one of several fields.

    Raises:
        FormatError: a line does not fit (its number is in the message), or the file holds orbitals, or a field that
            its comments call something other than a density.
    """
    with source.open() as stream:
        text = TextScanner(stream, source)
        comments = []
        for _ in range(2):
            comments.append(text.next_line("a comment line"))
            if name := other_field(comments[-1]):
                raise text.error(
                    f"the comment {shown(comments[-1])} calls this {with_article(name)}, not a density (if it is one, "
                    f"change the comment)"
                )
            if name := one_spin_density(comments[-1]):
                raise text.error(
                    f"the comment {shown(comments[-1])} calls this {with_article(name)}, the electrons of one spin "
                    "direction only; write out the sum of both (if it is the sum, change the comment)"
                )
        n_atoms, origin, n_fields = _read_first_line(text)
        field = _choose_field(text, entry, n_fields)
        counts, voxels = _read_voxels(text)
        length_unit = Bohr if counts[0] > 0 else 1.0
        nx, ny, nz = (abs(count) for count in counts)
        numbers, charges, positions = _read_atoms(text, n_atoms)
        values = _read_field(text, nx * ny * nz, n_fields=n_fields, field=field).reshape(nx, ny, nz)
        rest = text.next_filled_line()
        if rest is not None:
            raise text.error(f"more values than the {nx}x{ny}x{nz} grid of {n_fields} field(s) takes: {shown(rest)}")

    warnings = []
    if np.any(origin):
        shift = ", ".join(f"{x:.4f}" for x in origin * length_unit)
        warnings.append(f"The grid's origin ({shift}) Å was moved to the corner of the cell.")
    lattice = voxels * np.array([[nx], [ny], [nz]]) * length_unit
    if 0 in numbers:
        warnings.append(f"Left out {counted(numbers.count(0), 'atom')} with atomic number 0 (ghosts).")
    real = np.array(numbers) > 0
    atoms = None
    if real.any():
        moved = (positions - origin) * length_unit
        atoms = ase.Atoms(numbers=np.array(numbers)[real], positions=moved[real], cell=lattice, pbc=True)
    unit = find_cube_unit(
        source, mean=float(values.mean()), volume=abs(np.linalg.det(lattice)), comments=comments, atoms=atoms
    )
    values *= unit.factor
    return build_density(
        source,
        values=values,
        lattice=lattice,
        atoms=atoms,
        format="cube",
        expected_electrons=_valence_electrons(numbers, charges),
        convention=unit.convention,
        is_partial=bool(np.any(origin)) and atoms is not None and _has_atoms_outside(atoms),
        warnings=(*unit.warnings, *warnings),
    )


def _read_first_line(text: TextScanner) -> tuple[int, np.ndarray, int]:
    """Number of atoms, origin (3,) in the file's unit, number of fields."""
    line = text.next_line("the number of atoms and the origin")
    numbers = parse_floats(line)
    if numbers is None or len(numbers) not in (4, 5) or not numbers[0].is_integer() or not np.isfinite(numbers).all():
        raise text.error(f"expected the number of atoms and the origin, found {shown(line)}; is this a cube file?")
    if numbers[0] < 0:
        raise text.error("a negative number of atoms marks a cube of orbitals, which are no density")
    n_fields = numbers[4] if len(numbers) == 5 else 1.0
    if n_fields < 1 or not n_fields.is_integer():
        raise text.error(f"expected the number of fields, found {n_fields:g}")
    return int(numbers[0]), np.array(numbers[1:4]), int(n_fields)


def _choose_field(text: TextScanner, entry: str | None, n_fields: int) -> int:
    """Index of the field that was asked for, from 0."""
    if entry is None and n_fields == 1:
        return 0
    if entry is None:
        raise text.error(f"the file holds {n_fields} fields; choose the density as FILE::1 ... FILE::{n_fields}")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", entry) or int(entry) > n_fields:
        raise text.error(f"there is no field {entry!r}; the file holds {n_fields}: FILE::1 to FILE::{n_fields}")
    return int(entry) - 1


def _read_voxels(text: TextScanner) -> tuple[list[int], np.ndarray]:
    """Grid points along a, b, c (all positive or all negative), and the voxel's rows (3, 3) in the file's unit."""
    counts, voxels = [], []
    for axis in "abc":
        line = text.next_line(f"voxels along {axis}")
        numbers = parse_floats(line)
        if numbers is None or len(numbers) != 4 or not numbers[0].is_integer() or not np.isfinite(numbers).all():
            raise text.error(f"expected the number of voxels along {axis} and one voxel's edge, found {shown(line)}")
        if not numbers[0]:
            raise text.error(f"no voxels along {axis}")
        counts.append(int(numbers[0]))
        voxels.append(numbers[1:])
    if len({count > 0 for count in counts}) > 1:
        raise text.error(f"voxel counts {counts} of both signs: lengths in bohr (positive) or Å (negative)?")
    if not abs(np.linalg.det(voxels)) > 0:
        raise text.error(f"the voxel's edges {voxels} span no volume")
    return counts, np.array(voxels)


def _read_atoms(text: TextScanner, n_atoms: int) -> tuple[list[int], list[float], np.ndarray]:
    """Atomic numbers, charges, and positions (n, 3) in the file's unit."""
    numbers, charges, positions = [], [], []
    for i in range(n_atoms):
        line = text.next_line(f"atom {i + 1} of {n_atoms}")
        fields = parse_floats(line)
        if fields is None or len(fields) != 5 or not fields[0].is_integer() or not np.isfinite(fields).all():
            raise text.error(f"expected atom {i + 1} of {n_atoms} (number, charge, x, y, z), found {shown(line)}")
        if not 0 <= fields[0] <= _HEAVIEST:
            raise text.error(f"there is no element {fields[0]:g}")
        numbers.append(int(fields[0]))
        charges.append(fields[1])
        positions.append(fields[2:])
    return numbers, charges, np.array(positions).reshape(-1, 3)


def _valence_electrons(numbers: list[int], charges: list[float]) -> ElectronCount | None:
    """Electrons of a neutral cell by the charges of its atoms, where these are valence charges beyond doubt.

    They are where all are whole numbers from 1 to the atomic number. They are not where all are the atomic numbers,
    which codes write above all-electron and valence densities alike.
    """
    if not charges or charges == numbers:
        return None
    if not all(charge.is_integer() and 1 <= charge <= number for number, charge in zip(numbers, charges, strict=True)):
        return None
    return ElectronCount(sum(charges), "the atoms' charges in the file, if neutral")


def _has_atoms_outside(atoms: ase.Atoms) -> bool:
    """Do some lie outside the box, as they do where it is a part of a crystal?"""
    positions = atoms.get_scaled_positions(wrap=False)
    return bool(positions.min() < -_OUTSIDE or positions.max() > 1 + _OUTSIDE)


def _read_field(text: TextScanner, count: int, *, n_fields: int, field: int) -> np.ndarray:
    """One field, (count,). Fields alternate point by point; they are read in pieces, so the others take no memory."""
    if n_fields == 1:
        return text.read_values(count)
    text.require_room(count * n_fields, "grid values")
    values = np.empty(count)
    for start in range(0, count, _PIECE):
        points = min(_PIECE, count - start)
        piece = text.read_values(points * n_fields, f"values of {n_fields} fields, from grid point {start + 1} on,")
        values[start : start + points] = piece[field::n_fields]
    return values
