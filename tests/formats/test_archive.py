"""Archives of many crystals: entries, scales, and the check against the stored electron count."""

import h5py
import numpy as np
import pytest

from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import atoms_of, random_density, spin_of, write_archive

# Values are stored with 11 bits.
HALF = 2**-11


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_entry_is_read_by_name_or_path(tmp_path, blocks):
    densities = {"NaCl_a": random_density(), "NaCl_b": random_density((3, 5, 1), seed=1, blocks=blocks)}
    path = write_archive(tmp_path / "densities-000.h5", densities)
    expected = densities["NaCl_b"]
    for read in (read_density(path, entry="NaCl_b"), read_density(f"{path}::NaCl_b")):
        np.testing.assert_allclose(read.values, expected.values, atol=HALF * expected.values.max())
        np.testing.assert_allclose(read.lattice, expected.lattice)
        np.testing.assert_allclose(atoms_of(read).positions, atoms_of(expected).positions)
        assert str(atoms_of(read).symbols) == "NaCl"
        assert read.format == "archive"
        if expected.magnetization is not None:
            np.testing.assert_allclose(spin_of(read), expected.magnetization, atol=HALF)


def test_only_entry_needs_no_name(tmp_path):
    path = write_archive(tmp_path / "one.h5", {"NaCl": random_density()})
    assert read_density(path).n_electrons == pytest.approx(8, abs=1e-3)


def test_missing_and_ambiguous_entries_are_explained(tmp_path):
    path = write_archive(tmp_path / "many.h5", {f"id{i}": random_density() for i in range(7)})
    with pytest.raises(FormatError, match=r"holds 7 crystals \(id0, id1, id2, id3, id4, ...\); choose one"):
        read_density(path)
    with pytest.raises(FormatError, match="holds no crystal 'id9'"):
        read_density(path, entry="id9")
    with pytest.raises(FormatError, match="entry='id2' was asked for"):
        read_density(f"{path}::id1", entry="id2")


def damage_scale(group):
    group["density"].attrs["scale"] = 2 * group["density"].attrs["scale"]


def damage_lattice(group):
    group["lattice"][0] = 2 * group["lattice"][0]


def drop_scale(group):
    del group["density"].attrs["scale"]


def put_nan(group):
    group["density"][0, 0, 0] = np.nan


def drop_positions(group):
    del group["scaled_positions"]


def cut_positions(group):
    positions = group["scaled_positions"][:1]
    del group["scaled_positions"]
    group["scaled_positions"] = positions


def flatten_density(group):
    values = group["density"][:].ravel()
    del group["density"]
    group["density"] = values
    group["density"].attrs["scale"] = 1.0


def empty_giant(group):
    del group["density"]
    group.create_dataset("density", shape=(20000, 20000, 20000), chunks=(100, 100, 100), dtype=np.float16)
    group["density"].attrs["scale"] = 1.0


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (damage_scale, "integrates to 16"),
        (damage_lattice, "were stored with it"),
        (drop_scale, "no attribute 'scale'"),
        (put_nan, "not finite"),
        (drop_positions, "damaged"),
        (cut_positions, r"positions of shape \(1, 3\)"),
        (flatten_density, "shape"),
        (empty_giant, "far larger than the file"),
    ],
)
def test_damaged_entry_is_refused(tmp_path, damage, message):
    path = write_archive(tmp_path / "one.h5", {"NaCl": random_density()})
    with h5py.File(path, "r+") as file:
        damage(file["NaCl"])
    with pytest.raises(FormatError, match=message) as caught:
        read_density(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.1, 0.01])
def test_truncated_archive_is_refused(tmp_path, share):
    path = write_archive(tmp_path / "one.h5", {"NaCl": random_density()})
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(FormatError, match=r"one\.h5: "):
        read_density(path)


def test_other_hdf5_files_are_refused(tmp_path):
    path = tmp_path / "vaspout.h5"
    with h5py.File(path, "w") as file:
        file["results/positions"] = np.zeros(3)
    with pytest.raises(FormatError, match="holds no crystals"):
        read_density(path)
