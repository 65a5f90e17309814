"""The command: summaries on stdout, reasons on stderr, pictures and conversions on request."""

import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from rhonet.formats import read_density
from tests.conftest import REPOSITORY
from tests.synthetic import atoms_of, chgcar_text, cube_text, random_density, spin_of, write_archive

pytest_plugins = ("tests.fixtures",)

SPIN = random_density((6, 5, 7), blocks=2)
PLAIN = random_density((5, 4, 6), seed=1, symbols="Si")


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "CHGCAR").write_text(chgcar_text(SPIN))
    (tmp_path / "si.cube.gz").write_bytes(gzip.compress(cube_text(PLAIN).encode(), mtime=0))
    (tmp_path / "cut.cube").write_text(cube_text(PLAIN)[:-300])
    (tmp_path / "LOCPOT").write_text(chgcar_text(SPIN))
    return tmp_path


@pytest.fixture
def nameless(tmp_path):
    """A VASP 4 file, whose header names no elements."""
    lines = chgcar_text(SPIN).splitlines(keepends=True)
    (tmp_path / "CHGCAR_4").write_text("".join(lines[:5] + lines[6:]))
    return tmp_path / "CHGCAR_4"


def test_good_files_get_their_sheets_and_bad_ones_their_reasons(command, folder):
    names = ["CHGCAR", "cut.cube", "si.cube.gz", "LOCPOT", "nowhere"]
    answer = command("inspect", *(folder / name for name in names))
    assert answer.code == 1
    summaries = answer.stdout.strip().split("\n\n")
    assert [summary.splitlines()[0] for summary in summaries] == [str(folder / "CHGCAR"), str(folder / "si.cube.gz")]
    assert "vasp (VASP CHGCAR" in summaries[0]
    assert "NaCl, 2 atoms" in summaries[0]
    assert "6 x 5 x 7 points" in summaries[0]
    assert "cube (Gaussian cube)" in summaries[1]
    *errors, total = answer.stderr.splitlines()
    assert [error.split(":")[1].strip() for error in errors] == [
        str(folder / n) for n in ("cut.cube", "LOCPOT", "nowhere")
    ]
    assert "truncated" in errors[0]
    assert "a potential" in errors[1]
    assert total == "3 of 5 files failed"


def test_json_is_one_object_per_file_in_order(command, folder):
    answer = command("inspect", "--json", folder / "CHGCAR", folder / "LOCPOT", folder / "si.cube.gz")
    assert answer.code == 1
    first, bad, last = map(json.loads, answer.stdout.splitlines())
    assert first["n_electrons"] == pytest.approx(8)
    assert first["total_moment"] == pytest.approx(SPIN.total_moment)
    assert "a potential" in bad["error"]
    assert set(bad) == {"file", "error"}
    assert (last["format"], last["formula"], last["blocks"]) == ("cube", "Si", 1)


def test_entries_and_sums_are_named_like_everywhere(command, folder):
    write_archive(folder / "all.h5", {"one": PLAIN, "two": SPIN})
    (folder / "AECCAR0").write_text(chgcar_text(random_density((5, 4, 6), symbols="Si")))
    (folder / "AECCAR2").write_text(chgcar_text(PLAIN))
    answer = command("inspect", "--json", f"{folder}/all.h5::two", f"{folder}/AECCAR0+AECCAR2")
    assert answer.code == 0, answer.stderr
    entry, total = map(json.loads, answer.stdout.splitlines())
    assert entry["formula"] == "NaCl"
    assert total["n_electrons"] == pytest.approx(16)


def test_structure_gives_the_species_that_a_file_lacks(command, nameless, tmp_path):
    assert json.loads(command("inspect", "--json", nameless).stdout)["formula"] is None
    atoms_of(SPIN).write(tmp_path / "NaCl.extxyz")
    answer = command("inspect", "--json", nameless, "--structure", tmp_path / "NaCl.extxyz")
    assert json.loads(answer.stdout)["formula"] == "NaCl"
    assert command("inspect", nameless, "--structure", tmp_path / "none.cif").says(2, "none.cif: gives no structure")


def test_format_can_be_told(command, folder):
    answer = command("inspect", folder / "CHGCAR", "--input-format", "cube")
    assert (answer.code, answer.stdout) == (1, "")
    assert "is this a cube file?" in answer.stderr
    assert command("inspect", folder / "CHGCAR", "--input-format", "vasp").code == 0
    assert "choose from vasp, cube" in command("inspect", "x", "--input-format", "doc").stderr.replace("'", "")


