"""netCDF files of ABINIT and SIESTA, written by scipy (classic) and h5py (netCDF-4)."""

import gzip
import struct

import numpy as np
import pytest

from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from rhonet.formats.parsing.netcdf import read_header, read_variables
from rhonet.formats.parsing.source import open_source
from tests.synthetic import LEFT_HANDED, SKEWED, atoms_of, random_density, spin_of
from tests.synthetic_binary import (
    abinit_variables,
    siesta_variables,
    siesta_xv,
    write_abinit,
    write_netcdf,
    write_siesta,
)

DENSITY = random_density((3, 4, 5))
# SIESTA stores single precision.
SINGLE = 1e-6

any_version = pytest.mark.parametrize("version", [1, 2, 4])
any_spin = pytest.mark.parametrize("blocks", [1, 2, 4])


@any_version
@any_spin
@pytest.mark.parametrize("lattice", [SKEWED, LEFT_HANDED])
def test_abinit_density_is_read(tmp_path, version, blocks, lattice):
    density = random_density((3, 4, 1), blocks=blocks, lattice=lattice)
    read = read_density(write_abinit(tmp_path / "rho", density, version=version))
    assert read.format == "abinit"
    np.testing.assert_allclose(read.values, density.values, rtol=1e-12)
    np.testing.assert_allclose(read.lattice, density.lattice)
    np.testing.assert_allclose(atoms_of(read).positions, atoms_of(density).positions, atol=1e-12)
    assert str(atoms_of(read).symbols) == "NaCl"
    assert read.expected_electrons is not None
    assert not read.warnings
    if blocks > 1:
        np.testing.assert_allclose(spin_of(read), spin_of(density), atol=1e-12)


@any_version
@any_spin
@pytest.mark.parametrize("lattice", [SKEWED, LEFT_HANDED])
def test_siesta_density_is_read(tmp_path, version, blocks, lattice):
    density = random_density((3, 4, 1), blocks=blocks, lattice=lattice)
    read = read_density(write_siesta(tmp_path / "rho", density, version=version))
    assert read.format == "siesta"
    np.testing.assert_allclose(read.values, density.values, rtol=SINGLE)
    np.testing.assert_allclose(read.lattice, density.lattice, rtol=SINGLE)
    assert read.atoms is None
    if blocks > 1:
        np.testing.assert_allclose(spin_of(read), spin_of(density), atol=SINGLE)


@pytest.mark.parametrize("write", [write_abinit, write_siesta])
@any_version
def test_gzipped_netcdf_is_read(tmp_path, write, version):
    plain = write(tmp_path / "plain", DENSITY, version=version)
    packed = tmp_path / "rho.nc.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    np.testing.assert_array_equal(read_density(packed).values, read_density(plain).values)


def test_number_of_electrons_tells_up_and_down_from_total_and_up(tmp_path):
    density = random_density((3, 4, 5), blocks=2)
    path = write_abinit(tmp_path / "rho_DEN.nc", density, etsf=True)
    read = read_density(path)
    np.testing.assert_allclose(read.values, density.values, rtol=1e-12)
    np.testing.assert_allclose(spin_of(read), spin_of(density), atol=1e-12)
    with pytest.raises(
        FormatError, match="neither the first nor their sum is the number of electrons, 11 according to nelect"
    ):
        read_density(write_netcdf(path, abinit_variables(density, n_electrons=11.0)))
    with pytest.raises(FormatError, match="names no number of electrons"):
        read_density(write_netcdf(path, abinit_variables(density, n_electrons=None)))


@pytest.mark.parametrize(
    ("name", "what"), [("vtrial", "a potential"), ("elfr", "localisation"), ("unheard_of", "no variable density")]
)
def test_other_fields_of_abinit_are_refused_by_name(tmp_path, name, what):
    variables = abinit_variables(DENSITY)
    variables[name] = variables.pop("density")
    with pytest.raises(FormatError, match=what):
        read_density(write_netcdf(tmp_path / "rho", variables))


@pytest.mark.parametrize(
    ("function", "what"),
    [("DeltaRho", "difference"), ("VT", "the total potential"), ("Odd", "Odd, no function"), ("", "a nameless")],
)
def test_other_functions_of_siesta_are_refused_by_name(tmp_path, function, what):
    with pytest.raises(FormatError, match=what):
        read_density(write_siesta(tmp_path / "rho", DENSITY, function=function))


def test_file_name_tells_the_function_where_the_file_does_not(tmp_path):
    variables = siesta_variables(DENSITY)
    assert read_density(write_netcdf(tmp_path / "Rho.grid.nc", variables)).n_electrons == pytest.approx(8, rel=SINGLE)
    with pytest.raises(FormatError, match="VH, the Hartree potential"):
        read_density(write_netcdf(tmp_path / "VH.grid.nc", variables))


def test_other_units_are_refused(tmp_path):
    texts = {"gridfunc:Description": "Grid function -- Rho", "gridfunc:unit": "Ry"}
    with pytest.raises(FormatError, match="is in 'Ry'"):
        read_density(write_netcdf(tmp_path / "rho", siesta_variables(DENSITY), texts=texts))
    with pytest.raises(FormatError, match="is in 'eV'"):
        read_density(write_netcdf(tmp_path / "rho", abinit_variables(DENSITY), texts={"density:units": "eV"}))


