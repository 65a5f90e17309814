"""Writes densities in the formats that viewers and other programs read; the file's name decides which."""

from __future__ import annotations

import contextlib
import gzip
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.formats import write_chgcar, write_cube

_CUBE = re.compile(r"\.cube?(\.gz)?$", re.IGNORECASE)
_ENDS = ("", "_x", "_y", "_z")
_CHGCAR = re.compile(r"(CHG|CHGCAR|\.vasp)(\.gz)?$", re.IGNORECASE)


class WriteError(ValueError):
    """A density that cannot be written as asked; the message starts with the path."""


@dataclass(frozen=True)
class Written:
    """What came of writing a density.

    Args:
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
        WriteError: a name that tells no format, a file that exists, atoms that a CHGCAR needs and nobody knows, or
            a file system that refuses.
    """
    path = Path(path)
    check_targets(density, path, overwrite=overwrite)
    notes = []
    if _CUBE.search(path.name):
        writers = _cube_writers(density, path, title)
        if density.magnetization is not None:
            names = ", ".join(target.name for target in list(writers)[1:])
            notes.append(f"A cube holds one field: the magnetization went to {names}.")
        if left := [other.name for other in _spin_cubes(path) if other not in writers and other.exists()]:
            notes.append(f"{', '.join(left)} was there before and belongs to another density.")
    else:
        writers = {path: partial(write_chgcar.write_chgcar, density, title=title or "electron density")}
        notes.append(write_chgcar.NOTE)
        if np.linalg.det(density.lattice) < 0:
            notes.append(write_chgcar.LEFT_HANDED)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as replacements:
            for target, write in writers.items():
                with _open_packed(replacements.enter_context(_replacing(target))) as file:
                    write(file)
    except OSError as error:
        raise WriteError(f"{path}: cannot be written: {error.strerror or error}") from error
    except ValueError as error:
        raise WriteError(f"{path}: {error}") from error
    return Written(tuple(writers), tuple(notes))


def check_targets(density: ChargeDensity, path: Path, *, overwrite: bool) -> None:
    """Refuses what `write_density` could not write, for all files that it would.

    Raises:
        WriteError: as `check_target`, or atoms that a CHGCAR needs and nobody knows.
    """
    check_target(path, overwrite=overwrite)
    if _CUBE.search(path.name):
        for target in _cube_writers(density, path, None):
            check_target(target, overwrite=overwrite)
        return
    try:
        write_chgcar.check_atoms(density)
    except ValueError as error:
        raise WriteError(f"{path}: {error}") from error


def check_target(path: Path, *, overwrite: bool) -> None:
    """Refuses a file that no density can be written to.

    Raises:
        WriteError: its name tells no format, it is a folder, or it exists and must not be replaced.
    """
    if not _CUBE.search(path.name) and not _CHGCAR.search(path.name):
        raise WriteError(f"{path}: its name tells no format; name it NAME.cube, CHGCAR or NAME.CHGCAR (or .gz)")
    if path.is_dir():
        raise WriteError(f"{path}: is a folder; name a file in it, e.g. {path / 'CHGCAR'}")
    if path.exists() and not overwrite:
        raise WriteError(f"{path}: exists already; choose another name, or --force to replace it")


def _cube_writers(density: ChargeDensity, path: Path, title: str | None) -> Mapping[Path, Callable[[BinaryIO], None]]:
    """What writes the density and each component of its magnetization, by file."""
    first = title or "Electron density, e/bohr^3"
    writers = {path: partial(write_cube.write_cube, density, density.values, title=first)}
    if density.magnetization is not None:
        components = density.magnetization.reshape(-1, *density.shape)
        for name, component in zip([""] if len(components) == 1 else ["_x", "_y", "_z"], components, strict=True):
            target = path.with_name(_CUBE.sub(lambda suffix, name=name: f"_magnetization{name}{suffix[0]}", path.name))
            spin = f"magnetization{name.replace('_', ' ')}"
            own = f"{title}, {spin}" if title else f"Spin density ({spin}), muB/bohr^3"
            writers[target] = partial(write_cube.write_cube, density, component, title=own)
    return writers


def _spin_cubes(path: Path) -> list[Path]:
    """Files beside a cube that hold the magnetization of a density."""
    names = [_CUBE.sub(lambda suffix, end=end: f"_magnetization{end}{suffix[0]}", path.name) for end in _ENDS]
    return [path.with_name(name) for name in names]


@contextlib.contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    """A path beside the given one, whose file takes its place once everything went well, and goes otherwise."""
    beside = path.with_name(f".{os.getpid()}.partial.{path.name}")
    try:
        yield beside
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def _open_packed(path: Path) -> BinaryIO:
    opener = gzip.open if path.suffix.lower() == ".gz" else open
    return cast(BinaryIO, opener(path, "wb"))
