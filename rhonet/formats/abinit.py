"""ABINIT's netCDF files of densities, *_DEN.nc.

Layout (ETSF, https://doi.org/10.1016/j.commatsci.2008.02.023, as ABINIT writes it): `density` (components, n3, n2,
n1, 1), e/bohr³; `primitive_vectors` (3, 3) bohr; `atomic_numbers` of the species, `atom_species` (from 1) and
`reduced_atom_positions` of the atoms; `nelect` or `number_of_electrons`. Two components are ρ and ρ_up in ABINIT, ρ_up
and ρ_down by the ETSF convention: the number of electrons decides. Four are ρ, m_x, m_y, m_z.
"""

from __future__ import annotations

import ase
import numpy as np
from ase.units import Bohr

from rhonet.core.density import ChargeDensity, ElectronCount
from rhonet.formats.check import build_density, refuse_entry
from rhonet.formats.parsing.netcdf import Variable, read_header, read_variables
from rhonet.formats.parsing.source import Source
from rhonet.formats.structure import build_atoms, check_lattice

COUNT_TOLERANCE = 1e-3
_ATOMS = ("atomic_numbers", "atom_species", "reduced_atom_positions")
_OTHER_FIELDS = {
    "vtrial": "a potential",
    "vhartree": "a Hartree potential",
    "vxc": "an exchange-correlation potential",
    "exchange_correlation_potential": "an exchange-correlation potential",
    "vhxc": "a potential",
    "vclmb": "a Coulomb potential",
    "vpsp": "a pseudopotential",
    "vha_vxc": "a potential",
    "pawrhor": "an all-electron valence density (take the _DEN.nc file)",
    "positron_density": "a density of positrons",
    "first_order_density": "a change of the density",
    "first_order_potential": "a change of the potential",
    "kinedr": "a kinetic energy density",
    "elfr": "an electron localisation function",
    "gradrhor": "a gradient of the density",
    "laprhor": "a Laplacian of the density",
    "coefficients_of_wavefunctions": "orbitals",
}


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of a *_DEN.nc file; fields are (nx, ny, nz) views of the file's order.

    Raises:
        FormatError: the file holds another field (the message names it), or a part is missing or does not fit.
    """
    refuse_entry(source, entry, "an ABINIT file")
    header = read_header(source)
    _refuse_other_field(source, header)
    count_names = [name for name in ("nelect", "number_of_electrons") if name in header][:1]
    atom_names = _ATOMS if all(name in header for name in _ATOMS) else ()
    data = read_variables(source, header, ["density", "primitive_vectors", *count_names, *atom_names])
    lattice = check_lattice(source, data["primitive_vectors"] * Bohr, what="primitive_vectors")
    fields = data["density"]
    if fields.ndim != 5 or len(fields) not in (1, 2, 4) or fields.shape[4] != 1 or 0 in fields.shape:
        raise source.error(f"density of shape {fields.shape}, expected (1, 2 or 4 components, n3, n2, n1, 1)")
    fields /= Bohr**3
    values, *spin = fields[..., 0].transpose(0, 3, 2, 1)
    expected = None
    if count_names and data[count_names[0]].size == 1:
        expected = ElectronCount(data[count_names[0]].item(), count_names[0])
    if len(spin) == 1:
        values, spin = _separate_spins(source, values, spin[0], lattice=lattice, expected=expected)
    return build_density(
        source,
        values=values,
        lattice=lattice,
        magnetization=None if not spin else spin[0] if len(spin) == 1 else np.stack(spin),
        atoms=_build_atoms(source, data, lattice) if atom_names else None,
        expected_electrons=expected,
        format="abinit",
    )


def _refuse_other_field(source: Source, header: dict[str, Variable]) -> None:
    if "density" in header:
        unit = header["density"].texts.get("units", "atomic units")
        if unit != "atomic units":
            raise source.error(f"density is in {unit!r}, expected atomic units (e/bohr³)")
        return
    for name, what in _OTHER_FIELDS.items():
        if name in header:
            raise source.error(f"holds {name}, {what}, and no variable density; take the _DEN.nc file")
    raise source.error("holds no variable density; take the _DEN.nc file")


def _separate_spins(
    source: Source, first: np.ndarray, second: np.ndarray, *, lattice: np.ndarray, expected: ElectronCount | None
) -> tuple[np.ndarray, list[np.ndarray]]:
    """ρ and [m] of two components, which are ρ and ρ_up, or ρ_up and ρ_down."""
    volume = abs(np.linalg.det(lattice))
    first_integral, second_integral = float(first.mean()) * volume, float(second.mean()) * volume
    if expected is None:
        raise source.error(
            "names no number of electrons (nelect), which would tell whether its two components are ρ and ρ_up or ρ_up "
            "and ρ_down"
        )
    tolerance = COUNT_TOLERANCE * max(abs(expected.count), 1.0)
    if abs(first_integral - expected.count) <= tolerance:
        return first, [2 * second - first]
    if abs(first_integral + second_integral - expected.count) <= tolerance:
        return first + second, [first - second]
    raise source.error(
        f"its two components integrate to {first_integral:.6g} and {second_integral:.6g}; neither the first nor their "
        f"sum is the number of electrons, {expected.count:.6g} according to {expected.source}"
    )


def _build_atoms(source: Source, data: dict[str, np.ndarray], lattice: np.ndarray) -> ase.Atoms:
    numbers, species = data["atomic_numbers"].ravel(), data["atom_species"].ravel()
    if not np.isin(species, np.arange(1, len(numbers) + 1)).all():
        raise source.error(f"atom_species {species[:8].tolist()} with atomic_numbers {numbers[:8].tolist()}")
    return build_atoms(source, numbers[species.astype(int) - 1], data["reduced_atom_positions"], lattice=lattice)
