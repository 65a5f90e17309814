"""A lock that gives a folder to one process at a time."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def sole_user(lock: Path, refusal: Exception) -> Iterator[None]:
    """Holds a lock file; the lock ends with the process, even if it is killed.

    Args:
        lock: the file; made with its folder if missing.
        refusal: raised if another process holds the lock.

    Raises:
        Exception: `refusal`.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        except OSError:
            pass  # a file system without locks, as on some clusters: other processes cannot be detected there
        yield
