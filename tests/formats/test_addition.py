"""Core and valence density of one calculation, added on request."""

from dataclasses import replace

import numpy as np
import pytest

from rhonet.formats import FormatError, read_density
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
