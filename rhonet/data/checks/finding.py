"""Findings of the checks of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ERROR, WARNING, NOTE = SEVERITIES = ("error", "warning", "note")
_NAMES_TO_SHOW = 5


@dataclass(frozen=True)
class Finding:
    """One problem of a folder, or a fact worth knowing.

    Attributes:
        level: "error" (training stops or leaves the row out), "warning" (looks wrong) or "note".
        check: name of the check.
        text: one sentence.
        ids: rows that the finding is about.
    """

    level: str
    check: str
    text: str
    ids: tuple[str, ...] = ()


def some_of(names: Sequence[str]) -> str:
    """The first few names, and the number of the others."""
    more = len(names) - _NAMES_TO_SHOW
    return ", ".join(names[:_NAMES_TO_SHOW]) + (f" and {more} more" if more > 0 else "")
