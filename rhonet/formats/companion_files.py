"""The number of electrons by other files of the same calculation: OUTCAR, vasprun.xml, .castep beside the density."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from rhonet.core.density import ElectronCount
from rhonet.core.errors import FormatError
from rhonet.formats.parsing.source import PACKED_SUFFIXES, Source, open_source

# VASP and CASTEP print the number of electrons before they iterate.
SEARCHED_BYTES = 16 << 20
_PIECE = 1 << 20
_LONGEST_MATCH = 200
_VASP_VALENCE = re.compile(r"(?<![A-Za-z])(CHGCAR|CHG|AECCAR2)(?![A-Za-z0-9])")
_OUTCAR = re.compile(rb"NELECT\s*=\s*([0-9.]+)\s")
_VASPRUN = re.compile(rb'<i name="NELECT">\s*([0-9.]+)\s*</i>')
_CASTEP = re.compile(rb"number of\s+electrons\s*:\s*([0-9.]+)\s")


def vasp_electrons(source: Source) -> tuple[ElectronCount | None, tuple[str, ...]]:
    """NELECT of the OUTCAR or vasprun.xml beside a CHGCAR, CHG or AECCAR2, and warnings where those are damaged.

    The rest of the name must be the same: a.OUTCAR belongs to a.CHGCAR, OUTCAR.relax to CHGCAR.relax.gz. Densities of
    a part of the electrons (PARCHG, AECCAR0, AECCAR1) have no such number.
    """
    name = _VASP_VALENCE.search(source.name)
    if name is None:
        return None, ()
    before, after = source.name[: name.start()], source.name[name.end() :]
    return _first_count(
        source,
        (
            (f"{before}OUTCAR{after}", _OUTCAR),
            (f"{before}vasprun.xml{after}", _VASPRUN),
            (f"{before}vasprun{after}.xml", _VASPRUN),
        ),
    )


def castep_electrons(source: Source) -> tuple[ElectronCount | None, tuple[str, ...]]:
    """Number of electrons in the .castep file of the same stem, and warnings where that is damaged."""
    return _first_count(source, ((f"{Path(source.name).stem}.castep", _CASTEP),))


def find_companion(source: Source, name: str) -> Path | None:
    """The file of that name beside the density, plain or packed, or None."""
    paths = (source.path.with_name(name + suffix) for suffix in ("", *PACKED_SUFFIXES))
    return next((path for path in paths if path.is_file() and path != source.path), None)


def _first_count(
    source: Source, places: Iterable[tuple[str, re.Pattern[bytes]]]
) -> tuple[ElectronCount | None, tuple[str, ...]]:
    warnings = []
    for name, pattern in places:
        path = find_companion(source, name)
        if path is None:
            continue
        try:
            count = float(_search(path, pattern) or 0)
        except (FormatError, ValueError) as error:
            warnings.append(f"{path.name} beside it cannot be read ({str(error).removeprefix(f'{path}: ')}).")
            continue
        if count > 0:
            return ElectronCount(count, path.name), tuple(warnings)
        warnings.append(f"{path.name} beside it gives no number of electrons.")
    return None, tuple(warnings)


def _search(path: Path, pattern: re.Pattern[bytes]) -> bytes:
    """The first match of the pattern's group within the searched bytes; empty where there is none."""
    window, searched = b"", 0
    with open_source(path).open() as stream:
        while searched < SEARCHED_BYTES and (piece := stream.read(_PIECE)):
            searched += len(piece)
            window = window[-_LONGEST_MATCH:] + piece
            if match := pattern.search(window):
                return match[1]
    return b""
