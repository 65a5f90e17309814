"""A user's folder: properties.csv and an optional dataset.toml become a typed, verified table."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from ase.formula import Formula

from rhonet.dataset_toml import ABOUT_KEYS, SETTINGS_NAME, FolderError, declared_properties, read_settings
from rhonet.formats import FormatError, named_files
from rhonet.formats.source import open_source
from rhonet.formats.table import choose_format
from rhonet.properties import Property, find_property

TABLE_NAME = "properties.csv"
BOOKKEEPING = (
    "formula",
    "chemical_system",
    "prototype",
    "spacegroup",
    "n_atoms",
    "settings",
    "flags",
    "source",
    "comment",
)
ARCHIVE_SUFFIXES = (".h5", ".hdf5")
# Bytes of each of the three samples of a file that enter the fingerprint.
SAMPLE_BLOCK = 2**16

ENTRY_MARK = "::"


@dataclass(frozen=True)
class Sample:
    """One row of properties.csv.

    id: unique name of the row.
    file: the density file as the table names it.
    path: where that file lies.
    entry: group inside an archive, None for a file that holds one density.
    line: line of properties.csv, counted from 1.
    labels: value per property, NaN where the cell is empty.
    formula, chemical_system: as the table gives them, "" where it does not.
    bookkeeping: the other columns that are not properties, as text.
    """

    id: str
    file: str
    path: Path
    entry: str | None
    line: int
    labels: Mapping[str, float]
    formula: str = ""
    chemical_system: str = ""
    bookkeeping: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Folder:
    """A verified table of densities and labels.

    path: the folder.
    name, version, functional, code, density, source, note: what dataset.toml says, "" where it says nothing;
        the name is then the folder's.
    properties: one per property column, in the order of the table.
    samples: one per row, in the order of the table.
    """

    path: Path
    name: str
    properties: tuple[Property, ...]
    samples: tuple[Sample, ...]
    version: str = ""
    functional: str = ""
    code: str = ""
    density: str = ""
    source: str = ""
    note: str = ""

    @property
    def about(self) -> dict[str, str]:
        """What dataset.toml says about the whole set."""
        return {key: getattr(self, key) for key in ABOUT_KEYS}

    @property
    def n_bytes(self) -> int:
        """Size of all density files, each counted once."""
        files = {file for sample in self.samples for file in named_files(sample.path)}
        return sum(file.stat().st_size for file in files)

    def fingerprint(self) -> str:
        """Hash of ids, file names, groups, labels, property declarations, settings and samples of the files' bytes.

        Row order and the folder's name and place do not enter. Of each file its size and the bytes at its start,
        middle and end count (`_sample_bytes`): a calculation done anew is noticed, and gigabytes take seconds.
        """
        paths = {sample.path for sample in self.samples}
        contents = {path: "+".join(_sample_bytes(file) for file in named_files(path)) for path in paths}
        rows = [
            [
                sample.id,
                sample.file,
                sample.entry,
                contents[sample.path],
                sample.formula,
                sample.chemical_system,
                [sample.labels[declared.name] for declared in self.properties],
            ]
            for sample in sorted(self.samples, key=lambda sample: sample.id)
        ]
        declarations = [dataclasses.asdict(declared) for declared in self.properties]
        about = {key: text for key, text in self.about.items() if key != "name"}
        text = json.dumps([about, declarations, rows], ensure_ascii=True, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


def read_folder(path: Path | str, *, declared: Sequence[Property] = ()) -> Folder:
    """Typed table of a folder with properties.csv, density files and, if there is one, dataset.toml.

    Columns: `id` (unique), `file` (relative to the folder or absolute; an archive means its entry named like the
    id, `archive.h5::entry` another one, `AECCAR0+AECCAR2` a sum), bookkeeping columns (`BOOKKEEPING` and those
    listed in dataset.toml as `bookkeeping = [...]`), and properties: known ones, those in `declared`, and those under
    `[properties.NAME]` in dataset.toml (unit, kind, note, symbol, transform, intensive, volume_like,
    loss_weight, classes). An empty cell is a missing label. The densities themselves are not opened.

    Raises:
        FolderError: the first thing that is wrong, with file, line, what was found and what to do.
    """
    folder = Path(path)
    table = folder / TABLE_NAME
    if not folder.is_dir():
        raise FolderError(f"{folder}: no such folder; give a folder with density files and {TABLE_NAME}")
    if not table.is_file():
        raise FolderError(f"{folder}: there is no {TABLE_NAME}; write one with the columns id,file,<property>...")
    settings = read_settings(folder / SETTINGS_NAME)
    own = declared_properties(folder / SETTINGS_NAME, settings.properties, declared)
    rows = _read_rows(table)
    header = next(rows)[1]
    bookkeeping = {*BOOKKEEPING, *settings.bookkeeping}
    properties = _find_columns(table, header, bookkeeping, own)
    for name in settings.properties:
        if name not in header:
            raise FolderError(
                f"{folder / SETTINGS_NAME}: declares the property {name!r}, but {table} has no such column; "
                "add the column or remove the declaration"
            )
    samples = tuple(_read_samples(folder, rows, header, properties))
    if not samples:
        raise FolderError(f"{table}: has a header but no rows; add one row per density file")
    about = {"name": folder.resolve().name, **settings.about}
    return Folder(folder, properties=properties, samples=samples, **about)


def _read_rows(table: Path) -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of the header, then of each row that is not blank."""
    try:
        with table.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file, strict=True)
            header: list[str] = []
            for row in reader:
                cells = [cell.strip() for cell in row]
                if not any(cells):
                    continue
                if not header:
                    header = cells
                if len(cells) != len(header):
                    raise FolderError(
                        f"{table}:{reader.line_num}: {len(cells)} cells under {len(header)} columns; "
                        "quote cells that contain commas"
                    )
                yield reader.line_num, cells
            if not header:
                raise FolderError(f"{table}: is empty; write the columns id,file,<property>... and one row per file")
    except (csv.Error, UnicodeDecodeError) as error:
        raise FolderError(f"{table}: is not a comma-separated UTF-8 table: {error}") from error
    except OSError as error:
        raise FolderError(f"{table}: cannot be read: {error.strerror}") from error


