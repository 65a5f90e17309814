"""Quantum ESPRESSO's densities: plane waves to grids and back, the XML file beside them, the old layout."""

import ase
import h5py
import numpy as np
import pytest

from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import CUBIC, LEFT_HANDED, SKEWED, atoms_of, random_density, spin_of
from tests.synthetic_binary import (
    espresso_xml,
    replace_dataset,
    write_old_quantum_espresso,
    write_quantum_espresso,
)

# Odd grids that are their own smallest FFT grid; FFT there and back keeps 15 digits.
DENSITY = random_density((3, 5, 9))
ROUNDING = 1e-12


@pytest.fixture
def path(tmp_path):
    folder = tmp_path / "NaCl.save"
    folder.mkdir()
    return write_quantum_espresso(folder / "charge-density.hdf5", DENSITY)


@pytest.mark.parametrize("gamma_only", [False, True])
@pytest.mark.parametrize("lattice", [SKEWED, LEFT_HANDED])
@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_plane_waves_give_back_the_grid(tmp_path, blocks, lattice, gamma_only):
    density = random_density((3, 5, 9), blocks=blocks, lattice=lattice)
    read = read_density(write_quantum_espresso(tmp_path / "rho", density, gamma_only=gamma_only))
    assert read.format == "quantum_espresso"
    np.testing.assert_allclose(read.values, density.values, rtol=ROUNDING)
    np.testing.assert_allclose(read.lattice, density.lattice, atol=1e-12)
    assert read.atoms is None
    if blocks > 1:
        np.testing.assert_allclose(spin_of(read), spin_of(density), atol=ROUNDING)


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 3, 1), (3, 1, 5)])
def test_axes_of_one_point(tmp_path, shape):
    density = random_density(shape)
    read = read_density(write_quantum_espresso(tmp_path / "rho", density))
    np.testing.assert_allclose(read.values, density.values, rtol=ROUNDING)


def test_grid_is_the_smallest_fast_one_that_holds_the_waves(tmp_path):
    density = random_density((7, 11, 3))
    read = read_density(write_quantum_espresso(tmp_path / "rho", density))
    assert read.shape == (8, 12, 3)
    assert read.n_electrons == pytest.approx(8)


@pytest.mark.parametrize("place", ["NaCl.save/data-file-schema.xml", "NaCl.xml"])
def test_xml_supplies_atoms_electrons_and_grid(path, tmp_path, place):
    (tmp_path / place).write_text(espresso_xml(DENSITY, grid=(6, 8, 10)))
    density = read_density(path)
    assert density.shape == (6, 8, 10)
    assert str(atoms_of(density).symbols) == "NaCl"
    np.testing.assert_allclose(atoms_of(density).positions, atoms_of(DENSITY).positions, atol=1e-12)
    assert density.expected_electrons is not None
    assert density.expected_electrons.count == 8
    assert not density.warnings


def test_grid_too_coarse_for_the_waves_is_not_taken(path):
    path.with_name("data-file-schema.xml").write_text(espresso_xml(DENSITY, grid=(2, 2, 2)))
    assert read_density(path).shape == DENSITY.shape


def test_electrons_that_do_not_fit_are_reported(path):
    path.with_name("data-file-schema.xml").write_text(espresso_xml(DENSITY, n_electrons=9))
    assert read_density(path).warnings == (
        "Integrates to 8 electrons, but there are 9 according to data-file-schema.xml.",
    )


def test_xml_of_another_cell_is_refused(path):
    other = random_density((3, 5, 9), lattice=CUBIC)
    path.with_name("data-file-schema.xml").write_text(espresso_xml(other))
    with pytest.raises(FormatError, match=r"data-file-schema\.xml says .* another calculation"):
        read_density(path)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("<nelec>", None, "up to nelec; it looks truncated"),
        ("<a2>", "<a2>nan ", "cell/a2 holds no 3 numbers"),
        ("<output>", "<other>", "is damaged"),
        ("<?xml", "x<?xml", "is damaged"),
        ('<atom name="Na1" index="1">', '<atom name="Na1" index="1">1 ', "no three coordinates"),
        ("<output>", "<output/><output>", r"atomic_structure.*truncated"),
    ],
)
def test_damaged_xml_is_named(path, old, new, message):
    xml = path.with_name("data-file-schema.xml")
    text = espresso_xml(DENSITY)
    head, match, tail = text.rpartition(old)
    xml.write_text(head if new is None else head + new + tail)
    with pytest.raises(FormatError, match=message) as caught:
        read_density(path)
    assert match
    assert str(caught.value).startswith(f"{xml}: ")


