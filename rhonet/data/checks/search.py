"""Density files of a folder, found by their content, and the table that a user fills in for them."""

from __future__ import annotations

import csv
import io
import itertools
import os
import re
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhonet.core.errors import FolderError, FormatError
from rhonet.core.properties import PROPERTIES
from rhonet.core.text import is_printable, printable
from rhonet.data.checks.finding import NOTE, WARNING, Finding, some_of
from rhonet.data.dataset_toml import SETTINGS_NAME
from rhonet.data.folder import ENTRY_MARK, Sample
from rhonet.data.properties_csv import TABLE_NAME
from rhonet.formats import named_files
from rhonet.formats.addition import PLUS
from rhonet.formats.archive import crystal_names
from rhonet.formats.parsing.source import open_source, unpacked_name
from rhonet.formats.table import choose_format

# Structures begin like a CHGCAR.
_STRUCTURES = re.compile(r"POSCAR|CONTCAR|XDATCAR", re.IGNORECASE)
_CHGCAR = re.compile(rb"poscar|Chgcar")
_SUFFIX = re.compile(r"\.(cube?|xsf|json|h5|hdf5|nc|vasp|chgcar|den_fmt|gpw)$", re.IGNORECASE)
# What else one VASP calculation writes; its CHGCAR is the density that counts.
_VASP_PARTS = re.compile(r"(CHG|AECCAR[012]|PARCHG.*|vaspout\.h5|vaspwave\.h5)", re.IGNORECASE)
_VASP_DENSITY = re.compile(r"CHGCAR|CHG|AECCAR[02]", re.IGNORECASE)
# Names that promise a density, and endings of what is only about one.
_DENSITY_NAME = re.compile(
    r"(?<![A-Za-z])(CHGCAR|CHG|AECCAR|PARCHG)(?![A-Za-z])|\.(cube?|b?xsf|den_fmt|gpw|chgcar)$|\.RHO$|_DEN(-etsf)?\.nc$"
    r"|Rho\.grid\.nc$|charge-density.*\.hdf5$|vasp(wave|out)\.h5$",
    re.IGNORECASE,
)
_OTHER_KIND = re.compile(r"\.(png|pdf|svg|jpe?g|txt|md|log|out|csv|toml|ya?ml|py|sh|md5|sha\d+)$", re.IGNORECASE)
_BY_NAME = "told by its name"
_IN_NO_FORMAT = "is in no format that can be read"
_UNNAMEABLE = "no table can name such a file; rename it to plain letters"
_ONLY_A_PART = "is a part of a density only; list it in properties.csv if that part is what you mean"
_ALL_ELECTRON = ("AECCAR0", "AECCAR2")
# Names that every calculation of a code uses: its folder tells which one it is.
_NAMELESS = re.compile(r"(CHGCAR|CHG|AECCAR.*|PARCHG.*|vaspout|vaspwave|charge-density|density|out|DEN)", re.IGNORECASE)


@dataclass(frozen=True)
class Search:
    """What lies below a folder.

    samples: one without labels for each density, in the order of the files' names.
    findings: what looks like a density and was passed by, one sentence for all files with the same reason.
    """

    samples: tuple[Sample, ...]
    findings: tuple[Finding, ...]


