"""Archives of many crystals in one HDF5 file, one group each, as the bundled data set comes.

A group holds `density` (nx, ny, nz), e/Å³ once multiplied by its attribute `scale`; `lattice` (3, 3) Å; and where
known `magnetization` like `density` (µB/Å³), `numbers` (n,) with `scaled_positions` (n, 3), and the attribute
`n_electrons`, which the density must integrate to.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ase
import h5py
import numpy as np

from rhonet.density import ChargeDensity
from rhonet.formats.check import build_density
from rhonet.formats.source import FormatError, Source, unpacked_limit

ELECTRONS_TOLERANCE = 1e-3
_NAMES_TO_SHOW = 5


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of one crystal; `entry` names its group and may be left out when there is only one.

    Raises:
        FormatError: damaged, no such group, a part is missing or of the wrong shape, or the density does not
            integrate to the number of electrons that was stored with it (to one in a thousand).
    """
    if source.packer:
        raise source.error(f"HDF5 inside {source.packer} cannot be read; unpack it first")
    try:
        with h5py.File(source.path) as file:
            return _read_group(source, file, entry)
    except FormatError:
        raise
    except (OSError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise source.error(f"damaged HDF5 file: {error}") from error


def is_archive(source: Source) -> bool:
    """Does the file hold at least one group with a density and a lattice?"""
    try:
        with h5py.File(source.path) as file:
            return any(_is_crystal(file, name) for name in map(str, file))
    except (OSError, KeyError, RuntimeError):
        return False


def crystal_names(path: Path) -> tuple[str, ...]:
    """Groups of an archive that hold a crystal."""
    with h5py.File(path) as file:
        return tuple(name for name in map(str, file) if _is_crystal(file, name))


def _is_crystal(file: h5py.File, name: str) -> bool:
    group = file.get(name)
    return isinstance(group, h5py.Group) and "density" in group and "lattice" in group


def _read_group(source: Source, file: h5py.File, entry: str | None) -> ChargeDensity:
    if entry is None:
        names = [name for name in map(str, file) if _is_crystal(file, name)]
        if not names:
            raise source.error("holds no crystals (groups with 'density' and 'lattice')")
        if len(names) > 1:
            shown = ", ".join(names[:_NAMES_TO_SHOW]) + (", ..." if len(names) > _NAMES_TO_SHOW else "")
            raise source.error(f"holds {len(names)} crystals ({shown}); choose one, e.g. {source.path}::{names[0]}")
        (entry,) = names
    if not _is_crystal(file, entry):
        raise source.error(f"holds no crystal {entry!r} (a group with 'density' and 'lattice')")
    group: Any = file[entry]
    lattice = np.array(group["lattice"], dtype=np.float64)
    density = build_density(
        source,
        values=_read_scaled(source, group, "density"),
        lattice=lattice,
        magnetization=_read_scaled(source, group, "magnetization") if "magnetization" in group else None,
        atoms=_read_atoms(source, group, lattice) if "numbers" in group else None,
        format="archive",
    )
    stored = group.attrs.get("n_electrons")
    if stored is not None and not abs(density.n_electrons - stored) <= ELECTRONS_TOLERANCE * abs(stored):
        raise source.error(
            f"{entry} integrates to {density.n_electrons:.6g} electrons, but {float(stored):.6g} were stored with it; "
            f"the file is damaged"
        )
    return density


def _read_scaled(source: Source, group: h5py.Group, name: str) -> np.ndarray:
    dataset: Any = group[name]
    if "scale" not in dataset.attrs:
        raise source.error(f"{dataset.name} has no attribute 'scale', so its unit is unknown")
    if dataset.nbytes > unpacked_limit(source.max_bytes):
        raise source.error(f"{dataset.name} of shape {dataset.shape} is far larger than the file; it is damaged")
    values = dataset.astype(np.float64)[()]
    values *= float(dataset.attrs["scale"])
    return values


def _read_atoms(source: Source, group: Any, lattice: np.ndarray) -> ase.Atoms:
    numbers, positions = np.array(group["numbers"]), np.array(group["scaled_positions"])
    if numbers.ndim != 1 or positions.shape != (len(numbers), 3):
        raise source.error(f"{group.name}: numbers of shape {numbers.shape} with positions of shape {positions.shape}")
    return ase.Atoms(numbers=numbers, scaled_positions=positions, cell=lattice, pbc=True)
