"""Elements in their usual structures; formation energies refer to their energies."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.dft.elements import ELEMENTS, find_element, symbols_in
from tools.dft.prototypes import BCC, CUBIC, FCC, PROTOTYPES, Structure, hexagonal

TABLE = Path(__file__).with_name("reference_energies.csv")
ID_PREFIX = "reference_"

HCP_RATIOS = {
    "Be": 1.567,
    "Mg": 1.624,
    "Sc": 1.592,
    "Ti": 1.588,
    "Co": 1.622,
    "Zn": 1.856,
    "Y": 1.572,
    "Zr": 1.593,
    "Ru": 1.584,
    "Cd": 1.886,
    "La": 1.613,
    "Lu": 1.585,
    "Hf": 1.582,
    "Re": 1.615,
    "Os": 1.579,
    "Tl": 1.599,
}
BCC_METALS = symbols_in("Li Na K Rb Cs V Cr Fe Nb Mo Ba Ta W")
FCC_SOLIDS = symbols_in("Al Ca Ni Cu Sr Rh Pd Ag Ir Pt Au Pb Mn Ne Ar Kr Xe")
DIAMONDS = symbols_in("Si Ge Sn")
A7_ANGLES = {"As": (54.1, 0.227), "Sb": (57.1, 0.2335), "Bi": (57.23, 0.234)}
A8_RATIOS = {"Se": (1.1355, 0.2254), "Te": (1.330, 0.2633)}
# b/a, c/a and the y, z of site 8f of black phosphorus (A17) and gallium (A11), space group Cmce.
CMCE_SOLIDS = {
    "P": (10.478 / 3.314, 4.376 / 3.314, 0.10168, 0.08056),
    "Ga": (7.657 / 4.519, 4.526 / 4.519, 0.1539, 0.081),
}
BOND_LENGTHS = {"H": 0.750, "N": 1.102, "O": 1.218, "F": 1.413, "Cl": 2.000, "Br": 2.305, "I": 2.68}
LAST = ("molecule", "alphaB12", "cmce")  # computed after the quick ones


@dataclass(frozen=True, eq=False)
class Reference:
    """An elemental calculation.

    Attributes:
        element: symbol.
        kind: of the structure.
        structure: at known or guessed volume.
        fixed: whether only the energy of the given structure is computed (molecules, graphite).
    """

    element: str
    kind: str
    structure: Structure
    fixed: bool = False

    @property
    def id(self) -> str:
        return f"{ID_PREFIX}{self.element}"

    @property
    def moments(self) -> tuple[float, ...] | None:
        """Initial moments, µB per atom, of a reference that has its own (triplet O2); otherwise None."""
        return (1.0, 1.0) if self.element == "O" else None


def find_reference(element: str) -> Reference:
    """Reference of an element; unless it is fixed, its volume is a first guess."""
    find_element(element)
    if element in HCP_RATIOS:
        return _solid(element, "hcp", hexagonal(HCP_RATIOS[element]), _positions_of("hcp"))
    if element in BCC_METALS:
        return _solid(element, "bcc", BCC, _positions_of("bcc"))
    if element in FCC_SOLIDS:
        return _solid(element, "fcc", FCC, _positions_of("fcc"))
    if element in DIAMONDS:
        return _solid(element, "diamond", FCC, _positions_of("diamond"))
    if element in A7_ANGLES:
        angle, u = A7_ANGLES[element]
        return _solid(element, "A7", _rhombohedral(angle), [(u, u, u), (-u, -u, -u)])
    if element in A8_RATIOS:
        ratio, u = A8_RATIOS[element]
        return _solid(element, "A8", hexagonal(ratio), [(u, 0, 1 / 3.0), (0, u, 2 / 3.0), (-u, -u, 0)])
    if element in CMCE_SOLIDS:
        return _solid(element, "cmce", *_cmce(*CMCE_SOLIDS[element]))
    if element in BOND_LENGTHS:
        return _dimer(element)
    return _OTHERS[element]()


def wanted_references(elements: set[str]) -> list[Reference]:
    """References of these elements, in the order to compute them."""
    references = [find_reference(symbol) for symbol in ELEMENTS if symbol in elements]
    return sorted(references, key=lambda reference: reference.kind in LAST)


@dataclass(frozen=True)
class ReferenceEnergy:
    """Energy of an element at one plane-wave cut-off.

    Attributes:
        energy: eV per atom.
        crystal: id of the crystal that has it.
    """

    energy: float
    crystal: str


ReferenceEnergies = Mapping[tuple[str, str], ReferenceEnergy]


def bundled_energies() -> dict[tuple[str, str], ReferenceEnergy]:
    """Energies that the bundled data set uses, by element and cut-off (hartree, as text: "16" or "20")."""
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {
            (row["element"], row["cutoff_hartree"]): ReferenceEnergy(float(row["energy_per_atom"]), row["crystal"])
            for row in csv.DictReader(file)
        }


def _solid(element: str, kind: str, cell: np.ndarray, positions: list[tuple[float, float, float]]) -> Reference:
    volume = find_element(element).atomic_volume * len(positions)
    lattice = cell * (volume / abs(float(np.linalg.det(cell)))) ** (1 / 3.0)
    return Reference(element, kind, _structure(element, lattice, positions))


def _structure(element: str, lattice: np.ndarray, positions: list[tuple[float, float, float]]) -> Structure:
    return Structure(lattice, (element,) * len(positions), np.array(positions, float) % 1)


def _positions_of(prototype: str) -> list[tuple[float, float, float]]:
    return [position for _, position in PROTOTYPES[prototype].sites]


def _rhombohedral(angle: float) -> np.ndarray:
    """Cell with a = b = c = 1 at this angle in degrees."""
    cosine = np.cos(np.radians(angle))
    x, y, z = ((1 - cosine) / 2) ** 0.5, ((1 - cosine) / 6) ** 0.5, ((1 + 2 * cosine) / 3) ** 0.5
    return np.array([[x, -y, z], [0, 2 * y, z], [-x, -y, z]])


def _cmce(b: float, c: float, y: float, z: float) -> tuple[np.ndarray, list[tuple[float, float, float]]]:
    """Primitive cell of the C-centred orthorhombic structure with atoms at 8f (0, y, z), a = 1."""
    cell = np.array([[0.5, 0.5 * b, 0], [-0.5, 0.5 * b, 0], [0, 0, c]])
    sites = ((0, y, z), (0, -y, -z), (0, 0.5 - y, 0.5 + z), (0, 0.5 + y, 0.5 - z))
    fractions = [np.linalg.solve(cell.T, np.array([site[0], site[1] * b, site[2] * c])) % 1 for site in sites]
    return cell, [tuple(fraction) for fraction in fractions]


def _dimer(element: str) -> Reference:
    """Molecule of two atoms along the edge of a cubic box, at least 5.2 Å from its image."""
    bond = BOND_LENGTHS[element]
    edge = max(6.5, 5.2 + bond)
    half = bond / 2 / edge
    return Reference(element, "molecule", _structure(element, CUBIC * edge, [(0, 0, -half), (0, 0, half)]), fixed=True)


def _sulfur_ring() -> Reference:
    """Crown S8 in a box: bonds of 2.07 Å, angles of 108 degrees."""
    box = np.array([9.2, 9.2, 6.2])
    angles = np.arange(8) * np.pi / 4
    heights = 0.5 * (-1.0) ** np.arange(8)
    sites = np.stack([2.368 * np.cos(angles), 2.368 * np.sin(angles), heights], axis=-1) / box
    return Reference("S", "molecule", _structure("S", np.diag(box), [tuple(site) for site in sites]), fixed=True)


def _graphite() -> Reference:
    sites = [(0, 0, 0.25), (0, 0, 0.75), (1 / 3.0, 2 / 3.0, 0.25), (2 / 3.0, 1 / 3.0, 0.75)]
    return Reference("C", "graphite", _structure("C", hexagonal(6.71 / 2.46) * 2.46, sites), fixed=True)


def _boron() -> Reference:
    """Icosahedra of alpha-boron."""
    sites = []
    for x, z in ((0.0103, 0.6573), (0.2211, 0.6300)):
        for site in ((x, x, z), (x, z, x), (z, x, x)):
            sites += [site, (-site[0], -site[1], -site[2])]
    return _solid("B", "alphaB12", _rhombohedral(58.06), sites)


def _mercury() -> Reference:
    return _solid("Hg", "A10", _rhombohedral(70.45), [(0, 0, 0)])


def _indium() -> Reference:
    """Body-centred tetragonal."""
    return _solid("In", "A6", BCC * np.array([1, 1, 1.52]), [(0, 0, 0)])


_OTHERS = {"S": _sulfur_ring, "C": _graphite, "B": _boron, "Hg": _mercury, "In": _indium}
