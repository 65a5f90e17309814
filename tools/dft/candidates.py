"""The list of crystals to compute: the affordable crystals of all families, in random order with a fixed seed.

One chemical system in ten is held out (`is_reserved`), for tests on crystals that no model has seen.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from rhonet.data.groups import chemical_system
from tools.dft.elements import find_element, valence_electrons
from tools.dft.errors import GenerateError
from tools.dft.families import SHARES, families
from tools.dft.prototypes import PROTOTYPES
from tools.pack_crystals import is_reserved

SEED = 20240
SPIN_FACTOR = 1.9
# Largest `cost` that is computed; perovskites may cost more, as they are many and of interest.
LARGEST_COST = {"perovskite": 48, "antiperovskite": 48}
LARGEST_COST_OF_OTHERS = 37


@dataclass(frozen=True)
class Candidate:
    """A crystal that can be computed.

    Attributes:
        id: prototype and elements, such as "rocksalt_Na_Cl".
        family: from which it was drawn, "" for a crystal that the user named.
        prototype: name in `PROTOTYPES`.
        elements: of the prototype's sites A, B, C.
    """

    id: str
    family: str
    prototype: str
    elements: tuple[str, ...]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Symbols of all atoms in the cell."""
        return PROTOTYPES[self.prototype].symbols(self.elements)

    @property
    def chemical_system(self) -> str:
        return chemical_system(self.elements)

    @property
    def held_out(self) -> bool:
        """Does it belong to a chemical system that is reserved for blind tests?"""
        return is_reserved(self.chemical_system)

    @property
    def cost(self) -> float:
        """Valence electrons of the cell, times `SPIN_FACTOR` if it is computed with spin."""
        magnetic = any(find_element(symbol).initial_moment for symbol in self.elements)
        return valence_electrons(self.symbols) * (SPIN_FACTOR if magnetic else 1.0)

    @property
    def seconds(self) -> float:
        """Expected CPU time, from a fit to computed crystals; standard deviation a factor of 1.6."""
        return 4.5 + 0.052 * self.cost**1.93


def candidates(seed: int = SEED) -> list[Candidate]:
    """The whole list with the held-out crystals; any first part of it is a fair sample of the rest."""
    rng = random.Random(seed)
    by_id: dict[str, Candidate] = {}
    for family, crystals in families().items():
        possible = (_candidate(family, *crystal) for crystal in sorted(crystals))
        affordable = [candidate for candidate in possible if _is_affordable(candidate)]
        rng.shuffle(affordable)
        for candidate in affordable[: SHARES[family]]:
            by_id.setdefault(candidate.id, candidate)
    drawn = [by_id[name] for name in sorted(by_id)]
    rng.shuffle(drawn)
    return drawn


def named_candidate(name: str) -> Candidate:
    """Crystal of an id such as rocksalt_Na_Cl or perovskite_Sr_Ti_O; it need not be on the list.

    Raises:
        GenerateError: unknown prototype or element, or a wrong number of elements.
    """
    prototype = next((known for known in PROTOTYPES if name.startswith(f"{known}_")), None)
    if prototype is None:
        raise GenerateError(f"{name!r} starts with no prototype; write PROTOTYPE_A_B..., of {', '.join(PROTOTYPES)}")
    elements = name.removeprefix(f"{prototype}_").split("_")
    for symbol in elements:
        find_element(symbol)
    expected = PROTOTYPES[prototype].n_elements
    if len(elements) != expected:
        raise GenerateError(f"{name!r} names {len(elements)} elements; {prototype} has places for {expected}")
    return _candidate("", prototype, tuple(elements))


def _candidate(family: str, prototype: str, elements: tuple[str, ...]) -> Candidate:
    return Candidate("_".join((prototype, *elements)), family, prototype, elements)


def _is_affordable(candidate: Candidate) -> bool:
    return candidate.cost <= LARGEST_COST.get(candidate.prototype, LARGEST_COST_OF_OTHERS)
