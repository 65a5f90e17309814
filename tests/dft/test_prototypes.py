"""Prototypes have the right neighbours, compositions and volumes."""

import numpy as np
import pytest

from tools.dft.candidates import candidates
from tools.dft.elements import ELEMENTS
from tools.dft.first_guess import lattice_parameter
from tools.dft.prototypes import PROTOTYPES, hexagonal
from tools.dft.references import bundled_energies, find_reference, wanted_references

TESTED = "Li", "Na", "O"

# Atoms of the prototype's elements A, B, C, and the nearest neighbours of the first atom.
KNOWN = {
    "fcc": ("A", 12),
    "bcc": ("A", 8),
    "sc": ("A", 6),
    "diamond": ("AA", 4),
    "simplehex": ("A", 8),
    "rocksalt": ("AB", 6),
    "zincblende": ("AB", 4),
    "CsCl": ("AB", 8),
    "wurtzite": ("AABB", 4),
    "NiAs": ("AABB", 6),
    "WC": ("AB", 6),
    "L1_0": ("AB", 8),
    "BN": ("AB", 3),
    "fluorite": ("ABB", 8),
    "AlB2": ("ABB", 12),
    "C15": ("AABBBB", 3),
    "ReO3": ("ABBB", 6),
    "cuprite": ("AAAABB", 4),
    "L1_2": ("AAAB", 12),
    "D0_3": ("AAAB", 8),
    "perovskite": ("ABCCC", 12),
    "antiperovskite": ("ABCCC", 12),
    "halfheusler": ("ABC", 4),
    "heusler": ("AABC", 8),
    "invheusler": ("AABC", 8),
    "hcp": ("AA", 6),
}


def neighbours(structure):
    """Of the first atom."""
    distances = structure.distances()[0].ravel()
    return int(np.count_nonzero(distances < distances.min() * 1.001))


@pytest.mark.parametrize("name", PROTOTYPES)
def test_prototype_has_its_composition_and_coordination(name):
    composition, coordination = KNOWN[name]
    prototype = PROTOTYPES[name]
    structure = prototype.build(TESTED, 4.0)
    assert sorted(structure.symbols) == sorted(dict(zip("ABC", TESTED, strict=True))[slot] for slot in composition)
    assert neighbours(structure) == coordination
    assert prototype.n_elements == len(set(composition))
    assert ((structure.positions >= 0) & (structure.positions < 1)).all()


def test_primitive_cells_have_the_volume_of_their_lattice():
    for name, points in {"fcc": 4, "bcc": 2, "sc": 1}.items():
        assert PROTOTYPES[name].build(["Li"], 4.0).volume == pytest.approx(64 / points)
    assert np.linalg.det(hexagonal(1.6)) == pytest.approx(3**0.5 / 2 * 1.6)


def test_first_guess_is_near_known_lattice_parameters():
    known = {
        ("rocksalt", "Na", "Cl"): 5.64,
        ("rocksalt", "Mg", "O"): 4.21,
        ("zincblende", "Ga", "As"): 5.65,
        ("CsCl", "Cs", "Cl"): 4.12,
        ("fluorite", "Ca", "F"): 5.46,
        ("perovskite", "Sr", "Ti", "O"): 3.90,
        ("diamond", "Si"): 5.43,
        ("fcc", "Al"): 4.05,
        ("bcc", "Fe"): 2.87,
        ("L1_2", "Au", "Cu"): 3.97,
        ("antiperovskite", "Sn", "N", "Mn"): 4.06,
        ("wurtzite", "Zn", "O"): 3.25,
        ("ReO3", "Re", "O"): 3.75,
    }
    for (prototype, *elements), expected in known.items():
        assert lattice_parameter(prototype, elements) == pytest.approx(expected, rel=0.09), (prototype, elements)


def test_no_candidate_starts_with_touching_nuclei():
    for one in candidates()[::30]:
        structure = PROTOTYPES[one.prototype].build(one.elements, lattice_parameter(one.prototype, one.elements))
        assert structure.distances().min() > 0.9, one.id


def test_every_element_has_a_reference_and_its_energy():
    references = wanted_references(set(ELEMENTS))
    assert {one.element for one in references} == set(ELEMENTS)
    energies = bundled_energies()
    for one in references:
        assert (one.element, "20") in energies
        assert all(-1e5 < energies[key].energy < 0 for key in energies if key[0] == one.element)


@pytest.mark.parametrize(
    ("element", "distance"),
    [("H", 0.750), ("O", 1.218), ("C", 1.420), ("S", 2.07), ("P", 2.22), ("Ga", 2.48), ("B", 1.67), ("Te", 2.83)],
)
def test_references_have_the_bond_lengths_of_the_element(element, distance):
    # Volumes of solids are first guesses still.
    assert find_reference(element).structure.distances().min() == pytest.approx(distance, rel=0.05)


def test_only_oxygen_gets_moments_of_its_own():
    assert find_reference("O").moments == (1.0, 1.0)
    assert find_reference("N").moments is None
