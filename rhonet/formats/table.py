"""Which density formats there are, and how a file's format is told: by its content first, then by its name."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

from rhonet.formats import sniff
from rhonet.formats.source import Source


@dataclass(frozen=True)
class Format:
    """One readable format.

    Args:
        name: how users and `ChargeDensity.format` call it.
        title: what it is, for messages.
        module: where its `read(source, *, entry)` is; imported only when a file of this format comes.
        content: does the content look like this format? Decides alone when exactly one format says yes.
        file_name: pattern found in the names of such files; decides when the content fits none or several.
    """

    name: str
    title: str
    module: str
    content: Callable[[Source], bool]
    file_name: str

    def load(self) -> ModuleType:
        """The reader's module."""
        return importlib.import_module(self.module)


@dataclass(frozen=True)
class Refused:
    """Files that look like densities by their layout and hold something else, told by their names."""

    file_name: str
    what: str


FORMATS = (
    Format(
        "vasp", "VASP CHGCAR, CHG, AECCAR, PARCHG", "rhonet.formats.vasp", sniff.is_vasp, r"(?i:CHG|AECCAR|\.vasp$)"
    ),
    Format("cube", "Gaussian cube", "rhonet.formats.cube", sniff.is_cube, r"(?i:\.cube?)$"),
    Format("xsf", "XCrySDen grid", "rhonet.formats.xsf", sniff.is_xsf, r"(?i:\.b?xsf)$"),
    Format("chgcar_json", "pymatgen's Chgcar (JSON)", "rhonet.formats.chgcar_json", sniff.is_json, r"(?i:\.json)$"),
    Format("archive", "archive of crystals (HDF5)", "rhonet.formats.archive", sniff.is_archive, r"(?i:\.h5|\.hdf5)$"),
)

REFUSED = (
    Refused(r"(?i:LOCPOT)|POT", "a potential"),
    Refused(r"(?i:ELFCAR)", "an electron localisation function"),
    Refused(r"(?i:WAVECAR|WAVEDER|WAVEFUN)", "orbitals"),
    Refused(r"(?i:POTCAR)", "a pseudopotential"),
)


def choose_format(source: Source, *, format: str | None = None, formats: Sequence[Format] = FORMATS) -> Format:
    """Format of a file.

    Args:
        source: the file.
        format: name of the format, if the caller knows it; then nothing is guessed.
        formats: the table.

    Raises:
        FormatError: a file that is no density by its name, a format that does not exist, content and name that fit
            none or several.
    """
    for refused in REFUSED:
        if re.search(rf"(?<![A-Za-z])(?:{refused.file_name})(?![A-Za-z])", source.name):
            raise source.error(f"is {refused.what} by its name, not a density (rename it if it does hold one)")
    by_name = {row.name: row for row in formats}
    if format is not None:
        if format not in by_name:
            raise source.error(f"there is no format {format!r}; there are {', '.join(by_name)}")
        return by_name[format]
    fitting = [row for row in formats if row.content(source)]
    if len(fitting) == 1:
        return fitting[0]
    named = [row for row in fitting or formats if re.search(row.file_name, source.name)]
    if len(named) == 1:
        return named[0]
    if fitting:
        names = " and ".join(row.name for row in fitting)
        raise source.error(f'could be {names}; say which, e.g. format="{fitting[0].name}"')
    known = "; ".join(f"{row.name}: {row.title}" for row in formats)
    raise source.error(f"is in no format that can be read ({known})")
