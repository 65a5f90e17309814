"""Writes densities as cube files and CHGCARs, which viewers and other programs read; the file's name decides which.

From the top: `write_density` and the checks before it, the cube file, the CHGCAR, and the text of numbers for both.
"""

from __future__ import annotations

import contextlib
import gzip
import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

import numpy as np
from ase.units import Bohr

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import WriteError
from rhonet.core.files import replacing

if TYPE_CHECKING:
    import ase

CHGCAR_NOTE = (
    "A CHGCAR from rhonet holds no PAW occupancies: viewers and analysis tools read it, VASP cannot start from it."
)
LEFT_HANDED = "The cell was kept left-handed: VASP itself refuses such a cell, other programs read it."

_CUBE = re.compile(r"\.cube?(\.gz)?$", re.IGNORECASE)
_CHGCAR = re.compile(r"(CHG|CHGCAR|\.vasp)(\.gz)?$", re.IGNORECASE)
# Ends of the names of a cube's magnetization: collinear, and the components of a non-collinear one.
_COLLINEAR, _NON_COLLINEAR = ("",), ("_x", "_y", "_z")
_CUBE_COLUMNS = 6
_CHGCAR_COLUMNS = 5
_VALUES_AT_ONCE = 1 << 16

# A number takes 18 characters: " -1.2345678901E-05".
WIDTH = 18
LEAST, MOST = 1e-99, 9.9999999999e99
_DIGITS = 11
# Digits behind the leading one are looked up five at a time.
_HALF = 5
_POWERS = 10.0 ** np.arange(-90, 112)
_DIGIT_TABLE = (np.arange(10**_HALF)[:, None] // 10 ** np.arange(_HALF - 1, -1, -1) % 10 + ord("0")).astype(np.uint8)
_EXPONENT_TABLE = np.array([list(f"E{exponent:+03d}".encode()) for exponent in range(-99, 100)], np.uint8)


@dataclass(frozen=True)
class Written:
    """The files that a density was written to.

    Attributes:
        paths: the files, that of the density first.
        notes: what the format does not hold or does otherwise, one sentence each.
    """

    paths: tuple[Path, ...]
    notes: tuple[str, ...] = ()


def write_density(
    density: ChargeDensity, path: str | os.PathLike[str], *, title: str | None = None, overwrite: bool = False
) -> Written:
    """Density as a cube (NAME.cube, NAME.cub) or CHGCAR (CHGCAR, NAME.CHGCAR, CHG, NAME.vasp); packed for NAME.gz.

    Numbers have 11 significant digits; those below 1e-99 become zero. A cube holds one field, so a magnetization
    goes to NAME_magnetization.cube beside it (_x, _y, _z for a non-collinear one). The folder is made. Files appear
    whole or not at all.

    Args:
        density: e/Å³, on any grid and in any cell.
        path: where to.
        title: what the fields are where they are no densities, for the first line of each file.
        overwrite: replace files that exist.

    Raises:
        WriteError: the name tells no format, a file exists, a CHGCAR needs atoms that are not known, a number is too
            large, or the file system refuses.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     density = ChargeDensity(np.ones((2, 2, 2)), lattice=3.0 * np.eye(3), magnetization=np.zeros((2, 2, 2)))
        ...     written = write_density(density, f"{folder}/one.cube")
        >>> [path.name for path in written.paths]
        ['one.cube', 'one_magnetization.cube']
    """
    path = Path(path)
    check_targets(density, path, overwrite=overwrite)
    notes = []
    if _CUBE.search(path.name):
        writers = _cube_writers(density, path, title)
        if density.magnetization is not None:
            names = ", ".join(target.name for target in list(writers)[1:])
            notes.append(f"A cube holds one field: the magnetization went to {names}.")
        candidates = _magnetization_paths(path, _COLLINEAR + _NON_COLLINEAR)
        if left := [candidate.name for candidate in candidates if candidate not in writers and candidate.exists()]:
            notes.append(f"{', '.join(left)} was there before and belongs to another density.")
    else:
        writers = {path: partial(write_chgcar, density, title=title or "electron density")}
        notes.append(CHGCAR_NOTE)
        if np.linalg.det(density.lattice) < 0:
            notes.append(LEFT_HANDED)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as replacements:
            for target, write in writers.items():
                with _open_packed(replacements.enter_context(replacing(target))) as file:
                    write(file)
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {error.strerror or error}") from error
    except ValueError as error:
        raise WriteError(f"{path}: {error}") from error
    return Written(tuple(writers), tuple(notes))


def check_targets(density: ChargeDensity, path: Path, *, overwrite: bool) -> None:
    """Checks, before anything is written, that `write_density` can write each of its files.

    Args:
        density: what is to be written.
        path: where to; a cube's magnetization goes to further files beside it.
        overwrite: may files be replaced?

    Raises:
        WriteError: as `check_target`, or a CHGCAR needs atoms that are not known.
    """
    check_target(path, overwrite=overwrite)
    if _CUBE.search(path.name):
        for target in _cube_writers(density, path, None):
            check_target(target, overwrite=overwrite)
        return
    try:
        check_atoms(density)
    except ValueError as error:
        raise WriteError(f"{path}: {error}") from error


def check_target(path: Path, *, overwrite: bool) -> None:
    """Checks that a density can be written to a file of this name.

    Raises:
        WriteError: its name tells no format, it is a folder, or it exists and must not be replaced.
    """
    if not _CUBE.search(path.name) and not _CHGCAR.search(path.name):
        raise WriteError(f"{path}: its name tells no format; name it NAME.cube, CHGCAR or NAME.CHGCAR (or .gz)")
    if path.is_dir():
        raise WriteError(f"{path}: is a folder; name a file in it, e.g. {path / 'CHGCAR'}")
    if path.exists() and not overwrite:
        raise WriteError(f"{path}: exists already; choose another name, or --force to replace it")


def _open_packed(path: Path) -> BinaryIO:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return cast(BinaryIO, opener(path, "wb"))


def _cube_writers(density: ChargeDensity, path: Path, title: str | None) -> Mapping[Path, Callable[[BinaryIO], None]]:
    """What writes the density and each component of its magnetization, by file."""
    writers = {path: partial(write_cube, density, density.values, title=title or "Electron density, e/bohr^3")}
    if density.magnetization is not None:
        components = density.magnetization.reshape(-1, *density.shape)
        ends = _COLLINEAR if len(components) == 1 else _NON_COLLINEAR
        for end, target, component in zip(ends, _magnetization_paths(path, ends), components, strict=True):
            name = f"magnetization{end.replace('_', ' ')}"
            line = f"{title}, {name}" if title else f"Spin density ({name}), muB/bohr^3"
            writers[target] = partial(write_cube, density, component, title=line)
    return writers


def _magnetization_paths(path: Path, ends: tuple[str, ...]) -> list[Path]:
    """Files beside a cube for its magnetization: NAME_magnetization.cube, NAME_magnetization_x.cube, ..."""
    names = [_CUBE.sub(lambda suffix, end=end: f"_magnetization{end}{suffix[0]}", path.name) for end in ends]
    return [path.with_name(name) for name in names]


def write_cube(density: ChargeDensity, field: np.ndarray, file: BinaryIO, *, title: str) -> None:
    """Writes a field on the grid of a density, in 11 significant digits; the grid's origin is the cell's corner.

    The column between atomic number and position is 0: how many electrons belong to which atom is not known.
    Without atoms the file lists none. Memory: some MB beside the field.

    Args:
        density: cell, grid and atoms.
        field: (nx, ny, nz), e/Å³ or µB/Å³.
        file: where to.
        title: first line, what the field is.

    Raises:
        ValueError: a number is too large.
    """
    file.write(_cube_header(density, title).encode())
    nx, ny, nz = field.shape
    planes = max(1, _VALUES_AT_ONCE // (ny * nz))
    for start in range(0, nx, planes):
        rows = field[start : start + planes].reshape(-1, nz) * Bohr**3
        file.write(rows_of_numbers(rows, columns=_CUBE_COLUMNS))


def _cube_header(density: ChargeDensity, title: str) -> str:
    numbers = [] if density.atoms is None else density.atoms.numbers
    fractions = np.empty((0, 3)) if density.atoms is None else density.atoms.get_scaled_positions(wrap=False)
    formula = "atoms unknown" if density.atoms is None else density.atoms.get_chemical_formula(mode="metal")
    lines = [title, f"{formula}, periodic cell, written by rhonet", _cube_line(len(numbers), 0.0, 0.0, 0.0)]
    lines += [_cube_line(n, *(row / n / Bohr)) for n, row in zip(density.shape, density.lattice, strict=True)]
    positions = fractions @ density.lattice / Bohr
    lines += [_cube_line(number, 0.0, *position) for number, position in zip(numbers, positions, strict=True)]
    return "\n".join([*lines, ""])


def _cube_line(first: int, *numbers: float) -> str:
    return f"{first:5d}" + "".join(f" {number:17.12f}" for number in numbers)


def write_chgcar(density: ChargeDensity, file: BinaryIO, *, title: str = "electron density") -> None:
    """Writes one block of grid values, two with collinear spin (ρ, m), four with non-collinear spin (ρ, mx, my, mz).

    Atoms keep their order; numbers have 11 significant digits. Memory: some MB beside the density.

    Args:
        density: e/Å³.
        file: where to.
        title: what the fields are, for the first line.

    Raises:
        ValueError: the atoms are not known, or a number is too large.
    """
    file.write(_chgcar_header(check_atoms(density), density.lattice, title).encode())
    grid = "".join(f"{points:5d}" for points in density.shape) + "\n"
    for field in _chgcar_fields(density):
        file.write(grid.encode())
        _write_chgcar_field(field, density.volume, file)


def check_atoms(density: ChargeDensity) -> ase.Atoms:
    """The density's atoms, which a CHGCAR names.

    Raises:
        ValueError: they are not known.
    """
    if density.atoms is None or not (density.atoms.numbers > 0).all():
        raise ValueError(
            "a CHGCAR names its atoms, but the density's are not known; give them (--structure FILE), or write a cube"
        )
    return density.atoms


def _chgcar_header(atoms: ase.Atoms, lattice: np.ndarray, title: str) -> str:
    runs = [(symbol, len(list(run))) for symbol, run in groupby(atoms.get_chemical_symbols())]
    lines = [f"{atoms.get_chemical_formula(mode='metal')}, {title} written by rhonet", "   1.0"]
    lines += ["".join(f" {x:21.16f}" for x in row) for row in lattice]
    lines += ["".join(f" {symbol:>4}" for symbol, _ in runs), "".join(f" {count:4d}" for _, count in runs), "Direct"]
    lines += ["".join(f" {x:19.16f}" for x in row) for row in atoms.get_scaled_positions(wrap=False)]
    return "\n".join([*lines, "", ""])


def _chgcar_fields(density: ChargeDensity) -> list[np.ndarray]:
    """The fields in the order of the file's blocks, (nx, ny, nz) each."""
    if density.magnetization is None:
        return [density.values]
    return [density.values, *density.magnetization.reshape(-1, *density.shape)]


def _write_chgcar_field(field: np.ndarray, volume: float, file: BinaryIO) -> None:
    nx, ny, nz = field.shape
    planes = max(1, _VALUES_AT_ONCE // (nx * ny))
    left = np.empty(0)
    for start in range(0, nz, planes):
        piece = np.concatenate([left, field[:, :, start : start + planes].ravel(order="F") * volume])
        whole = len(piece) - len(piece) % _CHGCAR_COLUMNS
        file.write(rows_of_numbers(piece[:whole].reshape(-1, _CHGCAR_COLUMNS), columns=_CHGCAR_COLUMNS))
        left = piece[whole:]
    file.write(rows_of_numbers(left[None], columns=_CHGCAR_COLUMNS))


def rows_of_numbers(values: np.ndarray, *, columns: int) -> memoryview:
    """Text of numbers, each row of the array on lines of its own with at most `columns` numbers.

    Every number takes 18 characters, with 11 significant digits: " -1.2345678901E-05". The last digit is right to
    one unit (where the value lies halfway between two). Numbers below 1e-99 become zero.

    Args:
        values: (rows, n), finite.
        columns: numbers to the line.

    Returns:
        ASCII text of all rows, ready to be written to a file.

    Raises:
        ValueError: a number is too large for two digits of exponent.
    """
    rows, n = values.shape
    largest = np.abs(values).max(initial=0)
    if not largest <= MOST:
        raise ValueError(f"{largest:.6g} is too large to be written")
    n_lines = -(-n // columns)
    text = np.empty((rows, n * WIDTH + n_lines), np.uint8)
    characters = _characters(values.ravel()).reshape(rows, n * WIDTH)
    width = columns * WIDTH
    for line in range(n_lines):
        part = characters[:, line * width : (line + 1) * width]
        start = line * (width + 1)
        text[:, start : start + part.shape[1]] = part
        text[:, start + part.shape[1]] = ord("\n")
    return text.data


def _characters(values: np.ndarray) -> np.ndarray:
    """Each of the values (n,) as 18 characters, (n, 18) uint8."""
    size = np.abs(values)
    size[size < LEAST] = 0
    exponent = np.floor(np.log10(size, where=size > 0, out=np.zeros_like(size))).astype(np.int64)
    mantissa = np.rint(size * _POWERS[_DIGITS - 1 - exponent + 90]).astype(np.int64)
    # 9.99999999999 rounds up to 10, and the logarithm may come out just below a power of ten.
    rounded_up = mantissa >= 10**_DIGITS
    mantissa[rounded_up] //= 10
    exponent += rounded_up
    leading, rest = np.divmod(mantissa, 10 ** (_DIGITS - 1))
    first, second = np.divmod(rest, 10**_HALF)
    text = np.empty((len(values), WIDTH), np.uint8)
    text[:, 0] = ord(" ")
    text[:, 1] = np.where(values < 0, ord("-"), ord(" "))
    text[:, 2] = leading + ord("0")
    text[:, 3] = ord(".")
    text[:, 4:9] = _DIGIT_TABLE[first]
    text[:, 9:14] = _DIGIT_TABLE[second]
    text[:, 14:] = _EXPONENT_TABLE[exponent + 99]
    return text
