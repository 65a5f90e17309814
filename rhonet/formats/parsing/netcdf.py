"""netCDF files: the classic layouts are read here, front to back; netCDF-4 is HDF5 and read as such.

Classic layouts (CDF-1, CDF-2 and CDF-5): https://docs.unidata.ucar.edu/netcdf-c/current/file_format_specifications.html.
They are read without a library: a header takes few lines, and packed files, bounds and errors work as for every format.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rhonet.formats.parsing.hdf5 import HDF5_MAGIC, open_hdf5
from rhonet.formats.parsing.source import ContentStream, Source, check_magnitude

CLASSIC_MAGICS = (b"CDF\x01", b"CDF\x02", b"CDF\x05")
MAX_HEADER_BYTES = 16 << 20
_COPY_BYTES = 1 << 20
_DIMENSION, _VARIABLE, _ATTRIBUTE = 10, 11, 12
_CHARACTERS = 2
_TYPES = {1: "i1", 2: "S1", 3: ">i2", 4: ">i4", 5: ">f4", 6: ">f8", 7: "u1", 8: ">u2", 9: ">u4", 10: ">i8", 11: ">u8"}


@dataclass(frozen=True)
class Variable:
    """What a netCDF header says about one variable.

    Attributes:
        shape: its extents, () for a single number.
        texts: its attributes that are texts.
        dtype: type as stored, big-endian; "" in netCDF-4, where HDF5 knows it.
        begin: where its data start in a classic file, bytes.
        record: does it grow with the unlimited dimension? Such variables are not read.
    """

    shape: tuple[int, ...]
    texts: Mapping[str, str]
    dtype: str = ""
    begin: int = 0
    record: bool = False


def read_header(source: Source) -> dict[str, Variable]:
    """Variables of a netCDF file by their names.

    Raises:
        FormatError: the file is no netCDF file, or damaged or truncated.
    """
    if not source.head.startswith(HDF5_MAGIC):
        with source.open() as stream:
            return _ClassicHeader(source, stream).read()
    variables = {}
    with open_hdf5(source) as file:
        for name in file.names():
            if not file.is_dataset(name):
                continue
            texts = {
                key: value.item()
                for key in ("units", "unit", "Description")
                if (value := file.attribute(name, key)) is not None and value.dtype.kind == "U" and value.size == 1
            }
            variables[name] = Variable(file.shape(name), texts)
    return variables


def read_variables(source: Source, header: Mapping[str, Variable], names: Sequence[str]) -> dict[str, np.ndarray]:
    """Values of variables by name, float64; the file is read once, and no further than needed.

    Args:
        source: the file.
        header: its variables, from `read_header`.
        names: which of them to read.

    Raises:
        FormatError: a variable is missing, holds texts or fill values, or is larger than the file can hold.
    """
    for name in names:
        if name not in header:
            raise source.error(f"has no variable {name}")
    if source.head.startswith(HDF5_MAGIC):
        with open_hdf5(source) as file:
            return {name: file.read(name) for name in names}
    arrays = {}
    with source.open() as stream:
        position = 0
        for name in sorted(names, key=lambda name: header[name].begin):
            position += _skip(source, stream, header[name].begin - position)
            values = _read_classic(source, stream, name, header[name])
            position += values.nbytes
            check_magnitude(source, values, what=name)
            arrays[name] = values.astype(np.float64, copy=False)
    return arrays


class _ClassicHeader:
    """Parser of a classic header; each step reads some bytes, so a file of n bytes takes at most n steps."""

    def __init__(self, source: Source, stream: ContentStream) -> None:
        self._source = source
        self._stream = stream
        self._taken = 0
        self._wide = False

    def read(self) -> dict[str, Variable]:
        """Variables by their names; raises FormatError where the header is damaged or truncated."""
        magic = self._take(4)
        if magic not in CLASSIC_MAGICS:
            raise self._source.error("is no netCDF file by its first bytes")
        self._wide = magic[3] == 5
        wide_offsets = magic[3] > 1
        self._number()  # the number of records
        lengths = [self._dimension() for _ in range(self._list(_DIMENSION))]
        self._texts()  # of the file as a whole
        variables = {}
        for _ in range(self._list(_VARIABLE)):
            name = self._name()
            axes = [self._number() for _ in range(self._number())]
            if any(axis >= len(lengths) for axis in axes):
                raise self._source.error(f"the netCDF variable {name} has a dimension that does not exist")
            texts = self._texts()
            kind = self._integer(4)
            self._number()  # its size, which follows from the shape
            begin = self._integer(8 if wide_offsets else 4)
            if kind not in _TYPES:
                raise self._source.error(f"the netCDF variable {name} is of the unknown type {kind}")
            shape = tuple(lengths[axis] for axis in axes)
            variables[name] = Variable(shape, texts, _TYPES[kind], begin, record=0 in shape)
        for name, variable in variables.items():
            if variable.begin < self._taken:
                raise self._source.error(f"the data of {name} overlap the netCDF header; the file is damaged")
        return variables

    def _take(self, size: int) -> bytes:
        self._taken += size
        if self._taken > min(MAX_HEADER_BYTES, self._source.max_bytes):
            raise self._source.error("its netCDF header does not end; the file is damaged or truncated")
        data = self._stream.read(size)
        if len(data) < size:
            raise self._source.error("the file ends within its netCDF header; it looks truncated")
        return data

    def _integer(self, size: int) -> int:
        return int.from_bytes(self._take(size), "big")

    def _number(self) -> int:
        return self._integer(8 if self._wide else 4)

    def _list(self, tag: int) -> int:
        """Length of the list that starts here; an absent one has the tag 0."""
        actual, length = self._integer(4), self._number()
        if actual not in (0, tag) or (actual == 0 and length):
            raise self._source.error(f"its netCDF header is damaged: tag {actual} where {tag} should be")
        return length

    def _padded(self, size: int) -> bytes:
        data = self._take(size)
        self._take(-size % 4)
        return data

    def _name(self) -> str:
        return self._padded(self._number()).decode("utf-8", "replace")

    def _dimension(self) -> int:
        self._name()
        return self._number()

    def _texts(self) -> dict[str, str]:
        texts = {}
        for _ in range(self._list(_ATTRIBUTE)):
            name, kind = self._name(), self._integer(4)
            if kind not in _TYPES:
                raise self._source.error(f"the netCDF attribute {name} is of the unknown type {kind}")
            data = self._padded(self._number() * np.dtype(_TYPES[kind]).itemsize)
            if kind == _CHARACTERS:
                texts[name] = data.decode("utf-8", "replace").strip("\0 ")
        return texts


def _skip(source: Source, stream: ContentStream, size: int) -> int:
    if size < 0:
        raise source.error("its netCDF variables overlap; the file is damaged")
    for done in range(0, size, _COPY_BYTES):
        if not stream.read(min(_COPY_BYTES, size - done)):
            raise source.error("the file ends before its data; it looks truncated")
    return size


def _read_classic(source: Source, stream: ContentStream, name: str, variable: Variable) -> np.ndarray:
    if variable.record:
        raise source.error(f"{name} has an unlimited or empty dimension, which no density has")
    if variable.dtype == "S1":
        raise source.error(f"{name} holds text where numbers should be")
    dtype = np.dtype(variable.dtype)
    size = math.prod(variable.shape) * dtype.itemsize
    if variable.begin + size > source.max_bytes:
        shape = "x".join(map(str, variable.shape)) or "1"
        raise source.error(f"{name} of shape {shape} is more than the file can hold; it is truncated or damaged")
    buffer = np.empty(size, dtype=np.uint8)
    done = 0
    while done < size:
        piece = stream.read(min(_COPY_BYTES, size - done))
        if not piece:
            raise source.error(f"the file ends within {name}; it looks truncated")
        buffer[done : done + len(piece)] = np.frombuffer(piece, dtype=np.uint8)
        done += len(piece)
    values = buffer.view(dtype).reshape(variable.shape)
    return values if dtype.isnative else values.byteswap(inplace=True).view(dtype.newbyteorder("="))
