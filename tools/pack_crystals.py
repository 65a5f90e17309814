#!/usr/bin/env python3
"""Pack computed crystals into the compact archive that comes with rhonet, or add new ones to it.

    python tools/pack_crystals.py /work/shared/dft tfds_builders/dft_crystals/archive

SOURCE is a folder that rhonet.data.folder reads. DEST is such a folder with parts densities-000.h5, ...; it is made if
it is missing. Densities are stored on a 0.25 Å grid in float16; shorter plane waves are dropped. Existing parts are
never changed: new crystals, and crystals that were computed again under the same id, go into further parts, and their
rows are added or replaced (settings B are never replaced by settings A). The version in dataset.toml rises by a major
step if rows were replaced, and by a minor step if rows were only added. A crystal with an impossible formation energy
(more than 10 eV per atom, of either sign: its calculation ended in a ghost state) is left out, and its id is printed.

An insulator with the flag `nscf` has bands on the k points of its self-consistent mesh only. The mesh misses the
symmetry points, where the band edges mostly are, so the gap is an upper bound (1.60 instead of 0.56 eV in BN_Sc_N).
Labels that depend on the band edges (band_gap, is_metal, fermi_energy, band_width) are left empty, and these crystals
are counted. Metals keep their labels. A gap below 1 meV means that two bands touch, as no calculation is more exact:
it becomes 0, and the crystal a metal.

Formation energies of settings A and B are computed again, against the most stable elements of the bundled references
and of the whole archive. So they do not depend on the order in which crystals were packed.

Exit code: 0 packed or nothing new, 1 refused, 2 bad call.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import itertools
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

# Run as a script, Python looks for modules in tools/ only.
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rhonet.core.config import DEFAULT_SPACING
from rhonet.core.density import ChargeDensity
from rhonet.core.files import replacing, write_text
from rhonet.core.regrid import storage_grid
from rhonet.core.text import counted
from rhonet.data.folder import SETTINGS_NAME, TABLE_NAME, Folder, Sample, read_folder
from rhonet.data.records import to_float16
from rhonet.formats import read_density
from tools.dft.formation import formation_energies

CRYSTALS_PER_PART = 250
# eV per atom. The most stable compounds reach -5, elements in unstable structures a few eV.
MOST_FORMATION_ENERGY = 10.0
FORMATION_ENERGY = "formation_energy_per_atom"
# Flag of a crystal without bands on symmetry points, and the labels that depend on them if there is a gap.
MESH_ONLY = "nscf"
FROM_BAND_EDGES = ("band_gap", "is_metal", "fermi_energy", "band_width")
# eV. A smaller gap is an error of the eigenvalues of two bands that touch.
LEAST_GAP = 1e-3
PART_NAME = "densities-{:03d}.h5"
NOTE = f"stored on grids of at most {DEFAULT_SPACING:g} Å: shorter plane waves were dropped; float16"


class PackError(ValueError):
    """Crystals that may not be packed, or cannot be packed."""


@dataclass(frozen=True)
class Crystal:
    """Stored form of one crystal.

    Attributes:
        id: of the crystal.
        density: (nx, ny, nz) float16, and the scale that gives e/Å³.
        magnetization: (nx, ny, nz) float16, and the scale that gives µB/Å³; None without spin.
        lattice: rows a, b, c, (3, 3), Å.
        numbers: atomic numbers, (n,).
        scaled_positions: fractions of a, b, c, (n, 3).
        n_electrons: before rounding to float16.
    """

    id: str
    density: tuple[np.ndarray, float]
    magnetization: tuple[np.ndarray, float] | None
    lattice: np.ndarray
    numbers: np.ndarray
    scaled_positions: np.ndarray
    n_electrons: float

    def same_fields(self, other: Crystal) -> bool:
        """Do both hold the same density in the same cell, bit by bit?"""
        fields = [(self.density, other.density), (self.magnetization, other.magnetization)]
        same = (
            own == theirs
            if own is None or theirs is None
            else own[1] == theirs[1] and np.array_equal(own[0], theirs[0])
            for own, theirs in fields
        )
        return all(same) and np.array_equal(self.lattice, other.lattice)


@dataclass(frozen=True)
class Packed:
    """Result of packing.

    Attributes:
        added: number of added rows.
        replaced: number of replaced rows.
        parts: written files, with their sizes in bytes.
        version: of the archive now.
        left_out: ids of crystals with an impossible formation energy.
        blanked: ids of crystals whose labels from the band edges were left empty.
    """

    added: int
    replaced: int
    parts: tuple[tuple[Path, int], ...]
    version: str
    left_out: tuple[str, ...] = ()
    blanked: tuple[str, ...] = ()


def pack(source: Path, dest: Path) -> Packed:
    """Add the new crystals of `source` to the archive `dest`.

    Raises:
        FolderError: one of the two folders cannot be read.
        PackError: a reserved chemical system, or columns that differ from the archive's.
        FormatError: a density that cannot be read.
    """
    folder = read_folder(source)
    _check_not_reserved(folder.samples)
    archive = read_folder(dest) if (dest / TABLE_NAME).exists() else None
    header, rows = _read_table(source)
    old_header, table = _read_table(dest) if archive else (header, {})
    if header != old_header:
        raise PackError(f"{source / TABLE_NAME}: has the columns {','.join(header)}; {dest} has {','.join(old_header)}")
    # A column without any label is no property of its folder.
    units = _units(folder)
    if archive and any(units.get(name, known) != known for name, known in _units(archive).items()):
        raise PackError(f"{source / SETTINGS_NAME}: units or kinds differ from those of {dest / SETTINGS_NAME}")
    blanked = tuple(sample.id for sample in folder.samples if _has_uncertain_edges(sample))
    for name in blanked:
        rows[name] |= {column: "" for column in FROM_BAND_EDGES if column in rows[name]}
    for sample in folder.samples:
        if 0 < sample.labels.get("band_gap", 0.0) < LEAST_GAP:
            rows[sample.id] |= {"band_gap": "0.0", **({"is_metal": "1"} if "is_metal" in header else {})}
    stored = {sample.id: sample for sample in archive.samples} if archive else {}
    fresh: list[Crystal] = []
    before = dict(table)
    left_out = [sample.id for sample in folder.samples if not _is_possible(sample.labels.get(FORMATION_ENERGY, 0.0))]
    for sample in folder.samples:
        if sample.id in left_out:
            continue
        if rows[sample.id].get("settings", "") < table.get(sample.id, {}).get("settings", ""):
            continue
        crystal = _compress(sample.id, storage_grid(read_density(sample.path, entry=sample.entry), DEFAULT_SPACING))
        known = stored.get(sample.id)
        if known and _compress(known.id, read_density(known.path, entry=known.entry)).same_fields(crystal):
            table[sample.id] = {**rows[sample.id], "file": table[sample.id]["file"]}
            continue
        table[sample.id] = rows[sample.id]
        fresh.append(crystal)
    try:
        energies = formation_energies(table.values())
    except ValueError as error:
        raise PackError(f"{source / TABLE_NAME}: {error}") from error
    for name in [crystal.id for crystal in fresh if not _is_possible(float(energies.get(crystal.id, 0.0)))]:
        left_out.append(name)
        if name in before:
            table[name] = before[name]
        else:
            table.pop(name)
    fresh = [crystal for crystal in fresh if crystal.id not in left_out]
    dest.mkdir(parents=True, exist_ok=True)
    first = 1 + max((int(path.stem[-3:]) for path in dest.glob("densities-[0-9][0-9][0-9].h5")), default=-1)
    parts = []
    for number, crystals in enumerate(_chunks(fresh), start=first):
        path = dest / PART_NAME.format(number)
        _write_part(path, crystals)
        parts.append((path, path.stat().st_size))
        for crystal in crystals:
            table[crystal.id] = {**table[crystal.id], "file": path.name}
    for name, energy in energies.items():
        if FORMATION_ENERGY in table.get(name, ()) and _is_possible(float(energy)):
            table[name] = {**table[name], FORMATION_ENERGY: energy}
    added = len(table) - len(before)
    replaced = sum(table[name] != row for name, row in before.items())
    version = archive.version if archive else ""
    if added or replaced:
        version = _next_version(version, replaced=bool(replaced))
        write_text(dest / SETTINGS_NAME, _settings_text(archive or folder, version))
        write_text(dest / TABLE_NAME, _table_text(header, table.values()))
    return Packed(added, replaced, tuple(parts), version, tuple(left_out), blanked)


def is_reserved(system: str) -> bool:
    """Is this chemical system ("Cl-Na") reserved for blind evaluation, as one in ten is (shared/dft/README.md)?"""
    return hashlib.sha256(system.encode()).digest()[0] % 10 == 0


def main(arguments: list[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, metavar="SOURCE")
    parser.add_argument("dest", type=Path, metavar="DEST")
    options = parser.parse_args(arguments)
    try:
        packed = pack(options.source, options.dest)
    except (ValueError, OSError) as error:
        print(f"pack_crystals: {error}", file=sys.stderr)
        return 1
    for path, size in packed.parts:
        print(f"{path}: {size / 1e3:.0f} kB")
    for name in packed.left_out:
        print(f"left out {name}: no crystal has such a formation energy", file=sys.stderr)
    if packed.blanked:
        what = f"{counted(len(packed.blanked), 'insulator')} known on the k mesh only"
        print(f"left {', '.join(FROM_BAND_EDGES)} empty of {what}: {', '.join(packed.blanked)}", file=sys.stderr)
    n_new = packed.added + packed.replaced
    print(
        f"{packed.added} crystals added, {packed.replaced} replaced, version {packed.version}"
        if n_new
        else "nothing new"
    )
    return 0


def _check_not_reserved(samples: Iterable[Sample]) -> None:
    for sample in samples:
        if not sample.chemical_system:
            raise PackError(f"{TABLE_NAME}:{sample.line}: {sample.id} has no chemical_system; the archive needs it")
        if is_reserved(sample.chemical_system):
            raise PackError(
                f"{TABLE_NAME}:{sample.line}: {sample.id}: the chemical system {sample.chemical_system} is reserved "
                "for blind evaluation; leave it out"
            )


def _is_possible(formation_energy: float) -> bool:
    """False for a formation energy, eV per atom, that only a failed calculation gives; True for NaN."""
    return not abs(formation_energy) > MOST_FORMATION_ENERGY


def _has_uncertain_edges(sample: Sample) -> bool:
    """Does it have a gap that is known on the k mesh only?"""
    return MESH_ONLY in sample.bookkeeping.get("flags", "").split() and sample.labels.get("band_gap", 0.0) > 0


def _compress(name: str, density: ChargeDensity) -> Crystal:
    if density.atoms is None:
        raise PackError(f"{name}: the file names no atoms; the archive needs them")
    spin = density.collinear_magnetization()
    return Crystal(
        name,
        to_float16(density.values),
        None if spin is None else to_float16(spin),
        np.asarray(density.lattice, np.float64),
        density.atoms.numbers.astype(np.int16),
        density.atoms.get_scaled_positions(wrap=False),
        density.n_electrons,
    )


def _write_part(path: Path, crystals: Iterable[Crystal]) -> None:
    """Write an archive part; the same crystals give the same bytes, as no times are stored."""
    created = h5py.h5p.create(h5py.h5p.FILE_CREATE)
    created.set_obj_track_times(False)
    access = h5py.h5p.create(h5py.h5p.FILE_ACCESS)
    # The compact layout of HDF5 1.10 halves the size: most of a small group is overhead otherwise.
    access.set_libver_bounds(h5py.h5f.LIBVER_V110, h5py.h5f.LIBVER_V110)
    with replacing(path) as partial:
        file_id = h5py.h5f.create(os.fsencode(partial), h5py.h5f.ACC_TRUNC, fcpl=created, fapl=access)
        with h5py.File(file_id) as file:
            for crystal in crystals:
                no_times = h5py.h5p.create(h5py.h5p.GROUP_CREATE)
                no_times.set_obj_track_times(False)
                group = h5py.Group(h5py.h5g.create(file.id, crystal.id.encode(), gcpl=no_times))
                _write_field(group, "density", crystal.density)
                if crystal.magnetization is not None:
                    _write_field(group, "magnetization", crystal.magnetization)
                for name in ("lattice", "numbers", "scaled_positions"):
                    group.create_dataset(name, data=getattr(crystal, name), track_times=False)
                group.attrs["n_electrons"] = crystal.n_electrons


def _write_field(group: h5py.Group, name: str, field: tuple[np.ndarray, float]) -> None:
    values, scale = field
    # One chunk: gzip finds the repetitions that the crystal's symmetry makes in the whole grid.
    dataset = group.create_dataset(
        name, data=values, chunks=values.shape, compression="gzip", compression_opts=9, shuffle=True, track_times=False
    )
    dataset.attrs["scale"] = scale


def _chunks(crystals: list[Crystal]) -> Iterator[list[Crystal]]:
    iterator = iter(crystals)
    while chunk := list(itertools.islice(iterator, CRYSTALS_PER_PART)):
        yield chunk


def _units(folder: Folder) -> dict[str, tuple[str, str]]:
    """Unit and kind of each property."""
    return {declared.name: (declared.unit, declared.kind) for declared in folder.properties}


def _read_table(folder: Path) -> tuple[list[str], dict[str, dict[str, str]]]:
    """Columns, and rows as text by id; the folder was read without errors before."""
    with (folder / TABLE_NAME).open(newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file)
        rows = {row["id"]: row for row in reader}
        return list(reader.fieldnames or ()), rows


def _table_text(header: list[str], rows: Iterable[Mapping[str, str]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, header, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _next_version(version: str, *, replaced: bool) -> str:
    if not version:
        return "1.0.0"
    major, minor, _ = (int(part) for part in version.split("."))
    return f"{major + 1}.0.0" if replaced else f"{major}.{minor + 1}.0"


def _settings_text(folder: Folder, version: str) -> str:
    """dataset.toml of a folder with the new version, and with a note on the stored grids unless it has a note."""
    path = folder.path / SETTINGS_NAME
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    note = "" if folder.note else f'note = "{NOTE}"\n'
    return f'version = "{version}"\n{note}' + re.sub(r"^version *=.*\n", "", text, count=1, flags=re.MULTILINE)


if __name__ == "__main__":
    sys.exit(main())
