"""Core and valence density of one calculation, added on request."""

from dataclasses import replace

import numpy as np
import pytest

from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import chgcar_text, random_density

CORE = random_density(symbols="NaCl", n_electrons=20)
VALENCE = random_density(symbols="NaCl", n_electrons=8, seed=1)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "AECCAR0").write_text(chgcar_text(CORE))
    (tmp_path / "AECCAR2").write_text(chgcar_text(VALENCE))
    return tmp_path


def test_core_and_valence_are_added(folder):
    density = read_density(folder / "AECCAR0+AECCAR2")
    np.testing.assert_allclose(density.values, CORE.values + VALENCE.values, rtol=1e-9)
    assert density.n_electrons == pytest.approx(28)
    assert density.warnings[0] == "Sum of AECCAR0 and AECCAR2."
    assert any("all-electron" in warning for warning in density.warnings)
    assert not any("core electrons only" in warning for warning in density.warnings)


@pytest.mark.parametrize("name", ["AECCAR2", "copy"])
def test_density_is_not_added_to_itself(folder, name):
    (folder / "copy").write_text((folder / "AECCAR2").read_text())
    with pytest.raises(FormatError, match=rf"{name}: is the same density as AECCAR2"):
        read_density(folder / f"AECCAR2+{name}")


def test_overlapping_atoms_are_no_part(folder):
    (folder / "AECCAR1").write_text(chgcar_text(VALENCE))
    with pytest.raises(FormatError, match=r"no part of ρ; add AECCAR0\+AECCAR2"):
        read_density(folder / "AECCAR0+AECCAR1")


def test_core_and_valence_must_make_up_for_the_protons(folder):
    (folder / "AECCAR2").write_text(chgcar_text(random_density(n_electrons=10, seed=1)))
    density = read_density(folder / "AECCAR0+AECCAR2")
    assert density.expected_electrons is not None
    assert density.expected_electrons.count == 28
    assert any("30 electrons, but there are 28" in warning for warning in density.warnings)


def test_parts_must_exist(folder):
    with pytest.raises(FormatError, match=r"AECCAR0\+AECCAR1: .*AECCAR1 is missing"):
        read_density(folder / "AECCAR0+AECCAR1")


def test_file_with_a_plus_in_its_name_is_itself(folder):
    (folder / "AECCAR2").rename(folder / "Na+Cl-.vasp")
    assert read_density(folder / "Na+Cl-.vasp").n_electrons == pytest.approx(8)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (random_density((6, 4, 6), n_electrons=8), "another grid"),
        (replace(VALENCE, lattice=2 * VALENCE.lattice), "another grid or cell"),
        (random_density(blocks=2), "spin-polarised"),
    ],
)
def test_parts_must_fit(folder, other, message):
    (folder / "AECCAR2").write_text(chgcar_text(other))
    with pytest.raises(FormatError, match=message):
        read_density(folder / "AECCAR0+AECCAR2")
