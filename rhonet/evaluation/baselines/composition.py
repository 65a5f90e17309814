"""Features of a composition in the manner of Magpie, for the baseline that descriptors set; never a model input.

Magpie (Ward et al., doi:10.1038/npjcompumats.2016.28) describes a compound by statistics of its elements' tabulated
properties. The tables here are those of pymatgen, and ASE's covalent radii.
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
    """Features of a chemical formula, (N_FEATURES,); the same for multiples of it.

    For each property of the elements: mean and mean deviation, weighted by atomic fraction, smallest and largest
    value and range. The properties: atomic number, Mendeleev number, mass, group, row, electronegativity, melting
    point, molar volume, ionization energy, electron affinity, covalent radius, and the electrons and holes of the
    s, p, d, f subshells outside of the noble-gas core with their sums. Further: norms of the fractions, number of
    elements, shares of s, p, d, f among the valence electrons, largest and mean ionic character of a pair.

    Args:
        formula: such as "Fe2O3".

    Returns:
        NaN throughout where the formula is empty, or names what is no element up to lawrencium.
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
    least, most = rows.min(axis=0), rows.max(axis=0)
    norms = [float((fractions**power).sum() ** (1 / power)) for power in _NORMS]
    # Electrons of s, p, d, f and their sum, as averaged over the atoms.
    *electrons, valence = means[len(_TABULATED) + 1 :][: len(_SUBSHELLS) + 1]
    electronegativity = rows[:, _TABULATED.index("X")]
    ionic = 1 - np.exp(-0.25 * np.subtract.outer(electronegativity, electronegativity) ** 2)
    further = [*norms, len(numbers), *(np.array(electrons) / valence), ionic.max(), fractions @ ionic @ fractions]
    return np.concatenate([means, deviations, least, most, most - least, further])


@functools.cache
def element_table() -> np.ndarray:
    """Properties of the elements, (104, P): row Z for atomic number Z; what no table knows is the median of the rest.

    Row 0 is no element: NaN.
    """
    rows = np.full((_LARGEST_Z + 1, _N_PROPERTIES), np.nan)
    for number in range(1, _LARGEST_Z + 1):
        rows[number] = _element_properties(number)
    rows[1:] = np.where(np.isnan(rows[1:]), np.nanmedian(rows[1:], axis=0), rows[1:])
    return rows


def _element_properties(number: int) -> list[float]:
    element = Element.from_Z(number)
    with warnings.catch_warnings():
        # Light noble gases have no electronegativity, heavy elements no molar volume: pymatgen says so each time.
        warnings.simplefilter("ignore")
        found = [getattr(element, name) for name in _TABULATED]
    electrons = _valence_electrons(element)
    # A subshell that holds no electron counts no holes: empty d states of sodium say nothing about it.
    holes = [_SUBSHELLS[kind] - count if count else 0 for kind, count in electrons.items()]
    tabulated = [math.nan if value is None else float(value) for value in found]
    return [*tabulated, covalent_radii[number], *electrons.values(), sum(electrons.values()), *holes, sum(holes)]


def _valence_electrons(element: Element) -> dict[str, int]:
    """Electrons per kind of subshell outside of the core of the last lighter noble gas."""
    core = max((number for number in _NOBLE_GASES if number < element.Z), default=0)
    inside = {(n, kind) for n, kind, _ in Element.from_Z(core).full_electronic_structure} if core else set()
    electrons = dict.fromkeys(_SUBSHELLS, 0)
    for n, kind, count in element.full_electronic_structure:
        if (n, kind) not in inside:
            electrons[kind] += count
    return electrons
