"""Features of a composition after Magpie, for a baseline without densities. Networks never see them.

Magpie (Ward et al., doi:10.1038/npjcompumats.2016.28) describes a compound by statistics of tabulated properties of its
elements. The tables used here are those of pymatgen, and the covalent radii of ASE.
"""

from __future__ import annotations

import functools
import math
import warnings

import numpy as np
from ase.data import covalent_radii
from ase.formula import Formula
from pymatgen.core import Element

_TABULATED = (
    "Z",
    "mendeleev_no",
    "atomic_mass",
    "group",
    "row",
    "X",
    "melting_point",
    "molar_volume",
    "ionization_energy",
    "electron_affinity",
)
_SUBSHELLS = {"s": 2, "p": 6, "d": 10, "f": 14}
_NOBLE_GASES = (2, 10, 18, 36, 54, 86)
_LARGEST_Z = 103
_N_PROPERTIES = len(_TABULATED) + 1 + 2 * (len(_SUBSHELLS) + 1)
_N_STATISTICS = 5
_NORMS = (2, 3, 5)
N_FEATURES = _N_PROPERTIES * _N_STATISTICS + len(_NORMS) + 1 + len(_SUBSHELLS) + 2


def composition_features(formula: str) -> np.ndarray:
    """Features of a chemical formula, (N_FEATURES,); multiples of a formula have the same features.

    There are five statistics of each property of the elements: mean and mean deviation, both weighted by atomic
    fraction, smallest value, largest value and range. The properties are atomic number, Mendeleev number, mass, group,
    row, electronegativity, melting point, molar volume, ionization energy, electron affinity, covalent radius, and the
    electrons and holes of the s, p, d, f subshells outside of the noble-gas core, with their sums. Further features are
    norms of the fractions, the number of elements, the shares of s, p, d, f among the valence electrons, and the
    largest and mean ionic character of a pair of elements.

    Args:
        formula: such as "Fe2O3".

    Returns:
        The features. All are NaN if the formula is empty or contains a symbol that is no element up to lawrencium.
    """
    counts = Formula(formula).count() if formula else {}
    numbers = [Element(symbol).Z if Element.is_valid_symbol(symbol) else 0 for symbol in counts]
    if not numbers or not all(0 < number <= _LARGEST_Z for number in numbers):
        return np.full(N_FEATURES, np.nan)
    fractions = np.array(list(counts.values()), np.float64)
    fractions /= fractions.sum()
    rows = element_table()[numbers]
    means = fractions @ rows
    deviations = fractions @ np.abs(rows - means)
    smallest, largest = rows.min(axis=0), rows.max(axis=0)
    norms = [float((fractions**power).sum() ** (1 / power)) for power in _NORMS]
    # Numbers of s, p, d and f electrons and their sum, averaged over the atoms.
    *electrons, valence = means[len(_TABULATED) + 1 :][: len(_SUBSHELLS) + 1]
    electronegativity = rows[:, _TABULATED.index("X")]
    ionic = 1 - np.exp(-0.25 * np.subtract.outer(electronegativity, electronegativity) ** 2)
    further = [*norms, len(numbers), *(np.array(electrons) / valence), ionic.max(), fractions @ ionic @ fractions]
    return np.concatenate([means, deviations, smallest, largest, largest - smallest, further])


@functools.cache
def element_table() -> np.ndarray:
    """Properties of the elements, (104, P), with row Z for atomic number Z and row 0 NaN.

    A value that is not tabulated is replaced by the median of the other elements.
    """
    rows = np.full((_LARGEST_Z + 1, _N_PROPERTIES), np.nan)
    for number in range(1, _LARGEST_Z + 1):
        rows[number] = _element_properties(number)
    rows[1:] = np.where(np.isnan(rows[1:]), np.nanmedian(rows[1:], axis=0), rows[1:])
    return rows


def _element_properties(number: int) -> list[float]:
    element = Element.from_Z(number)
    with warnings.catch_warnings():
        # pymatgen warns about each missing value, such as the electronegativity of light noble gases.
        warnings.simplefilter("ignore")
        values = [getattr(element, name) for name in _TABULATED]
    electrons = _valence_electrons(element)
    # An empty subshell has no holes: the empty d states of sodium, for instance, do not matter.
    holes = [_SUBSHELLS[kind] - count if count else 0 for kind, count in electrons.items()]
    tabulated = [math.nan if value is None else float(value) for value in values]
    return [*tabulated, covalent_radii[number], *electrons.values(), sum(electrons.values()), *holes, sum(holes)]


def _valence_electrons(element: Element) -> dict[str, int]:
    """Number of electrons per kind of subshell, outside of the core of the preceding noble gas."""
    core = max((number for number in _NOBLE_GASES if number < element.Z), default=0)
    inside = {(n, kind) for n, kind, _ in Element.from_Z(core).full_electronic_structure} if core else set()
    electrons = dict.fromkeys(_SUBSHELLS, 0)
    for n, kind, count in element.full_electronic_structure:
        if (n, kind) not in inside:
            electrons[kind] += count
    return electrons
