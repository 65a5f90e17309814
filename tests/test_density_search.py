"""Density files of a folder without a table."""

import gzip

import pytest

from rhonet.dataset_toml import FolderError
from rhonet.density_search import find_densities, write_table
from rhonet.folder import check_folder
from tests.synthetic import chgcar_text, cube_text, poscar_text, random_density, write_archive

CHGCAR = chgcar_text(random_density((3, 3, 3)))


def write(folder, **files):
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def found(folder):
    return {sample.id: sample.file for sample in find_densities(folder)}


def test_calculations_are_named_after_their_folders(tmp_path):
    write(
        tmp_path,
        **{
            "NaCl/CHGCAR": CHGCAR,
            "NaCl/OUTCAR": "vasp.6.4.2",
            "NaCl/POSCAR": poscar_text(random_density()),
            "oxides/MgO/CHGCAR.gz": gzip.compress(CHGCAR.encode()),
            "si.cube": cube_text(random_density((3, 3, 3))),
            "CHGCAR.old": CHGCAR,
            ".hidden/CHGCAR": CHGCAR,
            "notes.txt": "nothing",
            "properties.txt": "id,file\n",
        },
    )
    assert found(tmp_path) == {
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
        write(tmp_path, **{f"a/{name}": gzip.compress(text) if name.endswith(".gz") else text})
    assert found(tmp_path) == ({"a": f"a/{file}"} if file else {})


def test_equal_names_get_their_folders_in_front(tmp_path):
    write(tmp_path, **{f"{top}/{name}/CHGCAR": CHGCAR for top in ("pbe", "lda") for name in ("Si", "C")})
    write(tmp_path, **{"pbe/Ge/CHGCAR": CHGCAR, "x.cube": cube_text(random_density((3, 3, 3))), "x.vasp": CHGCAR})
    assert sorted(found(tmp_path)) == ["Ge", "lda_C", "lda_Si", "pbe_C", "pbe_Si", "x", "x_2"]


def test_archive_is_listed_by_its_crystals(tmp_path):
    write_archive(tmp_path / "many.h5", {"a": random_density((3, 3, 3)), "b": random_density((3, 3, 3))})
    write_archive(tmp_path / "more.h5", {"b": random_density((3, 3, 3))})
    assert found(tmp_path) == {"a": "many.h5", "many_b": "many.h5::b", "more_b": "more.h5::b"}


def test_written_table_is_read_back_with_every_density(tmp_path):
    write(tmp_path, **{"a/CHGCAR": CHGCAR, "b/AECCAR0": CHGCAR, "b/AECCAR2": CHGCAR, "c,d.vasp": CHGCAR})
    write_archive(tmp_path / "many.h5", {"e": random_density((3, 3, 3))})
    samples = find_densities(tmp_path)
    path = write_table(tmp_path, samples)
    checked = check_folder(tmp_path)
    assert checked.mistakes == ()
    assert [(one.id, one.path, one.entry) for one in checked.folder.samples] == [
        (one.id, one.path, one.entry) for one in samples
    ]
    assert "band_gap" in checked.folder.unlabelled
    before = path.read_text()
    with pytest.raises(FolderError, match="exists and is not overwritten"):
        write_table(tmp_path, samples)
    assert path.read_text() == before


def test_nothing_to_list_is_no_table(tmp_path):
    with pytest.raises(FolderError, match="holds no readable density"):
        write_table(tmp_path, ())
