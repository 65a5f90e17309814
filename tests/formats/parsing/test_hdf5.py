"""HDF5 files in general: bounds, links, packing, damage."""

import gzip
import tracemalloc

import h5py
import numpy as np
import pytest

import rhonet.formats.parsing.source as source_module
from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from rhonet.formats.parsing.hdf5 import open_hdf5, root_names
from rhonet.formats.parsing.source import open_source
from tests.synthetic import random_density
from tests.synthetic_binary import write_pymatgen_hdf5, write_vaspwave

DENSITY = random_density((3, 4, 5))


@pytest.fixture
def path(tmp_path):
    return write_pymatgen_hdf5(tmp_path / "CHGCAR.hdf5", DENSITY)


def replace_field(path, make):
    with h5py.File(path, "r+") as file:
        del file["vdata/total"]
        make(file)


def refused(path, message):
    with pytest.raises(FormatError, match=message) as caught:
        read_density(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert len(str(caught.value)) < 600


def test_links_to_elsewhere_are_not_followed(path, tmp_path):
    secret = write_pymatgen_hdf5(tmp_path / "other.hdf5", DENSITY)
    for link in (h5py.ExternalLink(secret.name, "/vdata/total"), h5py.SoftLink("/lattice")):
        write_pymatgen_hdf5(path, DENSITY)
        replace_field(path, lambda file, link=link: file["vdata"].__setitem__("total", link))
        refused(path, "vdata/total is a link to somewhere else")


def test_data_in_other_files_are_not_read(path, tmp_path):
    raw = tmp_path / "raw"
    raw.write_bytes(DENSITY.values.tobytes())
    external = [(str(raw), 0, DENSITY.values.nbytes)]
    replace_field(path, lambda file: file.create_dataset("vdata/total", (3, 4, 5), "f8", external=external))
    refused(path, "keeps its data in other files")


def test_virtual_datasets_are_not_read(path, tmp_path):
    other = write_pymatgen_hdf5(tmp_path / "other.hdf5", DENSITY)
    layout = h5py.VirtualLayout((3, 4, 5), "f8")
    layout[:] = h5py.VirtualSource(other, "vdata/total", (3, 4, 5))
    replace_field(path, lambda file: file.create_virtual_dataset("vdata/total", layout))
    refused(path, "keeps its data in other files")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shape": (20000, 20000, 20000)}, "far larger than the file"),
        ({"shape": (20000, 20000, 20000), "chunks": (100, 100, 100)}, "far larger than the file"),
        ({"shape": (20000, 20000, 20000), "chunks": (100, 100, 100), "compression": "gzip"}, "far larger than"),
        ({"shape": (2, 2, 2)}, "never"),
        ({"shape": (2, 2, 2), "chunks": (1, 1, 1), "compression": "gzip"}, "never"),
        ({"shape": (2, 2, 2), "dtype": "S4"}, "where numbers should be"),
        ({"shape": (2, 2, 2), "dtype": np.complex128}, "where numbers should be"),
        ({"data": h5py.Empty("f8")}, "is empty"),
    ],
)
def test_datasets_that_hold_no_field_are_refused_within_bounded_memory(path, arguments, message):
    replace_field(path, lambda file: file.create_dataset("vdata/total", **{"dtype": "f8", **arguments}))
    tracemalloc.start()
    refused(path, message)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 32 << 20


def test_chunk_that_was_not_written_is_noticed(path):
    def half(file):
        dataset = file.create_dataset("vdata/total", (4, 4, 4), "f8", chunks=(2, 4, 4), compression="gzip")
        dataset[:2] = 1.0

    replace_field(path, half)
    refused(path, r"never \(or not wholly\) written")


def test_packed_fields_and_other_number_types_are_read(path):
    values = (DENSITY.values * DENSITY.volume).astype("f4")
    replace_field(path, lambda file: file.create_dataset("vdata/total", data=values, chunks=True, compression="gzip"))
    np.testing.assert_allclose(read_density(path).values, DENSITY.values, rtol=1e-6)


@pytest.mark.parametrize("write", [write_pymatgen_hdf5, write_vaspwave])
def test_gzipped_hdf5_is_read(tmp_path, write):
    plain = write(tmp_path / "plain", DENSITY)
    packed = tmp_path / "rho.h5.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    np.testing.assert_array_equal(read_density(packed).values, read_density(plain).values)


def test_bomb_of_gzipped_hdf5_is_stopped(tmp_path, monkeypatch):
    monkeypatch.setattr(source_module, "FREE_UNPACKED_BYTES", 1 << 12)
    plain = write_pymatgen_hdf5(tmp_path / "plain", DENSITY)
    packed = tmp_path / "rho.h5.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes() + bytes(10 << 20), mtime=0))
    refused(packed, "unpacks to more than")


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.1, 0.01])
@pytest.mark.parametrize("name", ["CHGCAR.hdf5", "rho"])
def test_truncated_file_is_damaged(tmp_path, share, name):
    path = write_pymatgen_hdf5(tmp_path / name, DENSITY)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refused(path, "damaged HDF5 file")


def test_hdf5_of_another_kind_lists_what_it_holds(tmp_path):
    path = tmp_path / "rho"
    with h5py.File(path, "w") as file:
        file["weights/layer"] = np.zeros(3)
    refused(path, "holds no crystals .* only 'weights'")


def test_names_are_read_anew_when_the_file_changes(path):
    assert "vdata" in root_names(open_source(path))
    with h5py.File(path, "w") as file:
        file["x"] = 1
    assert root_names(open_source(path)) == {"x"}


def test_missing_parts_are_named(path):
    with open_hdf5(open_source(path)) as file:
        assert file.names("nowhere") == file.names("lattice") == []
        assert "lattice/x" not in file
        assert file.attribute("nowhere", "x") is file.attribute("", "x") is None
        with pytest.raises(FormatError, match="has no dataset vdata/x"):
            file.read("vdata/x")
        with pytest.raises(FormatError, match="where a few texts should be"):
            file.read_texts("lattice")
