"""Lines and numbers of a text file, read in pieces; every number is checked."""

from __future__ import annotations

import io
import math
import re
from typing import Protocol

import numpy as np
from pymatgen.optimization.fast_parser import parse_n_doubles

from rhonet.core.errors import FormatError
from rhonet.formats.parsing.numerals import parse_float, shown
from rhonet.formats.parsing.source import Source

CHUNK_BYTES = 1 << 20
MAX_LINE_BYTES = 1 << 16
_BLANK = 32
_NEWLINE = 10


class Readable(Protocol):
    """A stream of bytes: `read` gives the next ones, at most `size`, none at the end."""

    def read(self, size: int) -> bytes: ...


class TextScanner:
    """Reads a text file front to back, line by line or in blocks of numbers.

    Memory: the array that is being filled and about 2 MiB. pymatgen's compiled parser reads the blocks, piece by piece.
    It accepts NaN, two numbers without a blank between them, and a number cut short. The fields of each piece are
    therefore counted; where the count differs or a number is not finite, the piece is read again field by field.

    Args:
        stream: the text.
        source: its file, for error messages.
        lines_before: how many lines of the file come before the text.

    Attributes:
        line: number of the line that was read last, from 1.
    """

    def __init__(self, stream: Readable, source: Source, *, lines_before: int = 0) -> None:
        self._stream = stream
        self._source = source
        self._buffer = b""
        self._at = 0
        self._newlines = lines_before
        self.line = 0

    def error(self, message: str) -> FormatError:
        """Error that names the file and the line that was read last."""
        return self._source.error(message, line=self.line)

    def readline(self) -> str | None:
        """Next line, or the rest of the present one, without its end; None at the end of the file.

        Raises:
            FormatError: the line is longer than any line of a density file.
        """
        end = self._buffer.find(b"\n", self._at)
        while end < 0:
            if len(self._buffer) - self._at > MAX_LINE_BYTES:
                self.line = self._newlines + 1
                raise self.error(f"a line of over {MAX_LINE_BYTES} characters; this is no text file of a density")
            start = len(self._buffer) - self._at
            if not self._fill():
                break
            end = self._buffer.find(b"\n", start)
        self.line = self._newlines + 1
        if end < 0:
            line, self._at = self._buffer[self._at :], len(self._buffer)
            return line.decode("latin-1") if line else None
        line, self._at = self._buffer[self._at : end], end + 1
        self._newlines += 1
        return line.decode("latin-1")

    def next_line(self, expected: str) -> str:
        """Next line.

        Raises:
            FormatError: the file ends here; the message says what was expected.
        """
        line = self.readline()
        if line is None:
            raise self.error(f"the file ends where {expected} should come; it looks truncated")
        return line

    def next_filled_line(self) -> str | None:
        """Next line that is not blank, or None at the end of the file."""
        line = self.readline()
        while line is not None and not line.strip():
            line = self.readline()
        return line

    def read_values(self, count: int, what: str = "grid values", *, columns: int = 1) -> np.ndarray:
        """The next `count` numbers, (count,) float64, over as many lines as they take.

        Args:
            count: of numbers.
            what: their name, for messages.
            columns: after so many numbers one of the same kind comes again: values between indices are printed longer
                than these.

        Raises:
            FormatError: there are too few, one is no number or not finite, or the file ends within the last one.
        """
        self.require_room(count, what)
        values = np.empty(count)
        done = 0
        while done < count:
            segment = self._segment(count - done)
            if not segment:
                self.line = self._newlines + 1
                raise self.error(f"expected {count} {what}, found {done}; the file looks truncated")
            parsed, used = _parse_segment(segment, values[done:])
            if parsed < 0:
                parsed, used = self._parse_fields(segment, values[done:], done=done, count=count, what=what)
            self._newlines += int(np.count_nonzero(np.frombuffer(segment, np.uint8, used) == _NEWLINE))
            self._at += used
            done += parsed
            if done == count:
                self._check_last_field(segment[:used], columns)
        self.line = self._newlines + 1
        return values

    def require_room(self, count: int, what: str) -> None:
        """Checks that the file can hold that many numbers, before memory is taken for them.

        Raises:
            FormatError: it cannot.
        """
        if 2 * count - 1 > self._source.max_bytes:
            raise self.error(
                f"expected {count} {what}, more than the file can hold; it is truncated or its header wrong"
            )

    def _fill(self) -> bool:
        data = self._stream.read(CHUNK_BYTES)
        self._buffer = self._buffer[self._at :] + data
        self._at = 0
        return bool(data)

    def _segment(self, wanted: int) -> bytes:
        """The next whole fields, about as many as wanted and at most one chunk; empty at the end of the file."""
        size = min(CHUNK_BYTES, 40 * wanted + 200)
        at_end = False
        while len(self._buffer) - self._at < size and not at_end:
            at_end = not self._fill()
        end = self._at + size
        if at_end and end >= len(self._buffer):
            return self._buffer[self._at :]
        cut = self._buffer.rfind(b"\n", self._at, end)
        if cut < 0:
            cut = max(self._buffer.rfind(b" ", self._at, end), self._buffer.rfind(b"\t", self._at, end))
        if cut < 0:
            self.line = self._newlines + 1
            raise self.error(f"a field of over {size} characters, expected a number")
        return self._buffer[self._at : cut + 1]

    def _parse_fields(self, segment: bytes, out: np.ndarray, *, done: int, count: int, what: str) -> tuple[int, int]:
        """Reads field by field: takes Fortran's odd numbers, and names a field that is no number."""
        parsed = used = 0
        for field in re.finditer(rb"\S+", segment):
            if parsed == len(out):
                break
            token = field[0].decode("latin-1")
            try:
                out[parsed] = value = parse_float(token)
            except ValueError:
                self.line = self._newlines + segment.count(b"\n", 0, field.start()) + 1
                raise self.error(_explain(token, found=done + parsed, count=count, what=what)) from None
            if not math.isfinite(value):
                self.line = self._newlines + segment.count(b"\n", 0, field.start()) + 1
                raise self.error(f"{shown(token)} is too large for a number")
            parsed += 1
            used = field.end()
        return parsed, used or len(segment)

    def _check_last_field(self, segment: bytes, columns: int) -> None:
        """Refuses a file that ends right behind a number shorter than those before it: it was cut there."""
        if self._at < len(self._buffer) or self._fill():
            return
        fields = segment[-200 * columns :].split()[::-columns][:6]
        last, *before = [len(field.lstrip(b"+-")) for field in fields]
        if before and last < min(before):
            self.line = self._newlines + 1
            raise self.error("the file ends within its last number; it looks truncated (if it is whole, end the line)")


