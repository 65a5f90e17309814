"""The folder that a generation fills: records, densities, failures, and the table that rhonet trains on."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

import h5py
import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.core.files import replacing, write_text
from rhonet.data.dataset_toml import SETTINGS_NAME
from rhonet.data.folder import TABLE_NAME
from tools.dft.errors import GenerateError
from tools.dft.formation import lowest_energies
from tools.dft.records import CrystalRecord, ReferenceRecord, crystal_record, record_text, reference_record
from tools.dft.references import ReferenceEnergies
from tools.dft.table import density_file, settings_text, table_text
from tools.lock import sole_user

# ABINIT's input names files by their full paths: blanks, quotes and commas end a path, and long paths are cut.
FORBIDDEN = frozenset("\"', \t")
LONGEST_PATH = 150
# Names of records, without the hidden files that a killed process may leave.
RECORDS = "[!.]*.json"

Record = TypeVar("Record", CrystalRecord, ReferenceRecord)


class Store:
    """A folder of results. A crystal is finished once its record is there; the record is written last.

    - records/ID.json and densities/ID.h5 hold the finished crystals, references/ID.json the elements.
    - failed/ID.json holds the reasons of failures; scratch/ID the files of running calculations.
    - properties.csv and dataset.toml list the finished crystals, for `rhonet.train --data` and pack_crystals.py.

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
        self.crystals = {record.id: record for record in _read_all(self.path / "records", crystal_record)}
        references = _read_all(self.path / "references", reference_record)
        self.references = {record.element: record for record in references}
        self.failed = {path.stem for path in (self.path / "failed").glob(RECORDS)}

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder for this process; removes files of killed calculations.

        Raises:
            GenerateError: another process works in the folder.
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
        """Writes a finished crystal, then the table of all."""
        _write_density(self.path / density_file(record.id), record, density)
        _write(self.path / "records" / f"{record.id}.json", record_text(record))
        self.crystals[record.id] = record
        self._forget_failure(record.id)
        self.write_table()

    def add_reference(self, record: ReferenceRecord) -> None:
        """Writes a finished reference, then the table of all crystals."""
        _write(self.path / "references" / f"{record.id}.json", record_text(record))
        self.references[record.element] = record
        self._forget_failure(record.id)
        self.write_table()

    def add_failure(self, name: str, reason: str) -> None:
        """Writes the reason why a calculation failed."""
        _write(self.path / "failed" / f"{name}.json", json.dumps({"id": name, "reason": reason}) + "\n")
        self.failed.add(name)

    def known_elements(self) -> set[str]:
        """Elements whose reference energy is known."""
        return {*self.references, *(element for element, _ in self._base)}

    def write_table(self) -> None:
        """Writes properties.csv and dataset.toml of all finished crystals, sorted by id; nothing without crystals."""
        if not self.crystals:
            return
        energies = lowest_energies(self._base, self.references.values(), self.crystals.values())
        records = [self.crystals[name] for name in sorted(self.crystals)]
        write_text(self.path / TABLE_NAME, table_text(records, energies))
        write_text(self.path / SETTINGS_NAME, settings_text())

    def _forget_failure(self, name: str) -> None:
        (self.path / "failed" / f"{name}.json").unlink(missing_ok=True)
        self.failed.discard(name)


def check_path(path: Path) -> None:
    """Checks that ABINIT can use an absolute path.

    Raises:
        GenerateError: it cannot; the message says why.
    """
    text = str(path)
    if FORBIDDEN.intersection(text) or len(text) > LONGEST_PATH:
        raise GenerateError(
            f"{text}: ABINIT cannot take this path; use one without blanks, quotes and commas, "
            f"of at most {LONGEST_PATH} characters"
        )


def _read_all(folder: Path, read: Callable[[str], Record]) -> Iterator[Record]:
    for path in sorted(folder.glob(RECORDS)):
        try:
            yield read(path.read_text(encoding="utf-8"))
        except (ValueError, TypeError, KeyError) as error:
            raise GenerateError(f"{path}: {error}; remove the file, and the crystal is computed anew") from error


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text)


def _write_density(path: Path, record: CrystalRecord, density: ChargeDensity) -> None:
    """One entry of rhonet's archive format, in single precision."""
    assert density.atoms is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, h5py.File(partial, "w") as file:
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
