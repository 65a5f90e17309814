"""A density file as its readers see it: unpacked bytes within bounds, and errors that name the file."""

from __future__ import annotations

import bz2
import gzip
import lzma
import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, TYPE_CHECKING, BinaryIO, cast

import numpy as np

from rhonet.core.errors import FormatError

if TYPE_CHECKING:
    import ase

PACKED_SUFFIXES = (".gz", ".gzip", ".bz2", ".xz", ".zip")
LARGEST_MAGNITUDE = 1e30
HEAD_BYTES = 1 << 16
MAX_UNPACKED_RATIO = 200
FREE_UNPACKED_BYTES = 256 << 20

_PACKERS = {b"\x1f\x8b": "gzip", b"BZh": "bzip2", b"\xfd7zXZ\x00": "xz", b"PK\x03\x04": "zip"}
_FOREIGN_PACKERS = {b"\x28\xb5\x2f\xfd": "zstd", b"7z\xbc\xaf": "7z", b"\x1f\x9d": "compress"}
_NAMES_TO_SHOW, _CHARACTERS_TO_SHOW = 3, 60


def unpacked_name(name: str) -> str:
    """File name without the suffix of the packer."""
    return next((name[: -len(end)] for end in PACKED_SUFFIXES if name.lower().endswith(end)), name)


def _open_zip(path: Path, mode: str) -> IO[bytes]:
    """The only member of a zip file; the folder __MACOSX, which macOS adds, is ignored."""
    assert mode == "rb"
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if len(names) != 1:
            shown = ", ".join(ascii(name[:_CHARACTERS_TO_SHOW]) for name in names[:_NAMES_TO_SHOW]) + (
                ", ..." if len(names) > _NAMES_TO_SHOW else ""
            )
            raise FormatError(f"{path}: a zip file of {len(names)} files ({shown}), expected one; unpack it first")
        return archive.open(names[0])


_OPENERS = {"": open, "gzip": gzip.open, "bzip2": bz2.open, "xz": lzma.open, "zip": _open_zip}


@dataclass(frozen=True)
class Source:
    """One file, unpacked on the fly if its first bytes (not its name) are those of a gzip, bzip2, xz or zip file.

    Attributes:
        path: the file.
        packer: "gzip", "bzip2", "xz", "zip", or "" for a plain file.
        max_bytes: longest possible content: the size of a plain file, the limit of a packed one.
        head: the first 64 KiB of the content.
        structure: cell and atoms from the user, for formats that hold none; None where the user gave none.
    """

    path: Path
    packer: str
    max_bytes: int
    head: bytes
    structure: ase.Atoms | None = None

    @property
    def name(self) -> str:
        """File name without the suffix of the packer."""
        return unpacked_name(self.path.name)

    def open(self) -> ContentStream:
        """Content from its start, for a `with` statement.

        Raises:
            FormatError: the file cannot be read, or is damaged or encrypted.
        """
        return ContentStream(self.path, self.packer, self.max_bytes)

    def error(self, message: str, *, line: int | None = None) -> FormatError:
        """Error that names this file, and the line when there is one."""
        return FormatError(f"{self.path}:{line}: {message}" if line else f"{self.path}: {message}")


