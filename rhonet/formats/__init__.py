"""Density files: `read_density` reads any of them, one module per format stands behind it, writers.py writes them.

Imports core and this folder's parsing. Start with table.py, the table of formats, then with one format's `read`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import FormatError
from rhonet.formats.addition import add_densities, check_parts, named_files
from rhonet.formats.parsing.source import open_source
from rhonet.formats.table import FORMATS, choose_format

if TYPE_CHECKING:
    import ase

__all__ = ["FORMATS", "FormatError", "named_files", "read_density"]


def read_density(
    path: str | os.PathLike[str],
    *,
    entry: str | None = None,
    format: str | None = None,
    structure: str | os.PathLike[str] | ase.Atoms | None = None,
) -> ChargeDensity:
    """Electron density of a file, checked and in e/Å³.

    The content decides the format, then the name does. Files packed with gzip, bzip2, xz and zip are unpacked on the
    fly. Memory stays below three times that of the fields read.

    Args:
        path: the file; `archive.h5::GROUP` names an entry as well, and `DIR/AECCAR0+AECCAR2` is the sum of two files.
        entry: which density of a file that holds several: the group of an archive, the field ("1", "2", ...) of a
            cube, the number or name of an XSF file's grid.
        format: name of the format (see `FORMATS`), where neither content nor name decides it.
        structure: cell and atoms (or a file of them: CIF, POSCAR, ...) for a file that holds none; they must agree
            with the cell of a file that holds one.

    Raises:
        FormatError: the file gives no density; the message starts with the path and says what was found.

    Example:
        >>> import tempfile
        >>> import numpy as np
        >>> from rhonet.formats.writers import write_density
        >>> folder = tempfile.TemporaryDirectory()
        >>> path = Path(folder.name, "example.cube")
        >>> _ = write_density(ChargeDensity(np.full((4, 4, 4), 0.125), lattice=4.0 * np.eye(3)), path)
        >>> density = read_density(path)
        >>> density.shape, density.format, round(density.n_electrons, 6)
        ((4, 4, 4), 'cube', 8.0)
        >>> folder.cleanup()
    """
    name, separator, suffix = str(path).rpartition("::")
    if separator and not Path(path).exists():
        if entry is not None and entry != suffix:
            raise FormatError(f"{path}: names the entry {suffix!r}, but entry={entry!r} was asked for")
        path, entry = name, suffix
    if isinstance(structure, (str, os.PathLike)):
        from rhonet.formats.structure import read_structure

        structure = read_structure(Path(structure))
    files = named_files(Path(path))
    check_parts(Path(path), files)
    sources = [open_source(file, structure=structure) for file in files]
    parts = [choose_format(source, format=format).load().read(source, entry=entry) for source in sources]
    density = parts[0] if len(parts) == 1 else add_densities(parts, sources)
    if structure is not None:
        from rhonet.formats.structure import with_structure

        density = with_structure(density, structure, Path(path))
    return density
