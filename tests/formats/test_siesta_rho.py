"""SIESTA's binary .RHO files."""

from pathlib import Path

import numpy as np
import pytest
from ase.units import Bohr

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import SKEWED, random_density, spin_of

# Values are single precision.
DIGITS = 1e-6
DENSITY = random_density()


def records(*arrays: np.ndarray) -> bytes:
    """Fortran records of arrays."""
    lengths = [np.int32(array.nbytes).tobytes() for array in arrays]
    return b"".join(length + array.tobytes() + length for length, array in zip(lengths, arrays, strict=True))


def rho_bytes(density: ChargeDensity, *, precision: str = "<f4") -> bytes:
    """Content of a .RHO file."""
    fields = [density.values]
    spin = density.magnetization
    if spin is not None:
        along_z = spin if spin.ndim == 3 else spin[2]
        fields = [(density.values + along_z) / 2, (density.values - along_z) / 2]
        fields += [] if spin.ndim == 3 else [spin[0] / 2, -spin[1] / 2]
    rows = (np.stack(fields) * Bohr**3).transpose(0, 3, 2, 1).reshape(-1, density.shape[0]).astype(precision)
    return records(density.lattice / Bohr, np.array([*density.shape, len(fields)], "<i4"), *rows)


@pytest.fixture
def written(tmp_path):
    def write(content: bytes, name: str = "NaCl.RHO") -> Path:
        path = tmp_path / name
        path.write_bytes(content)
        return path

    return write


@pytest.mark.parametrize("precision", ["<f4", "<f8"])
@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("shape", [(5, 4, 6), (1, 7, 2)])
def test_components_of_spin_make_density_and_magnetization(written, shape, blocks, precision):
    density = random_density(shape, blocks=blocks)
    read = read_density(written(rho_bytes(density, precision=precision)))
    np.testing.assert_allclose(read.values, density.values, rtol=DIGITS)
    np.testing.assert_allclose(read.lattice, SKEWED, rtol=1e-12)
    assert (read.format, read.warnings) == ("siesta_rho", ())
    if blocks > 1:
        np.testing.assert_allclose(spin_of(read), spin_of(density), atol=1e-6)


def test_every_truncation_is_refused(written):
    content = rho_bytes(DENSITY)
    for end in range(100, len(content), 61):
        with pytest.raises(FormatError, match=r"NaCl\.RHO: .*truncated"):
            read_density(written(content[:end]))
    with pytest.raises(FormatError, match="more values"):
        read_density(written(content + b"\0"))


def test_damaged_records_are_refused(written):
    content = rho_bytes(DENSITY)
    for offset, message in {
        88: "spin components",
        104: "do not fit",
        104 + 28: "lengths differ",
        84: "truncated|fit",
    }.items():
        damaged = bytearray(content)
        damaged[offset : offset + 4] = b"\x03\0\0\0" if offset != 88 else b"\0\0\0\0"
        with pytest.raises(FormatError, match=message):
            read_density(written(bytes(damaged)))
    huge = records(SKEWED, np.array([2**30, 2**30, 2**30, 4], "<i4")) + np.int32(4 * 2**28).tobytes()
    with pytest.raises(FormatError):
        read_density(written(huge))


def test_values_that_are_no_numbers_are_refused(written):
    content = bytearray(rho_bytes(DENSITY))
    content[108:112] = np.float32(np.nan).tobytes()
    with pytest.raises(FormatError, match="not finite"):
        read_density(written(bytes(content)))


@pytest.mark.parametrize("name", ["NaCl.VT", "NaCl.DRHO", "NaCl.VH.gz"])
def test_other_grid_functions_are_refused_by_name(written, name):
    with pytest.raises(FormatError, match=r"only those named \.RHO"):
        read_density(written(rho_bytes(DENSITY), name))


def test_real_file_agrees_with_its_netcdf_twin(shared_densities):
    stem = "zerothi__sisl-files/tests__siesta__SrTiO3__non-collinear__"
    ours, theirs = (read_density(shared_densities / f"{stem}{name}") for name in ("SrTiO3.RHO", "Rho.grid.nc"))
    np.testing.assert_array_equal(ours.values, theirs.values)
    np.testing.assert_array_equal(spin_of(ours), spin_of(theirs))