def _parse_segment(segment: bytes, out: np.ndarray) -> tuple[int, int]:
    """Reads the segment into `out`: how many numbers, in how many bytes; (-1, 0) where a field needs a closer look."""
    stream = io.BytesIO(segment)
    parsed = parse_n_doubles(stream, out, len(out))
    used = stream.tell()
    if parsed < len(out) and segment[used:].strip():
        return -1, 0
    blank = np.frombuffer(segment, np.uint8) <= _BLANK
    if used < len(segment) and not blank[used]:
        return -1, 0
    blank = blank[:used]
    fields = int(np.count_nonzero(blank[:-1] > blank[1:])) + (used > 0 and not blank[0])
    if fields != parsed or not np.isfinite(out[:parsed]).all():
        return -1, 0
    return parsed, used if parsed == len(out) else len(segment)


def _explain(token: str, *, found: int, count: int, what: str) -> str:
    if "*" in token:
        return f"{shown(token)} stands for a number that overflowed its column; write the file anew with a wider format"
    if token.lstrip("+-").lower() in ("nan", "inf", "infinity"):
        return f"{shown(token)} is not a finite number"
    if token[:1].isalpha():
        return f"expected {count} {what}, found {found} and then {shown(token)}; the file looks truncated"
    return f"{shown(token)} is not a number ({what}, {found + 1} of {count})"
