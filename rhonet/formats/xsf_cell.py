"""One period of the crystal from the grid of an XSF file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import ase
import ase.build
import numpy as np

from rhonet.formats.parsing.source import Source

_SAME_VALUE, _SAME_VALUE_OF_LARGEST = 1e-4, 1e-6
_WHOLE_PERIODS_TOLERANCE = 5e-4
_MOST_CELLS = 1000


@dataclass(frozen=True)
class Grid:
    """Values as the file lists them.

    Attributes:
        values: (nx, ny, nz), in the file's unit.
        origin: position of the first point, (3,), Å.
        span: rows from the first to the last point along each axis, (3, 3), Å.
    """

    values: np.ndarray
    origin: np.ndarray
    span: np.ndarray


@dataclass(frozen=True)
class Periodic:
    """One period of a field.

    Attributes:
        values: (nx, ny, nz), without repeated planes, in the file's unit.
        lattice: rows a, b, c, (3, 3), Å.
        atoms: those of the same cell, moved with its corner, or None.
        warnings: what was odd, one sentence each.
    """

    values: np.ndarray
    lattice: np.ndarray
    atoms: ase.Atoms | None
    warnings: tuple[str, ...]


def as_periodic(
    source: Source, grid: Grid, *, cell: np.ndarray | None, periodic_axes: int, atoms: ase.Atoms | None
) -> Periodic:
    """One period of the field; along axes that are not periodic, the grid's box, as for a cube file.

    A grid that spans a period repeats its first plane at its end; the repeated plane is dropped. A grid that ends a
    step early, its span a step short of a period, is taken as it is. Two kinds of grid break the format's rule and are
    taken as they are, with a warning: those that span a period, but whose last plane differs from the first; and
    ASE's, whose span is a step too long.

    Args:
        source: the file, for error messages.
        grid: as it was read.
        cell: PRIMVEC, rows, (3, 3), Å; None for a molecule.
        periodic_axes: number of periodic axes: 3 for a crystal, 2 for a slab, ...
        atoms: those of `cell`.

    Raises:
        FormatError: the grid spans no period of the cell, or more than a thousand cells.
    """
    counts = np.array(grid.values.shape)
    steps = np.maximum(counts - 1, 1)
    smallest_difference = _SAME_VALUE_OF_LARGEST * max(grid.values.max(), -grid.values.min())
    repeats = [_repeats(grid.values, axis, tolerance=smallest_difference) for axis in range(3)]
    lattice = grid.span * np.where(repeats, 1.0, counts / steps)[:, None]
    drop, notes, periods = list(repeats), [], np.eye(3)
    if cell is not None and periodic_axes:
        axes = slice(periodic_axes)
        closed = all(repeats[axis] or counts[axis] == 1 for axis in range(periodic_axes))
        scales = {"": 1.0} if closed else {}
        scales |= {
            "ends a step early": counts / steps,
            "does not repeat its first plane at its end, though it spans the cell": 1.0,
            "spans one step more than the cell, as ASE writes it": counts / (counts + 1),
        }
        kind, periods[axes] = _find_period(source, grid.span, scales=scales, cell=cell, axes=axes)
        lattice[axes] = periods[axes] @ cell
        drop[axes] = [kind == "" and counts[axis] > 1 for axis in range(periodic_axes)]
        if kind not in ("", "ends a step early"):
            notes.append(f"The grid {kind}; all of its points were taken as one period.")
    values = grid.values[tuple(slice(-1 if dropped else None) for dropped in drop)]
    if np.any(grid.origin):
        shift = ", ".join(f"{x:.4f}" for x in grid.origin)
        notes.append(f"The grid's origin ({shift}) Å was moved to the corner of the cell.")
    return Periodic(values, lattice, _atoms_of(atoms, cell, periods, lattice, grid.origin), tuple(notes))


def _find_period(
    source: Source, span: np.ndarray, *, scales: Mapping[str, np.ndarray | float], cell: np.ndarray, axes: slice
) -> tuple[str, np.ndarray]:
    """First kind of grid whose scaled span is whole periods, and these as multiples of the cell's rows."""
    for kind, scale in scales.items():
        period = span * np.broadcast_to(scale, 3)[:, None]
        multiples = np.linalg.solve(cell.T, period.T).T[axes]
        whole = np.rint(multiples)
        if np.abs(multiples - whole).max() < _WHOLE_PERIODS_TOLERANCE and np.linalg.matrix_rank(whole) == len(whole):
            if np.sqrt(abs(np.linalg.det(whole @ whole.T))) > _MOST_CELLS:
                raise source.error(f"its grid spans more than {_MOST_CELLS} cells of the crystal; is PRIMVEC in Å?")
            return kind, whole
    spanned, expected = (np.round(vectors[axes], 4).tolist() for vectors in (span, cell))
    raise source.error(f"its grid spans {spanned} Å, which is no period of the cell {expected} Å")


def _repeats(values: np.ndarray, axis: int, *, tolerance: float) -> bool:
    """Is the last plane along the axis the first one again?"""
    if values.shape[axis] == 1:
        return False
    # Not np.take, which copies a Fortran-ordered field as a whole.
    planes = np.moveaxis(values, axis, 0)
    first, last = planes[0], planes[-1]
    return np.allclose(first, last, rtol=_SAME_VALUE, atol=tolerance)


def _atoms_of(
    atoms: ase.Atoms | None, cell: np.ndarray | None, periods: np.ndarray, lattice: np.ndarray, origin: np.ndarray
) -> ase.Atoms | None:
    """Atoms of the grid's cell, which may hold several cells of the crystal."""
    if atoms is None:
        return None
    if cell is not None and round(abs(np.linalg.det(periods))) > 1:
        supercell = ase.build.make_supercell(ase.Atoms(atoms, cell=cell, pbc=True), np.rint(periods).astype(int))
        assert isinstance(supercell, ase.Atoms)
        atoms = supercell
    return ase.Atoms(numbers=atoms.numbers, positions=atoms.positions - origin, cell=lattice, pbc=True)
