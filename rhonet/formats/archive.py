"""Archives of many crystals in one HDF5 file, one group each, as the bundled data set comes.

A group holds `density` (nx, ny, nz), e/Å³ once multiplied by its attribute `scale`; `lattice` (3, 3) Å; and where
known `magnetization` like `density` (µB/Å³), `numbers` (n,) with `scaled_positions` (n, 3), and the attribute
`n_electrons`, which the density must integrate to.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from rhonet.core.density import ChargeDensity, ElectronCount
from rhonet.core.errors import FormatError
from rhonet.formats.check import build_density
from rhonet.formats.parsing.hdf5 import Hdf5File, open_hdf5, shown_names
from rhonet.formats.parsing.source import Source, open_source
from rhonet.formats.structure import build_atoms, check_lattice

ELECTRONS_TOLERANCE = 1e-3
_NAMES_TO_SHOW = 5


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of one crystal; `entry` names its group and may be left out when there is only one.

    Raises:
        FormatError: the file is damaged or has no such group, a part is missing or of the wrong shape, or the density
            does not integrate to the number of electrons that was stored with it (to one in a thousand).
    """
    with open_hdf5(source) as file:
        return _read_group(source, file, entry)


def is_archive(source: Source) -> bool:
    """Does the file hold at least one group with a density and a lattice?"""
    try:
        with open_hdf5(source) as file:
            return any(_is_crystal(file, name) for name in file.names())
    except FormatError:
        return False


def crystal_names(path: Path) -> tuple[str, ...]:
    """Groups of an archive that hold a crystal.

    Raises:
        FormatError: the file is no HDF5 file, or damaged.
    """
    with open_hdf5(open_source(path)) as file:
        return tuple(name for name in file.names() if _is_crystal(file, name))


def _is_crystal(file: Hdf5File, name: str) -> bool:
    return f"{name}/density" in file and f"{name}/lattice" in file


def _read_group(source: Source, file: Hdf5File, entry: str | None) -> ChargeDensity:
    if entry is None:
        names = [name for name in file.names() if _is_crystal(file, name)]
        if not names:
            raise source.error(
                f"holds no crystals (groups with 'density' and 'lattice') and no density in another known layout, "
                f"only {shown_names(file.names())}"
            )
        if len(names) > 1:
            shown = ", ".join(names[:_NAMES_TO_SHOW]) + (", ..." if len(names) > _NAMES_TO_SHOW else "")
            raise source.error(f"holds {len(names)} crystals ({shown}); choose one, e.g. {source.path}::{names[0]}")
        (entry,) = names
    if not _is_crystal(file, entry):
        raise source.error(f"holds no crystal {entry!r} (a group with 'density' and 'lattice')")
    lattice = check_lattice(source, file.read(f"{entry}/lattice"), what=f"{entry}/lattice")
    stored = file.attribute(entry, "n_electrons")
    expected = ElectronCount(_number(source, stored, "n_electrons"), "n_electrons") if stored is not None else None
    atoms = None
    if f"{entry}/numbers" in file:
        numbers, positions = file.read(f"{entry}/numbers"), file.read(f"{entry}/scaled_positions")
        atoms = build_atoms(source, numbers, positions, lattice=lattice)
    density = build_density(
        source,
        values=_read_scaled(source, file, f"{entry}/density"),
        lattice=lattice,
        magnetization=_read_scaled(source, file, f"{entry}/magnetization")
        if f"{entry}/magnetization" in file
        else None,
        atoms=atoms,
        expected_electrons=expected,
        format="archive",
    )
    if expected and not abs(density.n_electrons - expected.count) <= ELECTRONS_TOLERANCE * abs(expected.count):
        raise source.error(
            f"{entry} integrates to {density.n_electrons:.6g} electrons, but {expected.count:.6g} were stored with it; "
            f"the file is damaged"
        )
    return density


def _read_scaled(source: Source, file: Hdf5File, path: str) -> np.ndarray:
    scale = file.attribute(path, "scale")
    if scale is None:
        raise source.error(f"{path} has no attribute 'scale', so its unit is unknown")
    values = file.read(path)
    values *= _number(source, scale, f"the scale of {path}")
    return values


def _number(source: Source, value: np.ndarray, what: str) -> float:
    if value.size != 1 or value.dtype.kind not in "fiu" or not np.isfinite(value).all():
        raise source.error(f"{what} is no finite number")
    return float(value.item())
