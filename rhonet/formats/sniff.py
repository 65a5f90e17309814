"""What a file's first bytes say about its format; cheap, and never an error."""

from __future__ import annotations

from rhonet.formats.numerals import parse_floats
from rhonet.formats.source import Source

_LINES_OF_COMMENTS = 100
_XSF_KEYWORDS = {"ANIMSTEPS", "CRYSTAL", "SLAB", "POLYMER", "MOLECULE", "PRIMVEC", "ATOMS", "BEGIN_INFO"}
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"


def is_vasp(source: Source) -> bool:
    """One scale factor or three on line 2, then three lines of three numbers."""
    lines = _lines(source, 5)
    return len(lines) == 5 and _n_numbers(lines[1]) in (1, 3) and all(_n_numbers(line) == 3 for line in lines[2:])


def is_cube(source: Source) -> bool:
    """A whole number and three numbers (and perhaps a fifth) on line 3, four numbers on lines 4 to 6."""
    lines = _lines(source, 6)
    return len(lines) == 6 and _n_numbers(lines[2]) in (4, 5) and all(_n_numbers(line) == 4 for line in lines[3:])


def is_xsf(source: Source) -> bool:
    """One of XSF's opening keywords on the first line that is no comment."""
    words = (line.split() for line in _lines(source, _LINES_OF_COMMENTS))
    first = next((fields[0].upper() for fields in words if fields and not fields[0].startswith("#")), "")
    return first in _XSF_KEYWORDS or first.startswith("BEGIN_BLOCK_")


def is_json(source: Source) -> bool:
    """A JSON object."""
    return source.head.lstrip().startswith(b"{")


def is_archive(source: Source) -> bool:
    """HDF5 with at least one group that holds a density and a lattice."""
    if not source.head.startswith(_HDF5_MAGIC):
        return False
    from rhonet.formats import archive

    return archive.is_archive(source)


def _lines(source: Source, count: int) -> list[str]:
    return source.head.decode("latin-1").split("\n")[:count]


def _n_numbers(line: str) -> int:
    return len(parse_floats(line) or ())
