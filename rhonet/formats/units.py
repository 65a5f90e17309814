"""Is this number of electrons possible for these atoms, or are the values in another unit than the format's?"""

from __future__ import annotations

import contextlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ase.units import Bohr

from rhonet.formats.parsing.numerals import counted, shown
from rhonet.formats.parsing.source import Source

if TYPE_CHECKING:
    import ase

FEWEST_ELECTRONS_PER_ATOM = 0.5
# A number that has nothing to do with electrons is whole within this in one case of a hundred.
WHOLE_TOLERANCE = 0.005


@dataclass(frozen=True)
class OtherUnit:
    """A unit that values are often given in by mistake.

    Args:
        factor: number of electrons in this unit over the number that the format's own unit gives.
        name: what the values then are, to end a sentence with "the values look like".
    """

    factor: float
    name: str


@dataclass(frozen=True)
class Convention:
    """What the values of a format are, and what people take them for.

    Args:
        expected: the format's unit, for messages.
        others: units of files that are wrong.
    """

    expected: str
    others: Sequence[OtherUnit]


def times_volume(volume: float) -> Convention:
    """Convention of VASP and of pymatgen's Chgcar, for a cell of that volume, Å³."""
    from ase.units import Bohr

    return Convention(
        "ρ times the cell volume, as VASP writes it",
        (
            OtherUnit(volume, "e/Å³, already divided by the volume"),
            OtherUnit(volume / Bohr**3, "e/bohr³, already divided by the volume"),
            OtherUnit(Bohr**3, "e/Å³ times the volume in bohr³"),
        ),
    )


def per_cubic_bohr(volume: float) -> Convention:
    """Convention of cube files, for a cell of that volume, Å³."""
    from ase.units import Bohr

    return Convention(
        "e/bohr³ in a cube file, or a comment line that says e/A^3",
        (
            OtherUnit(Bohr**3, "e/Å³"),
            OtherUnit(Bohr**3 / volume, "ρ times the volume, as pymatgen's Chgcar.to_cube writes them"),
        ),
    )


def is_plausible(electrons: float, atoms: ase.Atoms | None) -> bool:
    """A whole number that the atoms can have: from one each to all of theirs."""
    whole = round(electrons)
    if whole < 1 or abs(electrons - whole) > WHOLE_TOLERANCE:
        return False
    return atoms is None or len(atoms) <= whole <= atoms.numbers.sum()


def check_electron_count(
    source: Source,
    *,
    electrons: float,
    is_whole: bool,
    atoms: ase.Atoms,
    convention: Convention | None,
    is_partial: bool,
) -> tuple[str, ...]:
    """Warnings about a number of electrons that these atoms hardly have.

    Args:
        source: the file, for the error messages.
        electrons: integral of the values as read.
        is_whole: is that a whole number, as far as grids integrate?
        atoms: those of the cell.
        convention: the format's unit, None where the unit is beyond doubt.
        is_partial: is the field meant to hold but a part of the electrons?

    Raises:
        FormatError: under half an electron per atom; or a number that another unit, and only that, makes a whole one
            that the atoms can have.
    """
    protons = int(atoms.numbers.sum())
    too_few = electrons < FEWEST_ELECTRONS_PER_ATOM * len(atoms)
    too_many = electrons > 1.1 * protons + 1
    if is_whole and not too_few and not too_many:
        return ()
    found = f"{electrons:.6g} electrons for {counted(len(atoms), 'atom')} with {counted(protons, 'proton')}"
    fitting = [
        unit
        for unit in (convention.others if convention else ())
        if is_plausible(electrons * unit.factor, atoms) and not (is_partial and unit.factor > 1)
    ]
    looks = " or ".join(f"{unit.name}: {counted(round(electrons * unit.factor), 'electron')}" for unit in fitting)
    # Within the possible range, only a number that grows can be told from a density on a coarse grid.
    if convention and (too_many or too_few or any(unit.factor > 1 for unit in fitting)) and fitting:
        raise source.error(f"integrates to {found}; the values look like {looks}; expected {convention.expected}")
    if too_few and not is_partial:
        expected = f"; expected {convention.expected}" if convention else ""
        raise source.error(
            f"integrates to {found}, too few for a density; are its values already divided by the volume or in another "
            f"unit, or is it a spin density?{expected}"
        )
    if too_few:
        return (f"Integrates to {electrons:.6g} electrons, but there are {counted(len(atoms), 'atom')}.",)
    if too_many:
        return (f"Integrates to {electrons:.6g} electrons, but the cell's nuclei hold only {protons} protons.",)
    return (f"The values would rather fit {looks}.",) if fitting else ()


UNITS = {"e/bohr³": 1 / Bohr**3, "e/Å³": 1.0}


