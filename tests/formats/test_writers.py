"""Files that rhonet writes, read back by pymatgen, ASE and rhonet itself."""

import gzip
import warnings
from dataclasses import replace

import numpy as np
import pytest
from ase.io.cube import read_cube
from ase.units import Bohr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rhonet.core.errors import FormatError, WriteError
from rhonet.formats import read_density
from rhonet.formats.writers import rows_of_numbers, write_density
from tests.synthetic import LEFT_HANDED, SKEWED, atoms_of, random_density, spin_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ase.calculators.vasp import VaspChargeDensity
    from pymatgen.io.common import VolumetricData
    from pymatgen.io.vasp.outputs import Chgcar

# Files hold 11 digits: half a unit of the last one, next to 1.
DIGITS = 5.1e-11
# pymatgen knows the bohr to nine digits.
BOHR_DIGITS = 1e-6

LATTICES = pytest.mark.parametrize("lattice", [SKEWED, LEFT_HANDED])
BLOCKS = pytest.mark.parametrize("blocks", [1, 2, 4])
# Rows that fill their lines and rows that do not, single points, planes that come one by one.
SHAPES = pytest.mark.parametrize("shape", [(1, 1, 1), (5, 6, 12), (7, 1, 13), (1, 9, 2), (260, 260, 2)])


@pytest.mark.parametrize("name", ["CHGCAR", "rho.CHGCAR", "rho.vasp", "CHG", "rho.cube", "rho.cub", "rho.cube.gz"])
def test_name_decides_the_format(tmp_path, name):
    density = random_density()
    assert write_density(density, tmp_path / "made" / name).paths == (tmp_path / "made" / name,)
    back = read_density(tmp_path / "made" / name)
    assert back.format == ("cube" if ".cub" in name else "vasp")
    np.testing.assert_allclose(back.values, density.values, rtol=DIGITS)


@SHAPES
@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("name", ["CHGCAR", "rho.cube"])
def test_every_grid_comes_back(tmp_path, name, order, shape):
    density = random_density(shape, n_electrons=8)
    density = replace(density, values=np.asarray(density.values, order=order))
    write_density(density, tmp_path / name)
    back = read_density(tmp_path / name)
    np.testing.assert_allclose(back.values, density.values, rtol=DIGITS)
    np.testing.assert_allclose(back.lattice, density.lattice, atol=1e-10)
    assert not back.warnings


@LATTICES
@BLOCKS
def test_pymatgen_reads_the_chgcar(tmp_path, blocks, lattice):
    density = random_density((6, 5, 7), blocks=blocks, lattice=lattice, symbols="NaClNaO")
    write_density(density, tmp_path / "CHGCAR")
    theirs = Chgcar.from_file(tmp_path / "CHGCAR")
    np.testing.assert_allclose(theirs.data["total"] / density.volume, density.values, rtol=DIGITS)
    np.testing.assert_allclose(theirs.structure.lattice.matrix, lattice, atol=1e-14)
    np.testing.assert_allclose(theirs.structure.frac_coords, atoms_of(density).get_scaled_positions(), atol=1e-14)
    assert [site.specie.symbol for site in theirs.structure] == ["Na", "Cl", "Na", "O"]
    assert theirs.is_spin_polarized == (blocks > 1)
    if blocks == 2:
        np.testing.assert_allclose(theirs.data["diff"] / density.volume, spin_of(density), rtol=DIGITS)
    if blocks == 4:
        components = [theirs.data[f"diff_{axis}"] / density.volume for axis in "xyz"]
        np.testing.assert_allclose(components, spin_of(density), rtol=DIGITS)


@LATTICES
@pytest.mark.parametrize("blocks", [1, 2])
def test_ase_reads_the_chgcar(tmp_path, blocks, lattice):
    density = random_density((6, 5, 7), blocks=blocks, lattice=lattice)
    write_density(density, tmp_path / "CHGCAR")
    theirs = VaspChargeDensity(str(tmp_path / "CHGCAR"))
    np.testing.assert_allclose(theirs.chg[0], density.values, rtol=DIGITS)
    np.testing.assert_allclose(theirs.atoms[0].cell, lattice, atol=1e-14)
    np.testing.assert_allclose(theirs.atoms[0].positions, atoms_of(density).positions, atol=1e-12)
    assert theirs.is_spin_polarized() == (blocks == 2)
    if blocks == 2:
        np.testing.assert_allclose(theirs.chgdiff[0], spin_of(density), rtol=DIGITS)


