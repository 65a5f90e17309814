"""The table of density formats, and the choice of a file's format: by its content first, then by its name."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType

from rhonet.formats import sniff
from rhonet.formats.parsing.source import Source


@dataclass(frozen=True)
class Format:
    """One readable format.

    Attributes:
        name: the format's name for users and in `ChargeDensity.format`.
        title: what it is, for messages.
        module: module of its `read(source, *, entry)`; imported only when a file of this format is read.
        content: does the content look like this format? Decides alone where exactly one format says yes.
        file_name: pattern found in the names of such files; decides where the content fits none or several.
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
    """Files with the layout of a density that hold something else by their names.

    Attributes:
        file_name: pattern found in the names of such files.
        what: what they hold.
    """

    file_name: str
    what: str


@dataclass(frozen=True)
class Unreadable:
    """Files of densities that only their own code can read; considered where the content fits no format.

    Attributes:
        file_name: pattern found in the names of such files.
        what: what they are.
        remedy: how to get a file that can be read.
        head: pattern that the content of such files begins with; None where there is none.
    """

    file_name: str
    what: str
    remedy: str
    head: bytes | None = None


FORMATS = (
    Format(
        "vasp", "VASP CHGCAR, CHG, AECCAR, PARCHG", "rhonet.formats.vasp", sniff.is_vasp, r"(?i:CHG|AECCAR|\.vasp$)"
    ),
    Format("cube", "Gaussian cube", "rhonet.formats.cube", sniff.is_cube, r"(?i:\.cube?)$"),
    Format("xsf", "XCrySDen grid", "rhonet.formats.xsf", sniff.is_xsf, r"(?i:\.b?xsf)$"),
    Format("chgcar_json", "pymatgen's Chgcar (JSON)", "rhonet.formats.chgcar_json", sniff.is_json, r"(?i:\.json)$"),
    Format(
        "pymatgen_hdf5",
        "pymatgen's Chgcar (HDF5)",
        "rhonet.formats.pymatgen_hdf5",
        sniff.is_pymatgen_hdf5,
        r"(?i:^CHGCAR.*\.hdf5)$",
    ),
    Format(
        "vasp_hdf5", "VASP vaspwave.h5, vaspout.h5", "rhonet.formats.vasp_hdf5", sniff.is_vasp_hdf5, r"vasp(wave|out)"
    ),
    Format(
        "quantum_espresso",
        "Quantum ESPRESSO charge-density.hdf5",
        "rhonet.formats.quantum_espresso",
        sniff.is_quantum_espresso,
        r"charge-density.*\.hdf5$",
    ),
    Format("abinit", "ABINIT *_DEN.nc", "rhonet.formats.abinit", sniff.is_abinit, r"DEN(-etsf)?\.nc$"),
    Format("siesta", "SIESTA Rho.grid.nc", "rhonet.formats.siesta", sniff.is_siesta, r"\.grid\.nc$"),
    Format("siesta_rho", "SIESTA .RHO", "rhonet.formats.siesta_rho", sniff.is_siesta_rho, r"\.RHO$"),
    Format("gpaw", "GPAW .gpw", "rhonet.formats.gpw", sniff.is_gpaw, r"\.gpw$"),
    Format("castep", "CASTEP den_fmt", "rhonet.formats.castep", sniff.is_castep, r"(?i:\.den_fmt)$"),
    Format("archive", "archive of crystals (HDF5)", "rhonet.formats.archive", sniff.is_archive, r"(?i:\.h5|\.hdf5)$"),
)

UNREADABLE = (
    Unreadable(
        r"charge-density\.dat$",
        "a Fortran file of Quantum ESPRESSO",
        "build pw.x with HDF5 to get charge-density.hdf5, or write a cube file with pp.x (plot_num=0, output_format=6)",
        rb".{,30}<\?iotk version=",
    ),
    Unreadable(
        r"\.(check|castep_bin)$",
        "CASTEP's Fortran checkpoint",
        "have CASTEP write a .den_fmt file (write_formatted_density : true)",
        rb".{,30}BEGIN_PARAMETERS_DUMP",
    ),
    Unreadable(
        r"_DEN$",
        "a Fortran file of ABINIT",
        "set iomode 3 to get a *_DEN.nc file, or write a cube file with cut3d",
    ),
    Unreadable(
        r"filplot",
        "an intermediate file of Quantum ESPRESSO's pp.x",
        "have pp.x write a cube file from it (iflag=3, output_format=6)",
        rb"[^\n]*\n(\s+\d+){8}\s*\n\s+\d+(\s+[\d.]+){6}\s*\n",
    ),
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
        format: name of the format, if the caller knows it; content and file name are then ignored.
        formats: the table.

    Raises:
        FormatError: the file is no density by its name, there is no such format, or content and name fit none or
            several.
    """
    by_name = {row.name: row for row in formats}
    if format is not None:
        if format not in by_name:
            raise source.error(f"there is no format {format!r}; there are {', '.join(by_name)}")
        return by_name[format]
    for refused in REFUSED:
        if re.search(rf"(?<![A-Za-z])(?:{refused.file_name})(?![A-Za-z])", source.name):
            raise source.error(
                f"is {refused.what} by its name, not a density (rename it if it does hold one, or give --input-format)"
            )
    fitting = [row for row in formats if row.content(source)]
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        _explain_unreadable(source)
    if not fitting and sniff.is_hdf5(source) and "archive" in by_name:
        return by_name["archive"]  # Its reader says what is damaged or missing.
    named = [row for row in fitting or formats if re.search(row.file_name, source.name)]
    if len(named) == 1:
        return named[0]
    if fitting:
        names = " and ".join(row.name for row in fitting)
        raise source.error(f"could be {names}; say which, e.g. --input-format {fitting[0].name}")
    raise source.error(f"is in no format that can be read ({', '.join(by_name)})")


def _explain_unreadable(source: Source) -> None:
    """Raises an error with a remedy for a file that only its own code can read."""
    for row in UNREADABLE:
        by_content = row.head is not None and re.match(row.head, source.head, re.DOTALL)
        if by_content or re.search(row.file_name, source.name):
            basis = "content" if by_content else "name"
            raise source.error(f"is {row.what} by its {basis}, which cannot be read; {row.remedy}")
