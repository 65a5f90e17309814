"""A folder that one process at a time works in."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def sole_user(lock: Path, refusal: Exception) -> Iterator[None]:
    """Nobody else holds the lock file meanwhile; it goes with the process, however that ends.

    Args:
        lock: made with its folder if need be.
        refusal: what to raise where another process holds it.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise refusal from None
        except OSError:
            pass  # a file system without locks, as some of clusters: nobody can be told apart there
        yield
