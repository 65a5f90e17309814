"""Access to HDF5 files within bounds: only data in the file itself, and only as much as the file can hold."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from rhonet.core.errors import FormatError
from rhonet.formats.parsing.numerals import shown
from rhonet.formats.parsing.source import Source, check_magnitude, unpacked_limit

HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_COPY_BYTES = 1 << 20
_MAX_TEXT_BYTES = 1 << 20
_NAMES_TO_SHOW = 8


class Hdf5File:
    """Groups and datasets by their paths ("results/positions/scale").

    Links to other files, soft links, virtual datasets and data kept in other files are refused: a density file must be
    complete in itself.

    Args:
        source: the file, for error messages.
        file: the same file, open.
        n_bytes: its size once unpacked.

    Raises:
        FormatError: from any method, where h5py meets damage or the path is a link.
    """

    def __init__(self, source: Source, file: h5py.File, n_bytes: int) -> None:
        self._source = source
        self._file = file
        self._n_bytes = n_bytes

    def names(self, path: str = "") -> list[str]:
        """Names of what a group holds, sorted; empty where there is no such group."""
        with _damage_explained(self._source):
            group = self._find(path)
            return sorted(map(str, group)) if isinstance(group, h5py.Group) else []

    def __contains__(self, path: str) -> bool:
        with _damage_explained(self._source):
            return self._find(path) is not None

    def is_dataset(self, path: str) -> bool:
        """Is there a dataset of that path?"""
        with _damage_explained(self._source):
            return isinstance(self._find(path), h5py.Dataset)

    def attribute(self, path: str, name: str) -> np.ndarray | None:
        """Attribute of a group or dataset ("" is the file itself); texts as str; None where there is none."""
        with _damage_explained(self._source):
            holder = self._find(path)
            if holder is None or name not in holder.attrs:
                return None
            value = np.asarray(holder.attrs[name])
            return np.char.decode(value, "utf-8", "replace") if value.dtype.kind == "S" else value

    def shape(self, path: str) -> tuple[int, ...]:
        """Shape of a dataset.

        Raises:
            FormatError: there is no such dataset, or it holds nothing.
        """
        with _damage_explained(self._source):
            return self._dataset(path).shape

    def read(self, path: str, *, dtype: type = np.float64) -> np.ndarray:
        """Numbers of a dataset, in that type; memory is taken only for what the file can hold.

        Raises:
            FormatError: there is no such dataset, it holds no real (or, for an integer type, no whole) numbers, is
                larger than the file allows or incomplete, or holds numbers that are not finite or absurdly large.
        """
        with _damage_explained(self._source):
            dataset = self._dataset(path)
            if dataset.dtype.kind not in ("iu" if np.issubdtype(dtype, np.integer) else "fiu"):
                raise self._source.error(f"{path} holds {dataset.dtype} where numbers should be")
            self._check_extent(dataset, path)
            values = np.asarray(dataset.astype(dtype)[()])
        check_magnitude(self._source, values, what=path)
        return values

    def read_texts(self, path: str) -> list[str]:
        """Texts of a dataset, without the blanks around them.

        Raises:
            FormatError: there is no such dataset, or it holds no texts, or too long ones.
        """
        with _damage_explained(self._source):
            dataset = self._dataset(path)
            if dataset.dtype.kind not in "SO" or dataset.nbytes > min(_MAX_TEXT_BYTES, self._n_bytes):
                raise self._source.error(f"{path} holds {dataset.size} x {dataset.dtype} where a few texts should be")
            values = np.atleast_1d(dataset[()]).ravel()
            return [v.decode("utf-8", "replace").strip() if isinstance(v, bytes) else str(v).strip() for v in values]

    def _find(self, path: str) -> Any:
        """Group or dataset, or None where there is none."""
        node: Any = self._file
        for name in filter(None, path.split("/")):
            if not isinstance(node, h5py.Group):
                return None
            link = node.get(name, getlink=True)
            if link is None:
                return None
            if not isinstance(link, h5py.HardLink):
                raise self._source.error(f"{path} is a link to somewhere else, which is not followed")
            node = node[name]
        return node

    def _dataset(self, path: str) -> Any:
        dataset = self._find(path)
        if not isinstance(dataset, h5py.Dataset):
            raise self._source.error(f"has no dataset {path}")
        if dataset.is_virtual or dataset.external:
            raise self._source.error(f"{path} keeps its data in other files, which are not read")
        if dataset.shape is None:
            raise self._source.error(f"{path} is empty")
        return dataset

    def _check_extent(self, dataset: Any, path: str) -> None:
        """Checks that the file can hold the dataset and does hold all of it."""
        shape = "x".join(map(str, dataset.shape)) or "1"
        packed = dataset.chunks is not None and dataset.id.get_create_plist().get_nfilters() > 0
        limit = unpacked_limit(self._n_bytes) if packed else self._n_bytes
        if dataset.nbytes > limit:
            raise self._source.error(f"{path} of shape {shape} is far larger than the file; it is damaged or truncated")
        if dataset.chunks is None:
            missing = dataset.nbytes > dataset.id.get_storage_size()
        else:
            if np.prod(dataset.chunks, dtype=float) * dataset.dtype.itemsize > limit:
                raise self._source.error(f"{path} comes in chunks far larger than the file; it is damaged")
            n_chunks = np.prod([-(-n // chunk) for n, chunk in zip(dataset.shape, dataset.chunks, strict=True)])
            missing = dataset.id.get_num_chunks() < n_chunks
        if missing:
            raise self._source.error(f"{path} of shape {shape} was never (or not wholly) written")


def shown_names(names: list[str]) -> str:
    """Names of groups as an error message may list them: the first few, shortened and printable."""
    few = ", ".join(shown(name) for name in names[:_NAMES_TO_SHOW])
    return f"{few}, ..." if len(names) > _NAMES_TO_SHOW else few or "nothing"


@contextmanager
def open_hdf5(source: Source) -> Iterator[Hdf5File]:
    """The file, open; a packed one is unpacked to a temporary file, within the limit for packed files.

    Raises:
        FormatError: it is no HDF5 file, or damaged.
    """
    with ExitStack() as stack:
        path = stack.enter_context(_unpacked(source)) if source.packer else source.path
        with _damage_explained(source):
            # Nothing is written, and on network file systems a lock is often not to be had.
            file = stack.enter_context(h5py.File(path, "r", locking=False))
        yield Hdf5File(source, file, path.stat().st_size)


def root_names(source: Source) -> frozenset[str]:
    """Names at the root of an HDF5 file; empty for other files and damaged ones. Cached for the last file."""
    if not source.head.startswith(HDF5_MAGIC):
        return frozenset()
    status = source.path.stat()
    return _root_names(source.path, source.packer, source.max_bytes, (status.st_mtime_ns, status.st_size))


@lru_cache(maxsize=1)
def _root_names(path: Path, packer: str, max_bytes: int, version: tuple[int, int]) -> frozenset[str]:
    del version  # Part of the cache's key, so that a file that was written anew is read anew.
    try:
        with open_hdf5(Source(path=path, packer=packer, max_bytes=max_bytes, head=HDF5_MAGIC)) as file:
            return frozenset(file.names())
    except FormatError:
        return frozenset()


@contextmanager
def _unpacked(source: Source) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(prefix="rhonet-", suffix=".h5") as target:
        with source.open() as content:
            while piece := content.read(_COPY_BYTES):
                target.write(piece)
        target.flush()
        yield Path(target.name)


@contextmanager
def _damage_explained(source: Source) -> Iterator[None]:
    try:
        yield
    except FormatError:
        raise
    except (
        ArithmeticError,
        AttributeError,
        LookupError,
        MemoryError,
        OSError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:  # libhdf5 reports damage by any of these
        reason = str(error).strip().split("\n")[0][:200] or type(error).__name__
        raise source.error(f"damaged HDF5 file: {reason}") from error
