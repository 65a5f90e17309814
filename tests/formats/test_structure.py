"""Structures that the user gives, and electron counts that do not fit."""

from dataclasses import replace

import ase
import numpy as np
import pytest

from rhonet.core.density import ElectronCount
from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from rhonet.formats.check import build_density
from rhonet.formats.parsing.source import open_source
from tests.synthetic import atoms_of, chgcar_text, random_density

DENSITY = random_density()


@pytest.fixture
def nameless(tmp_path):
    """A VASP 4 file, whose header names no elements."""
    path = tmp_path / "CHGCAR"
    lines = chgcar_text(DENSITY).splitlines(keepends=True)
    path.write_text("".join(lines[:5] + lines[6:]))
    assert read_density(path).atoms is None
    return path


def test_structure_file_supplies_the_atoms(nameless, tmp_path):
    atoms_of(DENSITY).write(tmp_path / "NaCl.extxyz")
    assert str(atoms_of(read_density(nameless, structure=tmp_path / "NaCl.extxyz")).symbols) == "NaCl"


def test_structure_with_another_cell_is_refused(nameless):
    with pytest.raises(FormatError, match="CHGCAR: the structure given has the cell"):
        read_density(nameless, structure=ase.Atoms("NaCl", cell=DENSITY.lattice * 1.01, pbc=True))


def test_own_atoms_win(tmp_path):
    (tmp_path / "CHGCAR").write_text(chgcar_text(DENSITY))
    other = ase.Atoms("H2", cell=DENSITY.lattice, pbc=True)
    assert str(atoms_of(read_density(tmp_path / "CHGCAR", structure=other)).symbols) == "NaCl"


@pytest.mark.parametrize("content", ["nonsense", "2\n\nH 0 0 0\nH 0 0 1\n"])
def test_what_gives_no_cell_is_refused(nameless, tmp_path, content):
    (tmp_path / "h2.xyz").write_text(content)
    with pytest.raises(FormatError, match=r"h2\.xyz: "):
        read_density(nameless, structure=tmp_path / "h2.xyz")


def test_structure_of_unknown_type_is_explained(nameless, tmp_path):
    (tmp_path / "cell.foo").write_text("nonsense")
    with pytest.raises(FormatError, match="ASE knows no such format"):
        read_density(nameless, structure=tmp_path / "cell.foo")


def test_other_electron_count_is_reported(nameless):
    source = open_source(nameless)
    fields = {"values": DENSITY.values, "lattice": DENSITY.lattice, "format": "vasp"}
    assert not build_density(source, **fields, expected_electrons=ElectronCount(8.0, "OUTCAR")).warnings
    (warning,) = build_density(source, **fields, expected_electrons=ElectronCount(9.0, "OUTCAR")).warnings
    assert warning == "Integrates to 8 electrons, but there are 9 according to OUTCAR."
    half = replace(DENSITY, values=DENSITY.values * 8.5 / 8)
    fields["values"] = half.values
    assert not build_density(source, **fields, expected_electrons=ElectronCount(8.5, "OUTCAR")).warnings
    assert np.isfinite(half.values).all()
