"""The folder that a download from the Materials Project fills: densities, properties.csv, dataset.toml, manifest.json.

manifest.json records everything; the table and the settings are written from it. Every file is written under another
name and then renamed: first the density, then the manifest, then the table. So rhonet.data.folder can read the folder
even if the process was killed, and a further call fetches what is missing.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from rhonet.core.files import write_text
from rhonet.core.properties import PROPERTIES
from rhonet.data.dataset_toml import SETTINGS_NAME
from rhonet.data.folder import TABLE_NAME
from tools.lock import sole_user
from tools.materials_project_labels import SOURCES

MANIFEST_NAME = "manifest.json"
DENSITIES = "densities"
UNFINISHED = ".unfinished"
LOCK = ".lock"
COLUMNS = ("id", "file", "formula", "chemical_system", "spacegroup", "n_atoms", "settings", "flags", "source")
HEADER = "# Written by tools/download_materials_project.py; a further call writes it anew.\n"


class DownloadError(ValueError):
    """A folder that this tool cannot use; the message says why in one line."""


@dataclass(frozen=True)
class FetchedMaterial:
    """One fetched material.

    Attributes:
        id: of the Materials Project, such as "mp-149".
        file: density file, relative to the folder.
        n_bytes: size of that file.
        sha256: of that file.
        task_id: of the calculation that gave the density.
        functional: of that calculation.
        formula: as the Materials Project gives it.
        chemical_system: as the Materials Project gives it.
        spacegroup: as the Materials Project gives it.
        n_atoms: in the density's cell.
        db_version: of the database.
        date: of the download.
        labels: known values by property.
        flags: labels that were left out, and why.
    """

    id: str
    file: str
    n_bytes: int
    sha256: str
    task_id: str
    functional: str
    formula: str
    chemical_system: str
    spacegroup: str
    n_atoms: int
    db_version: str
    date: str
    labels: Mapping[str, float]
    flags: tuple[str, ...] = ()


@dataclass(frozen=True)
class Call:
    """One call of the tool.

    Attributes:
        date: when it was started.
        query: fields of the `Query`.
        endpoint: address of the service.
        db_version: of the database.
        versions: of the software, by package.
        failed: reasons by material.
    """

    date: str
    query: Mapping[str, Any]
    endpoint: str
    db_version: str
    versions: Mapping[str, str]
    failed: Mapping[str, str] = field(default_factory=dict)


class DownloadFolder:
    """The folder of a download; materials are added one by one.

    Args:
        path: made if it is missing.

    Raises:
        DownloadError: it holds a table of another program, or a manifest that cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[Call] = []
        self._rows: dict[str, FetchedMaterial] = {}
        if (path / MANIFEST_NAME).exists():
            self._read_manifest()
        elif (path / TABLE_NAME).exists():
            raise DownloadError(
                f"{path}: holds a {TABLE_NAME} but no {MANIFEST_NAME}, so something else wrote it; choose a new folder"
            )

    @property
    def rows(self) -> tuple[FetchedMaterial, ...]:
        """Fetched materials whose density file is there with its full size."""
        return tuple(row for row in self._rows.values() if self.holds(row.id))

    def holds(self, name: str) -> bool:
        """Is the density of that material there with its full size?"""
        row = self._rows.get(name)
        if row is None:
            return False
        path = self.path / row.file
        return path.is_file() and path.stat().st_size == row.n_bytes

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Locks the folder for this process and reads the manifest again.

        Raises:
            DownloadError: another process downloads into the folder.
        """
        busy = DownloadError(f"{self.path}: another download works here; wait for it, or choose another folder")
        with sole_user(self.path / LOCK, busy):
            if (self.path / MANIFEST_NAME).exists():
                self._read_manifest()
            yield

    def unfinished(self, name: str) -> Path:
        """Path of a density during its download."""
        path = self.path / UNFINISHED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def keep(self, unfinished: Path) -> tuple[str, int, str]:
        """Move a downloaded density to its place; returns its path in the folder, its size in bytes and its SHA-256."""
        place = Path(DENSITIES) / unfinished.name
        (self.path / DENSITIES).mkdir(exist_ok=True)
        with unfinished.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        n_bytes = unfinished.stat().st_size
        unfinished.replace(self.path / place)
        return str(place), n_bytes, digest

    def start(self, call: Call) -> None:
        """Record a call; remove files of a call that was killed."""
        self._remove_unfinished()
        self.calls.append(call)
        self._write()

    def add(self, row: FetchedMaterial) -> None:
        """Record a fetched material."""
        self._rows[row.id] = row
        self._write()

    def finish(self, call: Call) -> None:
        """Record the result of the call that was started last."""
        self.calls[-1] = call
        self._remove_unfinished()
        self._write()

    def _remove_unfinished(self) -> None:
        if (self.path / UNFINISHED).is_dir():
            shutil.rmtree(self.path / UNFINISHED)

    def _read_manifest(self) -> None:
        path = self.path / MANIFEST_NAME
        try:
            tree = json.loads(path.read_text(encoding="utf-8"))
            self.calls = [Call(**call) for call in tree["calls"]]
            rows = [FetchedMaterial(**{**row, "flags": tuple(row["flags"])}) for row in tree["materials"]]
        except (ValueError, KeyError, TypeError) as error:
            raise DownloadError(f"{path}: is no manifest of this tool ({error}); choose a new folder") from error
        self._rows = {row.id: row for row in rows}

    def _write(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        tree = {
            "calls": [asdict(call) for call in self.calls],
            "materials": [asdict(row) for row in self._rows.values()],
        }
        write_text(self.path / MANIFEST_NAME, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")
        rows = self.rows
        labels = [label for label in SOURCES if any(label in row.labels for row in rows)]
        if labels:
            # The table first: a column needs no declaration in dataset.toml, but a declaration needs its column.
            write_text(self.path / TABLE_NAME, _table_text(rows, labels))
            write_text(self.path / SETTINGS_NAME, self._settings_text(rows, labels))

    def _settings_text(self, rows: Iterable[FetchedMaterial], labels: Iterable[str]) -> str:
        versions = ", ".join(sorted({row.db_version for row in rows}))
        tree = {
            "name": "materials_project",
            "version": versions,
            "functional": "PBE or PBE+U, per row in the column settings",
            "code": "VASP, PAW",
            "density": "valence charge density (CHGCAR) of a static calculation",
            "source": f"Materials Project, https://materialsproject.org, database {versions}; CC BY 4.0",
            "properties": {label: {"unit": PROPERTIES[label].unit, "note": SOURCES[label][0]} for label in labels},
        }
        return HEADER + tomli_w.dumps(tree)


def _table_text(rows: Iterable[FetchedMaterial], labels: list[str]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([*COLUMNS, *labels])
    for row in rows:
        about = (row.formula, row.chemical_system, row.spacegroup, row.n_atoms, row.functional, "; ".join(row.flags))
        values = [f"{row.labels[label]:.10g}" if label in row.labels else "" for label in labels]
        writer.writerow([row.id, row.file, *about, f"task {row.task_id}", *values])
    return text.getvalue()
