"""Readers of density files: one function, one module per format behind it, one table that lists them."""

from __future__ import annotations

import os
from pathlib import Path

from rhonet.density import ChargeDensity
from rhonet.formats.source import FormatError, open_source
from rhonet.formats.table import FORMATS, choose_format

__all__ = ["FORMATS", "FormatError", "read_density"]


def read_density(path: str | os.PathLike[str], *, entry: str | None = None, format: str | None = None) -> ChargeDensity:
    """Electron density of a file, verified and in e/Å³.

    The format is told by the content, then by the name; gzip, bzip2 and xz are unpacked on the fly. Memory stays
    below three times that of the fields read.

    Args:
        path: the file; `archive.h5::GROUP` names an entry, too.
        entry: which density of a file that holds several: the group of an archive, the field ("1", "2", ...) of a
            cube.
        format: name of the format (see `FORMATS`), where it cannot be told.

    Raises:
        FormatError: the file gives no density; the message starts with the path and says what was found.
    """
    name, separator, suffix = str(path).rpartition("::")
    if separator and not Path(path).exists():
        if entry is not None and entry != suffix:
            raise FormatError(f"{path}: names the entry {suffix!r}, but entry={entry!r} was asked for")
        path, entry = name, suffix
    source = open_source(Path(path))
    return choose_format(source, format=format).load().read(source, entry=entry)
