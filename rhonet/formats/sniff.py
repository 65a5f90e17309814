"""Tests of whether a file's content looks like a format. They are cheap and never raise."""

from __future__ import annotations

from rhonet.core.errors import FormatError
from rhonet.formats.parsing.numerals import parse_floats, without_comment
from rhonet.formats.parsing.source import Source

_LINES_OF_COMMENTS = 100
_XSF_KEYWORDS = {"ANIMSTEPS", "CRYSTAL", "SLAB", "POLYMER", "MOLECULE", "PRIMVEC", "ATOMS", "BEGIN_INFO"}
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_PLANES = {f"K{k}" for k in range(1, 2000)}


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


def is_hdf5(source: Source) -> bool:
    """HDF5, whatever it holds."""
    return source.head.startswith(_HDF5_MAGIC)


def is_siesta_rho(source: Source) -> bool:
    """Fortran records of 9 double precision numbers and 4 integers, as SIESTA's binary grid functions begin."""
    return source.head.startswith(b"H\0\0\0") and source.head[76:84] == b"H\0\0\0\x10\0\0\0"


def is_castep(source: Source) -> bool:
    """CASTEP's header of formatted fields."""
    return source.head.lstrip().startswith(b"BEGIN header")


def is_archive(source: Source) -> bool:
    """HDF5 with at least one group that holds a density and a lattice."""
    if not is_hdf5(source):
        return False
    from rhonet.formats import archive

    return archive.is_archive(source)


def is_pymatgen_hdf5(source: Source) -> bool:
    """HDF5 with pymatgen's volumetric data and its cell."""
    return _hdf5_names(source) >= {"vdata", "lattice"}


def is_vasp_hdf5(source: Source) -> bool:
    """HDF5 with a charge density as VASP writes it, or with other groups of VASP's files."""
    names = _hdf5_names(source)
    return "charge" in names or names >= {"input", "results"} or names >= {"version", "wave"}


def is_quantum_espresso(source: Source) -> bool:
    """HDF5 with plane-wave coefficients of a density, or the planes that old versions wrote."""
    names = _hdf5_names(source)
    return names >= {"MillerIndices", "rhotot_g"} or (len(names) > 0 and _PLANES.issuperset(names))


def is_abinit(source: Source) -> bool:
    """netCDF with a cell and atoms by the ETSF's names."""
    return _netcdf_names(source) >= {"primitive_vectors", "reduced_atom_positions"}


def is_siesta(source: Source) -> bool:
    """netCDF with a grid function as SIESTA writes it."""
    return _netcdf_names(source) >= {"cell", "gridfunc"}


def is_gpaw(source: Source) -> bool:
    """ASE's container format, labelled as GPAW's."""
    return source.head.startswith(b"- of Ulmgpaw")


def _hdf5_names(source: Source) -> frozenset[str]:
    if not is_hdf5(source):
        return frozenset()
    from rhonet.formats.parsing.hdf5 import root_names

    return root_names(source)


def _netcdf_names(source: Source) -> frozenset[str]:
    if not source.head.startswith(b"CDF"):
        return _hdf5_names(source)
    from rhonet.formats.parsing.netcdf import read_header

    try:
        return frozenset(read_header(source))
    except FormatError:
        return frozenset()


def _lines(source: Source, count: int) -> list[str]:
    return source.head.decode("latin-1").split("\n")[:count]


def _n_numbers(line: str) -> int:
    return len(parse_floats(without_comment(line)) or ())