@LATTICES
def test_ase_and_pymatgen_read_the_cube(tmp_path, lattice):
    density = random_density((6, 5, 7), lattice=lattice, symbols="NaClNaO")
    path = tmp_path / "rho.cube"
    write_density(density, path)
    with path.open() as file:
        ase_reads = read_cube(file)
    np.testing.assert_allclose(np.asarray(ase_reads["data"]) / Bohr**3, density.values, rtol=DIGITS)
    np.testing.assert_allclose(ase_reads["atoms"].cell, lattice, atol=1e-10)
    np.testing.assert_allclose(ase_reads["atoms"].positions, atoms_of(density).positions, atol=1e-10)
    assert str(ase_reads["atoms"].symbols) == "NaClNaO"
    pymatgen_reads = VolumetricData.from_cube(path)
    np.testing.assert_allclose(pymatgen_reads.data["total"] / Bohr**3, density.values, rtol=BOHR_DIGITS)
    np.testing.assert_allclose(pymatgen_reads.structure.lattice.matrix, lattice, atol=10 * BOHR_DIGITS)
    positions = atoms_of(density).positions
    np.testing.assert_allclose(pymatgen_reads.structure.cart_coords, positions, atol=10 * BOHR_DIGITS)


@LATTICES
@BLOCKS
def test_cubes_hold_the_spin_beside_the_density(tmp_path, blocks, lattice):
    density = random_density((4, 5, 7), blocks=blocks, lattice=lattice)
    paths = write_density(density, tmp_path / "rho.cube").paths
    names = {1: [], 2: [""], 4: ["_x", "_y", "_z"]}[blocks]
    assert [path.name for path in paths] == ["rho.cube", *(f"rho_magnetization{name}.cube" for name in names)]
    for number, path in enumerate(paths[1:]):
        with path.open() as file:
            theirs = read_cube(file)
        expected = spin_of(density).reshape(-1, 4, 5, 7)[number]
        np.testing.assert_allclose(np.asarray(theirs["data"]) / Bohr**3, expected, rtol=DIGITS, atol=1e-14)
        with pytest.raises(FormatError, match="spin density"):
            read_density(path)


def test_what_a_format_does_not_hold_is_said(tmp_path):
    spin = random_density(blocks=2)
    (note,) = write_density(spin, tmp_path / "rho.cube").notes
    assert note == "A cube holds one field: the magnetization went to rho_magnetization.cube."
    assert not write_density(random_density(), tmp_path / "other.cube").notes
    assert "no PAW occupancies" in write_density(spin, tmp_path / "CHGCAR").notes[0]
    assert "left-handed" in write_density(random_density(lattice=LEFT_HANDED), tmp_path / "LEFT_CHGCAR").notes[1]


@LATTICES
def test_chain_of_conversions_keeps_the_density(tmp_path, lattice):
    density = first = random_density((6, 9, 4), lattice=lattice, n_electrons=17)
    for name in ("CHGCAR", "one.cube", "two.CHGCAR.gz", "three.cub"):
        write_density(density, tmp_path / name)
        density = read_density(tmp_path / name)
        assert density.n_electrons == pytest.approx(17, abs=1e-9)
    np.testing.assert_allclose(density.values, first.values, rtol=4 * DIGITS)
    np.testing.assert_allclose(density.lattice, first.lattice, atol=1e-10)
    np.testing.assert_allclose(atoms_of(density).positions, atoms_of(first).positions, atol=1e-9)


