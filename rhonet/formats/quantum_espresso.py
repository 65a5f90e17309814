"""Quantum ESPRESSO's charge-density.hdf5.

Layout since 6.2 (Modules/io_base.f90, subroutine write_rhog): attributes `gamma_only`, `ngm_g`, `nspin`;
`MillerIndices` (ngm_g, 3) with the reciprocal vectors `bg1`, `bg2`, `bg3` (1/bohr) as its attributes; plane-wave
coefficients, e/bohr³, re and im in turn, `rhotot_g`, and with spin `rhodiff_g` (up minus down) or `m_x`, `m_y`, `m_z`.
With gamma_only, the file holds one of each pair G, -G. Before 6.2 it held planes of the grid along z (`K1` ... `Kn`)
and no cell. The data-file-schema.xml beside it holds the atoms, the number of electrons and the grid.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.fft
from ase.units import Bohr

from rhonet.core.density import ChargeDensity
from rhonet.formats.check import build_density, refuse_entry
from rhonet.formats.espresso_xml import Calculation, read_calculation
from rhonet.formats.parsing.hdf5 import Hdf5File, open_hdf5
from rhonet.formats.parsing.source import Source, unpacked_limit
from rhonet.formats.structure import check_lattice

# bg1 to bg3 have all digits, an XML file has at least nine.
CELL_TOLERANCE_ANGSTROM = 1e-4
# A sphere of plane waves fills half of its box, a quarter with gamma_only, less in skewed cells.
MOST_POINTS_PER_WAVE = 200
FREE_GRID_POINTS = 32**3
HERMITICITY_TOLERANCE = 1e-6
_PIECE = 1 << 18
_SPIN = {1: (), 2: ("rhodiff_g",), 4: ("m_x", "m_y", "m_z")}
_REMEDY = "put data-file-schema.xml of the same calculation beside it, or give the structure (CIF, POSCAR, ...)"


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density on the calculation's FFT grid; where that is not known, on the smallest that holds its plane waves.

    Raises:
        FormatError: a part is missing or does not fit, the cell is not known (the message names the remedy), or the
            XML file beside it belongs to another calculation.
    """
    refuse_entry(source, entry, "a Quantum ESPRESSO file")
    if "ekin" in source.name.lower():
        raise source.error("holds the kinetic energy density by its name; take charge-density.hdf5")
    calculation = read_calculation(source)
    with open_hdf5(source) as file:
        if "MillerIndices" not in file:
            return _read_planes(source, file, calculation)
        lattice = _lattice_of(source, file, calculation)
        nspin = _integer_attribute(source, file, "nspin")
        if nspin not in _SPIN:
            raise source.error(f"nspin is {nspin}, expected 1, 2 or 4")
        miller = _read_miller(source, file)
        gamma_only = "true" in str(file.attribute("", "gamma_only")).lower()
        shape = _choose_grid(source, miller, calculation)
        fields = []
        for name in ("rhotot_g", *_SPIN[nspin]):
            half = _read_half_spectrum(source, file, name, miller, shape=shape, gamma_only=gamma_only)
            fields.append(_to_grid(half, shape))
    return _build(source, fields, lattice, calculation)


def _build(source: Source, fields: list[np.ndarray], lattice: np.ndarray, calculation: Calculation) -> ChargeDensity:
    values, *spin = fields
    return build_density(
        source,
        values=values,
        lattice=lattice,
        magnetization=None if not spin else spin[0] if len(spin) == 1 else np.stack(spin),
        atoms=calculation.atoms,
        expected_electrons=calculation.electrons,
        format="quantum_espresso",
        warnings=calculation.warnings,
    )


def _lattice_of(source: Source, file: Hdf5File, calculation: Calculation) -> np.ndarray:
    """Cell (3, 3), Å, from the reciprocal vectors in the file; where it has none, from elsewhere."""
    rows = [file.attribute("MillerIndices", f"bg{i}") for i in (1, 2, 3)]
    if any(row is None for row in rows):
        return _lattice_from_elsewhere(source, calculation)
    if any(row.shape != (3,) or row.dtype.kind not in "fiu" for row in rows if row is not None):
        raise source.error("bg1, bg2, bg3 are no reciprocal vectors")
    reciprocal = check_lattice(source, np.array(rows, dtype=np.float64), what="bg1, bg2, bg3")
    lattice = check_lattice(source, 2 * np.pi * Bohr * np.linalg.inv(reciprocal).T, what="the cell of bg1, bg2, bg3")
    if calculation.lattice is not None and np.abs(calculation.lattice - lattice).max() > CELL_TOLERANCE_ANGSTROM:
        own, by_xml = (np.round(rows, 4).tolist() for rows in (lattice, calculation.lattice))
        raise source.error(
            f"has the cell {own} Å, but {calculation.file} says {by_xml}: that file belongs to another calculation; "
            "move it elsewhere"
        )
    return lattice


def _lattice_from_elsewhere(source: Source, calculation: Calculation) -> np.ndarray:
    """Cell (3, 3), Å, from the XML file or the structure that the user gave."""
    if calculation.lattice is not None:
        return calculation.lattice
    if source.structure is None:
        raise source.error(f"holds no cell; {_REMEDY}")
    return check_lattice(source, np.array(source.structure.cell), what="the cell of the structure given")


def _integer_attribute(source: Source, file: Hdf5File, name: str) -> int:
    value = file.attribute("", name)
    if value is None or value.size != 1 or value.dtype.kind not in "iu":
        raise source.error(f"has no attribute {name} that is a whole number")
    return int(value.item())


