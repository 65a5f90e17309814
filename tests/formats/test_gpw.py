"""GPAW's files, with a stand-in for GPAW where the real one is not needed."""

import gzip
import sys
from types import ModuleType

import numpy as np
import pytest

from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import atoms_of, random_density, spin_of

HEAD = b"- of Ulmgpaw            " + bytes(64)


@pytest.fixture
def path(tmp_path):
    (tmp_path / "NaCl.gpw").write_bytes(HEAD)
    return tmp_path / "NaCl.gpw"


@pytest.fixture
def install(monkeypatch):
    """Put a calculator's class in GPAW's place."""

    def put(calculator):
        module = ModuleType("gpaw")
        module.GPAW = calculator  # pyright: ignore[reportAttributeAccessIssue]
        monkeypatch.setitem(sys.modules, "gpaw", module)

    return put


def calculator_of(density, *, n_electrons=8.0):
    class Calculator:
        def __init__(self, name, txt):
            assert name.endswith("NaCl.gpw")
            assert txt is None
            self.atoms = atoms_of(density)

        def get_number_of_electrons(self):
            return n_electrons

        def get_number_of_spins(self):
            return 1 if density.magnetization is None else 2

        def get_pseudo_density(self, spin=None, gridrefinement=1):
            assert gridrefinement == 2
            sign = {None: 0, 0: 1, 1: -1}[spin]
            return density.values if sign == 0 else (density.values + sign * density.magnetization) / 2

    return Calculator


@pytest.mark.parametrize("blocks", [1, 2])
def test_density_comes_from_gpaw(path, install, blocks):
    density = random_density((3, 4, 5), blocks=blocks)
    install(calculator_of(density))
    read = read_density(path)
    assert read.format == "gpaw"
    np.testing.assert_allclose(read.values, density.values, rtol=1e-14)
    assert str(atoms_of(read).symbols) == "NaCl"
    assert read.expected_electrons is not None
    assert not read.warnings
    if blocks == 2:
        np.testing.assert_allclose(spin_of(read), spin_of(density), rtol=1e-12)


def test_density_without_compensation_charges_is_refused(path, install):
    install(calculator_of(random_density(n_electrons=7.2)))
    with pytest.raises(FormatError, match=r"integrates to 7\.2 of 8 valence electrons: this GPAW leaves compensation"):
        read_density(path)


def test_missing_gpaw_is_explained(path, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpaw", None)
    with pytest.raises(FormatError, match=r"not installed: pip install gpaw, or write a cube file"):
        read_density(path)


def test_what_gpaw_cannot_read_is_refused(path, install):
    def fail(name, txt):
        raise KeyError("density")

    install(fail)
    with pytest.raises(FormatError, match=r"NaCl\.gpw: GPAW cannot give its density: 'density'"):
        read_density(path)


def test_packed_file_is_refused(path):
    path.write_bytes(gzip.compress(HEAD, mtime=0))
    with pytest.raises(FormatError, match="inside gzip cannot be read; unpack it first"):
        read_density(path)
