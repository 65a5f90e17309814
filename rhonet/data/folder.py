"""A user's folder: properties.csv and an optional dataset.toml become a typed, verified table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rhonet.core.errors import FolderError, FormatError
from rhonet.core.properties import PROPERTIES, Property, find_property
from rhonet.data.dataset_toml import ABOUT_KEYS, SETTINGS_NAME, DatasetSettings, declared_properties, read_settings
from rhonet.data.properties_csv import (
    KEYS,
    TABLE_NAME,
    Mistakes,
    Table,
    TableRow,
    are_numbers,
    naming_hint,
    plain_name,
    read_formula,
    read_label,
    read_system,
    read_table,
)
from rhonet.formats import named_files
from rhonet.formats.parsing.source import open_source
from rhonet.formats.table import choose_format

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
STRUCTURE = "structure"
ARCHIVE_SUFFIXES = (".h5", ".hdf5")
# Bytes of each of the three samples of a file that enter the fingerprint.
SAMPLE_BLOCK = 2**16

ENTRY_MARK = "::"


# Keys of declarations that fingerprints know only where they say something.
_LATER_KEYS = ("class_names", "nonnegative")


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
    structure: file with cell and atoms for a density whose own file holds none, None where the table names none.
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
    structure: Path | None = None
    bookkeeping: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Folder:
    """A verified table of densities and labels.

    path: the folder.
    name, version, functional, code, density, source, note: what dataset.toml says, "" where it says nothing;
        the name is then the folder's.
    properties: one per column with labels, in the order of the table.
    samples: one per row, in the order of the table.
    unlabelled: property columns that hold no label at all, so that there is nothing to learn from them.
    """

    path: Path
    name: str
    properties: tuple[Property, ...]
    samples: tuple[Sample, ...]
    unlabelled: tuple[str, ...] = ()
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
    def n_labels(self) -> dict[str, int]:
        """How many rows have a label, per property."""
        return {
            declared.name: sum(not math.isnan(sample.labels[declared.name]) for sample in self.samples)
            for declared in self.properties
        }

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
        structures = {sample.structure for sample in self.samples if sample.structure is not None}
        cells = {path: _sample_bytes(path) for path in structures}
        rows = [
            [
                sample.id,
                sample.file,
                sample.entry,
                contents[sample.path] + (cells[sample.structure] if sample.structure is not None else ""),
                sample.formula,
                sample.chemical_system,
                *([text] if (text := sample.bookkeeping.get("prototype", "")) else []),
                [sample.labels[declared.name] for declared in self.properties],
            ]
            for sample in sorted(self.samples, key=lambda sample: sample.id)
        ]
        # What came later counts where there is some: folders without it keep their fingerprints.
        declarations = [
            {key: value for key, value in dataclasses.asdict(declared).items() if key not in _LATER_KEYS or value}
            for declared in self.properties
        ]
        about = {key: text for key, text in self.about.items() if key != "name"}
        text = json.dumps([about, declarations, rows], ensure_ascii=True, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class CheckedFolder:
    """A table with all that is wrong in it.

    folder: the rows that can be used; labels that cannot be read are NaN, and there may be no row and no property.
    mistakes: one sentence each, with file, line, what was found and what to do; the first `MAX_MISTAKES`.
    n_mistakes: how many there are.
    undeclared: texts of each column that is no known property, one per row of the table.
    """

    folder: Folder
    mistakes: tuple[str, ...]
    n_mistakes: int
    undeclared: Mapping[str, tuple[str, ...]]


def read_folder(path: Path | str, *, declared: Sequence[Property] = ()) -> Folder:
    """Typed table of a folder with properties.csv, density files and, if there is one, dataset.toml.

    Columns: `id` (unique), `file` (relative to the folder or absolute; an archive means its entry named like the
    id, `archive.h5::entry` another one, `AECCAR0+AECCAR2` a sum), `structure` (a file with cell and atoms, for
    formats that hold none), bookkeeping columns (`BOOKKEEPING` and those listed in dataset.toml as
    `bookkeeping = [...]`, but for those that are declared as properties), and properties: known ones, those in
    `declared`, and those under `[properties.NAME]` in dataset.toml (unit, kind, note, symbol, transform, intensive,
    nonnegative, volume_like, loss_weight, classes). An empty cell is a missing label; a column of nothing else is left
    out. The densities themselves are not opened.

    Raises:
        FolderError: the first thing that is wrong, with file, line, what was found and what to do, and how many
            more there are.
    """
    checked = check_folder(path, declared=declared)
    if checked.mistakes:
        more = checked.n_mistakes - 1
        others = f" ({more} more: python -m rhonet.prepare {path} lists them)" if more else ""
        raise FolderError(checked.mistakes[0] + others)
    folder = checked.folder
    if not folder.properties:
        raise FolderError(
            f"{folder.path / TABLE_NAME}: none of the columns {', '.join(folder.unlabelled)} holds a label; fill one in"
        )
    return folder


def check_folder(path: Path | str, *, declared: Sequence[Property] = ()) -> CheckedFolder:
    """What `read_folder` reads, with all mistakes of the table instead of the first.

    Raises:
        FolderError: no folder, no table, a table that is none, or wrong settings in dataset.toml.
    """
    folder = Path(path)
    file = folder / TABLE_NAME
    if not folder.is_dir():
        found = "is a file; give the folder that holds it" if folder.exists() else "no such folder; give one"
        raise FolderError(f"{folder}: {found}: a folder with density files and {TABLE_NAME}")
    if not file.is_file():
        raise FolderError(
            f"{folder}: there is no {TABLE_NAME}; write one with the columns id,file,<property>..., "
            f"or let python -m rhonet.prepare {folder} --write-table begin it"
        )
    settings = read_settings(folder / SETTINGS_NAME)
    own = declared_properties(folder / SETTINGS_NAME, settings.properties, declared)
    mistakes = Mistakes()
    table = read_table(file, mistakes)
    table = _respelled(table, settings, own, mistakes)
    properties, undeclared = _find_columns(table, settings, own, mistakes)
    samples = tuple(_read_samples(folder, table, properties, mistakes))
    if not table.rows and not mistakes.count:
        mistakes.add(f"{file}: has a header but no rows; add one row per density file")
    labelled = {name for sample in samples for name, label in sample.labels.items() if not math.isnan(label)}
    verified = Folder(
        folder,
        properties=tuple(known for known in properties if known.name in labelled),
        samples=samples,
        unlabelled=tuple(known.name for known in properties if known.name not in labelled),
        **{"name": folder.resolve().name, **settings.about},
    )
    texts = {name: tuple(row.cells[name] for row in table.rows) for name in undeclared}
    for name in (name for name, cells in texts.items() if are_numbers(cells)):
        _note_odd_cells(table, name, mistakes)
    return CheckedFolder(verified, tuple(mistakes.texts), mistakes.count, texts)


def _respelled(table: Table, settings: DatasetSettings, declared: Sequence[Property], mistakes: Mistakes) -> Table:
    """The table with known properties under their own names; those in another spelling are noted."""
    names = {}
    own = {*settings.bookkeeping, *(one.name for one in declared)}
    for name in table.columns:
        plain = plain_name(name)
        if name not in own and plain != name and plain in PROPERTIES and plain not in (*table.columns, *names.values()):
            mistakes.add(f"{table.path}:1: {naming_hint(name)}")
            names[name] = plain
    columns = tuple(names.get(name, name) for name in table.columns)
    rows = tuple(
        dataclasses.replace(row, cells={names.get(name, name): cell for name, cell in row.cells.items()})
        for row in table.rows
    )
    return Table(table.path, columns, rows)


def _note_odd_cells(table: Table, name: str, mistakes: Mistakes) -> None:
    """Notes the cells of a column of numbers that are none."""
    plain = name if name.isidentifier() else plain_name(name)
    if not plain.isidentifier():
        return
    for row in table.rows:
        with mistakes.noted():
            read_label(row.at, Property(plain), row.cells[name])


def _find_columns(
    table: Table, settings: DatasetSettings, declared: Sequence[Property], mistakes: Mistakes
) -> tuple[list[Property], list[str]]:
    """Properties among the columns, and the names of columns that are neither property nor bookkeeping."""
    # What somebody declares is a property, whatever such columns mostly are.
    usual = {STRUCTURE, *BOOKKEEPING}.difference(one.name for one in declared)
    bookkeeping = {*KEYS, *usual, *settings.bookkeeping}
    for name in sorted({one.name for one in declared}.intersection(settings.bookkeeping, table.columns)):
        mistakes.add(
            f"{table.path.with_name(SETTINGS_NAME)}: {name!r} is listed under bookkeeping and declared as a property; "
            "remove one of them"
        )
    properties, undeclared = [], []
    for name in table.columns:
        if name in bookkeeping:
            continue
        try:
            properties.append(find_property(name, declared))
        except ValueError as error:
            undeclared.append(name)
            mistakes.add(
                f"{table.path}:1: {naming_hint(name)}"
                if naming_hint(name)
                else f"{table.path}:1: {error}; a column that is no property goes to "
                f"bookkeeping = [{json.dumps(name)}] there"
            )
    if not properties and not undeclared:
        mistakes.add(f"{table.path}:1: there is no property among the columns {', '.join(table.columns)}; add one")
    for name in settings.properties:
        if name not in table.columns:
            mistakes.add(
                f"{table.path.with_name(SETTINGS_NAME)}: declares the property {name!r}, but {table.path} has no such "
                "column; add the column or remove the declaration"
            )
    return properties, undeclared


def _read_samples(folder: Path, table: Table, properties: Sequence[Property], mistakes: Mistakes) -> Iterator[Sample]:
    first_line: dict[str, int] = {}
    first_use: dict[tuple[Path, str | None], int] = {}
    archives: dict[Path, bool] = {}
    for row in table.rows:
        name, file = row.cells["id"], row.cells["file"]
        with mistakes.noted():
            if not name:
                raise FolderError(f"{row.at}: the id is empty; give every row a name of its own")
            if name in first_line:
                raise FolderError(
                    f"{row.at}: the id {name!r} is that of line {first_line[name]} too; rename one of them"
                )
            first_line[name] = row.line
            path, entry = _find_file(row.at, folder, file, name)
            if entry is None:
                if path not in archives:
                    archives[path] = _is_archive(path)
                entry = name if archives[path] else None
            if (path, entry) in first_use:
                raise FolderError(f"{row.at}: {file} is the density of line {first_use[path, entry]} too; keep one row")
            first_use[path, entry] = row.line
            yield _read_sample(folder, row, path, entry=entry, properties=properties, mistakes=mistakes)


def _read_sample(
    folder: Path, row: TableRow, path: Path, *, entry: str | None, properties: Sequence[Property], mistakes: Mistakes
) -> Sample:
    """The row; cells that are wrong are noted and left out."""
    labels = dict.fromkeys((declared.name for declared in properties), math.nan)
    for declared in properties:
        with mistakes.noted():
            labels[declared.name] = read_label(row.at, declared, row.cells[declared.name])
    other = {key: text for key, text in row.cells.items() if key not in labels and key not in KEYS}
    formula, system, structure = (other.pop(key, "") for key in ("formula", "chemical_system", STRUCTURE))
    sample = Sample(row.cells["id"], row.cells["file"], path, entry, row.line, labels=labels, bookkeeping=other)
    with mistakes.noted():
        sample = dataclasses.replace(sample, formula=read_formula(row.at, formula))
    with mistakes.noted():
        sample = dataclasses.replace(sample, chemical_system=read_system(row.at, system))
    if structure:
        with mistakes.noted():
            if not (folder / structure).is_file():
                raise FolderError(f"{row.at}: there is no structure file {folder / structure}; correct the name")
            sample = dataclasses.replace(sample, structure=folder / structure)
    return sample


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
    file, mark, entry = text.rpartition(ENTRY_MARK)
    if not mark or (folder / text).exists():
        file, mark, entry = text, "", ""
    path = folder / file
    if not all(part.is_file() for part in named_files(path)):
        remedy = "write / instead of \\" if "\\" in file else "correct the name or remove the row"
        raise FolderError(f"{at}: there is no file {path}; {remedy}")
    return path, entry if mark else None


def _is_archive(path: Path) -> bool:
    """Does the file hold one group per crystal? What cannot be read is reported when the density is."""
    if path.suffix not in ARCHIVE_SUFFIXES:
        return False
    try:
        return choose_format(open_source(path)).name == "archive"
    except FormatError:
        return False
