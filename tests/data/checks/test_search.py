"""Density files of a folder without a table."""

import gzip
import os
import zipfile

import pytest

from rhonet.core.errors import FolderError, FormatError
from rhonet.data.checks import search
from rhonet.data.checks.search import find_densities, other_parts, write_table
from rhonet.data.folder import check_folder
from tests.synthetic import chgcar_text, cube_text, poscar_text, random_density, write_archive

CHGCAR = chgcar_text(random_density((3, 3, 3)))


def write(folder, **files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def files_by_id(folder):
    return {sample.id: sample.file for sample in find_densities(folder).samples}


def test_calculations_are_named_after_their_folders(tmp_path):
    write(
        tmp_path,
        **{
            "NaCl/CHGCAR": CHGCAR,
            "NaCl/OUTCAR": "vasp.6.4.2",
            "NaCl/POSCAR": poscar_text(random_density()),
            "oxides/MgO/CHGCAR.gz": gzip.compress(CHGCAR.encode(), mtime=0),
            "si.cube": cube_text(random_density((3, 3, 3))),
            "CHGCAR.old": CHGCAR,
            ".hidden/CHGCAR": CHGCAR,
            "notes.txt": "nothing",
            "properties.txt": "id,file\n",
        },
    )
    assert files_by_id(tmp_path) == {
        "NaCl": "NaCl/CHGCAR",
        "MgO": "oxides/MgO/CHGCAR.gz",
        "si": "si.cube",
        "CHGCAR.old": "CHGCAR.old",
    }


@pytest.mark.parametrize(
    ("names", "file"),
    [
        (("CHG", "CHGCAR", "AECCAR0", "AECCAR2", "PARCHG"), "CHGCAR"),
        (("CHG.gz", "CHGCAR.gz"), "CHGCAR.gz"),
        (("AECCAR0", "AECCAR1", "AECCAR2", "CHG"), "CHG"),
        (("AECCAR0", "AECCAR1", "AECCAR2"), "AECCAR0+AECCAR2"),
        (("AECCAR0",), None),
    ],
)
def test_one_calculation_is_one_density(tmp_path, names, file):
    for name in names:
        text = CHGCAR.encode()
        write(tmp_path, **{f"a/{name}": gzip.compress(text, mtime=0) if name.endswith(".gz") else text})
    assert files_by_id(tmp_path) == ({"a": f"a/{file}"} if file else {})


def levels_by_text(folder):
    return {finding.text: finding.level for finding in find_densities(folder).findings}


def test_files_named_like_densities_are_left_to_their_readers(tmp_path):
    garbage = {
        "a/CHGCAR": "",
        "CHGCAR.gz": gzip.compress(CHGCAR.encode(), mtime=0)[:-99],
        "x.CHGCAR": "no\n",
        "y.cube.zip": "PK",
    }
    write(tmp_path, **garbage, **{"CHGCAR.png": "x", "notes.txt": "x", "CHGCARs.txt": "x"})
    assert sorted(files_by_id(tmp_path).values()) == sorted(garbage)
    assert levels_by_text(tmp_path) == {}


def test_zipped_density_has_no_suffix_in_its_id(tmp_path):
    with zipfile.ZipFile(tmp_path / "si.CHGCAR.zip", "w") as packed:
        packed.writestr("CHGCAR", CHGCAR)
    assert files_by_id(tmp_path) == {"si": "si.CHGCAR.zip"}


def test_files_refused_by_their_names_are_told_in_one_line(tmp_path):
    packed = gzip.compress(CHGCAR.encode(), mtime=0)
    write(tmp_path, **{"LOCPOT.gz": packed, "ELFCAR": CHGCAR, "a/CHGCAR": CHGCAR, "a/LOCPOT": CHGCAR, "a/x_DEN": "?"})
    assert files_by_id(tmp_path) == {"a": "a/CHGCAR"}
    texts = levels_by_text(tmp_path)
    assert set(texts.values()) == {"note"}
    assert sorted(text.partition(" (rename")[0] for text in texts if "by its name, not" in text) == [
        "ELFCAR: is an electron localisation function by its name, not a density",
        "LOCPOT.gz, a/LOCPOT: is a potential by its name, not a density",
    ]
    assert any("a/x_DEN: is a Fortran file of ABINIT" in text for text in texts)


def test_part_of_a_density_is_no_density_but_mentioned(tmp_path):
    write(tmp_path, **{"a/PARCHG": CHGCAR, "b/AECCAR0": CHGCAR, "c/CHGCAR": CHGCAR, "c/PARCHG": CHGCAR})
    assert files_by_id(tmp_path) == {"c": "c/CHGCAR"}
    (text,) = levels_by_text(tmp_path)
    assert text.startswith("a/PARCHG, b/AECCAR0: is a part of a density only; list it in properties.csv")


def test_other_densities_of_a_calculation_are_known(tmp_path):
    write(tmp_path, **{f"a/{name}": CHGCAR for name in ("CHGCAR", "CHG", "PARCHG", "x.cube")})
    assert other_parts(tmp_path / "a/CHGCAR") == ["CHG"]
    assert other_parts(tmp_path / "a/x.cube") == []
    write(tmp_path, **{f"b/{name}": CHGCAR for name in ("CHG", "AECCAR0", "AECCAR2")})
    assert other_parts(tmp_path / "b/CHG") == ["AECCAR0+AECCAR2"]


def test_links_to_folders_are_followed_once(tmp_path):
    write(tmp_path, **{"there/Si/CHGCAR": CHGCAR, "my/C/CHGCAR": CHGCAR})
    for name, target in (("my/a", "my/C"), ("my/up", "."), ("my/C/loop", "my"), ("my/link", "there/Si")):
        (tmp_path / name).symlink_to(tmp_path / target)
    assert files_by_id(tmp_path / "my") == {"C": "C/CHGCAR", "link": "link/CHGCAR"}


def test_what_cannot_be_read_is_a_warning(tmp_path, monkeypatch):
    write(tmp_path, **{"locked/CHGCAR": CHGCAR, "mine.dat": CHGCAR, "CHGCAR": CHGCAR})
    scan, look = os.scandir, search.open_source

    def refuse(path):
        raise PermissionError(13, "Permission denied", str(path))

    def look_at(path):
        try:
            return refuse(path) if path.name == "mine.dat" else look(path)
        except PermissionError as error:
            raise FormatError(f"{path}: cannot be read: {error.strerror}") from error

    monkeypatch.setattr(os, "scandir", lambda path: refuse(path) if "locked" in str(path) else scan(path))
    monkeypatch.setattr(search, "open_source", look_at)
    assert files_by_id(tmp_path) == {"CHGCAR": "CHGCAR"}
    assert levels_by_text(tmp_path) == {
        "mine.dat: cannot be read: Permission denied": "warning",
        "locked: cannot be read: Permission denied; allow reading it": "warning",
    }


@pytest.mark.parametrize("name", [b"new\nline.cube", b"bad\xff.cube"])
def test_names_that_no_table_can_hold_are_escaped_and_passed_by(tmp_path, name):
    write(tmp_path, **{os.fsdecode(name): cube_text(random_density((3, 3, 3)))})
    assert files_by_id(tmp_path) == {}
    shown = {b"\n": r"new\nline", b"\xff": r"bad\xff"}[name[3:4]]
    assert levels_by_text(tmp_path) == {
        f"{shown}.cube: no table can name such a file; rename it to plain letters": "warning"
    }


def test_equal_names_get_their_folders_in_front(tmp_path):
    write(tmp_path, **{f"{top}/{name}/CHGCAR": CHGCAR for top in ("pbe", "lda") for name in ("Si", "C")})
    write(tmp_path, **{"pbe/Ge/CHGCAR": CHGCAR, "x.cube": cube_text(random_density((3, 3, 3))), "x.vasp": CHGCAR})
    assert sorted(files_by_id(tmp_path)) == ["Ge", "lda_C", "lda_Si", "pbe_C", "pbe_Si", "x", "x_2"]


def test_number_behind_an_equal_name_is_free(tmp_path):
    text = cube_text(random_density((3, 3, 3)))
    write(tmp_path, **{"si.cube": text, "si.vasp": CHGCAR, "si_2.cube": text})
    assert sorted(files_by_id(tmp_path)) == ["si", "si_2", "si_3"]


def test_archive_is_listed_by_its_crystals(tmp_path):
    write_archive(tmp_path / "many.h5", {"a": random_density((3, 3, 3)), "b": random_density((3, 3, 3))})
    write_archive(tmp_path / "more.h5", {"b": random_density((3, 3, 3))})
    assert files_by_id(tmp_path) == {"a": "many.h5", "many_b": "many.h5::b", "more_b": "more.h5::b"}


def test_written_table_is_read_back_with_every_density(tmp_path):
    write(tmp_path, **{"a/CHGCAR": CHGCAR, "b/AECCAR0": CHGCAR, "b/AECCAR2": CHGCAR, "c,d.vasp": CHGCAR})
    write_archive(tmp_path / "many.h5", {"e": random_density((3, 3, 3))})
    samples = find_densities(tmp_path).samples
    path = write_table(tmp_path, samples)
    checked = check_folder(tmp_path)
    assert checked.mistakes == ()
    assert [(sample.id, sample.path, sample.entry) for sample in checked.folder.samples] == [
        (sample.id, sample.path, sample.entry) for sample in samples
    ]
    assert "band_gap" in checked.folder.unlabelled
    before = path.read_text()
    with pytest.raises(FolderError, match="exists and is not overwritten"):
        write_table(tmp_path, samples)
    assert path.read_text() == before


def test_nothing_to_list_is_no_table(tmp_path):
    with pytest.raises(FolderError, match="holds no readable density"):
        write_table(tmp_path, ())