class ContentStream:
    """Unpacked content of a file, read front to back.

    A packed file may unpack to 256 MiB, or to 200 times its size if that is more; packing makes real densities 3 to 30
    times smaller. A file that unpacks to more is refused as a decompression bomb.

    Args:
        path: the file.
        packer: as `Source` has it.
        max_bytes: as `Source` has it; enforced for packed files.

    Raises:
        FormatError: from any method, where the file cannot be read, is damaged or unpacks to too much.
    """

    def __init__(self, path: Path, packer: str, max_bytes: int) -> None:
        self._path = path
        self._packer = packer
        self._max_bytes = max_bytes
        self._served = 0
        try:
            self._file = cast(BinaryIO, _OPENERS[packer](path, "rb"))
        except OSError as error:
            raise _unreadable(path, error) from error
        except (zipfile.BadZipFile, NotImplementedError, RuntimeError, ValueError) as error:
            if isinstance(error, FormatError):
                raise
            raise FormatError(
                f"{path}: damaged or encrypted {packer} data ({str(error)[:_CHARACTERS_TO_SHOW]})"
            ) from error

    def __enter__(self) -> ContentStream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def read(self, size: int) -> bytes:
        """Next bytes, at most `size`; empty at the end of the content.

        Raises:
            FormatError: the file cannot be read, is damaged or truncated, or unpacks to too much.
        """
        try:
            data = self._file.read(size)
        except EOFError as error:
            raise FormatError(f"{self._path}: its {self._packer} data end early; the file looks truncated") from error
        except (OSError, zlib.error, lzma.LZMAError, zipfile.BadZipFile) as error:
            if self._packer and getattr(error, "errno", None) is None:
                raise FormatError(f"{self._path}: damaged {self._packer} data ({error})") from error
            raise _unreadable(self._path, error) from error
        self._served += len(data)
        if self._packer and self._served > self._max_bytes:
            raise FormatError(
                f"{self._path}: unpacks to more than {self._max_bytes >> 20} MiB, over {MAX_UNPACKED_RATIO} times its "
                f"size; unpack it yourself if you trust it"
            )
        return data


def open_source(path: Path, *, structure: ase.Atoms | None = None) -> Source:
    """The file with its packer, its largest possible content and its first bytes.

    Args:
        path: the file.
        structure: its cell and atoms, if the user gave them.

    Raises:
        FormatError: the file does not exist, is a folder or a pipe, cannot be read, is empty or damaged, or is packed
            with something other than gzip, bzip2, xz or zip.
    """
    try:
        if path.is_dir():
            raise FormatError(f"{path}: is a folder, expected a density file")
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise FormatError(
                f"{path}: is a pipe; give the file itself, packed files (gzip, bzip2, xz, zip) need no unpacking"
            )
        size = status.st_size
        with path.open("rb") as file:
            magic = file.read(8)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not magic:
        raise FormatError(f"{path}: the file is empty")
    for signature, foreign in _FOREIGN_PACKERS.items():
        if magic.startswith(signature):
            raise FormatError(
                f"{path}: packed with {foreign}; unpack it first (gzip, bzip2, xz and zip need no unpacking)"
            )
    packer = next((name for signature, name in _PACKERS.items() if magic.startswith(signature)), "")
    max_bytes = unpacked_limit(size) if packer else size
    with ContentStream(path, packer, max_bytes) as content:
        head = content.read(HEAD_BYTES)
    if not head:
        raise FormatError(f"{path}: unpacks to nothing")
    if head[257:262] == b"ustar":
        raise FormatError(f"{path}: is a tar archive; unpack it first")
    packers = (_PACKERS | _FOREIGN_PACKERS).items()
    if packer and (inner := next((name for signature, name in packers if head.startswith(signature)), "")):
        raise FormatError(f"{path}: holds {inner} data in {packer} data; unpack it once")
    return Source(path=path, packer=packer, max_bytes=max_bytes, head=head, structure=structure)


def unpacked_limit(packed_bytes: int) -> int:
    """Number of bytes that a packed file of that size may unpack to."""
    return max(FREE_UNPACKED_BYTES, MAX_UNPACKED_RATIO * packed_bytes)


def _unreadable(path: Path, error: Exception) -> FormatError:
    return FormatError(f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}")


def check_magnitude(source: Source, values: np.ndarray, *, what: str) -> None:
    """Checks that no value is beyond any quantity of a crystal, as those of damaged data and fill values (1e36) are.

    Args:
        source: the file.
        values: numbers, any shape.
        what: their name in the file.

    Raises:
        FormatError: a value is not finite or larger than 1e30.
    """
    if not values.size:
        return
    lowest, highest = float(values.min()), float(values.max())
    if not (np.isfinite(lowest) and np.isfinite(highest)):
        raise source.error(f"{what} holds values that are not finite")
    if max(-lowest, highest) > LARGEST_MAGNITUDE:
        raise source.error(f"{what} holds values up to {max(-lowest, highest):.3g}; it is damaged or was never written")