_E = r"(?<![A-Za-z0-9])(?:\|e\||el(?:ec(?:trons?)?)?|electrons?|e|1)\s*-?"


_POWER = r"\)?\s*(?:\^|\*\*)?\s*"


_WORD = r"[^\W\d]{1,12}(?:_?0)?|a\.u\."


_DENSITY_UNIT = re.compile(
    rf"{_E}\s*(?:/|\bper\b)\s*\(?\s*(?:({_WORD}){_POWER}3(?![0-9A-Za-z])|cubic\s+([^\W\d]+)|([^\W\d]+)\s+cubed)"
    rf"|{_E}[\s.*·⋅]+({_WORD}){_POWER}\(?-3(?![0-9])"
    rf"|(?<![\w.-])(Å|A(?=\s*[*^])|ang\w*|bohr|a_?0){_POWER}\(?-3(?![0-9])",
    re.IGNORECASE,
)


_ANGSTROM = re.compile(r"Å|A|(?i:ang(?:str[oö]e?ms?|s)?)")


_BOHR = re.compile(r"(?i:bohrs?|a_?0|a\.?u\.?|b)")


def stated_unit(text: str) -> str | None:
    """Unit of a density that the text states, one of `UNITS` (their values: e/Å³); None where it states none.

    Raises:
        ValueError: the text states a unit, but it is none of `UNITS`, may be either, or both stand there; the message
            quotes it.
    """
    units = {}
    for found in _DENSITY_UNIT.finditer(_as_unicode(text)):
        (length,) = filter(None, found.groups())
        if _ANGSTROM.fullmatch(length):
            units["e/Å³"] = found[0]
        elif _BOHR.fullmatch(length):
            units["e/bohr³"] = found[0]
        else:
            raise ValueError(found[0].strip())
    if len(units) > 1:
        raise ValueError(" and ".join(units.values()))
    return next(iter(units), None)


def _as_unicode(text: str) -> str:
    """Text that was read as Latin-1, where it is UTF-8; raised digits and minus signs become plain ones."""
    with contextlib.suppress(UnicodeError):
        text = text.encode("latin-1").decode("utf-8")
    # The bytes of "Å³" in Latin-1 are those of "ų" in UTF-8.
    return unicodedata.normalize("NFKC", text).replace("−", "-").replace("ų", "Å3")


_PYMATGEN = "generated by pymatgen"


@dataclass(frozen=True)
class CubeUnit:
    """Unit of a cube's values.

    Args:
        factor: e/Å³ per unit of the values.
        convention: what else the values may be, None where the file states its unit.
        warnings: how the unit was told, where it is not plain e/bohr³.
    """

    factor: float
    convention: Convention | None = None
    warnings: tuple[str, ...] = ()


def find_cube_unit(
    source: Source, *, mean: float, volume: float, comments: Sequence[str], atoms: ase.Atoms | None
) -> CubeUnit:
    """Unit of the values.

    Args:
        source: the file, for the error message.
        mean: mean of the values as they stand.
        volume: volume of the box, Å³.
        comments: the two comment lines.
        atoms: those of the cell.

    Raises:
        FormatError: the comments state a unit that is not understood, and the number of electrons does not tell it.
    """
    stated, unclear = set(), []
    for comment in comments:
        try:
            stated.add(stated_unit(comment))
        except ValueError as error:
            unclear.append(str(error))
    stated.discard(None)
    fitting = [name for name, factor in UNITS.items() if is_plausible(mean * volume * factor, atoms)]
    if unclear or len(stated) > 1:
        if len(fitting) != 1:
            quoted = " and ".join(map(shown, unclear or sorted(filter(None, stated))))
            raise source.error(
                f"its comment gives the values in {quoted}, and neither e/bohr³ nor e/Å³ is certain; write e/bohr^3 "
                "or e/A^3 there"
            )
        why = f"Values were taken as {fitting[0]}: in no other unit the electrons make a whole number."
        return CubeUnit(UNITS[fitting[0]], None, (why,))
    if stated == {"e/Å³"}:
        return CubeUnit(UNITS["e/Å³"], None, ("Values were taken as e/Å³, as a comment line says.",))
    if stated:
        return CubeUnit(UNITS["e/bohr³"])
    by_pymatgen = _PYMATGEN in comments[0].lower()
    if by_pymatgen and atoms is not None and is_plausible(mean, atoms) and "e/bohr³" not in fitting:
        why = "Values were taken as ρ times the cell volume, as pymatgen's Chgcar.to_cube writes them."
        return CubeUnit(1 / volume, None, (why,))
    return CubeUnit(UNITS["e/bohr³"], per_cubic_bohr(volume))


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
