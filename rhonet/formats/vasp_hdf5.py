"""VASP's HDF5 files: vaspwave.h5, and vaspout.h5 where it holds a charge density.

Layout (as py4vasp and pymatgen read it): `charge/charge` (components, nz, ny, nx), values as in a CHGCAR, ρ times the
cell volume; components are ρ; ρ, m; or ρ, m_x, m_y, m_z; `charge/grid` (nx, ny, nz). The structure is a group with
`scale`, `lattice_vectors` (3, 3) Å, `ion_types`, `number_ion_types`, `position_ions`, `direct_coordinates`. Where
vaspwave.h5 lacks it, the vaspout.h5 beside it has it. VASP copies its input files into vaspout.h5, the licensed POTCAR
among them; these are never read.
"""

from __future__ import annotations

from dataclasses import dataclass

import ase
import numpy as np

from rhonet.core.density import ChargeDensity, ElectronCount
from rhonet.formats.check import build_density, refuse_entry
from rhonet.formats.parsing.hdf5 import Hdf5File, open_hdf5, shown_names
from rhonet.formats.parsing.source import Source, open_source
from rhonet.formats.structure import atomic_number, build_atoms, check_lattice
from rhonet.formats.units import times_volume

_STRUCTURES = ("structure/positions", "results/positions", "locpot/position")
_ELECTRONS = "results/electron_eigenvalues/nelectrons"
_REMEDY = (
    "VASP (6.2 and newer, built with HDF5) writes it to vaspwave.h5 with LCHARGH5 = .TRUE., or with LH5 = .TRUE. and "
    "LCHARG = .TRUE.; otherwise take the CHGCAR"
)


@dataclass(frozen=True)
class Crystal:
    """The structure of a file.

    Attributes:
        lattice: rows a, b, c, (3, 3), Å.
        atoms: the structure; None where a type of ions is not named after an element.
        electrons: number of valence electrons, where the file states it.
    """

    lattice: np.ndarray
    atoms: ase.Atoms | None
    electrons: ElectronCount | None = None


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of such a file; `values` is an (nx, ny, nz) view of the file's order.

    Raises:
        FormatError: the file holds no charge density (the message names the INCAR tags that write one), there is no
            structure in it, beside it or from the user, or a part is damaged or does not fit.
    """
    refuse_entry(source, entry, "a VASP file")
    with open_hdf5(source) as file:
        if "charge/charge" not in file:
            raise source.error(f"holds no charge density, only {shown_names(file.names())}. {_REMEDY}")
        crystal = _read_crystal(source, file) or _crystal_elsewhere(source)
        fields = file.read("charge/charge")
        grid = file.read("charge/grid").ravel() if "charge/grid" in file else None
    if fields.ndim != 4 or len(fields) not in (1, 2, 4):
        raise source.error(f"charge/charge of shape {fields.shape}, expected (1, 2 or 4 components, nz, ny, nx)")
    if grid is not None and tuple(grid) != fields.shape[:0:-1]:
        raise source.error(f"charge/grid says {grid.tolist()}, but charge/charge is (nz, ny, nx) = {fields.shape[1:]}")
    volume = abs(np.linalg.det(crystal.lattice))
    fields /= volume
    density, *spin = fields.transpose(0, 3, 2, 1)
    return build_density(
        source,
        values=density,
        lattice=crystal.lattice,
        magnetization=None if not spin else spin[0] if len(spin) == 1 else fields.transpose(0, 3, 2, 1)[1:],
        atoms=crystal.atoms,
        expected_electrons=crystal.electrons,
        convention=times_volume(volume),
        format="vasp_hdf5",
    )


def _read_crystal(source: Source, file: Hdf5File, *, where: str = "") -> Crystal | None:
    """Structure in a file, or None where it has none."""
    group = next((path for path in _STRUCTURES if f"{path}/lattice_vectors" in file), None)
    if group is None:
        return None
    rows = check_lattice(source, file.read(f"{group}/lattice_vectors"), what=f"{where}{group}/lattice_vectors")
    scale = file.read(f"{group}/scale").ravel() if f"{group}/scale" in file else np.ones(1)
    if scale.size != 1 or not scale.item():
        raise source.error(f"{where}{group}/scale is {scale.tolist()}, expected one number")
    # A negative scale is the cell volume, as in a POSCAR.
    factor = scale.item() if scale.item() > 0 else float((-scale.item() / abs(np.linalg.det(rows))) ** (1 / 3))
    lattice = check_lattice(source, rows * factor, what=f"{where}{group}")
    electrons = file.read(_ELECTRONS).ravel() if _ELECTRONS in file else np.empty(0)
    return Crystal(
        lattice,
        _read_atoms(source, file, group, lattice=lattice, factor=factor),
        ElectronCount(electrons.item(), f"{where}nelectrons") if electrons.size == 1 else None,
    )


def _read_atoms(source: Source, file: Hdf5File, group: str, *, lattice: np.ndarray, factor: float) -> ase.Atoms | None:
    """Atoms, or None where a type of ions is not named after an element."""
    counts, positions = file.read(f"{group}/number_ion_types"), file.read(f"{group}/position_ions")
    types = file.read_texts(f"{group}/ion_types")
    whole = counts.shape == (len(types),) and (counts >= 0).all() and (counts == counts.round()).all()
    # Compared before np.repeat takes memory for so many atoms.
    if not whole or positions.shape != (counts.sum(), 3):
        raise source.error(f"{group}: {types} x {counts.tolist()} with positions of shape {positions.shape}")
    elements = [atomic_number(name) for name in types]
    if None in elements:
        return None
    numbers = np.repeat(np.array(elements, dtype=int), counts.astype(int))
    flag = f"{group}/direct_coordinates"
    direct = flag in file and bool(file.read(flag).any())
    return build_atoms(source, numbers, positions if direct else positions * factor, lattice=lattice, scaled=direct)


def _crystal_elsewhere(source: Source) -> Crystal:
    """The structure that the user gave, else that of the vaspout.h5 beside the file."""
    if source.structure is not None:
        return Crystal(np.array(source.structure.cell), source.structure)
    beside = source.path.with_name("vaspout.h5")
    if beside.is_file() and beside != source.path:
        vaspout = open_source(beside)
        with open_hdf5(vaspout) as file:
            crystal = _read_crystal(vaspout, file, where="vaspout.h5: ")
        if crystal is not None:
            return crystal
    raise source.error(
        "holds no structure, and there is no vaspout.h5 beside it; put that there or give the structure (a POSCAR, CIF)"
    )
