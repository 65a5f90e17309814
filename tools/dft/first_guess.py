"""First guesses of lattice parameters, from sums of radii or of atomic volumes.

The volume search starts from them. Only the number of its steps depends on them, not the results.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tools.dft.elements import find_element, symbols_in
from tools.dft.families import TRANSITION_METALS
from tools.dft.prototypes import PROTOTYPES

ANIONS = frozenset(symbols_in("O S Se Te F Cl Br I N H"))
NON_METALS = frozenset(symbols_in("C Si Ge Sn Pb N P As Sb Bi O S Se Te F Cl Br I H B"))
TETRAHEDRAL = ("zincblende", "wurtzite", "diamond")
IONIC = ("rocksalt", "CsCl", "fluorite", "perovskite", "ReO3", "antiperovskite", "cuprite", "NiAs")
DEFAULT_IONIC_RADIUS = 1.3
DEFAULT_COVALENT_RADIUS = 1.4
# Volume of the cell relative to the sum of the atomic volumes.
PACKING = {
    "diamond": 1.35,
    "sc": 1.15,
    "halfheusler": 1.02,
    "rocksalt": 0.95,
    "zincblende": 1.2,
    "WC": 0.85,
    "BN": 1.25,
    "AlB2": 0.92,
    "simplehex": 1.05,
    "antiperovskite": 0.93,
}
PACKING_OF_COMPOUNDS = 0.97


def lattice_parameter(prototype: str, elements: Sequence[str]) -> float:
    """First guess of the lattice parameter, Å."""
    if prototype in TETRAHEDRAL and len(elements) <= 2:
        bond = _covalent_radius(elements[0]) + _covalent_radius(elements[-1])
        return bond / 0.6124 if prototype == "wurtzite" else 4 * bond / 3**0.5
    if prototype in IONIC and ANIONS.intersection(elements):
        return _ionic(prototype, elements)
    packing = PACKING.get(prototype, PACKING_OF_COMPOUNDS if len(elements) > 1 else 1.0)
    return _from_volumes(prototype, elements, packing)


def _ionic(prototype: str, elements: Sequence[str]) -> float:
    radii = [_ionic_radius(symbol) for symbol in elements]
    match prototype:
        case "rocksalt" if elements[1] == "N":
            return 2 * (_covalent_radius(elements[0]) * 1.02 + 0.72)
        case "rocksalt" | "ReO3":
            return 2 * (radii[0] + radii[1])
        case "CsCl":
            return 2 / 3**0.5 * (radii[0] + radii[1]) * 1.03
        case "fluorite":
            return 4 / 3**0.5 * (radii[0] + radii[1])
        case "cuprite":
            return 4 / 3**0.5 * (radii[0] * 0.5 + radii[1])
        case "NiAs":
            return _from_volumes(prototype, elements, 0.9)
        case "perovskite":
            octahedra, corners = 2 * (radii[1] + radii[2]), 2**0.5 * (max(radii[0], 0.9) * 1.1 + radii[2])
            return max(octahedra, 0.5 * octahedra + 0.5 * corners)
        case _:  # antiperovskite
            return _antiperovskite(elements, radii)


def _antiperovskite(elements: Sequence[str], radii: Sequence[float]) -> float:
    volume = find_element(elements[0]).atomic_volume + 3 * find_element(elements[2]).atomic_volume
    if elements[2] in symbols_in(TRANSITION_METALS):
        return (volume * 1.05) ** (1 / 3.0)
    return max(2 * (radii[2] + radii[1]), 0.93 * volume ** (1 / 3.0))


def _from_volumes(prototype: str, elements: Sequence[str], packing: float) -> float:
    known = PROTOTYPES[prototype]
    is_compound = len(set(elements)) > 1 and not NON_METALS.isdisjoint(elements)
    atoms = [find_element(symbol) for symbol in known.symbols(elements)]
    volume = sum(atom.compound_volume if is_compound else atom.atomic_volume for atom in atoms)
    return (packing * volume / abs(float(np.linalg.det(known.cell)))) ** (1 / 3.0)


def _ionic_radius(symbol: str) -> float:
    return find_element(symbol).ionic_radius or DEFAULT_IONIC_RADIUS


def _covalent_radius(symbol: str) -> float:
    return find_element(symbol).covalent_radius or DEFAULT_COVALENT_RADIUS
