"""Families of plausible compounds: their prototypes and elements, and the share of each family in the list.

No family has elements with open or barely filled 4f shells (Ce, Eu, Gd, Yb, ...): their calculations are slow or
unreliable.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable

from tools.dft.elements import ELEMENTS

# Largest number of candidates of each family; they are drawn at random if there are more.
SHARES = {
    "elemental": 340,
    "rocksalt": 330,
    "zincblende": 270,
    "CsCl": 170,
    "wurtzite": 80,
    "NiAs": 40,
    "WC": 35,
    "hBN": 25,
    "fluorite": 150,
    "antifluorite": 80,
    "AlB2": 60,
    "ReO3": 30,
    "cuprite": 6,
    "B2": 420,
    "L1_0": 220,
    "L1_2": 200,
    "D0_3": 120,
    "B1_B3_inter": 120,
    "C15": 15,
    "perov_hal": 130,
    "perov_24": 110,
    "perov_33": 40,
    "perov_15": 50,
    "antiperov": 70,
    "hh8": 150,
    "hh18": 200,
    "heusler": 120,
    "invheusler": 15,
}

ALKALIS = "Li Na K Rb Cs"
ALKALINE_EARTHS = "Be Mg Ca Sr Ba"
HALOGENS = "F Cl Br I"
CHALCOGENS = "O S Se Te"
PNICTOGENS = "N P As Sb Bi"
TETRELS = "C Si Ge Sn Pb"
MONOVALENT = "Cu Ag Au Tl In"
TRIVALENT = "Al Ga In Tl Sc Y La Lu B Bi"
TRANSITION_METALS = "Sc Y La Lu Ti Zr Hf V Nb Ta Cr Mo W Mn Re Fe Ru Os Co Rh Ir Ni Pd Pt Cu Ag Au"
METALS = (
    "Li Na K Rb Cs Be Mg Ca Sr Ba Al Ga In Tl Sn Pb Sc Y La Lu Ti Zr Hf V Nb Ta Cr Mo W Mn Re Fe Ru Os Co Rh Ir "
    "Ni Pd Pt Cu Ag Au Zn Cd Hg"
)

Elements = tuple[str, ...]
Family = set[tuple[str, Elements]]


def families() -> dict[str, Family]:
    """Prototype and elements of every crystal that could be drawn, by family; the draw depends on the order."""
    return {
        "elemental": _elemental(),
        **_octets(),
        **_pairs_of_metals(),
        **_perovskites(),
        **_heuslers(),
    }


def _choices(*sites: str) -> list[Elements]:
    """All combinations of one element per site."""
    return list(itertools.product(*(site.split() for site in sites)))


def _family(prototype: str, *groups: Iterable[Elements]) -> Family:
    return {(prototype, elements) for group in groups for elements in group}


def _distinct(choices: Iterable[Elements]) -> list[Elements]:
    return [elements for elements in choices if len(set(elements)) == len(elements)]


def _elemental() -> Family:
    prototypes = "fcc bcc hcp sc diamond simplehex"
    solids = " ".join(symbol for symbol in ELEMENTS if symbol not in {"H", "Ne", "Ar", "Kr", "Xe"})
    choices = [*_choices(prototypes, solids), *_choices("fcc", "Ne Ar Kr Xe")]
    return {(prototype, (symbol,)) for prototype, symbol in choices}


def _octets() -> dict[str, Family]:
    """Binary compounds whose valences balance, or almost balance."""
    one = [*_choices(f"{ALKALIS} {MONOVALENT}", HALOGENS), *_choices(ALKALIS, "H")]
    two = _choices(f"{ALKALINE_EARTHS} Mn Fe Co Ni Cu Zn Cd Hg V Cr Pd Pt Sn Pb Ti", CHALCOGENS)
    three = _choices(TRIVALENT, PNICTOGENS)
    four = list(itertools.combinations(TETRELS.split(), 2))
    transition_metals = _choices("Ti V Cr Mn Fe Co Ni Zr Nb Mo Hf Ta W Re Ru Rh Os Ir", "N P As C Si B Sb")
    carbides = _choices("Sc Y La Lu", "C")
    chalcogenides = _choices("Sc Y La Lu Bi In Ga", CHALCOGENS)
    binaries = (one, two, three, transition_metals, four, carbides, chalcogenides, _choices("Zr Hf Nb Ta Mo W", "O S"))
    few_alkalis = [pair for pair in one if pair[0] in f"{MONOVALENT} Li Na".split()]
    divalent = _choices(f"{ALKALINE_EARTHS} Mn Fe Co Ni Cu Zn Cd Hg Pb Sn Pd", f"{HALOGENS} H")
    tetravalent = _choices("Ti Zr Hf Si Ge Sn Pb Mo W Re Ru Os Ir Pt Pd V Nb Ta", CHALCOGENS)
    return {
        "rocksalt": _family("rocksalt", *binaries),
        "zincblende": _family("zincblende", *binaries),
        "CsCl": _family("CsCl", one, two, chalcogenides),
        "wurtzite": _family("wurtzite", two, three, few_alkalis, four),
        "NiAs": _family("NiAs", _choices("Ti V Cr Mn Fe Co Ni Zr Nb Mo Rh Pd Pt Ir", "S Se Te P As Sb Sn Bi")),
        "WC": _family("WC", _choices("Ti Zr Hf V Nb Ta Cr Mo W Re Ru Os Sc", "C N P B")),
        "hBN": _family("BN", three, four[:6]),
        "fluorite": _family("fluorite", divalent, tetravalent),
        "antifluorite": _family(
            "fluorite",
            _choices(CHALCOGENS, f"{ALKALIS} Cu Ag Au Tl"),
            _choices(TETRELS, ALKALINE_EARTHS),
            _choices("Si Ge", "Co Ni Fe"),
            _choices("Au Pt Pd Ni", "Al Ga In"),
            _choices("Co Ni Fe", "Si"),
        ),
        "AlB2": _family(
            "AlB2",
            _choices("Mg Al Ca Sc Y La Lu Ti Zr Hf V Nb Ta Cr Mo W Mn Fe Os Ru Re", "B"),
            _choices("Ca Sr Ba Y La Lu Sc", "Si Ge Ga Al Zn Cu Hg"),
        ),
        "ReO3": _family(
            "ReO3",
            _choices("Re W Mo Nb Ta Ti Ru Os Ir", "O F"),
            _choices("Al Ga In Sc Y V Cr Mn Fe Co Rh", "F"),
            _choices("Cu", "N"),
            _choices("N P", "Li Na K Cu"),
        ),
        "cuprite": _family("cuprite", _choices("Cu Ag Au", "O S F")),
    }


def _pairs_of_metals() -> dict[str, Family]:
    """Intermetallic and similar compounds."""
    metals = METALS.split()
    unordered = list(itertools.combinations(metals, 2))
    ordered = list(itertools.permutations(metals, 2))
    return {
        "B2": _family("CsCl", unordered, _choices(TRANSITION_METALS, "Si Ge As Sb Bi")),
        "L1_0": _family("L1_0", unordered),
        "L1_2": _family("L1_2", ordered, _choices(TRANSITION_METALS, "Si Ge C N")),
        "D0_3": _family("D0_3", ordered, _choices(f"{TRANSITION_METALS} {ALKALIS}", "Si Ge Sb Bi As")),
        "B1_B3_inter": {
            (prototype, (metal, other))
            for prototype, metal, other in _choices("rocksalt zincblende", METALS, "Si Ge Sn Sb Bi As")
        },
        "C15": _family(
            "C15",
            _distinct(
                _choices(
                    "Ca Sr Ba Mg Y La Lu Zr Hf Ti Nb Ta Sc Na K",
                    "Al Mg Cu Ag Au Zn Fe Co Ni Rh Pd Ir Pt Cr V Mn Mo W Be Li Ru Os",
                )
            ),
        ),
    }


def _perovskites() -> dict[str, Family]:
    """Perovskites, by the valences of A and B, and antiperovskites.

    With halogens the valences are 1 and 2; with oxygen and other anions they are 2 and 4, 3 and 3, or 1 and 5.
    """
    in_salts = [
        *_choices("Mg Ca Sr Ba", "O", "Si Ge Sn Pb"),
        *_choices("Mg Ca Sr Ba", "N", "P As Sb Bi"),
        *_choices(ALKALIS, "O S", "Cl Br I F"),
        *_choices("Li Na", "F", "S Se Te O"),
        *(
            (metal, anion, corner)
            for metal, anion, corner in _choices(
                "Sc Ti V Cr Mn Fe Co Ni Y La Zr Pd Rh Pt Lu", "C N B", "Al Ga In Tl Sn Ge Zn Cu Mg Pb Ag Mn Fe Ni Pt"
            )
            if metal != corner
        ),
    ]
    return {
        "perov_hal": _family(
            "perovskite",
            _choices(f"{ALKALIS} Tl", "Be Mg Ca Sr Ba Zn Cd Hg Pb Sn Ge Mn Fe Co Ni Cu V Cr", HALOGENS),
            _choices(ALKALIS, "Mg Ca Sr Ni", "H"),
        ),
        "perov_24": _family(
            "perovskite",
            _distinct(
                _choices(
                    "Mg Ca Sr Ba Pb Cd Sn", "Ti Zr Hf Sn Ge Si V Cr Mn Fe Co Mo Ru Pb Nb Rh Ir Os Re W Ta", "O S Se"
                )
            ),
        ),
        "perov_33": _family(
            "perovskite",
            _distinct(_choices("La Y Lu Bi Sc", "Al Ga In Sc V Cr Mn Fe Co Ni Cu Rh Ti B Y", "O")),
            _choices("La Y", "W Re Mo Ta Nb", "N"),
        ),
        "perov_15": _family("perovskite", _choices(f"{ALKALIS} Ag Tl Cu", "V Nb Ta Sb P As W Mo Re I Bi", "O")),
        "antiperov": _family("antiperovskite", [(corner, anion, metal) for metal, anion, corner in in_salts]),
    }


def _heuslers() -> dict[str, Family]:
    """Half-Heusler compounds with about 8 or 18 valence electrons, full and inverse Heusler compounds."""
    eighteen = [
        ("Ti Zr Hf", "Ni Pd Pt", "Si Ge Sn Pb"),
        ("Ti Zr Hf", "Co Rh Ir", "As Sb Bi P"),
        ("V Nb Ta", "Co Rh Ir", "Si Ge Sn"),
        ("V Nb Ta", "Fe Ru Os", "P As Sb Bi"),
        ("Sc Y La Lu", "Ni Pd Pt", "P As Sb Bi"),
        ("Ti Zr Hf", "Fe Ru Os", "Te Se S"),
        ("Mn Cr Fe V", "Ni Co Cu Pt Pd", "Sb Sn Si Ge Ga As"),
        ("Mg Ca Sr", "Ni Pd Pt Cu Au Ag", "Sb Bi Sn As"),
        ("Mg Al", "Cu Ag Au Ni", "Sb Sn As Ga"),
    ]
    return {
        "hh8": _family(
            "halfheusler",
            _choices("Li Na K Cu Ag Rb", "Be Mg Ca Zn Cd Sr Ba", PNICTOGENS),
            _choices("Li Na K", "Al Ga In B", "Si Ge Sn C"),
        ),
        "hh18": _family("halfheusler", *(_choices(*sites) for sites in eighteen)),
        "heusler": _family(
            "heusler",
            _distinct(
                _choices(
                    "Fe Co Ni Cu Ru Rh Pd Ir Pt Ag Au Mn Li Na K Zn Cd",
                    "Ti V Cr Mn Zr Hf Nb Sc Y Fe Ta La Lu Mg Ca Li Na",
                    "Al Ga In Si Ge Sn Pb Sb As Bi Zn Tl",
                )
            ),
        ),
        "invheusler": _family(
            "invheusler", _distinct(_choices("Mn Cr Ti Fe V Sc", "Co Ni Fe Cu Rh Pt", "Al Ga Si Sn Ge In Sb"))
        ),
    }
