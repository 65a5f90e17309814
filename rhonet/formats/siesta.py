"""SIESTA's netCDF grid of the electron density, Rho.grid.nc.

Layout (SIESTA's iogrid_netcdf): `cell` (3, 3) bohr, `gridfunc` (components, n3, n2, n1), e/bohr³, single precision.
Components are those of the spin density matrix: ρ; or ρ_up, ρ_down; or these two with Re ρ_ud and Im ρ_ud. The moments
are then m_x = 2 Re ρ_ud, m_y = -2 Im ρ_ud (SIESTA's subroutine spnvec), m_z = ρ_up - ρ_down. Other functions have the
same layout; the attribute `Description` of `gridfunc` names the function. The .XV file beside it holds the atoms.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import ase
import ase.io
import numpy as np
from ase.units import Bohr

from rhonet.core.density import ChargeDensity
from rhonet.formats.check import build_density, refuse_entry
from rhonet.formats.parsing.netcdf import read_header, read_variables
from rhonet.formats.parsing.numerals import shown
from rhonet.formats.parsing.source import Source
from rhonet.formats.structure import check_lattice

# Cells are single precision here and have nine decimals in an .XV file.
CELL_TOLERANCE_ANGSTROM = 1e-3
_DENSITY = "Rho"
_UNITS = ("1/bohr**3", "e/bohr**3")
_OTHER_FIELDS = {
    "VH": "the Hartree potential",
    "VT": "the total potential",
    "VNA": "the potential of neutral atoms",
    "ElectrostaticPotential": "the Hartree potential",
    "TotalPotential": "the total potential",
    "DeltaRho": "the difference to overlapping atoms",
    "RhoInit": "the density of overlapping atoms",
    "RhoXC": "valence plus partial core density",
    "TotalCharge": "electronic plus ionic charge",
    "Chlocal": "the charge of ions",
    "BaderCharge": "valence density with made-up cores",
    "LDOS": "a local density of states",
}


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of a Rho.grid.nc file, with the atoms of the .XV file beside it, if there is only one and its cell fits.

    Raises:
        FormatError: the file holds another function (the message names it), or a part is missing or does not fit.
    """
    refuse_entry(source, entry, "a SIESTA grid file")
    header = read_header(source)
    if "gridfunc" not in header:
        raise source.error("has no variable gridfunc; expected SIESTA's Rho.grid.nc")
    _check_function(source, header["gridfunc"].texts)
    data = read_variables(source, header, ["cell", "gridfunc"])
    lattice = check_lattice(source, data["cell"] * Bohr, what="cell")
    fields = data["gridfunc"]
    if fields.ndim != 4 or len(fields) not in (1, 2, 4) or 0 in fields.shape:
        raise source.error(f"gridfunc of shape {fields.shape}, expected (1, 2 or 4 components, n3, n2, n1)")
    fields /= Bohr**3
    return density_of_components(source, fields.transpose(0, 3, 2, 1), lattice=lattice, format="siesta")


def density_of_components(source: Source, components: np.ndarray, *, lattice: np.ndarray, format: str) -> ChargeDensity:
    """Density from SIESTA's spin density matrix.

    Args:
        source: the file, beside which the .XV file lies.
        components: (1, 2 or 4, nx, ny, nz), e/Å³.
        lattice: rows a, b, c, (3, 3), Å.
        format: name of the format.

    Raises:
        FormatError: the values are no electron density (`build_density`).
    """
    values, magnetization = components[0], None
    if len(components) > 1:
        values, magnetization = components[0] + components[1], components[0] - components[1]
        if len(components) == 4:
            magnetization = np.stack([2 * components[2], -2 * components[3], magnetization])
    return build_density(
        source,
        values=values,
        lattice=lattice,
        magnetization=magnetization,
        atoms=None if source.structure is not None else _find_atoms(source, lattice),
        format=format,
    )


def _check_function(source: Source, texts: Mapping[str, str]) -> None:
    """Checks that the file, by its description or else by its name, holds the density."""
    described = re.search(r"Grid function -- *(\w+)", texts.get("Description", ""))
    named = re.search(r"(\w+)\.grid\.nc$", source.name)
    function = described[1] if described else named[1].rpartition("_")[2] if named else ""
    if function != _DENSITY:
        what = _OTHER_FIELDS.get(function, "no function that is known to be the density")
        raise source.error(
            f"holds {function or 'a nameless function'}, {what}; expected SIESTA's Rho.grid.nc (SaveRho true)"
        )
    unit = texts.get("unit", _UNITS[0])
    if unit.strip().lower() not in _UNITS:
        raise source.error(f"gridfunc is in {shown(unit)}, expected 1/Bohr**3")


def _find_atoms(source: Source, lattice: np.ndarray) -> ase.Atoms | None:
    """Atoms of the .XV file beside it; None where there is none, or several, or one of another cell."""
    paths = sorted(source.path.parent.glob("*.XV"))
    if len(paths) != 1:
        return None
    try:
        atoms = ase.io.read(paths[0], format="siesta-xv")
    except Exception:  # ASE's readers raise whatever they meet, and the density itself can be read.
        return None
    if not isinstance(atoms, ase.Atoms) or np.abs(np.asarray(atoms.cell) - lattice).max() > CELL_TOLERANCE_ANGSTROM:
        return None
    return atoms
