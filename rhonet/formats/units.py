"""Is this number of electrons possible for these atoms, or are the values in another unit than the format's?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rhonet.formats.parsing.numerals import counted
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


def check_amount(
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