def test_density_without_atoms_goes_into_a_cube_only(tmp_path):
    nameless = replace(random_density(), atoms=None)
    write_density(nameless, tmp_path / "rho.cube")
    back = read_density(tmp_path / "rho.cube")
    assert back.atoms is None
    np.testing.assert_allclose(back.values, nameless.values, rtol=DIGITS)
    with pytest.raises(WriteError, match=r"CHGCAR: a CHGCAR names its atoms.*--structure FILE.*or write a cube"):
        write_density(nameless, tmp_path / "CHGCAR")
    assert [path.name for path in tmp_path.iterdir()] == ["rho.cube"]


@pytest.mark.parametrize("name", ["rho.xsf", "LOCPOT", "rho.cube.bz2", "cube"])
def test_name_without_a_format_is_refused(tmp_path, name):
    with pytest.raises(WriteError, match="its name tells no format"):
        write_density(random_density(), tmp_path / name)


def test_existing_file_stays_unless_told(tmp_path):
    path = tmp_path / "CHGCAR"
    path.write_text("precious")
    with pytest.raises(WriteError, match="CHGCAR: exists already"):
        write_density(random_density(), path)
    assert path.read_text() == "precious"
    write_density(random_density(), path, overwrite=True)
    assert read_density(path).n_electrons == pytest.approx(8)


def test_existing_file_of_the_magnetization_stays_too(tmp_path):
    (tmp_path / "rho_magnetization.cube").write_text("precious")
    with pytest.raises(WriteError, match=r"rho_magnetization\.cube: exists already"):
        write_density(random_density(blocks=2), tmp_path / "rho.cube")
    assert [path.name for path in tmp_path.iterdir()] == ["rho_magnetization.cube"]


def test_magnetization_of_another_density_is_pointed_out(tmp_path):
    write_density(random_density(blocks=2), tmp_path / "o.cube")
    written = write_density(random_density(), tmp_path / "o.cube", overwrite=True)
    assert written.notes == ("o_magnetization.cube was there before and belongs to another density.",)


@pytest.mark.parametrize("name", ["CHGCAR", "rho.cube"])
def test_what_cannot_be_written_leaves_nothing_behind(tmp_path, name):
    density = random_density(symbols="Na", blocks=2)
    spin_of(density)[-1, -1, -1] = 1e120
    with pytest.raises(WriteError, match=rf"{name}: \S+e\+1\d\d is too large to be written"):
        write_density(density, tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_folder_in_place_of_a_file_is_refused(tmp_path):
    (tmp_path / "CHGCAR").mkdir()
    with pytest.raises(WriteError, match="is a folder"):
        write_density(random_density(), tmp_path / "CHGCAR", overwrite=True)


def test_file_in_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match="CHGCAR: cannot be written: "):
        write_density(random_density(), tmp_path / "file" / "CHGCAR")


def test_packed_file_is_a_gzip_file(tmp_path):
    write_density(random_density(), tmp_path / "CHGCAR.gz")
    assert gzip.decompress((tmp_path / "CHGCAR.gz").read_bytes()).startswith(b"NaCl, electron density")


@given(arrays(np.float64, st.integers(1, 20), elements=st.floats(-1e98, 1e98)), st.integers(1, 7))
def test_numbers_keep_eleven_digits(values, columns):
    text = bytes(rows_of_numbers(values[None], columns=columns)).decode()
    assert [len(line) % 18 for line in text.splitlines()] == [0] * -(-len(values) // columns)
    for field, value in zip(text.split(), values, strict=True):
        expected = 0.0 if abs(value) < 1e-99 else value
        assert len(field.lstrip("-")) == len("1.2345678901E+05")
        # A tie between two last digits may go either way.
        assert float(field) == pytest.approx(expected, rel=DIGITS, abs=0)


@pytest.mark.parametrize("power", range(-96, 99, 3))
def test_numbers_next_to_powers_of_ten_are_right(power):
    edge = float(f"1e{power}")
    values = np.array([edge, np.nextafter(edge, 1), np.nextafter(edge, 0), edge * (1 - 1e-12), edge * (1 - 1e-10)])
    printed = bytes(rows_of_numbers(values[None], columns=5)).decode().split()
    assert printed == [f"{value:.10E}" for value in values]
