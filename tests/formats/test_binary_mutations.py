"""Damaged binary files, many at random: a density of the announced kind or a FormatError, never a crash."""

import re
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import random_density, write_archive
from tests.synthetic_binary import (
    replace_dataset,
    write_abinit,
    write_pymatgen_hdf5,
    write_quantum_espresso,
    write_siesta,
    write_vaspwave,
)

DENSITY = random_density((3, 5, 3), blocks=2)


@dataclass(frozen=True)
class Whole:
    """An undamaged file, whose name does not tell its format.

    Attributes:
        content: its bytes.
        format: name of its format.
    """

    content: bytes
    format: str


def made_by(write, format: str, **arguments: int) -> Whole:
    with tempfile.TemporaryDirectory() as folder:
        return Whole(write(Path(folder) / "rho", DENSITY, **arguments).read_bytes(), format)


FILES = {
    "pymatgen": made_by(write_pymatgen_hdf5, "pymatgen_hdf5"),
    "vaspwave": made_by(write_vaspwave, "vasp_hdf5"),
    "espresso": made_by(write_quantum_espresso, "quantum_espresso"),
    "archive": made_by(lambda path, density: write_archive(path, {"NaCl": density}), "archive"),
    "abinit": made_by(write_abinit, "abinit"),
    "abinit netCDF-4": made_by(write_abinit, "abinit", version=4),
    "siesta": made_by(write_siesta, "siesta", version=2),
    "siesta netCDF-4": made_by(write_siesta, "siesta", version=4),
}
HDF5_FILES = {name: whole for name, whole in FILES.items() if whole.content.startswith(b"\x89HDF")}
any_file = pytest.mark.parametrize("whole", FILES.values(), ids=FILES.keys())
any_hdf5 = pytest.mark.parametrize("whole", HDF5_FILES.values(), ids=HDF5_FILES.keys())
place = st.floats(0, 1, exclude_max=True)


def read(content: bytes, *, format: str | None) -> ChargeDensity | None:
    """Density that the bytes give, or None where they are refused with a proper message."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("error")
        path = Path(folder) / "rho"
        path.write_bytes(content)
        try:
            return read_density(path, format=format)
        except FormatError as error:
            message = str(error)
    assert message.startswith(str(path))
    assert len(message) < 1000
    return None


@any_file
def test_whole_file_is_told_and_read(whole):
    density = read(whole.content, format=None)
    assert density is not None
    assert density.format == whole.format
    np.testing.assert_allclose(density.values, DENSITY.values, rtol=1e-3)


@any_file
@settings(max_examples=25)
@given(at=place)
def test_truncated_file(whole, at):
    density = read(whole.content[: int(at * len(whole.content))], format=whole.format)
    # Some end in padding.
    assert density is None or at > 0.9


@pytest.mark.slow
@any_file
@settings(max_examples=50)
@given(flips=st.lists(st.tuples(place, st.integers(1, 255)), min_size=1, max_size=4))
def test_flipped_bytes_never_crash_the_reader(whole, flips):
    content = bytearray(whole.content)
    for at, mask in flips:
        content[int(at * len(content))] ^= mask
    density = read(bytes(content), format=whole.format)
    assert density is None or np.isfinite(density.values).all()


@pytest.mark.slow
@any_file
@settings(max_examples=25)
@given(at=place, scrap=st.sampled_from([b"\xff" * 8, b"\0" * 8, b"\x7f\xff\xff\xff", b"\0" * 64]))
def test_overwritten_stretches_never_crash_the_reader(whole, at, scrap):
    start = int(at * len(whole.content))
    read(whole.content[:start] + scrap + whole.content[start + len(scrap) :], format=whole.format)


def dataset_names(path: Path) -> list[str]:
    names: list[str] = []
    with h5py.File(path) as file:
        file.visit(names.append)
    return names


@pytest.mark.slow
@any_hdf5
@settings(max_examples=25)
@given(
    which=place,
    values=st.sampled_from(
        [None, 0, -1, np.nan, 2**62, b"text", np.zeros((0, 3)), np.ones((2, 2, 2)), np.full(3, np.inf), [True, False]]
    ),
)
def test_parts_lost_or_replaced_never_crash_the_reader(whole, which, values):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rho"
        path.write_bytes(whole.content)
        names = dataset_names(path)
        replace_dataset(path, names[int(which * len(names))], values)
        content = path.read_bytes()
    density = read(content, format=whole.format)
    assert density is None or re.fullmatch(whole.format, density.format)
