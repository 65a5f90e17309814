"""dataset.toml: the user's description of a folder of densities, and declarations of properties."""

from __future__ import annotations

import dataclasses
import re
import tomllib
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rhonet.core.errors import FolderError
from rhonet.core.properties import Property, find_property
from rhonet.core.text import is_printable

SETTINGS_NAME = "dataset.toml"
ABOUT_KEYS = ("name", "version", "functional", "code", "density", "source", "note")


@dataclass(frozen=True)
class DatasetSettings:
    """Content of dataset.toml.

    Attributes:
        about: values of those `ABOUT_KEYS` that are present.
        bookkeeping: columns of the table that are not properties.
        properties: tables [properties.NAME] as written, not checked yet.
    """

    about: Mapping[str, str]
    bookkeeping: tuple[str, ...]
    properties: Mapping[str, Mapping[str, Any]]


def read_settings(path: Path) -> DatasetSettings:
    """Content of dataset.toml; empty if the file does not exist.

    Raises:
        FolderError: the file is not TOML, or a key outside the property tables is unknown or is not text.
    """
    if not path.exists():
        return DatasetSettings({}, (), {})
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise FolderError(f"{path}: not valid TOML: {error}") from error
    except OSError as error:
        raise FolderError(f"{path}: cannot be read: {error.strerror}") from error
    bookkeeping = tree.pop("bookkeeping", [])
    tables = tree.pop("properties", {})
    if not isinstance(bookkeeping, list) or not all(isinstance(name, str) for name in bookkeeping):
        raise FolderError(f"{path}: bookkeeping must be a list of column names, found {bookkeeping!r}")
    if not isinstance(tables, dict) or not all(isinstance(table, dict) for table in tables.values()):
        raise FolderError(f"{path}: properties must be tables [properties.NAME], found {tables!r}")
    for key, value in tree.items():
        if key not in ABOUT_KEYS:
            known = ", ".join((*ABOUT_KEYS, "bookkeeping", "[properties.NAME]"))
            raise FolderError(f"{path}: unknown setting {key!r}; there are: {known}")
        if not isinstance(value, str):
            raise FolderError(f'{path}: {key} must be text in quotes ({key} = "..."), found {value!r}')
    return DatasetSettings(tree, tuple(bookkeeping), tables)


_PROPERTY_KEYS: dict[str, type] = {
    "symbol": str,
    "unit": str,
    "kind": str,
    "transform": str,
    "intensive": bool,
    "nonnegative": bool,
    "volume_like": bool,
    "loss_weight": float,
    "classes": int,
    "note": str,
}


def declared_properties(
    path: Path, tables: Mapping[str, Mapping[str, Any]], declared: Sequence[Property]
) -> tuple[Property, ...]:
    """`declared`, merged with the tables of dataset.toml.

    Args:
        path: of dataset.toml, for messages.
        tables: [properties.NAME] of it, by name.
        declared: properties that were declared otherwise, e.g. on a command line.

    Raises:
        FolderError: an unknown key, a value that it cannot take, or a unit or kind that contradicts the declared or
            known property of that name.
    """
    own = {item.name: dataclasses.replace(item, unit=canonical_unit(item.unit)) for item in declared}
    for name, table in tables.items():
        values = {key: _property_value(path, name, key, value) for key, value in table.items()}
        if isinstance(names := values.get("classes"), tuple):
            values |= {"classes": len(names), "class_names": names}
        if "unit" in values:
            values["unit"] = canonical_unit(values["unit"])
        try:
            base = find_property(name, tuple(own.values()))
        except ValueError:
            base = None
        try:
            if base is None:
                own[name] = Property(name, **values)
                continue
            for key in ("unit", "kind"):
                if values.get(key, getattr(base, key)) != getattr(base, key):
                    raise FolderError(
                        f"{path}: [properties.{name}] has {key} {table[key]!r}, but {name} has {key} "
                        f"{getattr(base, key)!r}; convert the column, or rename it and declare the new name"
                    )
            own[name] = dataclasses.replace(base, **values)
        except FolderError:
            raise
        except ValueError as error:
            raise FolderError(f"{path}: [properties.{name}]: {error}") from error
    return tuple(own.values())


def _property_value(path: Path, name: str, key: str, value: object) -> Any:
    expected = _PROPERTY_KEYS.get(key)
    if expected is None:
        raise FolderError(f"{path}: [properties.{name}]: unknown key {key!r}; there are: {', '.join(_PROPERTY_KEYS)}")
    if expected is float and type(value) is int:
        value = float(value)
    if key == "classes" and isinstance(value, list):
        if not all(isinstance(label, str) and label == label.strip() != "" and is_printable(label) for label in value):
            raise FolderError(
                f"{path}: [properties.{name}]: classes must be a number or a list of names in quotes, found {value!r}"
            )
        if numbers := [label for label in value if _is_number(label)]:
            raise FolderError(
                f"{path}: [properties.{name}]: the class name {numbers[0]!r} is a number, but a number in a cell is "
                f"the index of a class; give a name with a letter, or classes = {len(value)} and numbers from 0"
            )
        return tuple(value)
    if type(value) is not expected:
        raise FolderError(f"{path}: [properties.{name}]: {key} must be {expected.__name__}, found {value!r}")
    return value


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def canonical_unit(unit: str) -> str:
    """A unit in rhonet's spelling: angstrom^3 and A^3 become Å³, muB becomes µB; no value is converted.

    The angstrom sign (U+212B) and the Greek mu (U+03BC) are replaced by the letters of the known properties' units.
    """
    spelled = unicodedata.normalize("NFC", unit).replace(" ", "").replace("**", "^")
    spelled = re.sub(r"[Aa]ngstr[oö]ms?|A(?=\^)", "Å", spelled)
    spelled = re.sub(r"(mu_?|\u03bc)B", "µB", spelled)
    return spelled.replace("^2", "²").replace("^3", "³")
