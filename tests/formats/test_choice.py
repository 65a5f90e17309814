"""How a file's format is chosen, what is refused by name, and how packed files are opened."""

import bz2
import gzip
import io
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile

import numpy as np
import pytest

import rhonet.formats.parsing.source as source_module
from rhonet.core.errors import FormatError
from rhonet.formats import FORMATS, read_density
from rhonet.formats.parsing.source import open_source
from rhonet.formats.table import Format, choose_format
from tests.synthetic import chgcar_text, cube_text, random_density, write_archive


def zipped(content: bytes, *names: str) -> bytes:
    """A zip file with one member, or with others of the same content."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names or ("folder/rho",):
            archive.writestr(name, content)
    return packed.getvalue()


PACK = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress, "zip": zipped}


@pytest.fixture
def texts():
    density = random_density()
    return {"vasp": chgcar_text(density).encode(), "cube": cube_text(density).encode()}


@pytest.mark.parametrize("format", ["vasp", "cube"])
@pytest.mark.parametrize("name", ["rho", "CHGCAR", "rho.cube", "rho.h5", "rho.xsf"])
def test_content_decides_before_the_name(tmp_path, texts, name, format):
    path = tmp_path / name
    path.write_bytes(texts[format])
    assert read_density(path).format == format
    assert read_density(str(path), format=format).format == format


def test_name_decides_where_the_content_does_not(tmp_path):
    for name, message in {"CHGCAR": "scale factor", "x.cube": "comment line", "x.h5": "HDF5"}.items():
        path = tmp_path / name
        path.write_bytes(b"fake\n" if name == "CHGCAR" else b"fake")
        with pytest.raises(FormatError, match=message):
            read_density(path)


def test_content_that_fits_two_formats_is_left_to_the_name_or_the_caller(tmp_path, texts):
    def yes(source):
        return True

    both = (Format("one", "One", "json", yes, r"\.one$"), Format("two", "Two", "json", yes, r"\.two$"))
    for name, format in {"x.one": "one", "x.two": "two"}.items():
        (tmp_path / name).write_bytes(texts["vasp"])
        assert choose_format(open_source(tmp_path / name), formats=both).name == format
    (tmp_path / "x").write_bytes(texts["vasp"])
    with pytest.raises(FormatError, match=r"could be one and two; say which, e\.g\. --input-format one"):
        choose_format(open_source(tmp_path / "x"), formats=both)
    assert choose_format(open_source(tmp_path / "x"), formats=both, format="two").name == "two"


def test_unknown_format_lists_the_known_ones(tmp_path, texts):
    path = tmp_path / "x"
    path.write_bytes(b"no density\n")
    with pytest.raises(FormatError, match=r"\(vasp, cube, xsf, .*archive\)$"):
        read_density(path)
    with pytest.raises(FormatError, match="no format 'xyz'; there are vasp, cube, xsf, "):
        read_density(path, format="xyz")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("LOCPOT", "potential"),
        ("LOCPOT.gz", "potential"),
        ("LOCPOT_GaN", "potential"),
        ("Si_locpot.vasp", "potential"),
        ("POT", "potential"),
        ("run_POT.nc", "potential"),
        ("ELFCAR_test", "localisation"),
        ("WAVECAR", "orbitals"),
        ("POTCAR", "pseudopotential"),
    ],
)
def test_files_that_are_no_densities_by_name_are_refused(tmp_path, texts, name, what):
    path = tmp_path / name
    path.write_bytes(texts["vasp"])
    with pytest.raises(FormatError, match=what):
        read_density(path)


def test_format_that_the_caller_names_is_read_whatever_the_name_says(tmp_path, texts):
    path = tmp_path / "LOCPOT_but_not"
    path.write_bytes(texts["vasp"])
    with pytest.raises(FormatError, match="rename it if it does hold one, or give --input-format"):
        read_density(path)
    assert read_density(path, format="vasp").n_electrons == pytest.approx(8)


@pytest.mark.parametrize("name", ["SPOT.cube", "POTATO", "CHGCAR_elfcarpenter", "hotpot.cube"])
def test_names_that_only_contain_such_letters_are_fine(tmp_path, texts, name):
    path = tmp_path / name
    path.write_bytes(texts["cube"])
    assert read_density(path).format == "cube"


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("format", ["vasp", "cube"])
def test_packed_files_are_told_by_their_first_bytes(tmp_path, texts, format, suffix):
    plain = tmp_path / "plain"
    plain.write_bytes(texts[format])
    for name in (f"rho.{suffix}", "rho"):
        path = tmp_path / name
        path.write_bytes(PACK[suffix](texts[format]))
        np.testing.assert_array_equal(read_density(path).values, read_density(plain).values)


def test_suffix_of_a_packer_on_a_plain_file_is_ignored(tmp_path, texts):
    path = tmp_path / "CHGCAR.gz"
    path.write_bytes(texts["vasp"])
    assert read_density(path).format == "vasp"


@pytest.mark.parametrize("suffix", PACK)
@pytest.mark.parametrize("share", [0.99, 0.7, 0.1])
def test_truncated_packed_file_is_refused(tmp_path, texts, suffix, share):
    path = tmp_path / f"CHGCAR.{suffix}"
    packed = PACK[suffix](texts["vasp"])
    path.write_bytes(packed[: int(share * len(packed))])
    with pytest.raises(FormatError, match=r"CHGCAR\.\w+: .*(truncated|nothing|damaged or encrypted)"):
        read_density(path)


@pytest.mark.parametrize("suffix", PACK)
def test_damaged_packed_file_is_refused(tmp_path, texts, suffix):
    path = tmp_path / f"CHGCAR.{suffix}"
    packed = bytearray(PACK[suffix](texts["vasp"]))
    packed[len(packed) // 2] ^= 0xFF
    path.write_bytes(bytes(packed))
    with pytest.raises(FormatError):
        read_density(path)


def test_zip_file_must_hold_one_file(tmp_path, texts):
    path = tmp_path / "rho.zip"
    path.write_bytes(zipped(texts["vasp"], "CHGCAR", "__MACOSX/._CHGCAR", "empty/"))
    assert read_density(path).format == "vasp"
    path.write_bytes(zipped(texts["vasp"], "CHGCAR", "CHG", "a", "b"))
    with pytest.raises(FormatError, match=r"a zip file of 4 files \('CHGCAR', 'CHG', 'a', \.\.\.\), expected one"):
        read_density(path)
    path.write_bytes(zipped(texts["vasp"], "empty/"))
    with pytest.raises(FormatError, match="a zip file of 0 files"):
        read_density(path)


def test_archives_in_archives_are_named(tmp_path):
    text = chgcar_text(random_density((3, 3, 3))).encode()
    (tmp_path / "CHGCAR").write_bytes(text)
    with tarfile.open(tmp_path / "CHGCAR.tar.gz", "w:gz") as archive:
        archive.add(tmp_path / "CHGCAR", "CHGCAR")
    with tarfile.open(tmp_path / "CHGCAR.tar", "w") as archive:
        archive.add(tmp_path / "CHGCAR", "CHGCAR")
    with zipfile.ZipFile(tmp_path / "CHGCAR.zip", "w") as archive:
        archive.writestr("CHGCAR.gz", gzip.compress(text, mtime=0))
    (tmp_path / "CHGCAR.gz").write_bytes(gzip.compress(gzip.compress(text, mtime=0), mtime=0))
    for name, message in {
        "CHGCAR.tar": "is a tar archive; unpack it first",
        "CHGCAR.tar.gz": "is a tar archive; unpack it first",
        "CHGCAR.zip": "holds gzip data in zip data; unpack it once",
        "CHGCAR.gz": "holds gzip data in gzip data; unpack it once",
    }.items():
        with pytest.raises(FormatError, match=f"{name}: {message}"):
            read_density(tmp_path / name)


def test_damaged_zip_file_is_refused_in_few_words(tmp_path, texts):
    path = tmp_path / "rho.zip"
    packed = bytearray(zipped(texts["vasp"]))
    packed[27] = 4  # The length of the member's name, 1024 bytes more.
    path.write_bytes(bytes(packed))
    with pytest.raises(FormatError, match="damaged or encrypted zip data") as caught:
        read_density(path)
    assert len(str(caught.value)) < len(str(path)) + 120


def test_encrypted_zip_file_is_refused(tmp_path, texts):
    path = tmp_path / "rho.zip"
    packed = bytearray(zipped(texts["vasp"]))
    packed[6] |= 1
    packed[packed.index(b"PK\x01\x02") + 8] |= 1
    path.write_bytes(bytes(packed))
    with pytest.raises(FormatError, match=r"damaged or encrypted zip data \(.*password"):
        read_density(path)


@pytest.mark.parametrize(
    ("name", "head", "what"),
    [
        ("x.dat", b"\x04\0\0\0<?iotk version=", "Quantum ESPRESSO by its content"),
        ("x", b"\0\0\0\x0aCASTEP_BIN\0\0\0\x0a\0\0\0\x1eBEGIN_PARAMETERS_DUMP", "CASTEP's Fortran checkpoint"),
        ("x", b" title\n 36 36 36 36 36 36 2 1\n 0 7.2 0.0 0.0 0.0 0.0 0.0\n 0.0 0.7 0.7\n", "pp.x by its content"),
        ("x", b" title\n" + b"1" * 5000, "no format"),
    ],
)
def test_files_of_other_codes_are_named_with_a_remedy(tmp_path, name, head, what):
    (tmp_path / name).write_bytes(head)
    with pytest.raises(FormatError, match=what):
        read_density(tmp_path / name)


@pytest.mark.parametrize("suffix", PACK)
def test_decompression_bomb_is_stopped(tmp_path, monkeypatch, suffix):
    monkeypatch.setattr(source_module, "FREE_UNPACKED_BYTES", 1 << 12)
    path = tmp_path / f"CHGCAR.{suffix}"
    header = chgcar_text(random_density()).split("\n5  4  6\n")[0] + "\n500 500 500\n"
    path.write_bytes(PACK[suffix](header.encode() + b"1.0 " * (1 << 18)))
    with pytest.raises(FormatError, match=r"unpacks to more than|more than the file can hold"):
        read_density(path)
    path.write_bytes(PACK[suffix](header.encode() + b"\n" * (1 << 20)))
    with pytest.raises(FormatError, match=r"unpacks to more than|more than the file can hold"):
        read_density(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (gzip.compress(b"", mtime=0), "unpacks to nothing"),
        (b"PK\x03\x04rest", "damaged or encrypted zip data"),
        (b"\x28\xb5\x2f\xfdrest", "packed with zstd"),
        (b"\x00" * 5000, "no format"),
        (b"\xff\xfe" * 5000, "no format"),
    ],
)
def test_files_without_a_density(tmp_path, content, message):
    path = tmp_path / "x"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=message) as caught:
        read_density(path)
    assert str(caught.value).startswith(f"{path}: ")


def test_pipe_is_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "rho")
    with pytest.raises(FormatError, match="rho: is a pipe; give the file itself"):
        read_density(tmp_path / "rho")


def test_missing_file_and_folder_are_format_errors(tmp_path):
    with pytest.raises(FormatError, match=r"nothing: cannot be read: No such file"):
        read_density(tmp_path / "nothing")
    with pytest.raises(FormatError, match="is a folder"):
        read_density(tmp_path)


def test_packed_archive_is_unpacked(tmp_path):
    path = write_archive(tmp_path / "one.h5", {"a": random_density()})
    path.write_bytes(gzip.compress(path.read_bytes(), mtime=0))
    assert read_density(path).n_electrons == pytest.approx(8, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("charge-density.dat", "with pp.x"),
        ("Si.check", "den_fmt"),
        ("Si.castep_bin.gz", "den_fmt"),
        ("run_DEN", "iomode 3"),
    ],
)
def test_files_that_only_their_own_code_reads_come_with_a_remedy(tmp_path, name, remedy):
    path = tmp_path / name
    path.write_bytes(b"\x00\x00\x00\x0c" * 100)
    with pytest.raises(FormatError, match=remedy):
        read_density(path)


def test_every_row_of_the_table_has_a_reader():
    assert len({row.name for row in FORMATS}) == len(FORMATS)
    for row in FORMATS:
        assert callable(row.load().read)


def test_table_imports_no_reader():
    code = "import sys, rhonet.formats; sys.exit(any(m in sys.modules for m in ('h5py', 'ase', 'pymatgen', 'scipy')))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