def _find_columns(
    table: Path, header: Sequence[str], bookkeeping: set[str], declared: Sequence[Property]
) -> tuple[Property, ...]:
    for name in ("id", "file"):
        if name not in header:
            found = "; it looks separated by semicolons, commas are needed" if ";" in header[0] else ""
            raise FolderError(f"{table}:1: there is no column {name!r} among {', '.join(header)}{found}")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise FolderError(f"{table}:1: the column {repeated[0]!r} occurs twice; keep one")
    properties = []
    for name in header:
        if name in ("id", "file") or name in bookkeeping:
            continue
        try:
            properties.append(find_property(name, declared))
        except ValueError as error:
            raise FolderError(
                f"{table}:1: {error}; a column that is no property goes to bookkeeping = [{json.dumps(name)}] there"
            ) from error
    if not properties:
        raise FolderError(f"{table}:1: there is no property among the columns {', '.join(header)}; add one")
    return tuple(properties)


def _read_samples(
    folder: Path, rows: Iterator[tuple[int, list[str]]], header: Sequence[str], properties: Sequence[Property]
) -> Iterator[Sample]:
    first_line: dict[str, int] = {}
    first_use: dict[tuple[Path, str | None], int] = {}
    archives: dict[Path, bool] = {}
    names = {declared.name for declared in properties}
    for line, cells in rows:
        row = dict(zip(header, cells, strict=True))
        at = f"{folder / TABLE_NAME}:{line}"
        name = row["id"]
        if not name:
            raise FolderError(f"{at}: the id is empty; give every row a name of its own")
        if name in first_line:
            raise FolderError(f"{at}: the id {name!r} is that of line {first_line[name]} too; rename one of them")
        first_line[name] = line
        path, entry = _find_file(at, folder, row["file"], name)
        if entry is None:
            if path not in archives:
                archives[path] = _is_archive(path)
            entry = name if archives[path] else None
        if (path, entry) in first_use:
            raise FolderError(f"{at}: {row['file']} is the density of line {first_use[path, entry]} too; keep one row")
        first_use[path, entry] = line
        other = {key: text for key, text in row.items() if key not in names and key not in ("id", "file")}
        yield Sample(
            name,
            row["file"],
            path,
            entry,
            line,
            labels={declared.name: _read_label(at, declared, row[declared.name]) for declared in properties},
            formula=_check_formula(at, other.pop("formula", "")),
            chemical_system=_check_system(at, other.pop("chemical_system", "")),
            bookkeeping=other,
        )


