"""Density files of a folder, found by their content, and the table that a user fills in for them."""

from __future__ import annotations

import csv
import io
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from rhonet.dataset_toml import SETTINGS_NAME, FolderError
from rhonet.folder import ENTRY_MARK, Sample
from rhonet.formats import FormatError, named_files
from rhonet.formats.archive import crystal_names
from rhonet.formats.source import open_source
from rhonet.formats.table import choose_format
from rhonet.properties import PROPERTIES
from rhonet.properties_csv import TABLE_NAME

# Structures begin like a CHGCAR.
_STRUCTURES = re.compile(r"POSCAR|CONTCAR|XDATCAR", re.IGNORECASE)
_CHGCAR = re.compile(rb"poscar|Chgcar")
_PACKED = re.compile(r"\.(gz|gzip|bz2|xz)$", re.IGNORECASE)
_SUFFIX = re.compile(r"\.(cube?|xsf|json|h5|hdf5|nc|vasp|chgcar|den_fmt|gpw)$", re.IGNORECASE)
# What else one VASP calculation writes; its CHGCAR is the density that counts.
_VASP_PARTS = re.compile(r"(CHG|AECCAR[012]|PARCHG.*|vaspout\.h5|vaspwave\.h5)", re.IGNORECASE)
_ALL_ELECTRON = ("AECCAR0", "AECCAR2")
# Names that every calculation of a code uses: its folder tells which one it is.
_NAMELESS = re.compile(r"(CHGCAR|CHG|AECCAR.*|PARCHG.*|vaspout|vaspwave|charge-density|density|out|DEN)", re.IGNORECASE)


def find_densities(folder: Path, *, skip: Collection[Path] = ()) -> tuple[Sample, ...]:
    """One sample without labels for each density below a folder, in the order of their names.

    Only the start of each file is looked at. Of one VASP calculation the CHGCAR is taken, else CHG, else
    AECCAR0+AECCAR2. Hidden files and folders are passed by.

    Args:
        folder: where to look.
        skip: files that are no candidates.
    """
    known = {path.resolve() for path in (*skip, folder / TABLE_NAME, folder / SETTINGS_NAME)}
    entries = []
    for root, names in _walk(folder):
        for name in _without_parts(names):
            path = root / name
            if path.resolve() not in known and (format := _format_of(path)):
                entries += [(path, entry) for entry in _entries(path, format)]
    ids = _ids([_long_name(folder, path, entry) for path, entry in entries])
    return tuple(
        Sample(
            name,
            path.relative_to(folder).as_posix() + (f"{ENTRY_MARK}{entry}" if entry not in (None, name) else ""),
            path,
            entry,
            line=0,
            labels={},
        )
        for name, (path, entry) in zip(ids, entries, strict=True)
    )


def write_table(folder: Path, samples: Sequence[Sample]) -> Path:
    """Writes properties.csv with ids and files, and an empty column for each known property.

    Raises:
        FolderError: there is one already, no density to list, or the folder cannot be written to.
    """
    path = folder / TABLE_NAME
    if not samples:
        raise FolderError(f"{folder}: holds no readable density, so there is no table to write")
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns = [name for name in PROPERTIES if name != "cell_volume"]
    writer.writerow(["id", "file", *columns])
    writer.writerows([sample.id, sample.file, *([""] * len(columns))] for sample in samples)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text.getvalue())
    except FileExistsError:
        raise FolderError(f"{path}: exists and is not overwritten; move it away first") from None
    except OSError as error:
        raise FolderError(f"{path}: cannot be written: {error.strerror}; make the folder writable") from error
    return path


def _walk(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    for root, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        yield Path(root), sorted(name for name in files if not name.startswith("."))


def _without_parts(names: Sequence[str]) -> list[str]:
    """Names of one folder, of a VASP calculation only the density that counts."""
    bare = {_PACKED.sub("", name).upper(): name for name in names}
    parts = {name for name in names if _VASP_PARTS.fullmatch(_PACKED.sub("", name))}
    whole = [name for name in names if name not in parts and not _STRUCTURES.search(name)]
    if not parts or "CHGCAR" in bare:
        return whole
    if "CHG" in bare:
        return sorted([*whole, bare["CHG"]])
    if set(_ALL_ELECTRON) <= set(bare):
        return [*whole, "+".join(bare[name] for name in _ALL_ELECTRON)]
    return sorted([*whole, *(name for name in parts if name.lower().endswith(".h5"))])


def _format_of(path: Path) -> str:
    """Format that the file begins like, "" for none; whether it is a density is seen when it is read."""
    first = named_files(path)[0]
    try:
        source = open_source(first)
        chosen = choose_format(source)
    except FormatError:
        return ""
    # Any object is JSON; what pymatgen writes names its structure before the long lists of values.
    if not chosen.content(source) or (chosen.name == "chgcar_json" and not _CHGCAR.search(source.head)):
        return ""
    return chosen.name


def _entries(path: Path, format: str) -> Sequence[str | None]:
    """Entries of an archive, or one None for a file that holds one density."""
    return crystal_names(path) if format == "archive" else (None,)


def _long_name(folder: Path, path: Path, entry: str | None) -> tuple[str, ...]:
    """Parts of a name, the telling one last: folders, file without suffixes, entry."""
    stem = _SUFFIX.sub("", _PACKED.sub("", path.name)) or path.name
    parts = [*path.relative_to(folder).parent.parts, stem]
    if entry is not None:
        return (*parts, entry)
    if len(parts) > 1 and _NAMELESS.fullmatch(stem):
        return (stem, *parts[:-1])
    return tuple(parts)


def _ids(names: Sequence[tuple[str, ...]]) -> list[str]:
    """The last part of each name, as many parts before it as set it apart, and a number where nothing does."""
    chosen = [name[-1] for name in names]
    for length in range(2, max(map(len, names), default=0) + 1):
        counts = Counter(chosen)
        chosen = ["_".join(name[-length:]) if counts[one] > 1 else one for name, one in zip(names, chosen, strict=True)]
    seen: dict[str, int] = defaultdict(int)
    ids = []
    for one in chosen:
        seen[one] += 1
        ids.append(one if seen[one] == 1 else f"{one}_{seen[one]}")
    return ids
