"""Numbers of electrons from the files beside a density."""

import gzip
import zipfile

import pytest

import rhonet.formats.companion_files as neighbours
from rhonet.core.density import ElectronCount
from rhonet.formats import read_density
from tests.synthetic import chgcar_text, random_density

CHGCAR = chgcar_text(random_density())
OUTCAR = " ISPIN  =      1\n   NELECT =       8.0000    total number of electrons\n"
VASPRUN = '<modeling><parameters>\n<i name="NELECT">      9.00000000</i>\n</parameters></modeling>'


def read(folder, name, **others):
    """Density of a CHGCAR of that name, among other files."""
    for other, content in others.items():
        (folder / other).write_bytes(content if isinstance(content, bytes) else content.encode())
    (folder / name).write_text(CHGCAR)
    return read_density(folder / name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("CHGCAR", "OUTCAR"),
        ("CHG", "OUTCAR"),
        ("AECCAR2", "OUTCAR"),
        ("a.CHGCAR", "a.OUTCAR"),
        ("CHGCAR.relax", "OUTCAR.relax"),
        ("mp-1_CHGCAR.static.gz", "mp-1_OUTCAR.static"),
    ],
)
def test_outcar_of_the_same_name_counts_the_electrons(tmp_path, name, other):
    density = read(tmp_path, name, **{other: OUTCAR})
    assert density.expected_electrons == ElectronCount(8.0, other)
    assert density.warnings == ()


@pytest.mark.parametrize("other", ["vasprun.xml", "vasprun.xml.gz"])
def test_vasprun_counts_them_too(tmp_path, other):
    content = gzip.compress(VASPRUN.encode(), mtime=0) if other.endswith("gz") else VASPRUN
    density = read(tmp_path, "CHGCAR", **{other: content})
    assert density.expected_electrons == ElectronCount(9.0, other)
    assert density.warnings == (f"Integrates to 8 electrons, but there are 9 according to {other}.",)


def test_zipped_outcar_counts_them_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "OUTCAR.zip", "w") as archive:
        archive.writestr("OUTCAR", OUTCAR)
    assert read(tmp_path, "CHGCAR").expected_electrons == ElectronCount(8.0, "OUTCAR.zip")


@pytest.mark.parametrize("name", ["vasprun.xml.relax", "vasprun.relax.xml"])
def test_vasprun_of_a_named_step(tmp_path, name):
    assert read(tmp_path, "CHGCAR.relax", **{name: VASPRUN}).expected_electrons == ElectronCount(9.0, name)


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("PARCHG", "OUTCAR"),
        ("AECCAR0", "OUTCAR"),
        ("AECCAR1", "OUTCAR"),
        ("rho.vasp", "OUTCAR"),
        ("CHGCAR", "b.OUTCAR"),
        ("a.CHGCAR", "OUTCAR"),
        ("CHGCAR.relax1", "OUTCAR.relax2"),
    ],
)
def test_files_of_other_calculations_and_densities_of_parts_count_nothing(tmp_path, name, other):
    assert read(tmp_path, name, **{other: OUTCAR}).expected_electrons is None


@pytest.mark.parametrize(
    ("content", "warning"),
    [
        ("", "is empty"),
        ("nothing", "gives no number of electrons"),
        ("NELECT = ****** ", "gives no number of electrons"),
        ("NELECT = 1.2.3 ", "could not convert"),
        (gzip.compress(OUTCAR.encode() * 100, mtime=0)[:50], "truncated"),
    ],
)
def test_damaged_neighbour_is_passed_over_with_a_warning(tmp_path, content, warning):
    density = read(tmp_path, "CHGCAR", OUTCAR=content)
    assert density.expected_electrons is None
    assert density.warnings[0].startswith("OUTCAR beside it")
    assert warning in density.warnings[0]
    density = read(tmp_path, "CHGCAR", **{"OUTCAR": content, "vasprun.xml": VASPRUN})
    assert density.expected_electrons == ElectronCount(9.0, "vasprun.xml")


def test_search_is_bounded_and_crosses_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr(neighbours, "_PIECE", 1 << 10)
    for before in range(1000, 1040, 3):
        assert read(tmp_path, "CHGCAR", OUTCAR="x" * before + OUTCAR).expected_electrons is not None
    monkeypatch.setattr(neighbours, "SEARCHED_BYTES", 1 << 12)
    assert read(tmp_path, "CHGCAR", OUTCAR="x" * 5000 + OUTCAR).expected_electrons is None
