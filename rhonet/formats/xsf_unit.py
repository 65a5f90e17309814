"""In which unit an XSF file gives a density: the format itself does not say."""

from __future__ import annotations

from collections.abc import Sequence

import ase

from rhonet.formats.field_names import UNITS, stated_unit
from rhonet.formats.parsing.numerals import shown
from rhonet.formats.parsing.source import Source
from rhonet.formats.units import is_plausible

_WRITERS = {"critic2": "e/bohr³", "pwscf": "e/bohr³"}


def find_unit(
    source: Source, *, mean_times_volume: float, words: Sequence[str], atoms: ase.Atoms | None
) -> tuple[str, str]:
    """Unit of the values, one of `UNITS`, and a sentence that says how it was told.

    In this order: a comment or name states it; only one unit gives a whole number of electrons that the atoms can
    have (from one each to all of theirs); the file names the code that wrote it.

    Args:
        source: the file, for the error message.
        mean_times_volume: integral of the values as they stand, Å³ times their unit.
        words: comments and names of blocks and grids.
        atoms: those of the cell.

    Raises:
        FormatError: none of these tells; the message says how to state the unit.
    """
    stated, unclear = set(), []
    for word in words:
        try:
            stated.add(stated_unit(word))
        except ValueError as error:
            unclear.append(str(error))
    stated.discard(None)
    if len(stated) == 1 and not unclear:
        (unit,) = stated
        return unit, f"Values were taken as {unit}, as the file says."
    if not mean_times_volume > 0:
        return "e/bohr³", "Values were taken as e/bohr³."  # No density in any unit: build_density says so.
    electrons = {unit: mean_times_volume * factor for unit, factor in UNITS.items()}
    fitting = [unit for unit, count in electrons.items() if is_plausible(count, atoms)]
    written = " ".join(words).lower()
    writer, unit = next(((name, unit) for name, unit in _WRITERS.items() if name in written), ("", ""))
    if len(fitting) == 1:
        return fitting[0], f"Values were taken as {fitting[0]}: in no other unit the electrons make a whole number."
    if unit and not stated and not unclear:
        return unit, f"Values were taken as {unit}, the unit of {writer}."
    found = " and ".join(f"{count:.6g} electrons in {unit}" for unit, count in electrons.items())
    said = f" (it says {' and '.join(map(shown, unclear))})" if unclear else ""
    doubt = "both of which are possible" if fitting else "neither of them a whole number that the atoms can have"
    raise source.error(
        f"the unit of its values cannot be told{said}: they integrate to {found}, {doubt}; state it in a first line "
        f"'# e/bohr^3' or '# e/A^3'"
    )
