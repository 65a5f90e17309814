"""VASP's HDF5 files, against pymatgen's reader of them."""

import warnings

import ase
import h5py
import numpy as np
import pytest

from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import LEFT_HANDED, SKEWED, atoms_of, random_density, spin_of
from tests.synthetic_binary import replace_dataset, write_vasp_structure, write_vaspout, write_vaspwave

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pymatgen.io.vasp.outputs import Vaspwave

DENSITY = random_density((3, 4, 5))


@pytest.mark.parametrize("lattice", [SKEWED, LEFT_HANDED])
@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_charge_and_spin_are_read(tmp_path, blocks, lattice):
    density = random_density((3, 4, 1), blocks=blocks, lattice=lattice)
    read = read_density(write_vaspwave(tmp_path / "rho", density))
    assert read.format == "vasp_hdf5"
    np.testing.assert_allclose(read.values, density.values, rtol=1e-12)
    np.testing.assert_allclose(read.lattice, density.lattice)
    np.testing.assert_allclose(atoms_of(read).positions, atoms_of(density).positions, atol=1e-12)
    assert str(atoms_of(read).symbols) == "NaCl"
    if blocks > 1:
        np.testing.assert_allclose(spin_of(read), spin_of(density), rtol=1e-12)


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_pymatgen_reads_the_same(tmp_path, blocks):
    path = write_vaspwave(tmp_path / "vaspwave.h5", random_density((3, 4, 5), blocks=blocks))
    # pymatgen wants bare symbols.
    replace_dataset(path, "structure/positions/ion_types", np.array([b"Na", b"Cl"]))
    ours, theirs = read_density(path), Vaspwave(path).get_chgcar()
    np.testing.assert_allclose(ours.values * ours.volume, theirs.data["total"], rtol=1e-12)
    np.testing.assert_allclose(ours.lattice, theirs.structure.lattice.matrix)
    if blocks == 4:
        np.testing.assert_allclose(spin_of(ours)[1] * ours.volume, theirs.data["diff_y"], rtol=1e-12)


def test_structure_and_electrons_come_from_vaspout_beside(tmp_path):
    path = write_vaspwave(tmp_path / "vaspwave.h5", DENSITY, structure=None)
    with pytest.raises(FormatError, match=r"no vaspout\.h5 beside it"):
        read_density(path)
    write_vaspout(tmp_path / "vaspout.h5", DENSITY)
    density = read_density(path)
    np.testing.assert_allclose(density.values, DENSITY.values)
    assert density.expected_electrons is not None
    assert density.expected_electrons.source == "vaspout.h5: nelectrons"
    assert not density.warnings


def test_structure_given_helps_where_none_is_found(tmp_path):
    path = write_vaspwave(tmp_path / "vaspwave.h5", DENSITY, structure=None)
    assert read_density(path, structure=atoms_of(DENSITY)).n_electrons == pytest.approx(8)
    with pytest.raises(FormatError, match="the structure given has the cell"):
        read_density(
            write_vaspwave(tmp_path / "own.h5", DENSITY), structure=ase.Atoms("NaCl", cell=np.eye(3), pbc=True)
        )


@pytest.mark.parametrize("scale", [2.0, -1.0])
@pytest.mark.parametrize("direct", [True, False])
def test_scale_is_a_factor_or_the_volume(tmp_path, scale, direct):
    path = write_vaspwave(tmp_path / "vaspwave.h5", DENSITY, structure=None)
    scale = scale if scale > 0 else -DENSITY.volume
    with h5py.File(path, "r+") as file:
        write_vasp_structure(file.create_group("results/positions"), DENSITY, scale=scale, direct=direct)
    read = read_density(path)
    np.testing.assert_allclose(read.lattice, DENSITY.lattice, rtol=1e-12)
    np.testing.assert_allclose(atoms_of(read).positions, atoms_of(DENSITY).positions, atol=1e-12)


def test_vaspout_without_charge_names_the_tags_and_no_pseudopotential(tmp_path):
    path = write_vaspout(tmp_path / "vaspout.h5", DENSITY)
    with pytest.raises(FormatError, match=r"LCHARGH5 = \.TRUE\.") as caught:
        read_density(path)
    assert "licensed" not in str(caught.value)


def test_vaspout_with_charge_is_read(tmp_path):
    path = write_vaspwave(tmp_path / "vaspout.h5", DENSITY, structure="results/positions")
    replace_dataset(path, "results/electron_eigenvalues/nelectrons", 9.0)
    assert read_density(path).warnings[0] == "Integrates to 8 electrons, but there are 9 according to nelectrons."


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("charge/charge", np.ones((3, 2, 2, 2)), "expected .1, 2 or 4 components"),
        ("charge/charge", np.ones((5, 4, 3)), "expected .1, 2 or 4 components"),
        ("charge/grid", np.array([5, 4, 3]), "charge/grid says"),
        ("charge/grid", np.array([3, 4]), "charge/grid says"),
        ("structure/positions/scale", 0.0, "expected one number"),
        ("structure/positions/lattice_vectors", np.ones((3, 3)), "spans no volume"),
        ("structure/positions/number_ion_types", np.array([2**31 - 1, 1]), "with positions of shape"),
        ("structure/positions/number_ion_types", np.array([0.5, 1.5]), "with positions of shape"),
        ("structure/positions/number_ion_types", np.array([-1, 3]), "with positions of shape"),
        ("structure/positions/position_ions", np.ones((3, 3)), "with positions of shape"),
        ("structure/positions/ion_types", np.array([1, 2]), "texts should be"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, name, values, message):
    path = write_vaspwave(tmp_path / "vaspwave.h5", DENSITY)
    replace_dataset(path, name, values)
    with pytest.raises(FormatError, match=message):
        read_density(path)


def test_unknown_species_stay_unknown(tmp_path):
    path = write_vaspwave(tmp_path / "vaspwave.h5", DENSITY)
    replace_dataset(path, "structure/positions/ion_types", np.array([b"Na", b"xx"]))
    assert read_density(path).atoms is None
