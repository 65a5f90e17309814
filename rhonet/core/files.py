"""Files written whole or not at all, and what a file system refuses."""

from __future__ import annotations

import contextlib
import glob
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rhonet.core.errors import DiskError


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A path beside the given one to write to; the file takes its place once all went well, and goes otherwise.

    What killed processes left there is removed first. The content has reached the disk before it takes the place, so
    that a crash leaves the old file or the new one.

    Raises:
        OSError: it cannot be written; an earlier file is as it was.
    """
    for leftover in path.parent.glob(f".*.partial.{glob.escape(path.name)}"):
        if not _is_running(leftover.name.split(".")[1]):
            leftover.unlink(missing_ok=True)
    partial = path.with_name(f".{os.getpid()}.partial.{path.name}")
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
    except (ValueError, ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all.

    Raises:
        OSError: it cannot be written; an earlier one is as it was.
    """
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


@contextlib.contextmanager
def explain_disk(path: Path, remedy: str) -> Iterator[None]:
    """Errors of the file system inside of it as a DiskError: where, what, and the remedy.

    Args:
        path: what is written inside of it.
        remedy: what the user can do, to end the sentence with.
    """
    try:
        yield
    except OSError as error:
        raise DiskError(f"{path}: cannot be written: {error.strerror or error}; {remedy}") from error


def plain_values(value: Any) -> Any:
    """The same nested value as JSON can hold it: None for NaN and infinities, lists for tuples."""
    if isinstance(value, dict):
        return {key: plain_values(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain_values(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