def test_species_that_is_no_element_leaves_the_atoms_unknown(path):
    path.with_name("data-file-schema.xml").write_text(espresso_xml(DENSITY).replace("Na1", "Qx"))
    density = read_density(path)
    assert density.atoms is None
    assert "'Qx'" in density.warnings[0]


def test_cell_may_come_from_a_structure(tmp_path):
    path = write_quantum_espresso(tmp_path / "charge-density.hdf5", DENSITY, cell=False)
    with pytest.raises(FormatError, match=r"holds no cell; put data-file-schema\.xml .* or give the structure"):
        read_density(path)
    density = read_density(path, structure=atoms_of(DENSITY))
    np.testing.assert_allclose(density.values, DENSITY.values, rtol=ROUNDING)
    assert str(atoms_of(density).symbols) == "NaCl"


def test_old_layout_needs_a_structure(tmp_path):
    density = random_density((3, 4, 5))
    path = write_old_quantum_espresso(tmp_path / "charge-density.hdf5", density)
    with pytest.raises(FormatError, match="holds no cell"):
        read_density(path)
    read = read_density(path, structure=atoms_of(density))
    np.testing.assert_allclose(read.values, density.values, rtol=ROUNDING)
    assert "before 6.2" in read.warnings[0]


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("K3", None, "has no dataset K3"),
        ("K3", np.ones(5), "K3 of shape"),
        ("nr3", np.array([9], dtype="i"), "has no dataset K6"),
        ("nr3", np.array([2**31 - 1], dtype="i"), "cannot hold"),
        ("nr3", np.array([-5], dtype="i"), "cannot hold"),
        ("nr3", "five", "no attribute nr3 that is a whole number"),
    ],
)
def test_old_layout_with_parts_that_do_not_fit_is_refused(tmp_path, name, values, message):
    density = random_density((3, 4, 5))
    path = write_old_quantum_espresso(tmp_path / "charge-density.hdf5", density)
    if name.startswith("K"):
        replace_dataset(path, name, values)
    else:
        with h5py.File(path, "r+") as file:
            file.attrs[name] = values
    with pytest.raises(FormatError, match=message):
        read_density(path, structure=atoms_of(density))


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("nspin", np.int32(3), "expected 1, 2 or 4"),
        ("nspin", np.int32(2), "no dataset rhodiff_g"),
        ("nspin", "two", "no attribute nspin that is a whole number"),
        ("ngm_g", np.int32(7), "announces 7 plane waves"),
    ],
)
def test_attributes_that_do_not_fit_are_refused(path, attribute, value, message):
    with h5py.File(path, "r+") as file:
        file.attrs[attribute] = value
    with pytest.raises(FormatError, match=message):
        read_density(path)


def miller_of(path):
    with h5py.File(path) as file:
        return np.array(file["MillerIndices"]), dict(file["MillerIndices"].attrs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda miller: np.where(miller == 4, 2**30, miller), "far more than the file holds"),
        (lambda miller: np.where(miller == 4, -(2**31), miller.astype(np.int64)), "far more than the file holds"),
        (lambda miller: np.where(miller == 4, 2**62, miller.astype(np.int64)), "far more than the file holds"),
        (lambda miller: miller * 40, "135 plane waves reach over a grid of 81x161x321 points"),
        (lambda miller: np.where(miller == 4, 3, miller), "a plane wave twice"),
        (lambda miller: miller + 0.5, "where numbers should be"),
        (lambda miller: miller[:, :2], r"expected \(n, 3\)"),
        (lambda miller: np.roll(miller, 1, axis=0), "do not make a real density"),
    ],
)
def test_miller_indices_that_make_no_density_are_refused(path, change, message):
    miller, attributes = miller_of(path)
    replace_dataset(path, "MillerIndices", change(miller))
    with h5py.File(path, "r+") as file:
        file["MillerIndices"].attrs.update(attributes)
    with pytest.raises(FormatError, match=message):
        read_density(path)


def test_kinetic_energy_density_is_refused_by_name(tmp_path):
    with pytest.raises(FormatError, match="kinetic energy density"):
        read_density(write_quantum_espresso(tmp_path / "ekin-density.hdf5", DENSITY))


def test_old_file_of_silicon_is_read(shared_densities):
    path = shared_densities / "QEF__postqe" / "examples__Si__charge-density.hdf5"
    density = read_density(path, structure=ase.Atoms("Si", cell=CUBIC, pbc=True))
    assert density.shape == (72, 72, 72)
    # What the manifest says, e/bohr³.
    extremes = np.array([density.values.min(), density.values.max()]) * 0.529177210903**3
    np.testing.assert_allclose(extremes, [1.28075e-05, 0.0551665], rtol=1e-5)
