"""JSON with large arrays of numbers: each array is read as a whole and not number by number."""

from __future__ import annotations

import json
import math
import re
from typing import Any, NoReturn

import numpy as np

from rhonet.formats.parsing.numerals import shown
from rhonet.formats.parsing.source import Source
from rhonet.formats.parsing.text import TextScanner

MAX_OTHER_BYTES = 16 << 20
_PIECE = 1 << 20
# A bracket and the numbers and brackets behind it. Possessive (*+), so that no content makes the search slow.
_RUN = re.compile(rb"\[[-+0-9.eE,\[\]\s]*+")
_NUMBER_BYTES = b"+-.0123456789eE \t\r\n"
_TO_BLANKS = bytes.maketrans(b"[],", b"   ")


class JsonNumbers:
    """Content of a JSON file in which a reference stands for each array of numbers.

    Memory: the file's text and the arrays that are asked for. Everything else may take 16 MiB.

    Args:
        source: the file.

    Attributes:
        content: what json.loads gives; `array` turns the references in it into arrays.

    Raises:
        FormatError: the content is no JSON, holds NaN or Infinity, is nested too deeply, or holds too much besides
            arrays of numbers.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        self._text = bytearray()
        with source.open() as stream:
            while piece := stream.read(_PIECE):
                self._text += piece
        self._runs: list[tuple[int, int]] = []
        self.content = self._parse()

    def _parse(self) -> Any:
        pieces, size, done = [], 0, 0
        for run in _RUN.finditer(self._text):
            end = self._text.rfind(b"]", run.start(), run.end()) + 1
            if self._text.count(b"[", run.start(), end) != self._text.count(b"]", run.start(), end) or not end:
                continue
            pieces += [self._text[done : run.start()], b"[%d]" % len(self._runs)]
            pieces.append(b"\n" * self._text.count(b"\n", run.start(), end))
            self._runs.append((run.start(), end))
            size += sum(map(len, pieces[-3:]))
            done = end
        pieces.append(self._text[done:])
        if size + len(pieces[-1]) > MAX_OTHER_BYTES:
            raise self._source.error(f"over {MAX_OTHER_BYTES >> 20} MiB of JSON besides arrays of numbers; no density")
        try:
            return json.loads(b"".join(pieces), parse_constant=self._refuse_constant)
        except json.JSONDecodeError as error:
            raise self._source.error(f"is no valid JSON: {error.msg}", line=error.lineno) from None
        except UnicodeDecodeError as error:
            raise self._source.error(f"is no valid JSON: {error}") from None
        except RecursionError:
            raise self._source.error("is nested too deeply for a density") from None

    def _refuse_constant(self, name: str) -> NoReturn:
        raise self._source.error(f"{name} is not a finite number")

    def array(self, place: Any, what: str, *, ndim: int) -> np.ndarray:
        """Array of a value in `content`, which is a nested list or monty's object of a numpy array.

        Args:
            place: that value.
            what: what it is, to begin an error message with.
            ndim: how deep it must be nested.

        Raises:
            FormatError: the value is no array of real numbers, is nested otherwise, has rows of unequal length, or
                holds a number that is too large.
        """
        if isinstance(place, dict) and place.get("@class") == "array":
            if "complex" in str(place.get("dtype")):
                raise self._source.error(f"{what} are complex numbers, expected real ones")
            place = place.get("data")
        is_reference = isinstance(place, list) and len(place) == 1 and type(place[0]) is int
        if not is_reference or not 0 <= place[0] < len(self._runs):
            raise self._source.error(f"{what} should be a list of numbers nested {ndim} deep, with no gap")
        start, end = self._runs[place[0]]
        line = self._text.count(b"\n", 0, start) + 1
        shape = _shape_of(b"".join(piece.translate(None, _NUMBER_BYTES) for piece in self._pieces(start, end)))
        if shape is None or len(shape) != ndim:
            actual = "unequal rows" if shape is None else f"shape {shape}"
            raise self._source.error(f"{what} should be regular and nested {ndim} deep, found {actual}", line=line)
        text = TextScanner(_Blanked(self._text, start, end), self._source, lines_before=line - 1)
        values = text.read_values(math.prod(shape), f"numbers of {what}")
        rest = text.next_filled_line()
        if rest is not None:
            raise text.error(f"more numbers than the {math.prod(shape)} of {what}: {shown(rest)}")
        return values.reshape(shape)

    def _pieces(self, start: int, end: int) -> list[bytearray]:
        return [self._text[first : min(first + _PIECE, end)] for first in range(start, end, _PIECE)]


class _Blanked:
    """Part of a JSON text as a stream, with blanks in place of brackets and commas."""

    def __init__(self, text: bytearray, start: int, end: int) -> None:
        self._text = text
        self._at = start
        self._end = end

    def read(self, size: int) -> bytes:
        """Next bytes, at most `size`; empty at the end."""
        start, self._at = self._at, min(self._at + size, self._end)
        return bytes(self._text[start : self._at].translate(_TO_BLANKS))


def _shape_of(marks: bytes) -> tuple[int, ...] | None:
    """Shape of a nested list of numbers from its brackets and commas alone; None when its rows are unequal."""
    depth = len(marks) - len(marks.lstrip(b"["))
    n_numbers = marks.index(b"]") - depth + 1
    pattern = b"[" + b"," * (n_numbers - 1) + b"]"
    shape = [n_numbers]
    for start in range(depth - 1, 0, -1):
        position, count = start, 0
        while marks.startswith(pattern, position):
            count += 1
            position += len(pattern) + 1
            if marks[position - 1 : position] != b",":
                break
        pattern = b"[" + b",".join([pattern] * count) + b"]"
        shape.insert(0, count)
    return tuple(shape) if pattern == marks else None
