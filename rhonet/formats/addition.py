"""Sums of densities that come in parts: AECCAR0+AECCAR2 is core plus valence."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from rhonet.core.density import ChargeDensity, ElectronCount
from rhonet.core.errors import FormatError
from rhonet.formats.check import build_density
from rhonet.formats.parsing.source import Source

PLUS = "+"
_SUPERPOSED = "AECCAR1"
_CORE = "AECCAR0"


def named_files(path: Path) -> tuple[Path, ...]:
    """The files that a path names: itself, or A and B for DIR/A+B where no file of that very name exists."""
    if path.exists() or PLUS not in path.name:
        return (path,)
    return tuple(path.with_name(name) for name in path.name.split(PLUS) if name)


def check_parts(path: Path, files: Sequence[Path]) -> None:
    """Checks that the files of a sum exist.

    Raises:
        FormatError: some are missing; the message names them.
    """
    missing = [file.name for file in files if not file.is_file()]
    if len(files) > 1 and missing:
        raise FormatError(f"{path}: there is no such file, and to add its parts {', '.join(missing)} is missing")


def add_densities(parts: Sequence[ChargeDensity], sources: Sequence[Source]) -> ChargeDensity:
    """Sum of densities on one grid in one cell.

    A warning that every part has stays (about the header); a warning about one part is dropped.

    Args:
        parts: what was read from each file.
        sources: those files.

    Raises:
        FormatError: a part comes twice or is no part of a density (AECCAR1), grids or cells differ, or only some
            parts are spin-polarised.
    """
    first, *others = parts
    for number, (part, source) in enumerate(zip(parts, sources, strict=True)):
        if re.search(_SUPERPOSED, source.name):
            raise source.error("AECCAR1 holds overlapping atomic densities, no part of ρ; add AECCAR0+AECCAR2")
        for earlier, file in zip(parts[:number], sources[:number], strict=True):
            if file.path.samefile(source.path) or np.array_equal(earlier.values, part.values):
                raise source.error(f"is the same density as {file.path.name}; a density is not added to itself")
    for part, source in zip(others, sources[1:], strict=True):
        if part.shape != first.shape or not np.allclose(part.lattice, first.lattice, rtol=0, atol=1e-4):
            raise source.error(f"has another grid or cell than {sources[0].path.name}, so they cannot be added")
        if (part.magnetization is None) != (first.magnetization is None):
            raise source.error(f"only one of it and {sources[0].path.name} is spin-polarised; they cannot be added")
    magnetizations = [part.magnetization for part in parts if part.magnetization is not None]
    shared = [warning for warning in first.warnings if all(warning in part.warnings for part in others)]
    names = " and ".join(source.path.name for source in sources)
    return build_density(
        sources[0],
        values=np.sum([part.values for part in parts], axis=0),
        lattice=first.lattice,
        magnetization=np.sum(magnetizations, axis=0) if magnetizations else None,
        atoms=first.atoms,
        format=first.format,
        expected_electrons=_all_electrons(first, sources),
        warnings=(f"Sum of {names}.", *shared),
    )


def _all_electrons(part: ChargeDensity, sources: Sequence[Source]) -> ElectronCount | None:
    """As many electrons as protons, where a part holds the core electrons and the atoms are known."""
    if part.atoms is None or not any(re.search(_CORE, source.name) for source in sources):
        return None
    return ElectronCount(float(part.atoms.numbers.sum()), "the protons of its nuclei, core and valence together")
