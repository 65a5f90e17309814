"""What a file's free text (titles, comments, names of fields) says about the field: which one, in which unit."""

from __future__ import annotations

import re

from ase.units import Bohr

_OTHER_FIELD = re.compile(
    r"(?<![A-Za-z])(potential(?!\s+energy)|orbitals?|MO coefficients?|wave ?functions?|ELF|electron locali[sz]ation"
    r"|laplacian|spin density|density difference|difference density|reduced density gradient)(?![A-Za-z])",
    re.IGNORECASE,
)
_PER = r"(?<![A-Za-z])(?:e(?:lectrons?)?|1)\s*(?:/|per)\s*"
_CUBED = r"\s*(?:\^|\*\*)?\s*(?:3|³)"
_PER_CUBIC_ANGSTROM = re.compile(rf"{_PER}(?:Å|Ã\x85|A|ang(?:strom)?s?){_CUBED}", re.IGNORECASE)
_PER_CUBIC_BOHR = re.compile(rf"{_PER}(?:bohr|a_?0|a\.u\.){_CUBED}", re.IGNORECASE)

UNITS = {"e/bohr³": 1 / Bohr**3, "e/Å³": 1.0}


def other_field(text: str) -> str | None:
    """Field other than a density that the text names ("potential", "elf", ...), or None."""
    found = _OTHER_FIELD.search(text)
    return found[0].lower() if found else None


def stated_unit(text: str) -> str | None:
    """Unit of a density that the text states, one of `UNITS` (their values: e/Å³), or None."""
    if _PER_CUBIC_ANGSTROM.search(text):
        return "e/Å³"
    return "e/bohr³" if _PER_CUBIC_BOHR.search(text) else None
