"""Formation energies of crystals, relative to the most stable known structures of the elements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from ase.formula import Formula

from tools.dft.abinit_input import HARD_CUTOFF, cutoff_for
from tools.dft.records import ReferenceRecord
from tools.dft.references import ReferenceEnergies, ReferenceEnergy, bundled_energies

ENERGY = "total_energy_per_atom"
FIRST_SETTINGS = "A"  # of the oldest crystals of the data set: the higher cut-off for all
SETTINGS = "B"  # of new calculations
MOST_BELOW = 1.0  # eV per atom; an element farther below its usual structure is a failed calculation


class Computed(Protocol):
    """A crystal with its energy in eV per atom at a plane-wave cut-off in hartree."""

    @property
    def id(self) -> str: ...
    @property
    def symbols(self) -> tuple[str, ...]: ...
    @property
    def cutoff(self) -> float: ...
    @property
    def energy(self) -> float: ...


@dataclass(frozen=True)
class _Row:
    id: str
    symbols: tuple[str, ...]
    cutoff: float
    energy: float


def lowest_energies(
    base: ReferenceEnergies, references: Iterable[ReferenceRecord], crystals: Iterable[Computed]
) -> dict[tuple[str, str], ReferenceEnergy]:
    """Energy per atom of each element's most stable structure, by element and cut-off.

    An elemental crystal is computed at one cut-off only. If that is the lower one, its energy at the higher cut-off is
    estimated with the reference's energy difference between the two. Elements without a reference have no energy.

    Args:
        base: energies of the usual structures.
        references: further energies of the usual structures.
        crystals: all computed crystals; only elemental ones are used.
    """
    usual = dict(base)
    for reference in references:
        for cutoff, energy in reference.energies.items():
            _lower(usual, reference.element, cutoff, ReferenceEnergy(energy, reference.id))
    lowest = dict(usual)
    for crystal in crystals:
        element, *others = set(crystal.symbols)
        cutoff = f"{crystal.cutoff:g}"
        if others or (element, cutoff) not in usual:
            continue
        _lower(lowest, element, cutoff, ReferenceEnergy(crystal.energy, crystal.id))
        if cutoff == "16" and (element, "20") in usual:
            shift = usual[element, "20"].energy - usual[element, "16"].energy
            _lower(lowest, element, "20", ReferenceEnergy(crystal.energy + shift, crystal.id))
    return lowest


def formation_energy(record: Computed, energies: ReferenceEnergies) -> float | None:
    """Formation energy, eV per atom, with the elements at the crystal's cut-off; None if an element is unknown."""
    keys = [(symbol, f"{record.cutoff:g}") for symbol in record.symbols]
    if any(key not in energies for key in keys):
        return None
    return record.energy - sum(energies[key].energy for key in keys) / len(keys)


def formation_energies(rows: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Formation energies of the crystals of a table, as text by id.

    They refer to the most stable structures of the elements, including the table's elemental crystals. Crystals with
    an element of unknown energy, rows of other settings and rows without a total energy are left out.

    Args:
        rows: of the bundled data set's properties.csv, as text by column.

    Raises:
        ValueError: a row has no formula, or an elemental crystal lies far below the usual structure of its element:
            the formation energies of all compounds of that element would refer to it.
    """
    listed = [row for row in rows if row.get("settings") in (FIRST_SETTINGS, SETTINGS) and row.get(ENERGY)]
    crystals = [_crystal_of(row) for row in listed]
    new = [crystal for crystal, row in zip(crystals, listed, strict=True) if row["settings"] == SETTINGS]
    usual = bundled_energies()
    energies = lowest_energies(usual, (), new)
    for (element, cutoff), lowest in energies.items():
        below = usual[element, cutoff].energy - lowest.energy
        if below > MOST_BELOW:
            raise ValueError(
                f"{lowest.crystal}: lies {below:.2f} eV per atom below {usual[element, cutoff].crystal}, the usual "
                f"structure of {element}; is {ENERGY} that of a failed calculation? Leave the crystal out"
            )
    formation = {crystal.id: formation_energy(crystal, energies) for crystal in crystals}
    return {name: f"{value:.6f}" for name, value in formation.items() if value is not None}


def _crystal_of(row: Mapping[str, str]) -> _Row:
    if not row.get("formula"):
        raise ValueError(f"{row['id']}: has no formula, which its formation energy needs")
    symbols = tuple(Formula(row["formula"]))
    cutoff = HARD_CUTOFF if row["settings"] == FIRST_SETTINGS else cutoff_for(symbols)
    return _Row(row["id"], symbols, cutoff, float(row[ENERGY]))


def _lower(energies: dict[tuple[str, str], ReferenceEnergy], element: str, cutoff: str, new: ReferenceEnergy) -> None:
    """Enters an energy if it is lower than the known one."""
    known = energies.get((element, cutoff))
    if known is None or new.energy < known.energy:
        energies[element, cutoff] = new
