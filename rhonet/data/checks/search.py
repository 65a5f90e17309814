"""Search for the density files of a folder by their content, and an empty table for their labels."""

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

# Structure files begin like a CHGCAR.
_STRUCTURES = re.compile(r"POSCAR|CONTCAR|XDATCAR", re.IGNORECASE)
_CHGCAR = re.compile(rb"poscar|Chgcar")
_SUFFIX = re.compile(r"\.(cube?|xsf|json|h5|hdf5|nc|vasp|chgcar|den_fmt|gpw)$", re.IGNORECASE)
# Other density files of a VASP calculation, which are ignored beside its CHGCAR.
_VASP_PARTS = re.compile(r"(CHG|AECCAR[012]|PARCHG.*|vaspout\.h5|vaspwave\.h5)", re.IGNORECASE)
_VASP_DENSITY = re.compile(r"CHGCAR|CHG|AECCAR[02]", re.IGNORECASE)
# Names of density files, and endings of files that are not densities, e.g. pictures of them.
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
# Names that are the same in every calculation of a code: the id is taken from the folder.
_NAMELESS = re.compile(r"(CHGCAR|CHG|AECCAR.*|PARCHG.*|vaspout|vaspwave|charge-density|density|out|DEN)", re.IGNORECASE)


@dataclass(frozen=True)
class Search:
    """Densities below a folder.

    Attributes:
        samples: one per density, without labels, in the order of the files' names.
        findings: files that look like densities but were skipped, one finding for all files with the same reason.
    """

    samples: tuple[Sample, ...]
    findings: tuple[Finding, ...]


def find_densities(folder: Path, *, skip: Collection[Path] = ()) -> Search:
    """Density files below a folder, recognised by their first bytes or else by names like CHGCAR or *.cube.

    Only the start of each file is read. Of a VASP calculation the CHGCAR is taken, or else CHG, or else
    AECCAR0+AECCAR2. Links to folders are followed, but each folder is visited only once. Hidden files and folders
    are skipped.

    Args:
        folder: where to search.
        skip: files to leave out, such as those already in a table.
    """
    known = {path.resolve() for path in (*skip, folder / TABLE_NAME, folder / SETTINGS_NAME)}
    entries: list[tuple[Path, str | None]] = []
    skipped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for root, names in _walk(folder, skipped):
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
                skipped[reason].append(inside)
        for path in (root / name for name in parts):
            if path.resolve() not in known:
                skipped[NOTE, _ONLY_A_PART].append(path.relative_to(folder).as_posix())
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
        for (level, reason), files in skipped.items()
    )
    return Search(samples, findings)


def other_parts(path: Path) -> list[str]:
    """Names of the densities that `find_densities` would take from a VASP calculation if `path` did not exist."""
    if not any(_VASP_DENSITY.fullmatch(unpacked_name(file.name)) for file in named_files(path)):
        return []
    if not os.access(path.parent, os.R_OK):
        return []
    own = {file.name for file in named_files(path)}
    names = sorted(file.name for file in path.parent.iterdir() if file.name not in own)
    kept, _ = _without_parts(names)
    return [name for name in kept if all(_VASP_DENSITY.fullmatch(unpacked_name(part)) for part in name.split(PLUS))]


def write_table(folder: Path, samples: Sequence[Sample]) -> Path:
    """Writes properties.csv with ids and files, and an empty column for each known property.

    Raises:
        FolderError: the table exists already, there is no density to list, or the folder cannot be written to.
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


def _walk(folder: Path, skipped: dict[tuple[str, str], list[str]]) -> Iterator[tuple[Path, list[str]]]:
    """Each folder once, with the names of its files; unreadable folders are added to `skipped`."""

    def note(error: OSError) -> None:
        inside = os.path.relpath(error.filename, folder)
        skipped[WARNING, f"cannot be read: {error.strerror}; allow reading it"].append(inside)

    seen = {_identity(above) for above in folder.resolve().parents}
    for root, folders, files in os.walk(folder, onerror=note, followlinks=True):
        here = Path(root)
        if (own := _identity(here)) in seen:
            folders.clear()
            continue
        seen.add(own)
        # Links come last, so that a folder that a link leads to is found under its own name first.
        shown = sorted(name for name in folders if not name.startswith("."))
        folders[:] = sorted(shown, key=lambda name: (here / name).is_symlink())
        yield here, sorted(name for name in files if not name.startswith("."))


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _without_parts(names: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of a folder with only the best density of a VASP calculation; and its parts if it has no whole density."""
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
    """Format of a file according to its first bytes or its name; whether it holds a density shows when it is read.

    Returns:
        the format, "" for none; and level and reason of a finding, None where the file needs no mention.
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
    # JSON alone does not mean a density; pymatgen's files name the structure before the long lists of values.
    is_recognised = chosen.content(source) and (chosen.name != "chgcar_json" or _CHGCAR.search(source.head))
    return chosen.name if is_recognised or is_named else "", None


def _reason(error: FormatError, path: Path) -> str:
    return str(error).removeprefix(f"{path}: ")


def _entries(path: Path, format: str) -> Sequence[str | None]:
    """Entries of an archive, or (None,) for a file that holds one density."""
    return crystal_names(path) if format == "archive" else (None,)


def _long_name(folder: Path, path: Path, entry: str | None) -> tuple[str, ...]:
    """Parts of a name, the most specific one last: folders, file without suffixes, entry."""
    stem = _SUFFIX.sub("", unpacked_name(path.name)) or path.name
    parts = [*path.relative_to(folder).parent.parts, stem]
    if entry is not None:
        return (*parts, entry)
    if len(parts) > 1 and _NAMELESS.fullmatch(stem):
        return (stem, *parts[:-1])
    return tuple(parts)


def _ids(names: Sequence[tuple[str, ...]]) -> list[str]:
    """Unique ids: the last part of each name, with earlier parts where it is ambiguous, or else with a number."""
    chosen = [parts[-1] for parts in names]
    for length in range(2, max(map(len, names), default=0) + 1):
        counts = Counter(chosen)
        chosen = [
            "_".join(parts[-length:]) if counts[name] > 1 else name for parts, name in zip(names, chosen, strict=True)
        ]
    ids: dict[str, None] = {}
    wanted = set(chosen)
    for name in chosen:
        numbered = (f"{name}_{number}" for number in itertools.count(2))
        free = name if name not in ids else next(new for new in numbered if new not in ids and new not in wanted)
        ids[free] = None
    return list(ids)
