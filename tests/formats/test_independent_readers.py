"""The same files through pymatgen and ASE: two independent readers must agree with ours."""

import warnings

import numpy as np
import pytest
from ase.io.cube import read_cube
from ase.io.vasp import read_vasp
from ase.units import Bohr

from rhonet.formats import read_density
from tests.synthetic import LEFT_HANDED, SKEWED, atoms_of, chgcar_text, cube_text, poscar_text, random_density, spin_of

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from ase.calculators.vasp import VaspChargeDensity
    from pymatgen.io.common import VolumetricData
    from pymatgen.io.vasp.outputs import Chgcar

# Files hold 11 digits.
DIGITS = 1e-10


@pytest.mark.parametrize("lattice", [SKEWED, LEFT_HANDED])
@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_pymatgen_reads_the_same_chgcar(tmp_path, blocks, lattice):
    path = tmp_path / "CHGCAR"
    path.write_text(chgcar_text(random_density((6, 5, 7), blocks=blocks, lattice=lattice), augmentation=True))
    ours, theirs = read_density(path), Chgcar.from_file(path)
    volume = theirs.structure.volume
    np.testing.assert_allclose(ours.values, theirs.data["total"] / volume, rtol=1e-12)
    np.testing.assert_allclose(ours.lattice, theirs.structure.lattice.matrix)
    np.testing.assert_allclose(atoms_of(ours).get_scaled_positions(), theirs.structure.frac_coords, atol=1e-12)
    assert atoms_of(ours).get_chemical_symbols() == [site.specie.symbol for site in theirs.structure]
    if blocks == 2:
        np.testing.assert_allclose(spin_of(ours), theirs.data["diff"] / volume, rtol=1e-12)
    if blocks == 4:
        expected = [theirs.data[f"diff_{axis}"] / volume for axis in "xyz"]
        np.testing.assert_allclose(spin_of(ours), expected, rtol=1e-12)


@pytest.mark.parametrize("scale", ["2.0", "-64.0"])
def test_pymatgen_reads_the_same_scaled_cell(tmp_path, scale):
    path = tmp_path / "CHGCAR"
    density = random_density()
    path.write_text(chgcar_text(density, header=poscar_text(density, scale=scale)))
    np.testing.assert_allclose(read_density(path).lattice, Chgcar.from_file(path).structure.lattice.matrix, rtol=1e-10)


@pytest.mark.parametrize("blocks", [1, 2])
def test_ase_reads_the_same_chgcar(tmp_path, blocks):
    path = tmp_path / "CHGCAR"
    path.write_text(chgcar_text(random_density((6, 5, 7), blocks=blocks), augmentation=True))
    ours, theirs = read_density(path), VaspChargeDensity(str(path))
    np.testing.assert_allclose(ours.values, theirs.chg[0], rtol=1e-12)
    np.testing.assert_allclose(atoms_of(ours).positions, theirs.atoms[0].positions, atol=1e-10)
    if blocks == 2:
        np.testing.assert_allclose(spin_of(ours), theirs.chgdiff[0], rtol=1e-12)


def test_ase_reads_the_same_cell_with_three_scale_factors(tmp_path):
    path, poscar = tmp_path / "CHGCAR", tmp_path / "POSCAR"
    poscar.write_text(poscar_text(random_density(), scale="1.5 1.0 0.75"))
    path.write_text(chgcar_text(random_density(), header=poscar.read_text()))
    np.testing.assert_allclose(read_density(path).lattice, read_vasp(poscar).cell, rtol=1e-10)


@pytest.mark.parametrize("origin", [(0.0, 0.0, 0.0), (1.0, -2.0, 0.5)])
def test_ase_reads_the_same_cube(tmp_path, origin):
    path = tmp_path / "rho.cube"
    path.write_text(cube_text(random_density((6, 5, 7)), origin=origin))
    ours = read_density(path)
    with path.open() as file:
        theirs = read_cube(file)
    np.testing.assert_allclose(ours.values, np.asarray(theirs["data"]) / Bohr**3, rtol=1e-12)
    np.testing.assert_allclose(ours.lattice, theirs["atoms"].cell, atol=1e-10)
    np.testing.assert_allclose(atoms_of(ours).positions + origin, theirs["atoms"].positions, atol=1e-10)


def test_pymatgen_reads_the_same_cube(tmp_path):
    path = tmp_path / "rho.cube"
    path.write_text(cube_text(random_density((6, 5, 7))))
    ours, theirs = read_density(path), VolumetricData.from_cube(path)
    np.testing.assert_allclose(ours.values, theirs.data["total"] / Bohr**3, rtol=1e-7)
    np.testing.assert_allclose(ours.lattice, theirs.structure.lattice.matrix, rtol=1e-6)
