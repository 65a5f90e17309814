"""Numbers as Fortran and C programs print them."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"([+-]?(?:\d+\.?\d*|\.\d+))(?:[eEdD]([+-]?\d+)|([+-]\d{3}))?", re.ASCII)


def parse_float(token: str) -> float:
    """Number as Fortran and C print it: 1.5, .5, 1.5E-3, 1.5D-3, and 0.123-101 for 0.123E-101.

    Raises:
        ValueError: the token is anything else: nan, ***, 1_0, two numbers without a blank between them.
    """
    match = _NUMBER.fullmatch(token)
    if not match or (match[3] and "." not in match[1]):
        raise ValueError(f"{shown(token)} is not a number")
    return float(f"{match[1]}e{match[2] or match[3] or 0}")


def parse_floats(line: str) -> list[float] | None:
    """All fields of a line as numbers; None where a field is no number or the line is blank."""
    try:
        return [parse_float(token) for token in line.split()] or None
    except ValueError:
        return None


def parse_integers(line: str) -> list[int] | None:
    """All fields of a line as whole numbers; None where a field is no whole number or the line is blank."""
    tokens = line.split()
    if not tokens or not all(re.fullmatch(r"[+-]?[0-9]{1,18}", token) for token in tokens):
        return None
    return [int(token) for token in tokens]


def without_comment(line: str) -> str:
    """Line up to the comment that some people write behind its numbers: "1.0  ! scale", "1.0 # scale"."""
    return re.split("[!#]", line, maxsplit=1)[0]


def shown(text: str) -> str:
    """Text from a file as an error message may quote it: short and printable."""
    text = text.strip()
    return ascii(text if len(text) <= 40 else text[:37] + "...")
