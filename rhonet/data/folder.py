"""A user's folder as a typed, verified table, from properties.csv and an optional dataset.toml."""

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
# Bytes of each of the three blocks of a file that enter the fingerprint.
SAMPLE_BLOCK = 2**16
ENTRY_MARK = "::"
# These keys of a declaration enter the fingerprint only if they are set.
_LATER_KEYS = ("class_names", "nonnegative")


@dataclass(frozen=True)
class Sample:
    """One row of properties.csv.

    Attributes:
        id: unique name of the row.
        file: name of the density file in the table.
        path: path of that file.
        entry: group inside an archive, None for a file that holds one density.
        line: line of properties.csv, counted from 1.
        labels: value per property, NaN where the cell is empty.
        formula: as in the table, "" where it has none.
        chemical_system: as in the table, with its elements in alphabetical order; "" where it has none.
        structure: file with cell and atoms for a density file without them, None where the table names none.
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

    The fields `name` and `version` to `note` are texts from dataset.toml.

    Attributes:
        path: the folder.
        name: name of the data set; the folder's own name where dataset.toml gives none.
        properties: one per column with labels, in the order of the table.
        samples: one per row, in the order of the table.
        unlabelled: property columns without any label, which cannot be learned.
        version: version of the data set, "" if not given (as for all that follow).
        functional: exchange-correlation functional.
        code: DFT code.
        density: kind of density, e.g. valence.
        source: origin of the data.
        note: remarks.
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
        """Name, version, functional and so on, by `ABOUT_KEYS`."""
        return {key: getattr(self, key) for key in ABOUT_KEYS}

    @property
    def n_labels(self) -> dict[str, int]:
        """Number of rows with a label, per property."""
        return {
            declared.name: sum(not math.isnan(sample.labels[declared.name]) for sample in self.samples)
            for declared in self.properties
        }

    @property
    def n_bytes(self) -> int:
        """Total size of all density files, each counted once."""
        files = {file for sample in self.samples for file in named_files(sample.path)}
        return sum(file.stat().st_size for file in files)

    def fingerprint(self) -> str:
        """Hash of ids, file names, groups, labels, property declarations, settings and parts of the files' content.

        Independent of the row order and of the folder's name and place. Of each file, only its size and the bytes at
        its start, middle and end are used (`_sample_bytes`): this notices a repeated calculation, and takes seconds
        for gigabytes.
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
        # Keys that were introduced later enter only if they are set: other folders keep their fingerprints.
        declarations = [
            {key: value for key, value in dataclasses.asdict(declared).items() if key not in _LATER_KEYS or value}
            for declared in self.properties
        ]
        about = {key: text for key, text in self.about.items() if key != "name"}
        text = json.dumps([about, declarations, rows], ensure_ascii=True, sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True)
class CheckedFolder:
    """A table and all mistakes in it.

    Attributes:
        folder: the usable rows, possibly none, and their properties, possibly none; unreadable labels are NaN.
        mistakes: the first `MAX_MISTAKES`, one sentence each: file, line, what was found and what to do.
        n_mistakes: number of all mistakes.
        undeclared: cells of each column that is neither property nor bookkeeping, by its name; one per row.
    """

    folder: Folder
    mistakes: tuple[str, ...]
    n_mistakes: int
    undeclared: Mapping[str, tuple[str, ...]]


def read_folder(path: Path | str, *, declared: Sequence[Property] = ()) -> Folder:
    """Typed table of a folder with properties.csv, density files and, if there is one, dataset.toml.

    The table has these columns:

    - `id`: unique.
    - `file`: relative to the folder or absolute. `archive.h5` is the entry of that archive with the row's id,
      `archive.h5::entry` another entry, `AECCAR0+AECCAR2` the sum of two files.
    - `structure`: a file with cell and atoms, for density formats that hold none.
    - bookkeeping columns: `BOOKKEEPING` and those listed in dataset.toml as `bookkeeping = [...]`, unless they are
      declared as properties.
    - properties: known ones, those in `declared`, and those under `[properties.NAME]` in dataset.toml (unit, kind,
      note, symbol, transform, intensive, nonnegative, volume_like, loss_weight, classes).

    An empty cell is a missing label; a column without any label is left out. The densities are not opened.

    Args:
        path: the folder.
        declared: properties of the user's own besides those of dataset.toml.

    Raises:
        FolderError: the first mistake, with file, line, what was found and what to do, and the number of the others.
    """
    checked = check_folder(path, declared=declared)
    if checked.mistakes:
        more = checked.n_mistakes - 1
        hint = f" ({more} more: python -m rhonet.prepare {path} lists them)" if more else ""
        raise FolderError(checked.mistakes[0] + hint)
    folder = checked.folder
    if not folder.properties:
        raise FolderError(
            f"{folder.path / TABLE_NAME}: none of the columns {', '.join(folder.unlabelled)} holds a label; fill one in"
        )
    return folder