def _read_miller(source: Source, file: Hdf5File) -> np.ndarray:
    """Miller indices (n, 3), whole numbers."""
    miller = file.read("MillerIndices", dtype=np.int32)
    if miller.ndim != 2 or miller.shape[1] != 3 or not len(miller):
        raise source.error(f"MillerIndices of shape {miller.shape}, expected (n, 3)")
    if len(miller) != (declared := _integer_attribute(source, file, "ngm_g")):
        raise source.error(f"ngm_g announces {declared} plane waves, but there are {len(miller)} Miller indices")
    return miller


def _choose_grid(source: Source, miller: np.ndarray, calculation: Calculation) -> tuple[int, int, int]:
    """Grid that holds all plane waves below its Nyquist frequencies."""
    shape = 2 * np.maximum(miller.max(axis=0), -miller.min(axis=0).astype(np.int64)) + 1
    known = calculation.grid is not None and bool((shape <= calculation.grid).all())
    if known:
        shape = np.array(calculation.grid)
    # In floating point: the product of three 32-bit extents may overflow an integer.
    points = np.prod(shape, dtype=float)
    if 8 * points > unpacked_limit(source.max_bytes):
        raise source.error(
            f"its plane waves take a grid of {'x'.join(map(str, shape))} points, far more than the file holds"
        )
    if points > FREE_GRID_POINTS and points > MOST_POINTS_PER_WAVE * len(miller):
        raise source.error(
            f"its {len(miller)} plane waves reach over a grid of {'x'.join(map(str, shape))} points, far too few for a "
            "sphere below a cut-off; it is damaged"
        )
    nx, ny, nz = (int(n) for n in shape)
    if not known:
        nx, ny, nz = (scipy.fft.next_fast_len(n, real=True) or n for n in (nx, ny, nz))
    return nx, ny, nz


def _read_half_spectrum(
    source: Source, file: Hdf5File, name: str, miller: np.ndarray, *, shape: tuple[int, int, int], gamma_only: bool
) -> np.ndarray:
    """Coefficients of G with a third index of at least 0, (nx, ny, nz // 2 + 1), laid out as `irfftn` takes them.

    Works piece by piece, as index arrays would take more memory than the field.

    Raises:
        FormatError: there is not one number per plane wave, a plane wave comes twice, or a pair G, -G is not conjugate.
    """
    numbers = file.read(name)
    if numbers.size != 2 * len(miller):
        raise source.error(f"{name} of shape {numbers.shape} with {len(miller)} Miller indices")
    coefficients = numbers.ravel().view(np.complex128)
    extents = (shape[0], shape[1], shape[2] // 2 + 1)
    half = np.zeros(extents, dtype=np.complex128)
    flat = half.reshape(-1)
    pieces = [slice(start, start + _PIECE) for start in range(0, len(miller), _PIECE)]
    for sign in (-1, 1):
        seen = np.zeros(len(flat), dtype=bool)
        n_seen = 0
        for piece in pieces:
            rows, places = _places(sign * miller[piece], shape, extents)
            seen[places] = True
            n_seen += len(places)
            if sign == 1:
                flat[places] = coefficients[piece][rows]
            elif gamma_only:
                flat[places] = coefficients[piece][rows].conj()
        if np.count_nonzero(seen) < n_seen:
            raise source.error("names a plane wave twice in MillerIndices; it is damaged")
    largest = max(float(np.abs(coefficients[piece]).max()) for piece in pieces)
    for piece in pieces:
        rows, places = _places(-miller[piece], shape, extents)
        if np.abs(flat[places] - coefficients[piece][rows].conj()).max(initial=0) > HERMITICITY_TOLERANCE * largest:
            raise source.error("its plane waves G and -G do not make a real density; it is damaged")
    return half


def _to_grid(half: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Field (nx, ny, nz), e/Å³, of a half spectrum, which is overwritten; works slice by slice to save memory."""
    planes = np.asarray(scipy.fft.ifftn(half, axes=(0, 1), norm="forward", overwrite_x=True))
    values = np.empty(shape)
    for i in range(shape[0]):
        values[i] = np.fft.irfft(planes[i], n=shape[2], norm="forward")
    values /= Bohr**3
    return values


def _places(
    miller: np.ndarray, shape: tuple[int, int, int], extents: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Plane waves with a third index of at least 0, by row, and their places in the flattened half spectrum."""
    rows = np.flatnonzero(miller[:, 2] >= 0)
    wrapped = miller[rows] % np.array(shape)
    return rows, np.asarray(np.ravel_multi_index(tuple(wrapped.T), extents))


def _read_planes(source: Source, file: Hdf5File, calculation: Calculation) -> ChargeDensity:
    """Layout before 6.2: planes K1 ... Kn along z, x running fastest."""
    nx, ny, nz = (_integer_attribute(source, file, name) for name in ("nr1", "nr2", "nr3"))
    if min(nx, ny, nz) < 1 or 8 * nx * ny * nz > unpacked_limit(source.max_bytes):
        raise source.error(f"announces a grid of {nx}x{ny}x{nz} points, which the file cannot hold")
    lattice = _lattice_from_elsewhere(source, calculation)
    values = np.empty((nx, ny, nz))
    for k in range(nz):
        plane = file.read(f"K{k + 1}")
        if plane.size != nx * ny:
            raise source.error(f"K{k + 1} of shape {plane.shape}, expected {nx}x{ny} values")
        values[:, :, k] = plane.reshape(ny, nx).T
    values /= Bohr**3
    old = "Written by Quantum ESPRESSO before 6.2; whether the calculation had spin is not in the file."
    return _build(source, [values], lattice, replace(calculation, warnings=(*calculation.warnings, old)))
