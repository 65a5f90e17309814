"""Counts and names as people read them, on one line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence

# Control characters, line breaks, and the bytes of a file name that are no UTF-8.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def counted(number: int, noun: str, plural: str = "") -> str:
    """ "1 atom", "2 atoms"; `plural` where it is not the noun with an s."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def spaced(name: str) -> str:
    """Name of a property as a text has it: "band gap"."""
    return name.replace("_", " ")


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Table in Markdown, a line each for head, rule and rows.

    Args:
        head: names of the columns.
        rows: cells of each row, as many as there are columns.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def printable(text: str) -> str:
    r"""Text on one line: control characters and bytes that are no UTF-8 as escapes like \n and \xff."""
    return _UNPRINTABLE.sub(_escape, text)


def is_printable(text: str) -> bool:
    """Would `printable` leave the text as it is?"""
    return not _UNPRINTABLE.search(text)


def _escape(found: re.Match[str]) -> str:
    if "\udc80" <= found[0] <= "\udcff":
        return f"\\x{os.fsencode(found[0])[0]:02x}"
    return found[0].encode("unicode_escape", "surrogatepass").decode()
