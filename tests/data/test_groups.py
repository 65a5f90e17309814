"""Structure types of crystals that nobody named."""

import ase
import pytest
from ase.build import bulk

from rhonet.data.groups import MOST_ATOMS, structure_type


def test_type_knows_neither_elements_nor_size_of_the_cell():
    rocksalts = [bulk("NaCl", "rocksalt", 5.6), bulk("MgO", "rocksalt", 4.2, cubic=True)]
    assert {structure_type(atoms) for atoms in rocksalts} == {"AB-225"}
    assert structure_type(bulk("ZnS", "zincblende", 5.4)) == "AB-216"
    assert structure_type(bulk("Si")) == "A-227"


def test_proportions_are_sorted():
    sites = [(0.5,) * 3, (0.5, 0.5, 0), (0,) * 3, (0.5, 0, 0.5), (0, 0.5, 0.5)]
    cubic = ase.Atoms("TiOSrO2", scaled_positions=sites, cell=[3.9] * 3, pbc=True)
    assert structure_type(cubic) == "ABC3-221"


@pytest.mark.parametrize(
    "atoms",
    [None, ase.Atoms(), ase.Atoms("H2", positions=[(0, 0, 0), (0, 0, 1e-4)], cell=[4] * 3), bulk("Cu").repeat(6)],
)
def test_what_has_no_type(atoms):
    assert atoms is None or len(atoms) < 3 or len(atoms) > MOST_ATOMS
    assert structure_type(atoms) == ""
