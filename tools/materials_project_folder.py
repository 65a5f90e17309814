"""The folder that a download from the Materials Project fills: densities, properties.csv, dataset.toml, manifest.json.

manifest.json is the one record; the table and the settings are written from it. Every file is written under another
name and renamed, the density first, then the manifest, then the table: whenever the process dies, the folder is one
that rhonet.data.folder reads, and a further call fetches what is missing.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

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
    """A folder that this tool cannot go on with; one line says why."""


@dataclass(frozen=True)
class FetchedMaterial:
    """One fetched material.

    id, formula, chemical_system, spacegroup: as the Materials Project has them; n_atoms: in the density's cell.
    file: relative to the folder; n_bytes, sha256: of that file.
    task_id, functional: of the calculation that gave the density; db_version: of the database; date: of the download.
    labels: value per property, only those that are known; flags: what was left out, and why.
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
    """One call of the tool: when, what was asked, from which database with which software, and what failed."""

    date: str
    query: Mapping[str, Any]
    endpoint: str
    db_version: str
    versions: Mapping[str, str]
    failed: Mapping[str, str] = field(default_factory=dict)


class DownloadFolder:
    """A folder that grows material by material.

    Args:
        path: made if need be.

    Raises:
        DownloadError: it holds another table, or a manifest that cannot be read.
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
        """What has been fetched and is there, whole."""
        return tuple(row for row in self._rows.values() if self.holds(row.id))

    def holds(self, name: str) -> bool:
        """Is the density of that material there, with the size that it was fetched with?"""
        row = self._rows.get(name)
        if row is None:
            return False
        path = self.path / row.file
        return path.is_file() and path.stat().st_size == row.n_bytes

    @contextmanager
    def locked(self) -> Iterator[None]:
        """No other process downloads into this folder meanwhile; what one has added before is known.

        Raises:
            DownloadError: another one does.
        """
        busy = DownloadError(f"{self.path}: another download works here; wait for it, or choose another folder")
        with sole_user(self.path / LOCK, busy):
            if (self.path / MANIFEST_NAME).exists():
                self._read_manifest()
            yield

    def unfinished(self, name: str) -> Path:
        """Where a density is put before it is known to be whole."""
        path = self.path / UNFINISHED / name
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def keep(self, unfinished: Path) -> tuple[str, int, str]:
        """Move a whole density to its place; returns its name within the folder, its size and its SHA-256."""
        place = Path(DENSITIES) / unfinished.name
        (self.path / DENSITIES).mkdir(exist_ok=True)
        with unfinished.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        n_bytes = unfinished.stat().st_size
        unfinished.replace(self.path / place)
        return str(place), n_bytes, digest

    def start(self, call: Call) -> None:
        """Record a call; leftovers of one that died are removed."""
        self._remove_unfinished()
        self.calls.append(call)
        self._write()

    def add(self, row: FetchedMaterial) -> None:
        """Record a fetched material."""
        self._rows[row.id] = row
        self._write()

    def finish(self, call: Call) -> None:
        """Record how the call that was started last ended."""
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
        _replace(self.path / MANIFEST_NAME, json.dumps(tree, indent=1, ensure_ascii=False) + "\n")
        rows = self.rows
        labels = [label for label in SOURCES if any(label in row.labels for row in rows)]
        if labels:
            # The table first: it needs no declarations, but a declaration needs its column.
            _replace(self.path / TABLE_NAME, _table_text(rows, labels))
            _replace(self.path / SETTINGS_NAME, self._settings_text(rows, labels))

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


def _replace(path: Path, text: str) -> None:
    """Write a text file so that it is the old one or the new one at any moment, a power cut included."""
    unfinished = path.with_suffix(".unfinished")
    with unfinished.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.replace(path)
