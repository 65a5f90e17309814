"""CASTEP's formatted densities, with the .cell and .castep files beside them."""

from pathlib import Path

import numpy as np
import pytest

import rhonet.formats.castep as castep_module
from rhonet.core.density import ElectronCount
from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import (
    CUBIC,
    LEFT_HANDED,
    SKEWED,
    atoms_of,
    castep_cell_text,
    castep_text,
    density_of,
    random_density,
    spin_of,
)

DENSITY = random_density()
# Files hold 9 decimals of ρ times the volume, which is about 8, and 7 of the lattice.
DIGITS = 1e-8


@pytest.fixture
def written(tmp_path):
    """Writes a file named rho.den_fmt, and others, and gives its path."""

    def write(text: str, **others: str) -> Path:
        for suffix, content in others.items():
            (tmp_path / f"rho{suffix}").write_text(content)
        path = tmp_path / "rho.den_fmt"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("a_runs_fastest", [True, False])
@pytest.mark.parametrize("blocks", [1, 2])
@pytest.mark.parametrize("lattice", [CUBIC, SKEWED, LEFT_HANDED])
def test_values_are_put_where_their_indices_say(written, monkeypatch, lattice, blocks, a_runs_fastest):
    monkeypatch.setattr(castep_module, "_PIECE", 50)
    density = random_density(lattice=lattice, blocks=blocks)
    read = read_density(written(castep_text(density, a_runs_fastest=a_runs_fastest)))
    np.testing.assert_allclose(read.values, density.values, rtol=DIGITS)
    np.testing.assert_allclose(read.lattice, lattice, atol=1e-7)
    assert read.n_electrons == pytest.approx(8, abs=1e-6)
    assert (read.format, read.atoms, read.warnings) == ("castep", None, ())
    if blocks == 2:
        np.testing.assert_allclose(spin_of(read), spin_of(density), atol=1e-8)


@pytest.mark.parametrize("fractional", [True, False])
@pytest.mark.parametrize("suffix", [".cell", "-out.cell"])
def test_atoms_come_from_the_cell_file(written, suffix, fractional):
    cell = castep_cell_text(DENSITY, fractional=fractional)
    atoms = atoms_of(read_density(written(castep_text(DENSITY), **{suffix: cell})))
    assert str(atoms.symbols) == "NaCl"
    np.testing.assert_allclose(atoms.positions, atoms_of(DENSITY).positions, atol=1e-6)


def test_lengths_and_angles_are_a_lattice_too(written):
    cell = castep_cell_text(DENSITY, fractional=True, lengths_and_angles=True)
    atoms = atoms_of(read_density(written(castep_text(DENSITY), **{".cell": cell})))
    np.testing.assert_allclose(atoms.positions, atoms_of(DENSITY).positions, atol=1e-6)


@pytest.mark.parametrize(
    ("cell", "warning"),
    [
        (castep_cell_text(random_density(lattice=CUBIC)), "its cell is another one"),
        ("nothing", "no LATTICE_CART"),
        (castep_cell_text(DENSITY).replace("3.1", "3e300"), "not made of 3 lines"),
        (castep_cell_text(DENSITY).replace("Na 0", "Na 1e300"), "is no element with a position"),
        (castep_cell_text(DENSITY).replace("Na ", "Xx "), "is no element with a position"),
        (castep_cell_text(DENSITY).replace("positions", "places"), "no POSITIONS_FRAC"),
    ],
)
def test_cell_file_that_does_not_fit_is_passed_over(written, cell, warning):
    read = read_density(written(castep_text(DENSITY), **{".cell": cell}))
    assert read.atoms is None
    assert read.warnings[0].startswith("rho.cell beside it gives no atoms")
    assert warning in read.warnings[0]


def test_given_structure_supplies_the_atoms(written):
    read = read_density(written(castep_text(DENSITY)), structure=atoms_of(DENSITY))
    assert str(atoms_of(read).symbols) == "NaCl"


def test_castep_file_counts_the_electrons(written):
    output = " number of  electrons               :  10.00    \n"
    read = read_density(written(castep_text(DENSITY), **{".castep": output}))
    assert read.expected_electrons == ElectronCount(10.0, "rho.castep")
    assert read.warnings == ("Integrates to 8 electrons, but there are 10 according to rho.castep.",)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ('"<a b c> pot" in units of Hartrees', "holds a potential"),
        ('"<a b c> chi"', "holds an electron localisation function"),
        ('"<a b c> what"', "the field 'what'"),
        ('"<a b c> charge" in units of electrons', "expected values in electrons/grid_point"),
    ],
)
def test_other_fields_and_units_are_refused(written, name, message):
    lines = castep_text(DENSITY).splitlines()
    end = next(i for i, line in enumerate(lines) if "END header" in line)
    lines[end : end + 2] = [f" END header: data is {name}"]
    with pytest.raises(FormatError, match=message):
        read_density(written("\n".join(lines)))


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        (3, "Lattice", r"expected 'Real Lattice\(A\)'"),
        (4, " 1.0 2.0 a =", "lattice vector a"),
        (5, " 1.0 2.0 3.0 a =", "lattice vector b"),
        (8, " 3 ! nspins", "number of spins, 1 or 2"),
        (8, " 1 T ! nspins, non-collinear spin", "non-collinear"),
        (9, " 5 4 0 ! fine", "the grid, three numbers"),
        (9, " 999999 999999 999999 ! fine", "more than the file can hold"),
        (12, " 1 1 1 1.0", "blank line"),
        (13, " 1 1 9 1.0", "no point of the 5x4x6 grid"),
        (13, " 1 1 2 1.0", "is missing, another is there twice"),
        (13, " 1 1 1", "no point of|truncated"),
        (13, " 1 1 1 *****", "overflowed"),
        (13, " 1 1 1 1.0\n 1 1 2 1.0", "is missing, another is there twice"),
        (132, " 5 4 6 1.0\n 5 4 6 1.0", "more lines than the 5x4x6 grid"),
    ],
)
def test_error_says_what_is_wrong(written, line, replacement, message):
    lines = castep_text(DENSITY).splitlines()
    lines[line - 1] = replacement
    with pytest.raises(FormatError, match=message):
        read_density(written("\n".join(lines) + "\n"))


def test_negative_field_is_refused(written):
    with pytest.raises(FormatError, match="no electron density"):
        read_density(written(castep_text(density_of(-DENSITY.values))))


@pytest.mark.parametrize("missing", [1, 3])
def test_file_cut_within_its_last_number_is_refused(tmp_path, missing):
    text = castep_text(random_density((4, 3, 5))).rstrip()
    (tmp_path / "rho.den_fmt").write_text(text[:-missing])
    with pytest.raises(FormatError, match="the file ends within its last number"):
        read_density(tmp_path / "rho.den_fmt")