def test_conversions_there_and_back_keep_the_density(command, folder):
    for source, target in (
        ("si.cube.gz", "made/CHGCAR"),
        ("made/CHGCAR", "made/si.cube"),
        ("made/si.cube", "a.CHGCAR"),
    ):
        answer = command("inspect", folder / source, "--save", folder / target)
        assert answer.code == 0, answer.stderr
        assert f"wrote {folder / target}" in answer.stderr
    back = read_density(folder / "a.CHGCAR")
    np.testing.assert_allclose(back.values, PLAIN.values, rtol=1e-9)
    np.testing.assert_allclose(back.lattice, PLAIN.lattice, atol=1e-9)
    np.testing.assert_allclose(atoms_of(back).positions, atoms_of(PLAIN).positions, atol=1e-9)


def test_spin_stays_in_a_chgcar_and_goes_beside_a_cube(command, folder):
    assert command("inspect", folder / "CHGCAR", "--save", folder / "spin.CHGCAR").code == 0
    np.testing.assert_allclose(spin_of(read_density(folder / "spin.CHGCAR")), spin_of(SPIN), rtol=1e-9)
    answer = command("inspect", folder / "CHGCAR", "--save", folder / "spin.cube")
    assert answer.code == 0
    assert "note: A cube holds one field: the magnetization went to spin_magnetization.cube." in answer.stderr
    assert (folder / "spin_magnetization.cube").exists()


def test_species_that_a_chgcar_needs_are_asked_for(command, nameless, tmp_path):
    answer = command("inspect", nameless, "--save", tmp_path / "out.CHGCAR")
    assert answer.says(2, "out.CHGCAR: a CHGCAR names its atoms")
    assert "--structure FILE" in answer.stderr
    atoms_of(SPIN).write(tmp_path / "NaCl.extxyz")
    answer = command("inspect", nameless, "--structure", tmp_path / "NaCl.extxyz", "--save", tmp_path / "out.CHGCAR")
    assert answer.code == 0
    assert str(atoms_of(read_density(tmp_path / "out.CHGCAR")).symbols) == "NaCl"


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_picture_is_drawn(command, folder, suffix):
    picture = folder / "new" / f"rho.{suffix}"
    answer = command("inspect", folder / "CHGCAR", "--plot", picture)
    assert answer.code == 0, answer.stderr
    assert picture.stat().st_size > 10_000


@pytest.mark.parametrize(("option", "name"), [("--plot", "old.png"), ("--save", "old.cube")])
def test_existing_files_stay_unless_forced(command, folder, option, name):
    (folder / name).write_text("precious")
    answer = command("inspect", folder / "si.cube.gz", option, folder / name)
    assert answer.says(2, f"{name}: exists already")
    assert answer.stdout == ""
    assert (folder / name).read_text() == "precious"
    assert command("inspect", folder / "si.cube.gz", option, folder / name, "--force").code == 0
    assert (folder / name).read_bytes() != b"precious"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a", "b", "--plot", "x.png"], "--plot x.png takes one FILE, but 2 are given"),
        (["a", "b", "--save", "x.cube"], "--save x.cube takes one FILE, but 2 are given"),
        (["a", "--plot", "x.doc"], "x.doc: its suffix is none of .png, .pdf, .svg"),
        (["a", "--save", "x.doc"], "x.doc: its name tells no format"),
        (["a", "--save", "."], "."),
    ],
)
def test_calls_that_make_no_sense_are_refused_before_anything_is_read(command, arguments, message):
    answer = command("inspect", *arguments)
    assert answer.says(2, message)
    assert answer.stdout == ""


def test_picture_of_a_name_that_the_font_lacks_says_nothing_of_it(command, folder):
    (folder / "密度.cube").write_text(cube_text(PLAIN))
    answer = command("inspect", folder / "密度.cube", "--plot", folder / "x.png")
    assert (answer.code, answer.stderr) == (0, f"wrote {folder / 'x.png'}\n")


def test_file_names_of_any_bytes_are_shown_on_one_line(command, folder):
    names = [os.fsdecode(b"bad\xff.cube"), "new\nline.cube"]
    for name in names:
        (folder / name).write_text(cube_text(PLAIN))
    answer = command("inspect", *(folder / name for name in names))
    summaries = answer.stdout.strip().split("\n\n")
    assert [summary.splitlines()[0] for summary in summaries] == [
        f"{folder}/bad\\xff.cube",
        f"{folder}/new\\nline.cube",
    ]
    answer = command("inspect", "--json", folder / names[0], os.fsdecode(b"gone\xff"))
    assert [json.loads(line)["file"] for line in answer.stdout.splitlines()] == [
        str(folder / names[0]),
        os.fsdecode(b"gone\xff"),
    ]


def test_terminal_without_unicode_gets_escapes(folder):
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "rhonet.inspect", folder / "si.cube.gz"],
        capture_output=True,
        cwd=REPOSITORY,
        env=environment,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"\xc5 apart" in done.stdout


def test_picture_that_cannot_be_written_is_one_line(command, folder):
    answer = command("inspect", folder / "CHGCAR", "--plot", folder / "CHGCAR" / "x.png")
    assert answer.says(2, "x.png: cannot be written")
