"""The folder that a generation fills: records, densities, failures, and the table that makes it trainable."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.data.dataset_toml import SETTINGS_NAME
from rhonet.data.folder import TABLE_NAME
from tools.dft.errors import GenerateError
from tools.dft.formation import lowest_energies
from tools.dft.records import CrystalRecord, ReferenceRecord, crystal_record, record_text, reference_record
from tools.dft.references import ReferenceEnergies
from tools.dft.table import density_file, settings_text, table_text
from tools.lock import sole_user

# ABINIT's input names files by their full paths: blanks, quotes and commas end them, and long ones are cut.
FORBIDDEN = frozenset("\"', \t")
LONGEST_PATH = 150

Record = TypeVar("Record", CrystalRecord, ReferenceRecord)


class Store:
    """A folder of results; a crystal is finished once its record is there, which is written last.

    records/ID.json, densities/ID.h5: of finished crystals; references/ID.json: of elements.
    failed/ID.json: reasons of those that failed; scratch/ID: of those that are being computed.
    properties.csv, dataset.toml: all finished crystals, as `rhonet.train --data` and pack_crystals.py take them.

    Args:
        path: the folder; created with the first result.
        base: reference energies that come with the generator.

    Raises:
        GenerateError: a path that ABINIT cannot take, or a damaged record.
    """

    def __init__(self, path: Path, base: ReferenceEnergies) -> None:
        self.path = path.absolute()
        check_path(self.path)
        self._base = base
        self.crystals = {one.id: one for one in _read_all(self.path / "records", crystal_record)}
        self.references = {one.element: one for one in _read_all(self.path / "references", reference_record)}
        self.failed = {path.stem for path in (self.path / "failed").glob("*.json")}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process works in this folder meanwhile; what a killed one left unfinished is removed.

        Raises:
            GenerateError: another one does.
        """
        busy = GenerateError(f"{self.path}: another generate_dft works here; wait for it, or use --workers there")
        with sole_user(self.path / "lock", busy):
            scratch = self.path / "scratch"
            if scratch.exists():
                shutil.rmtree(scratch)
            scratch.mkdir()
            yield

    def scratch(self, name: str) -> Path:
        """Folder for the runs of one crystal."""
        return self.path / "scratch" / name

    def add_crystal(self, record: CrystalRecord, density: ChargeDensity) -> None:
        """Keeps a finished crystal and writes the table anew."""
        _write_density(self.path / density_file(record.id), record, density)
        _write(self.path / "records" / f"{record.id}.json", record_text(record))
        self.crystals[record.id] = record
        self._forget_failure(record.id)
        self.write_table()

    def add_reference(self, record: ReferenceRecord) -> None:
        """Keeps a finished reference and writes the table anew."""
        _write(self.path / "references" / f"{record.id}.json", record_text(record))
        self.references[record.element] = record
        self._forget_failure(record.id)
        self.write_table()

    def add_failure(self, name: str, reason: str) -> None:
        """Notes why a calculation failed."""
        _write(self.path / "failed" / f"{name}.json", json.dumps({"id": name, "reason": reason}) + "\n")
        self.failed.add(name)

    def known_elements(self) -> set[str]:
        """Elements whose reference energy is there."""
        return {*self.references, *(element for element, _ in self._base)}

    def write_table(self) -> None:
        """properties.csv and dataset.toml of all finished crystals, sorted by id; none where there are none."""
        if not self.crystals:
            return
        energies = lowest_energies(self._base, self.references.values(), self.crystals.values())
        records = [self.crystals[name] for name in sorted(self.crystals)]
        _write(self.path / TABLE_NAME, table_text(records, energies))
        _write(self.path / SETTINGS_NAME, settings_text())

    def _forget_failure(self, name: str) -> None:
        (self.path / "failed" / f"{name}.json").unlink(missing_ok=True)
        self.failed.discard(name)


def check_path(path: Path) -> None:
    """Refuses an absolute path that ABINIT cannot take.

    Raises:
        GenerateError: why.
    """
    text = str(path)
    if FORBIDDEN.intersection(text) or len(text) > LONGEST_PATH:
        raise GenerateError(
            f"{text}: ABINIT cannot take this path; use one without blanks, quotes and commas, "
            f"of at most {LONGEST_PATH} characters"
        )


def _read_all(folder: Path, read: Callable[[str], Record]) -> Iterator[Record]:
    for path in sorted(folder.glob("*.json")):
        try:
            yield read(path.read_text(encoding="utf-8"))
        except (ValueError, TypeError, KeyError) as error:
            raise GenerateError(f"{path}: {error}; remove the file, and the crystal is computed anew") from error


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)


def _write_density(path: Path, record: CrystalRecord, density: ChargeDensity) -> None:
    """One entry of rhonet's archive format, in single precision."""
    assert density.atoms is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    with h5py.File(unfinished, "w") as file:
        group = file.create_group(record.id)
        fields = {"density": density.values, "magnetization": density.magnetization}
        for name, values in fields.items():
            if values is None:
                continue
            stored = group.create_dataset(
                name, data=values.astype(np.float32), chunks=values.shape, compression="gzip", shuffle=True
            )
            stored.attrs["scale"] = 1.0
        group["lattice"] = density.lattice
        group["numbers"] = density.atoms.numbers.astype(np.int16)
        group["scaled_positions"] = density.atoms.get_scaled_positions(wrap=False)
        group.attrs["n_electrons"] = record.n_electrons
    os.replace(unfinished, path)
