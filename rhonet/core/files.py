"""Files that are written completely or not at all, and readable errors of the file system."""

from __future__ import annotations

import contextlib
import glob
import math
import os
import platform
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rhonet.core.errors import DiskError

# Tells processes of the same number on other machines from ours, where they share a folder.
_MACHINE = f"{zlib.crc32(platform.node().encode()) & 0xFFFF:04x}"


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path to write to, which replaces the given file when the block ends without an error.

    After an error the temporary file is removed. Temporary files of killed processes are removed first. The content
    is flushed to the disk before the replacement, so that a crash leaves either the old file or the new one.

    Raises:
        OSError: the file cannot be written; an existing one is unchanged.
    """
    for leftover in path.parent.glob(f".*@{_MACHINE}.partial.{glob.escape(path.name)}"):
        if not _is_running(leftover.name[1:].partition("@")[0]):
            with contextlib.suppress(OSError):  # not ours, or a folder
                leftover.unlink()
    partial = path.with_name(f".{os.getpid()}@{_MACHINE}.partial.{path.name}")
    try:
        yield partial
        with partial.open("rb") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _is_running(process: str) -> bool:
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except (ValueError, OverflowError, PermissionError):
        pass  # no number of a process, or somebody else's
    return True


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 file completely or not at all.

    Raises:
        OSError: the file cannot be written; an existing one is unchanged.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def explain_disk(path: Path, remedy: str) -> Iterator[None]:
    """Turns an OSError inside the block into a DiskError that names the path, the reason and the remedy.

    Args:
        path: what the block writes.
        remedy: what the user can do, as the end of the message.

    Raises:
        DiskError: the block raised an OSError.
    """
    try:
        yield
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror or error}; {remedy}") from error


def plain_values(value: Any) -> Any:
    """The nested value in JSON's types: None for NaN and infinities, lists for tuples."""
    if isinstance(value, dict):
        return {key: plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
