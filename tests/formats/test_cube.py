"""Gaussian cube files: units, origin, fields, and what is no density."""

from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr

import rhonet.formats.cube as cube_module
from rhonet.core.density import ElectronCount
from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import CUBIC, LEFT_HANDED, SKEWED, atoms_of, cube_text, density_of, random_density

# Files hold 11 digits.
DIGITS = 1e-10


@pytest.fixture
def cube(tmp_path):
    """Writes a file named rho.cube and gives its path."""

    def write(text: str, name: str = "rho.cube") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode("latin-1"))
        return path

    return write


@pytest.mark.parametrize("angstrom", [False, True])
@pytest.mark.parametrize("lattice", [CUBIC, SKEWED, LEFT_HANDED])
@pytest.mark.parametrize("shape", [(5, 4, 6), (3, 7, 1), (1, 1, 1), (4, 2, 13)])
def test_lengths_in_bohr_or_angstrom_give_the_same_density(cube, shape, lattice, angstrom):
    density = random_density(shape, lattice=lattice)
    read = read_density(cube(cube_text(density, angstrom=angstrom)))
    np.testing.assert_allclose(read.values, density.values, rtol=DIGITS)
    np.testing.assert_allclose(read.lattice, lattice, atol=1e-10)
    np.testing.assert_allclose(atoms_of(read).positions, atoms_of(density).positions, atol=1e-10)
    assert read.n_electrons == pytest.approx(8)
    assert str(atoms_of(read).symbols) == "NaCl"
    assert read.format == "cube"
    assert read.warnings == ()


def test_values_are_per_cubic_bohr(cube):
    read = read_density(cube(cube_text(density_of(np.full((2, 2, 2), 1 / Bohr**3), lattice=CUBIC / 2, symbols="U"))))
    assert read.values == pytest.approx(6.748334, rel=1e-5)


def test_comment_may_give_the_unit_of_the_values(cube):
    density = random_density()
    text = cube_text(density_of(density.values / Bohr**3), title="rho [e/A^3]\nnew")
    read = read_density(cube(text))
    np.testing.assert_allclose(read.values, density.values, rtol=DIGITS)
    assert "e/Å³" in read.warnings[0]


@pytest.mark.parametrize("angstrom", [False, True])
def test_origin_moves_to_the_corner_and_the_atoms_with_it(cube, angstrom):
    density = random_density()
    read = read_density(cube(cube_text(density, origin=(1.5, -0.2, 3.0), angstrom=angstrom)))
    np.testing.assert_allclose(read.values, density.values, rtol=DIGITS)
    np.testing.assert_allclose(atoms_of(read).positions, atoms_of(density).positions, atol=1e-10)
    assert "(1.5000, -0.2000, 3.0000) Å" in read.warnings[0]


def test_one_of_several_fields_is_read_by_its_number(cube):
    density, other = random_density((5, 4, 6)), random_density((5, 4, 6), seed=1)
    path = cube(cube_text(density, other_fields=[other.values, -other.values]))
    np.testing.assert_allclose(read_density(path, entry="1").values, density.values, rtol=DIGITS)
    np.testing.assert_allclose(read_density(path, entry="2").values, other.values, rtol=DIGITS)
    np.testing.assert_allclose(read_density(f"{path}::2").values, other.values, rtol=DIGITS)
    with pytest.raises(FormatError, match=r"3 fields; choose the density as FILE::1 ... FILE::3"):
        read_density(path)
    for entry in ("0", "4", "density"):
        with pytest.raises(FormatError, match="there is no field"):
            read_density(path, entry=entry)


def test_fields_larger_than_a_piece(cube, monkeypatch):
    monkeypatch.setattr(cube_module, "_PIECE", 7)
    density = random_density()
    path = cube(cube_text(density, other_fields=[np.ones(density.shape)]))
    np.testing.assert_allclose(read_density(path, entry="1").values, density.values, rtol=DIGITS)


def test_file_without_atoms_and_file_with_ghosts(cube):
    density = density_of(random_density().values)
    assert read_density(cube(cube_text(density))).atoms is None
    ghosts = cube_text(random_density()).replace("\n   11 ", "\n    0 ")
    read = read_density(cube(ghosts))
    assert str(atoms_of(read).symbols) == "Cl"
    assert "ghosts" in read.warnings[0]


def test_valence_charges_of_the_atoms_count_the_electrons(cube):
    text = cube_text(random_density(n_electrons=8), charges=[1, 7])
    assert read_density(cube(text)).expected_electrons == ElectronCount(
        8.0, "the atoms' charges in the file, if neutral"
    )
    text = cube_text(random_density(n_electrons=9), charges=[1, 7])
    assert "there are 8 according to the atoms' charges" in read_density(cube(text)).warnings[0]


@pytest.mark.parametrize("charges", [[0, 0], [11, 17], [0, 7], [0.8, -0.8], [9, 18], [1.5, 6.5]])
def test_other_charges_of_atoms_say_nothing(cube, charges):
    read = read_density(cube(cube_text(random_density(n_electrons=9), charges=charges)))
    assert (read.expected_electrons, read.warnings) == (None, ())


