"""SIESTA's binary grid of the electron density, SystemLabel.RHO.

Fortran records between their lengths, little-endian: the cell (9 double precision numbers, bohr), the grid with the
number of spin components (4 integers), then one record of n1 numbers for each of the components, n3 and n2: e/bohr³,
in single or double precision. Components are those of Rho.grid.nc. Other grid functions (.VT, .DRHO, ...) look alike.
"""

from __future__ import annotations

import numpy as np
from ase.units import Bohr

from rhonet.core.density import ChargeDensity
from rhonet.formats.check import refuse_entry
from rhonet.formats.parsing.source import ContentStream, Source, check_magnitude
from rhonet.formats.siesta import density_of_components
from rhonet.formats.structure import check_lattice

_PRECISIONS = {4: "<f4", 8: "<f8"}
_SUFFIX = ".RHO"


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of a .RHO file, with the atoms of the .XV file beside it, if there is only one and its cell fits.

    Raises:
        FormatError: the file is another grid function by its name, is truncated, or has records that do not fit the
            grid.
    """
    refuse_entry(source, entry, "a SIESTA grid file")
    if not source.name.upper().endswith(_SUFFIX):
        raise source.error("is a grid function of SIESTA; only those named .RHO are the density (rename it if it is)")
    with source.open() as stream:
        rows = np.frombuffer(_read_record(source, stream, 72), "<f8").reshape(3, 3)
        lattice = check_lattice(source, rows * Bohr, what="the cell")
        *grid, n_components = (int(n) for n in np.frombuffer(_read_record(source, stream, 16), "<i4"))
        if min(grid) < 1 or n_components not in (1, 2, 4):
            raise source.error(f"a grid of {grid} points and {n_components} spin components (expected 1, 2 or 4)")
        n1, n2, n3 = grid
        length = stream.read(4)
        row_bytes = int.from_bytes(length, "little")
        itemsize = row_bytes // n1
        if itemsize not in _PRECISIONS or row_bytes != itemsize * n1:
            raise source.error(f"rows of {row_bytes} bytes do not fit {n1} grid points")
        n_bytes = n_components * n3 * n2 * (itemsize * n1 + 8)
        if n_bytes > source.max_bytes:
            raise source.error(f"a grid of {grid} points takes more bytes than the file has; it looks truncated")
        content = length + _read_exactly(source, stream, n_bytes - 4)
        if stream.read(1):
            raise source.error(f"more values than those of {n_components} components on the grid of {grid} points")
    records = np.frombuffer(content, np.uint8).reshape(n_components, n3, n2, itemsize * n1 + 8)
    lengths = np.frombuffer(records[..., [0, 1, 2, 3, -4, -3, -2, -1]].tobytes(), "<i4")
    if (lengths != itemsize * n1).any():
        raise source.error("its Fortran records are damaged: their lengths differ")
    rows = np.frombuffer(records[..., 4:-4].tobytes(), _PRECISIONS[itemsize])
    check_magnitude(source, rows, what="the density")
    components = rows.astype(np.float64).reshape(n_components, n3, n2, n1).transpose(0, 3, 2, 1)
    components /= Bohr**3
    return density_of_components(source, components, lattice=lattice, format="siesta_rho")


def _read_record(source: Source, stream: ContentStream, n_bytes: int) -> bytes:
    """Content of a Fortran record of that length."""
    record = _read_exactly(source, stream, n_bytes + 8)
    if any(int.from_bytes(length, "little") != n_bytes for length in (record[:4], record[-4:])):
        raise source.error(f"expected a Fortran record of {n_bytes} bytes; is this a .RHO file of SIESTA?")
    return record[4:-4]


def _read_exactly(source: Source, stream: ContentStream, n_bytes: int) -> bytes:
    pieces, missing = [], n_bytes
    while missing and (piece := stream.read(missing)):
        pieces.append(piece)
        missing -= len(piece)
    if missing:
        raise source.error(f"{missing} bytes are missing at its end; it looks truncated")
    return b"".join(pieces)
