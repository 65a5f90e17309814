"""Text for people: counts, names, tables, and control characters as escapes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

# Control characters, line breaks, and bytes of a file name that are not UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def counted(number: int, noun: str, plural: str = "") -> str:
    """Number and noun: "1 atom", "2 atoms".

    Args:
        number: how many.
        noun: in the singular.
        plural: of the noun, where it is not the noun with an s.
    """
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def spaced(name: str) -> str:
    """Name of a property with spaces: "band gap"."""
    return name.replace("_", " ")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Table in Markdown: lines for the head, the rule and each row.

    Args:
        head: names of the columns.
        rows: cells of each row, as many as there are columns.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def printable(text: str) -> str:
    r"""Text on one line: control characters and bytes that are not UTF-8 become escapes like \n and \xff."""
    return _UNPRINTABLE.sub(_escape, text)


def is_printable(text: str) -> bool:
    """Does `printable` leave the text unchanged?"""
    return not _UNPRINTABLE.search(text)


def _escape(match: re.Match[str]) -> str:
    if "\udc80" <= match[0] <= "\udcff":
        return f"\\x{os.fsencode(match[0])[0]:02x}"
    return match[0].encode("unicode_escape", "surrogatepass").decode()