def _sample_bytes(path: Path) -> str:
    """Hash of a file's size and of three blocks of it; of the whole file where that is no more."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for start in (0, max(0, (size - SAMPLE_BLOCK) // 2), max(0, size - SAMPLE_BLOCK)):
            file.seek(start)
            digest.update(file.read(SAMPLE_BLOCK))
    return digest.hexdigest()


def _find_file(at: str, folder: Path, text: str, name: str) -> tuple[Path, str | None]:
    if not text:
        raise FolderError(f"{at}: the file of {name!r} is empty; name its density file")
    file, mark, entry = text.partition(ENTRY_MARK)
    path = folder / file
    if not all(part.is_file() for part in named_files(path)):
        raise FolderError(f"{at}: there is no file {path}; correct the name or remove the row")
    return path, entry if mark else None


def _is_archive(path: Path) -> bool:
    """Does the file hold one group per crystal? What cannot be read is reported when the density is."""
    if path.suffix not in ARCHIVE_SUFFIXES:
        return False
    try:
        return choose_format(open_source(path)).name == "archive"
    except FormatError:
        return False


def _read_label(at: str, declared: Property, text: str) -> float:
    """Label as a number, NaN for an empty cell."""
    if not text:
        return math.nan
    try:
        value = float(text.replace("_", "?"))
    except ValueError:
        raise FolderError(
            f"{at}: {declared.name} is {text!r}, not a number; leave the cell empty where it is not known"
        ) from None
    if not abs(value) <= np.finfo(np.float32).max:
        raise FolderError(
            f"{at}: {declared.name} is {text}, not a finite number; leave the cell empty where it is not known"
        )
    classes = {"binary": 2, "multiclass": declared.classes}.get(declared.kind)
    if classes is not None and value not in range(classes):
        allowed = "0 or 1" if classes == 2 else f"a whole number from 0 to {classes - 1}"
        raise FolderError(f"{at}: {declared.name} is {text}, but a {declared.kind} label is {allowed}")
    if declared.name == "magnetic_moment" and value < 0:
        raise FolderError(f"{at}: {declared.name} is {text}; up and down are a convention, give the magnitude")
    if declared.transform == "log" and value <= 0:
        raise FolderError(
            f"{at}: {declared.name} is {text}, but it is learned as a logarithm and must be above 0; "
            f'correct it, leave the cell empty, or say transform = "identity" under [properties.{declared.name}] '
            f"in {SETTINGS_NAME}"
        )
    return value


def _check_formula(at: str, text: str) -> str:
    if not text:
        return ""
    try:
        elements = Formula(text).count()
    except ValueError:
        elements = {}
    if not elements or min(elements.values()) < 1 or not _are_elements(elements):
        raise FolderError(f"{at}: formula {text!r} is no chemical formula; correct it or leave the cell empty")
    return text


def _check_system(at: str, text: str) -> str:
    if text and not _are_elements(text.split("-")):
        raise FolderError(f"{at}: chemical_system {text!r} is not like Cl-Na; correct it or leave the cell empty")
    return "-".join(sorted(set(text.split("-"))))


def _are_elements(symbols: Sequence[str] | Mapping[str, int]) -> bool:
    return all(atomic_numbers.get(symbol, 0) > 0 for symbol in symbols)
