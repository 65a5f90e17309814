"""HDF5 of pymatgen's Chgcar, written by pymatgen itself."""

import warnings

import numpy as np
import pytest

from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import LEFT_HANDED, SKEWED, atoms_of, chgcar_text, random_density, spin_of
from tests.synthetic_binary import replace_dataset, write_pymatgen_hdf5

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from pymatgen.io.vasp.outputs import Chgcar


@pytest.mark.parametrize("lattice", [SKEWED, LEFT_HANDED])
@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_what_pymatgen_writes_is_read(tmp_path, blocks, lattice):
    density = random_density((6, 5, 1), blocks=blocks, lattice=lattice)
    (tmp_path / "CHGCAR").write_text(chgcar_text(density))
    Chgcar.from_file(tmp_path / "CHGCAR").to_hdf5(tmp_path / "rho")
    ours, text = read_density(tmp_path / "rho"), read_density(tmp_path / "CHGCAR")
    assert ours.format == "pymatgen_hdf5"
    np.testing.assert_allclose(ours.values, text.values, rtol=1e-14)
    np.testing.assert_allclose(ours.lattice, text.lattice)
    np.testing.assert_allclose(atoms_of(ours).positions, atoms_of(text).positions, atol=1e-12)
    if blocks > 1:
        np.testing.assert_allclose(spin_of(ours), spin_of(text), rtol=1e-14)


@pytest.mark.parametrize(
    ("factor", "shift", "message"),
    [
        (0.0, 0.5, "as in an Elfcar"),
        (-1.0, 0.0, "no electron density"),
        (0.11, 0.0, "0.88 electrons for 2 atoms .*too few"),
    ],
)
def test_other_fields_and_units_are_refused(tmp_path, factor, shift, message):
    density = random_density()
    path = write_pymatgen_hdf5(tmp_path / "rho.hdf5", density)
    replace_dataset(path, "vdata/total", factor * density.values * density.volume + shift)
    with pytest.raises(FormatError, match=message):
        read_density(path)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("lattice", np.zeros((3, 3)), "spans no volume"),
        ("lattice", np.diag([1e-300, 1.0, 1.0]), "spans no volume"),
        ("lattice", np.eye(2), "holds no cell"),
        ("lattice", np.eye(3) * np.nan, "not finite"),
        ("lattice", np.eye(3) * 1e300, "damaged or was never written"),
        ("Z", np.array([11, 0]), "atomic numbers that are none"),
        ("Z", np.array([11]), "positions of shape"),
        ("fcoords", np.full((2, 3), np.inf), "not finite"),
        ("vdata/total", np.ones((4, 4)), r"expected \(nx, ny, nz\)"),
        ("vdata/total", np.full((2, 2, 2), np.nan), "not finite"),
        ("vdata/total", np.full((2, 2, 2), 1e36), "damaged or was never written"),
        ("vdata/diff", np.ones((2, 2, 2)), "holds grids"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path, name, values, message):
    path = write_pymatgen_hdf5(tmp_path / "rho.hdf5", random_density(blocks=2))
    replace_dataset(path, name, values)
    with pytest.raises(FormatError, match=message):
        read_density(path)


def test_entry_is_refused(tmp_path):
    with pytest.raises(FormatError, match="leave the entry out"):
        read_density(write_pymatgen_hdf5(tmp_path / "rho.hdf5", random_density()), entry="1")
