"""HDF5 files that pymatgen's `VolumetricData.to_hdf5` writes of a Chgcar.

Layout: `vdata/total` and with spin `vdata/diff`, or `diff_x`, `diff_y`, `diff_z`, each (nx, ny, nz), values as VASP's
CHGCAR has them, ρ times the cell volume; `lattice` (3, 3) Å, `Z` (n,), `fcoords` (n, 3). The file does not say which
class wrote it. Only their values give away potentials (Locpot), localisation functions (Elfcar) and fields in other
units (a cube that pymatgen read).
"""

from __future__ import annotations

import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.formats.check import build_density, refuse_entry
from rhonet.formats.parsing.hdf5 import Hdf5File, open_hdf5
from rhonet.formats.parsing.source import Source
from rhonet.formats.structure import build_atoms, check_lattice
from rhonet.formats.units import times_volume

_COMPONENTS = ("diff_x", "diff_y", "diff_z")


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of such a file.

    Raises:
        FormatError: the file is damaged, a part is missing or of the wrong shape, or the values are not ρ times the
            cell volume.
    """
    refuse_entry(source, entry, "a pymatgen HDF5 file")
    with open_hdf5(source) as file:
        lattice = check_lattice(source, file.read("lattice"), what="lattice")
        volume = abs(np.linalg.det(lattice))
        atoms = None
        if "Z" in file and "fcoords" in file:
            atoms = build_atoms(source, file.read("Z"), file.read("fcoords"), lattice=lattice)
        values = _read_field(source, file, "total")
        _refuse_localisation_function(source, values)
        values /= volume
        fields = set(file.names("vdata"))
        names = _COMPONENTS if fields.issuperset(_COMPONENTS) else ("diff",) if "diff" in fields else ()
        spin = [_read_field(source, file, name) for name in names]
    for field in spin:
        if field.shape != values.shape:
            raise source.error(f"vdata holds grids {values.shape} and {field.shape}")
        field /= volume
    return build_density(
        source,
        values=values,
        lattice=lattice,
        magnetization=None if not spin else spin[0] if len(spin) == 1 else np.stack(spin),
        atoms=atoms,
        format="pymatgen_hdf5",
        convention=times_volume(volume),
    )


def _read_field(source: Source, file: Hdf5File, name: str) -> np.ndarray:
    values = file.read(f"vdata/{name}")
    if values.ndim != 3 or 0 in values.shape:
        raise source.error(f"vdata/{name} of shape {values.shape}, expected (nx, ny, nz)")
    return values


def _refuse_localisation_function(source: Source, values: np.ndarray) -> None:
    """Refuses values that all lie within 0 and 1, as an ELF's do: ρ times volume averages to the electron count."""
    if values.min() >= 0 and values.max() <= 1:
        raise source.error("all values lie between 0 and 1, as in an Elfcar; expected ρ times the cell volume")