@pytest.mark.parametrize(
    "comment",
    [
        "Electrostatic potential from Total SCF Density",
        "HARTREE POTENTIAL",
        "MO coefficients",
        "Spin density",
        "ELF",
        "wavefunction 5",
        "Electron Localization Function",
    ],
)
def test_comments_that_name_another_field_are_believed(cube, comment):
    with pytest.raises(FormatError, match=r"rho.cube:1: the comment .* not a density"):
        read_density(cube(cube_text(random_density(), title=f"{comment}\n")))


@pytest.mark.parametrize(
    "comment",
    [
        "SPIN UP DENSITY",
        "alpha density",
        "Spin-down electron density",
        "charge density, spin 1",
        "density of beta",
        "density (alpha electrons)",
        "Alpha density from Total SCF Density",
        "spin up minus spin down density",
        "difference of spin up and spin down density",
        "charge density spin up, file 1 of 2; spin down in rho2.cube",
    ],
)
def test_density_of_one_spin_direction_is_refused(cube, comment):
    with pytest.raises(FormatError, match=r"rho.cube:1: the comment .* one spin direction only; write out the sum"):
        read_density(cube(cube_text(random_density(), title=f"{comment}\nx")))


@pytest.mark.parametrize(
    "comment",
    [
        "Electron density from Total SCF Density",
        "alpha-quartz, electron density",
        "Electron density of alpha-quartz",
        "charge density of beta-Sn",
        "density for alpha iron",
        "Ti-beta charge density",
        "total electron density (alpha + beta)",
        "charge density: spin up + spin down",
        "Total density, spin 1 and spin 2 summed",
        "DELFT",
        "potential energy minimum",
    ],
)
def test_comments_that_name_a_density_are_fine(cube, comment):
    assert read_density(cube(cube_text(random_density(), title=f"{comment}\nx"))).n_electrons == pytest.approx(8)


def test_orbitals_are_refused(cube):
    text = cube_text(random_density()).replace("\n    2 ", "\n   -2 ", 1)
    with pytest.raises(FormatError, match="orbitals"):
        read_density(cube(text))


def edited(text: str, line: int, replacement: str | None) -> str:
    """Text with one line (from 1) replaced or taken out."""
    lines = text.splitlines(keepends=True)
    lines[line - 1 : line] = [] if replacement is None else [replacement + "\n"]
    return "".join(lines)


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        (3, "2 0.0 0.0", "number of atoms"),
        (3, "2.5 0.0 0.0 0.0", "number of atoms"),
        (3, "2 0.0 0.0 0.0 1.5", "number of fields"),
        (4, "5 1.0 0.0", "voxels along a"),
        (5, "0 0.0 1.0 0.0", "no voxels along b"),
        (6, "6 0.0 0.0 0.0", "no volume"),
        (6, "-6 0.0 0.0 1.0", "both signs"),
        (7, "11 0.0 0.0 0.0", "atom 1 of 2"),
        (8, "17.5 0.0 0.0 0.0 0.0", "atom 2 of 2"),
        (8, "119 0.0 0.0 0.0 0.0", "no element 119"),
        (8, None, "atom 2 of 2"),
        (9, "1.0 1.0 *** 1.0 1.0 1.0", "overflowed"),
        (9, "1.0 1.0 nan 1.0 1.0 1.0", "not a finite number"),
        (9, "1.0 1.0 1.0 1.0 1.0", "expected 120 grid values, found 119"),
        (9, "1.0 1.0 1.0 1.0 1.0 1.0 1.0", "more values"),
    ],
)
def test_error_names_the_line(cube, line, replacement, message):
    path = cube(edited(cube_text(random_density()), line, replacement))
    with pytest.raises(FormatError, match=message) as caught:
        read_density(path)
    where = int(str(caught.value).removeprefix(f"{path}:").split(":")[0])
    assert where == line or line == 9


def test_values_after_the_grid_are_refused(cube):
    with pytest.raises(FormatError, match="more values than the 5x4x6 grid"):
        read_density(cube(cube_text(random_density()) + "0.0\n"))


def test_absurd_number_of_fields_takes_no_memory(cube):
    text = edited(cube_text(random_density()), 3, "2 0.0 0.0 0.0 1e15")
    with pytest.raises(FormatError, match="more than the file can hold"):
        read_density(cube(text), entry="1")


def test_negative_field_is_refused(cube):
    with pytest.raises(FormatError, match="no electron density"):
        read_density(cube(cube_text(density_of(-random_density().values))))


def test_grid_far_larger_than_the_file_takes_no_memory(cube):
    text = edited(cube_text(random_density(), other_fields=[np.ones((5, 4, 6))]), 4, "999999999 1.0 0.0 0.0")
    with pytest.raises(FormatError, match="more than the file can hold"):
        read_density(cube(text), entry="1")