def find_densities(folder: Path, *, skip: Collection[Path] = ()) -> Search:
    """Density files below a folder, told by how they begin or, where that fails, by names like CHGCAR or *.cube.

    Only the start of each file is looked at. Of one VASP calculation the CHGCAR is taken, else CHG, else
    AECCAR0+AECCAR2. Links to folders are followed, each folder is visited once; hidden files and folders are
    passed by.

    Args:
        folder: where to look.
        skip: files that are no candidates.
    """
    known = {path.resolve() for path in (*skip, folder / TABLE_NAME, folder / SETTINGS_NAME)}
    entries: list[tuple[Path, str | None]] = []
    passed: dict[tuple[str, str], list[str]] = defaultdict(list)
    for root, names in _walk(folder, passed):
        taken, parts = _without_parts(names)
        for path in (root / name for name in taken):
            inside = path.relative_to(folder).as_posix()
            if path.resolve() in known:
                continue
            format, reason = _format_of(path)
            if format and not is_printable(inside):
                format, reason = "", (WARNING, _UNNAMEABLE)
            if format:
                entries += [(path, entry) for entry in _entries(path, format)]
            if reason:
                passed[reason].append(inside)
        for path in (root / name for name in parts):
            if path.resolve() not in known:
                passed[NOTE, _ONLY_A_PART].append(path.relative_to(folder).as_posix())
    ids = _ids([_long_name(folder, path, entry) for path, entry in entries])
    samples = tuple(
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
    findings = tuple(
        Finding(level, "search", f"{some_of([printable(file) for file in files])}: {reason}")
        for (level, reason), files in passed.items()
    )
    return Search(samples, findings)


def other_parts(path: Path) -> list[str]:
    """Names of the densities beside that of a VASP calculation which `find_densities` passes by for its sake."""
    if not any(_VASP_DENSITY.fullmatch(unpacked_name(file.name)) for file in named_files(path)):
        return []
    if not os.access(path.parent, os.R_OK):
        return []
    own = {file.name for file in named_files(path)}
    names = sorted(file.name for file in path.parent.iterdir() if file.name not in own)
    kept, _ = _without_parts(names)
    return [name for name in kept if all(_VASP_DENSITY.fullmatch(unpacked_name(one)) for one in name.split(PLUS))]


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


def _walk(folder: Path, passed: dict[tuple[str, str], list[str]]) -> Iterator[tuple[Path, list[str]]]:
    """Each folder once with the names of its files; folders that cannot be read go to `passed`."""

    def note(error: OSError) -> None:
        inside = os.path.relpath(error.filename, folder)
        passed[WARNING, f"cannot be read: {error.strerror}; allow reading it"].append(inside)

    seen = {_identity(above) for above in folder.resolve().parents}
    for root, folders, files in os.walk(folder, onerror=note, followlinks=True):
        here = Path(root)
        if (own := _identity(here)) in seen:
            folders.clear()
            continue
        seen.add(own)
        # Links last, so that what they lead to inside keeps its own name.
        shown = sorted(name for name in folders if not name.startswith("."))
        folders[:] = sorted(shown, key=lambda name: (here / name).is_symlink())
        yield here, sorted(name for name in files if not name.startswith("."))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _without_parts(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of one folder, of a VASP calculation only the density that counts; parts where none of it counts."""
    bare = {unpacked_name(name).upper(): name for name in names}
    parts = [name for name in names if _VASP_PARTS.fullmatch(unpacked_name(name))]
    whole = [name for name in names if name not in parts and not _STRUCTURES.search(name)]
    if not parts or "CHGCAR" in bare:
        return whole, []
    if "CHG" in bare:
        return sorted([*whole, bare["CHG"]]), []
    if set(_ALL_ELECTRON) <= set(bare):
        return [*whole, PLUS.join(bare[name] for name in _ALL_ELECTRON)], []
    stored = [name for name in parts if name.lower().endswith(".h5")]
    return sorted([*whole, *stored]), [] if stored else parts


def _format_of(path: Path) -> tuple[str, tuple[str, str] | None]:
    """Format that the file begins like or promises by its name, "" for none; else why not, where that is worth a word.

    Whether it is a density is seen when it is read.

    Returns:
        format, and level and reason of a finding.
    """
    first = named_files(path)[0]
    is_named = bool(_DENSITY_NAME.search(unpacked_name(first.name))) and not _OTHER_KIND.search(first.name)
    if first.exists() and not first.is_file():
        return "", None  # pipes and sockets
    try:
        source = open_source(first)
    except FormatError as error:
        if is_named:
            return _BY_NAME, None
        unreadable = isinstance(error.__cause__, PermissionError)
        return "", (WARNING, _reason(error, first)) if unreadable else None
    try:
        chosen = choose_format(source)
    except FormatError as error:
        if _IN_NO_FORMAT not in str(error):
            return "", (NOTE, _reason(error, first))
        return _BY_NAME if is_named else "", None
    # Any object is JSON; what pymatgen writes names its structure before the long lists of values.
    begins_so = chosen.content(source) and (chosen.name != "chgcar_json" or _CHGCAR.search(source.head))
    return chosen.name if begins_so or is_named else "", None


def _reason(error: FormatError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _entries(path: Path, format: str) -> Sequence[str | None]:
    """Entries of an archive, or one None for a file that holds one density."""
    return crystal_names(path) if format == "archive" else (None,)


def _long_name(folder: Path, path: Path, entry: str | None) -> tuple[str, ...]:
    """Parts of a name, the telling one last: folders, file without suffixes, entry."""
    stem = _SUFFIX.sub("", unpacked_name(path.name)) or path.name
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
    ids: dict[str, None] = {}
    wanted = set(chosen)
    for one in chosen:
        numbered = (f"{one}_{number}" for number in itertools.count(2))
        free = one if one not in ids else next(name for name in numbered if name not in ids and name not in wanted)
        ids[free] = None
    return list(ids)
