"""properties.csv: its columns and rows as text, and the values of its cells."""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from ase.data import atomic_numbers
from ase.formula import Formula

from rhonet.core.errors import FolderError
from rhonet.core.properties import PROPERTIES, Property
from rhonet.data.dataset_toml import SETTINGS_NAME

TABLE_NAME = "properties.csv"
KEYS = ("id", "file")
MAX_MISTAKES = 100
_MISSING_WORDS = {"-", "--", "?", "n/a", "na", "nan", "none", "null", "unknown"}
_NUMBER_AND_UNIT = re.compile(
    r"(?P<number>[+-]?(\d{1,3}(,\d{3})+(\.\d*)?|\d+[.,]?\d*|[.,]\d+)([eE][+-]?\d+)?)(?P<unit>\s+[^\W\d]\S*|%)?"
)
_SHARE_OF_NUMBERS = 0.9
_SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}


class Mistakes:
    """Mistakes in a folder, in the order in which they were found.

    Attributes:
        texts: the first `MAX_MISTAKES`, one sentence each.
        count: number of all mistakes.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.count = 0

    def add(self, mistake: FolderError | str) -> None:
        """Notes one mistake."""
        self.count += 1
        if len(self.texts) < MAX_MISTAKES:
            self.texts.append(str(mistake))

    @contextmanager
    def noted(self) -> Iterator[None]:
        """Notes a FolderError that the block raises, and suppresses it."""
        try:
            yield
        except FolderError as mistake:
            self.add(mistake)


@dataclass(frozen=True)
class TableRow:
    """One line of the table.

    Attributes:
        place: file and line, as the start of a message.
        line: counted from 1.
        cells: stripped text per column.
    """

    place: str
    line: int
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """The table as text.

    Attributes:
        path: of properties.csv.
        columns: names, in their order.
        rows: those that are not blank, in their order.
    """

    path: Path
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


def read_table(path: Path, mistakes: Mistakes) -> Table:
    """Columns and rows of properties.csv.

    Rows with too few or too many cells are noted as mistakes and left out. Semicolons or tabs as separators, and the
    columns `ID` and `File`, are noted as mistakes but understood, so that a check can continue.

    Raises:
        FolderError: the file is not a text table, is empty, or has no columns id and file.
    """
    lines = _read_cells(path, mistakes)
    if not lines:
        raise FolderError(f"{path}: is empty; write the columns id,file,<property>... and one row per file")
    (_, header), *body = lines
    while header and not header[-1] and not any(any(cells[len(header) - 1 :]) for _, cells in body):
        header.pop()
    columns = [_key_column(path, name, header, mistakes) for name in header]
    for name in KEYS:
        if name not in columns:
            raise FolderError(f"{path}:1: there is no column {name!r} among {', '.join(header)}; add it")
    for name in sorted({name for name in columns if columns.count(name) > 1}):
        what = f"the column {name!r} occurs twice; keep one" if name else "a column has no name; name or remove it"
        mistakes.add(f"{path}:1: {what}")
    if columns.count("") == 1:
        mistakes.add(f"{path}:1: column {columns.index('') + 1} has no name; name or remove it")
    first = {name: columns.index(name) for name in columns if name}
    rows = []
    for line, cells in body:
        place = f"{path}:{line}"
        while len(cells) > len(header) and not cells[-1]:
            cells.pop()
        if len(cells) != len(header):
            mistakes.add(f"{place}: {len(cells)} cells under {len(header)} columns; quote cells that contain commas")
            continue
        rows.append(TableRow(place, line, {name: cells[column] for name, column in first.items()}))
    return Table(path, tuple(first), tuple(rows))


def plain_name(name: str) -> str:
    """Column name as an identifier in lower case, without the unit: "Band gap (eV)" becomes band_gap."""
    bare = re.sub(r"\s*[\[(/].*", "", name).strip()
    return re.sub(r"\W+", "_", bare).strip("_").lower()


def naming_hint(name: str) -> str:
    """How to rename a column that is not an identifier or a known property in another spelling; "" if it is neither."""
    plain = plain_name(name)
    if plain in PROPERTIES and plain != name:
        unit = f" and give it in {PROPERTIES[plain].unit}" if PROPERTIES[plain].unit else ""
        return f"the column {name!r} is not spelled as rhonet does; rename it to {plain}{unit}"
    if not name.isidentifier():
        wanted = f"to {plain}" if plain.isidentifier() else "(letters, digits, underscores)"
        return (
            f"the column {name!r} is no plain name; rename it {wanted}, and declare it in {SETTINGS_NAME} as "
            f"[properties.{plain or 'NAME'}] or list it there under bookkeeping = [{json.dumps(plain or 'NAME')}]"
        )
    return ""


def is_missing_word(cell: str) -> bool:
    """Is the cell a common word for an unknown value, such as n/a?"""
    return cell.lower() in _MISSING_WORDS


def are_numbers(cells: Sequence[str]) -> bool:
    """Are nearly all known cells numbers, with or without units? (The table allows no units.)"""
    known = [cell for cell in cells if cell and not is_missing_word(cell)]
    numbers = [cell for cell in known if _NUMBER_AND_UNIT.fullmatch(cell)]
    return bool(numbers) and len(numbers) >= _SHARE_OF_NUMBERS * len(known)


def number_hint(text: str, unit: str = "") -> str:
    """Remedy for a cell that is not a plain number."""
    if re.fullmatch(r"[+-]?\d{1,3},\d{3}", text):
        return f"write {text.replace(',', '.')}, or {text.replace(',', '')} if the comma separates thousands"
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return f"write {text.replace(',', '.')}"
    if re.fullmatch(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?", text):
        return f"remove the comma between thousands: {text.replace(',', '')}"
    if (match := _NUMBER_AND_UNIT.fullmatch(text)) and match["unit"]:
        return f"no units in cells{f' (it is read in {unit})' if unit else ''}: write {match['number']}"
    return "leave the cell empty where it is not known"


def read_label(place: str, declared: Property, text: str) -> float:
    """Label as a number, NaN for an empty cell; a class with a name may be given by name or number.

    Args:
        place: file and line, as the start of a message.
        declared: the property.
        text: the cell.

    Raises:
        FolderError: the text is not a finite number or not a class of the property, or the value is not allowed.
    """
    if not text:
        return math.nan
    if text in declared.class_names:
        return float(declared.class_names.index(text))
    try:
        value = float(text.replace("_", "?"))
    except ValueError:
        remedy = number_hint(text, declared.unit)
        if declared.kind == "binary" and text.lower() in ("true", "false", "yes", "no"):
            remedy = "write 1 for yes and 0 for no"
        if declared.class_names:
            names = ", ".join(declared.class_names)
            raise FolderError(
                f"{place}: {declared.name} is {text!r}, none of the classes {names}; correct it"
            ) from None
        raise FolderError(f"{place}: {declared.name} is {text!r}, not a number; {remedy}") from None
    if not abs(value) <= np.finfo(np.float32).max:
        raise FolderError(
            f"{place}: {declared.name} is {text}, not a finite number; leave the cell empty where it is not known"
        )
    classes = {"binary": 2, "multiclass": declared.classes}.get(declared.kind)
    if classes is not None and value not in range(classes):
        allowed = "0 or 1" if classes == 2 else f"a whole number from 0 to {classes - 1}"
        raise FolderError(f"{place}: {declared.name} is {text}, but a {declared.kind} label is {allowed}")
    if declared.name == "magnetic_moment" and value < 0:
        raise FolderError(f"{place}: {declared.name} is {text}; up and down are a convention, give the magnitude")
    if declared.transform == "log" and value <= 0:
        raise FolderError(
            f"{place}: {declared.name} is {text}, but it is learned as a logarithm and must be above 0; "
            f'correct it, leave the cell empty, or say transform = "identity" under [properties.{declared.name}] '
            f"in {SETTINGS_NAME}"
        )
    if declared.nonnegative and value < 0:
        raise FolderError(
            f"{place}: {declared.name} is {text}, but is never below 0; correct it, leave the cell empty, or say "
            f"nonnegative = false under [properties.{declared.name}] in {SETTINGS_NAME}"
        )
    return value


def read_formula(place: str, text: str) -> str:
    """The formula as written, "" for an empty cell.

    Raises:
        FolderError: the text is not a chemical formula.
    """
    if not text:
        return ""
    try:
        elements = Formula(text).count()
    except ValueError:
        elements = {}
    if not elements or min(elements.values()) < 1 or not _are_elements(elements):
        raise FolderError(f"{place}: formula {text!r} is no chemical formula; correct it or leave the cell empty")
    return text


def read_system(place: str, text: str) -> str:
    """The chemical system with its elements in alphabetical order, "" for an empty cell.

    Raises:
        FolderError: the text does not consist of elements.
    """
    if text and not _are_elements(text.split("-")):
        raise FolderError(f"{place}: chemical_system {text!r} is not like Cl-Na; correct it or leave the cell empty")
    return "-".join(sorted(set(text.split("-"))))


def _read_cells(path: Path, mistakes: Mistakes) -> list[tuple[int, list[str]]]:
    """Line number and stripped cells of each line that is not blank, including the header."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FolderError(
            f"{path}: is not a comma-separated UTF-8 table: {error}; save it as CSV in UTF-8 (spreadsheets offer both)"
        ) from error
    except OSError as error:
        raise FolderError(f"{path}: cannot be read: {error.strerror}") from error
    head = text.lstrip().partition("\n")[0]
    separator = next((mark for mark in _SEPARATORS if "id" in _cells(head.lower().split(mark))), ",")
    if separator != ",":
        mistakes.add(
            f"{path}:1: the columns are separated by {_SEPARATORS[separator]}, commas are needed; "
            "save the table as comma-separated CSV, with points in its numbers"
        )
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    try:
        return [(reader.line_num, cells) for row in reader if any(cells := _cells(row))]
    except csv.Error as error:
        raise FolderError(
            f"{path}:{reader.line_num}: is not a comma-separated UTF-8 table: {error}; close the quotes"
        ) from error


def _cells(row: Sequence[str]) -> list[str]:
    return [cell.strip() for cell in row]


def _key_column(path: Path, name: str, header: Sequence[str], mistakes: Mistakes) -> str:
    """Name of a column; `ID`, `File` and the like are noted as mistakes and returned in lower case."""
    small = name.lower()
    if name == small or small not in KEYS or small in header:
        return name
    mistakes.add(f"{path}:1: the column {name!r} must be called {small!r}; rename it")
    return small


def _are_elements(symbols: Sequence[str] | Mapping[str, int]) -> bool:
    return all(atomic_numbers.get(symbol, 0) > 0 for symbol in symbols)