def test_atoms_of_siesta_stand_beside(tmp_path):
    path = write_siesta(tmp_path / "Rho.grid.nc", DENSITY)
    (tmp_path / "NaCl.XV").write_text(siesta_xv(DENSITY))
    np.testing.assert_allclose(atoms_of(read_density(path)).positions, atoms_of(DENSITY).positions, atol=1e-8)
    (tmp_path / "NaCl.XV").write_text(siesta_xv(random_density(lattice=LEFT_HANDED)))
    assert read_density(path).atoms is None
    (tmp_path / "NaCl.XV").write_text("nonsense")
    assert read_density(path).atoms is None
    with_atoms = read_density(path, structure=atoms_of(DENSITY))
    assert str(atoms_of(with_atoms).symbols) == "NaCl"


ABINIT_DAMAGE = [
    ("density", np.ones((1, 2, 2, 2)), "expected .1, 2 or 4 components"),
    ("density", np.ones((1, 2, 2, 2, 2)), "expected .1, 2 or 4 components"),
    ("density", np.ones((3, 2, 2, 2, 1)), "expected .1, 2 or 4 components"),
    ("density", np.full((1, 2, 2, 2, 1), np.nan), "not finite"),
    ("density", np.full((1, 2, 2, 2, 1), 9.969209968386869e36), "was never written"),
    ("primitive_vectors", np.zeros((3, 3)), "spans no volume"),
    ("primitive_vectors", np.eye(2), "holds no cell"),
    ("atomic_numbers", np.array([200.0, 11.0]), "atomic numbers that are none"),
    ("atom_species", np.array([3, 1], dtype="i4"), "atom_species"),
    ("atom_species", np.array([1, 1, 1], dtype="i4"), "positions of shape"),
    ("reduced_atom_positions", np.full((2, 3), np.inf), "not finite"),
]


@pytest.mark.parametrize(("name", "values", "message"), ABINIT_DAMAGE)
@pytest.mark.parametrize("version", [1, 4])
def test_parts_of_abinit_that_do_not_fit_are_refused(tmp_path, name, values, message, version):
    path = write_netcdf(tmp_path / "rho", {**abinit_variables(DENSITY), name: values}, version=version)
    with pytest.raises(FormatError, match=message):
        read_density(path)


@pytest.mark.parametrize("name", ["density", "primitive_vectors"])
def test_missing_part_is_named(tmp_path, name):
    variables = abinit_variables(DENSITY)
    del variables[name]
    with pytest.raises(FormatError, match=name):
        read_density(write_netcdf(tmp_path / "rho", variables), format="abinit")


@pytest.mark.parametrize("share", [0.999, 0.9, 0.5, 0.1, 0.01])
@pytest.mark.parametrize("write", [write_abinit, write_siesta])
def test_truncated_file_is_refused(tmp_path, write, share):
    path = write(tmp_path / ("rho_DEN.nc" if write is write_abinit else "Rho.grid.nc"), DENSITY)
    content = path.read_bytes()
    # What scipy writes ends in padding, which may be lost.
    path.write_bytes(content[: int(share * len(content)) - 4])
    with pytest.raises(FormatError, match=r"(?i)truncated|tag|overlap"):
        read_density(path)


def classic(*, shape, begin, version=1, dimension_ids=None):
    """A classic file of one variable "x", float64, without data."""
    number = ">i" if version < 5 else ">q"

    def pack(value):
        return struct.pack(number, value)

    name = pack(1) + b"x\0\0\0"
    header = b"CDF" + bytes([version]) + pack(0)
    header += struct.pack(">i", 10) + pack(len(shape)) + b"".join(name + pack(n) for n in shape)
    header += struct.pack(">i", 0) + pack(0)
    ids = range(len(shape)) if dimension_ids is None else dimension_ids
    header += struct.pack(">i", 11) + pack(1) + name + pack(len(list(ids))) + b"".join(pack(i) for i in ids)
    header += struct.pack(">i", 0) + pack(0) + struct.pack(">i", 6) + pack(0)
    return header + struct.pack(">i" if version == 1 else ">q", begin)


@pytest.mark.parametrize("version", [1, 2, 5])
def test_all_classic_versions_are_read(tmp_path, version):
    values = np.arange(6.0).reshape(2, 3)
    header = classic(shape=(2, 3), begin=200, version=version)
    (tmp_path / "x").write_bytes(header.ljust(200, b"\0") + values.astype(">f8").tobytes())
    source = open_source(tmp_path / "x")
    np.testing.assert_array_equal(read_variables(source, read_header(source), ["x"])["x"], values)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (classic(shape=(2**31 - 1, 2**31 - 1), begin=100), "more than the file can hold"),
        (classic(shape=(2**62,), begin=200, version=5), "more than the file can hold"),
        (classic(shape=(2,), begin=2**31 - 1), "ends before its data"),
        (classic(shape=(2,), begin=4), "overlap the netCDF header"),
        (classic(shape=(0,), begin=100), "unlimited or empty dimension"),
        (classic(shape=(2,), begin=100, dimension_ids=[7]), "dimension that does not exist"),
        (b"CDF\x01" + b"\xff" * 60, "damaged"),
        (b"CDF\x05" + b"\xff" * 60, "damaged"),
        (b"CDF\x01" + struct.pack(">iiii", 0, 10, 2**31 - 1, 2**31 - 1), "does not end|truncated"),
        (b"CDF\x03" + bytes(60), "no netCDF file"),
        (b"CDF\x01", "does not end|truncated"),
    ],
)
def test_hostile_headers_are_refused(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    source = open_source(tmp_path / "x")
    with pytest.raises(FormatError, match=message):
        read_variables(source, read_header(source), ["x"])