def check_folder(path: Path | str, *, declared: Sequence[Property] = ()) -> CheckedFolder:
    """Table as from `read_folder`, together with all mistakes in it.

    Args:
        path: the folder.
        declared: properties of the user's own besides those of dataset.toml.

    Raises:
        FolderError: there is no folder or no table, the table cannot be parsed, or dataset.toml is wrong.
    """
    folder = Path(path)
    file = folder / TABLE_NAME
    if not folder.is_dir():
        reason = "is a file; give the folder that holds it" if folder.exists() else "no such folder; give one"
        raise FolderError(f"{folder}: {reason}: a folder with density files and {TABLE_NAME}")
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
    """The table with known properties under their own names; other spellings are noted as mistakes."""
    names = {}
    own = {*settings.bookkeeping, *(item.name for item in declared)}
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
    """Notes the cells of a column of numbers that are not numbers."""
    plain = name if name.isidentifier() else plain_name(name)
    if not plain.isidentifier():
        return
    for row in table.rows:
        with mistakes.noted():
            read_label(row.place, Property(plain), row.cells[name])


def _find_columns(
    table: Table, settings: DatasetSettings, declared: Sequence[Property], mistakes: Mistakes
) -> tuple[list[Property], list[str]]:
    """Properties among the columns, and the names of columns that are neither property nor bookkeeping."""
    # A declared column is a property even if its name is a usual bookkeeping column.
    usual = {STRUCTURE, *BOOKKEEPING}.difference(item.name for item in declared)
    bookkeeping = {*KEYS, *usual, *settings.bookkeeping}
    for name in sorted({item.name for item in declared}.intersection(settings.bookkeeping, table.columns)):
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
                raise FolderError(f"{row.place}: the id is empty; give every row a name of its own")
            if name in first_line:
                raise FolderError(
                    f"{row.place}: the id {name!r} is that of line {first_line[name]} too; rename one of them"
                )
            first_line[name] = row.line
            path, entry = _find_file(row.place, folder, file, name)
            if entry is None:
                if path not in archives:
                    archives[path] = _is_archive(path)
                entry = name if archives[path] else None
            if (path, entry) in first_use:
                raise FolderError(
                    f"{row.place}: {file} is the density of line {first_use[path, entry]} too; keep one row"
                )
            first_use[path, entry] = row.line
            yield _read_sample(folder, row, path, entry=entry, properties=properties, mistakes=mistakes)


def _read_sample(
    folder: Path, row: TableRow, path: Path, *, entry: str | None, properties: Sequence[Property], mistakes: Mistakes
) -> Sample:
    """Sample of a row; wrong cells are noted and left out."""
    labels = dict.fromkeys((declared.name for declared in properties), math.nan)
    for declared in properties:
        with mistakes.noted():
            labels[declared.name] = read_label(row.place, declared, row.cells[declared.name])
    bookkeeping = {key: text for key, text in row.cells.items() if key not in labels and key not in KEYS}
    formula, system, structure = (bookkeeping.pop(key, "") for key in ("formula", "chemical_system", STRUCTURE))
    sample = Sample(row.cells["id"], row.cells["file"], path, entry, row.line, labels=labels, bookkeeping=bookkeeping)
    with mistakes.noted():
        sample = dataclasses.replace(sample, formula=read_formula(row.place, formula))
    with mistakes.noted():
        sample = dataclasses.replace(sample, chemical_system=read_system(row.place, system))
    if structure:
        with mistakes.noted():
            if not (folder / structure).is_file():
                raise FolderError(f"{row.place}: there is no structure file {folder / structure}; correct the name")
            sample = dataclasses.replace(sample, structure=folder / structure)
    return sample


def _sample_bytes(path: Path) -> str:
    """Hash of a file's size and three of its blocks, which overlap in a small file."""
    size = path.stat().st_size
    digest = hashlib.sha256(str(size).encode())
    with open(path, "rb") as file:
        for start in (0, max(0, (size - SAMPLE_BLOCK) // 2), max(0, size - SAMPLE_BLOCK)):
            file.seek(start)
            digest.update(file.read(SAMPLE_BLOCK))
    return digest.hexdigest()


def _find_file(place: str, folder: Path, text: str, name: str) -> tuple[Path, str | None]:
    if not text:
        raise FolderError(f"{place}: the file of {name!r} is empty; name its density file")
    file, mark, entry = text.rpartition(ENTRY_MARK)
    if not mark or (folder / text).exists():
        file, mark, entry = text, "", ""
    path = folder / file
    if not all(part.is_file() for part in named_files(path)):
        remedy = "write / instead of \\" if "\\" in file else "correct the name or remove the row"
        raise FolderError(f"{place}: there is no file {path}; {remedy}")
    return path, entry if mark else None


def _is_archive(path: Path) -> bool:
    """Does the file hold one group per crystal? False for an unreadable file, which is reported when it is opened."""
    if path.suffix not in ARCHIVE_SUFFIXES:
        return False
    try:
        return choose_format(open_source(path)).name == "archive"
    except FormatError:
        return False
