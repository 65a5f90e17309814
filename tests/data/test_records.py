"""Stored records: rounding to float16, electron counts, groups and labels."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy

from rhonet.core.properties import PROPERTIES
from rhonet.core.regrid import storage_grid
from rhonet.data.folder import Sample, read_folder
from rhonet.data.records import decode_record, from_float16, make_record, to_float16
from rhonet.formats import read_density
from tests.conftest import REPOSITORY
from tests.synthetic import CUBIC, LEFT_HANDED, SKEWED, density_of, random_density

GAP, METAL = PROPERTIES["band_gap"], PROPERTIES["is_metal"]
# float16 keeps 11 bits: rounding changes a value by at most half of the last one.
HALF_BIT = 2.0**-11


def sample_of(tmp_path, **fields):
    labels = {"band_gap": 1.5, "is_metal": np.nan}
    return Sample("salt", "CHGCAR", tmp_path / "CHGCAR", None, 2, labels, **fields)


def record_of(density, tmp_path, *, spacing=0.25, **fields):
    return make_record(density, sample=sample_of(tmp_path, **fields), properties=(METAL, GAP), spacing=spacing)


numbers = st.floats(-1e6, 1e6, width=32)


@given(st_numpy.arrays(np.float64, st_numpy.array_shapes(max_dims=3, max_side=5), elements=numbers))
def test_rounding_is_within_half_a_bit_and_final(values):
    packed, scale = to_float16(values)
    unpacked = from_float16(packed, scale)
    largest = np.abs(values).max()
    np.testing.assert_allclose(unpacked, values, rtol=HALF_BIT, atol=max(2e-12 * largest, 1e-30))
    again, same_scale = to_float16(unpacked)
    np.testing.assert_array_equal(again, packed)
    assert same_scale == scale or not packed.any()


def test_vacuum_keeps_its_digits():
    values = np.array([30.0, 3e-6, 1e-7])
    np.testing.assert_allclose(from_float16(*to_float16(values)), values, rtol=HALF_BIT)


@pytest.mark.parametrize("lattice", [CUBIC, SKEWED, LEFT_HANDED])
@pytest.mark.parametrize("shape", [(1, 1, 1), (24, 25, 27), (40, 1, 18)])
def test_record_keeps_the_number_of_electrons(tmp_path, shape, lattice):
    density = random_density(shape, lattice=lattice)
    record = record_of(density, tmp_path)
    assert record["n_electrons"] == pytest.approx(density.n_electrons, rel=1e-7)
    # Independent rounding of many values averages out; one value alone has half a bit.
    assert decode_record(record).n_electrons == pytest.approx(density.n_electrons, rel=HALF_BIT)


def test_record_is_the_density_on_the_storage_grid(tmp_path):
    density = random_density((30, 24, 40), blocks=2)
    stored, decoded = storage_grid(density, 0.4), decode_record(record_of(density, tmp_path, spacing=0.4))
    assert (decoded.spacing <= 0.4).all()
    assert decoded.shape == stored.shape
    np.testing.assert_allclose(decoded.values, stored.values, rtol=HALF_BIT, atol=1e-9)
    assert decoded.magnetization is not None
    assert stored.magnetization is not None
    np.testing.assert_allclose(decoded.magnetization, stored.magnetization, rtol=HALF_BIT, atol=1e-9)
    np.testing.assert_allclose(decoded.lattice, density.lattice, rtol=1e-6)


def test_storing_a_stored_record_changes_nothing(tmp_path):
    first = record_of(random_density((30, 24, 40), blocks=2), tmp_path)
    again = record_of(decode_record(first), tmp_path)
    for name in ("density", "magnetization", "density_scale", "magnetization_scale", "lattice"):
        np.testing.assert_array_equal(again[name], first[name])


def test_spin_is_optional(tmp_path):
    plain = record_of(random_density(), tmp_path)
    assert plain["magnetization"].shape == (0, 0, 0)
    assert np.isnan(plain["total_moment"])
    spins = random_density(blocks=4)
    record = record_of(spins, tmp_path)
    assert record["magnetization"].shape == record["density"].shape
    assert record["total_moment"] == pytest.approx(spins.total_moment, rel=1e-6)
    assert decode_record(record).total_moment == pytest.approx(spins.total_moment, rel=1e-3)


def test_spin_polarised_run_without_moment_is_kept_as_such(tmp_path):
    density = dataclasses.replace(random_density(), magnetization=np.zeros((5, 4, 6)))
    record = record_of(density, tmp_path)
    assert record["magnetization"].shape == record["density"].shape
    assert record["total_moment"] == 0


def test_labels_follow_the_properties(tmp_path):
    labels = record_of(random_density(), tmp_path)["labels"]
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, np.array([np.nan, 1.5], np.float32))


def test_groups_come_from_the_species(tmp_path):
    record = record_of(random_density(symbols="Na2Cl2"), tmp_path)
    assert record["formula"] == "ClNa"
    assert record["groups"] == {"chemical_system": "Cl-Na", "formula": "ClNa", "prototype": "AB-1"}


def test_table_names_the_prototype(tmp_path):
    record = record_of(random_density(symbols="NaCl"), tmp_path, bookkeeping={"prototype": "rocksalt"})
    assert record["groups"]["prototype"] == "rocksalt"


def test_table_names_species_that_the_file_does_not(tmp_path):
    density = density_of(np.ones((4, 4, 4)))
    record = record_of(density, tmp_path, formula="Fe4O6")
    assert record["groups"] == {"chemical_system": "Fe-O", "formula": "Fe2O3", "prototype": "salt"}
    only_system = record_of(density, tmp_path, chemical_system="Fe-O")
    assert (only_system["formula"], only_system["groups"]["chemical_system"]) == ("", "Fe-O")


def test_unknown_species_make_a_group_of_their_own(tmp_path):
    record = record_of(density_of(np.ones((4, 4, 4))), tmp_path)
    assert record["formula"] == ""
    assert record["groups"] == {"chemical_system": "salt", "formula": "salt", "prototype": "salt"}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"formula": "KCl"}, "the file holds ClNa, but properties.csv says KCl"),
        ({"chemical_system": "Cl-K"}, "the species are Cl-Na, but properties.csv says Cl-K"),
    ],
)
def test_density_of_another_material_is_refused(tmp_path, fields, message):
    with pytest.raises(ValueError, match=message):
        record_of(random_density(), tmp_path, **fields)


def test_field_that_is_no_density_is_refused(tmp_path):
    with pytest.raises(ValueError, match="integrates to -64 electrons"):
        record_of(density_of(-np.ones((4, 4, 4)), lattice=CUBIC), tmp_path)
    wave = np.cos(np.linspace(0, 2 * np.pi, 8, endpoint=False))[:, None, None] * np.ones((8, 8, 8))
    with pytest.raises(ValueError, match="positive and negative parts nearly cancel"):
        record_of(density_of(wave + 3e-9, lattice=CUBIC), tmp_path)


def test_bundled_crystals_keep_their_electrons_to_two_in_ten_thousand(tmp_path):
    table = read_folder(REPOSITORY / "tfds_builders/dft_crystals/archive")
    for sample in table.samples[::8]:
        density = read_density(sample.path, entry=sample.entry)
        record = make_record(density, sample=sample, properties=table.properties, spacing=0.25)
        assert density.shape == record["density"].shape
        assert decode_record(record).n_electrons == pytest.approx(density.n_electrons, rel=1e-6)
        assert density.n_electrons == pytest.approx(round(density.n_electrons), rel=2e-4)
