"""`python -m rhonet.prepare` on folders made in code."""

import json
import os

import pytest

from tests.crystals import run_module
from tests.synthetic import chgcar_text, cube_text, random_density

pytest_plugins = ("tests.fixtures",)

VALENCES = {"LiF": 8, "NaCl": 8, "KCl": 16, "MgO": 8, "CaO": 16, "Si": 4, "NaF": 8, "KF": 16, "LiCl": 8, "MgS": 8}


def crystal(seed, symbols):
    return random_density((5, 4, 6), seed=seed, symbols=symbols, n_electrons=VALENCES[symbols], blocks=1 + seed % 2)


@pytest.fixture
def folder(tmp_path):
    """Ten crystals as a newcomer may have them: calculations in folders of their own, and cube files."""
    rows = ["id,file,band_gap,magnetic_moment"]
    for seed, symbols in enumerate(VALENCES):
        density, file = crystal(seed, symbols), f"{symbols}/CHGCAR" if seed % 2 else f"{symbols}.cube"
        path = tmp_path / "my_crystals" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(chgcar_text(density) if seed % 2 else cube_text(density))
        rows.append(f"{symbols},{file},{seed / 2},{abs(density.total_moment or 0):.3f}")
    (tmp_path / "my_crystals" / "properties.csv").write_text("\n".join(rows) + "\n")
    return tmp_path / "my_crystals"


def test_sound_folder_has_no_problem(command, folder):
    answer = command("prepare", folder)
    assert (answer.code, "No problem found." in answer.stdout) == (0, True), answer.stdout
    assert "10 of 10 densities can be used (5 cube, 5 vasp, 5 with magnetization)" in answer.stdout
    assert answer.stderr.splitlines()[-1] == f"report: {folder / 'report.json'}"
    assert len(json.loads((folder / "report.json").read_text())["files"]) == 10
    again = command("prepare", folder)
    assert again.stdout == answer.stdout
    assert again.stderr.endswith("report.json (the older one is replaced)\n")


def test_every_problem_is_listed_at_once(command, folder):
    table = folder / "properties.csv"
    text = table.read_text().replace("LiF.cube", "gone.cube").replace("KCl.cube,1.0", "KCl.cube,wide")
    table.write_text(text + "twin,twin.cube,7,0\n")
    (folder / "NaCl/CHGCAR").write_text((folder / "NaCl/CHGCAR").read_text()[:-100])
    (folder / "twin.cube").write_bytes((folder / "CaO.cube").read_bytes())
    answer = command("prepare", folder)
    assert answer.code == 1
    assert "9 of 10 densities can be used" in answer.stdout
    errors, _, warnings = answer.stdout.partition("errors:")[2].partition("warnings:")
    assert "properties.csv:2: there is no file" in errors
    assert "properties.csv:4: band_gap is 'wide', not a number" in errors
    assert f"NaCl: {folder / 'NaCl/CHGCAR'}:" in errors
    assert "byte for byte: CaO (CaO.cube), twin (twin.cube); keep one" in warnings
    assert "band_gap of one and the same density is 2 (CaO), 7 (twin)" in warnings
    assert "1 density file in the folder is not in properties.csv: LiF.cube" in warnings


def test_folder_of_calculations_becomes_a_table(command, tmp_path):
    for at, name in enumerate(("NaCl", "KCl")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "CHGCAR").write_text(chgcar_text(crystal(at, name)))
    (tmp_path / "three.cube").write_text(cube_text(crystal(2, "Si")))
    (tmp_path / "cut.cube").write_text(cube_text(crystal(3, "MgO"))[:-100])
    bare = command("prepare", tmp_path)
    assert bare.code == 1
    assert "there is no properties.csv, which names the labels; python -m rhonet.prepare" in bare.stdout
    answer = command("prepare", tmp_path, "--write-table")
    assert (answer.code, "3 of 4 densities can be used" in answer.stdout) == (1, True)
    header, *rows = (tmp_path / "properties.csv").read_text().splitlines()
    assert header.startswith("id,file,bulk_modulus,")
    assert [row.split(",")[:2] for row in rows] == [
        ["three", "three.cube"],
        ["KCl", "KCl/CHGCAR"],
        ["NaCl", "NaCl/CHGCAR"],
    ]
    unfilled = command("prepare", tmp_path)
    assert unfilled.code == 1
    assert "left out of training; fill in at least one column" in unfilled.stdout
    assert command("prepare", tmp_path, "--write-table").says(2, "properties.csv: exists and is not overwritten")


@pytest.mark.parametrize("table", [b"", b"\xff\xfe", b"name,file\n"])
def test_table_that_is_none_is_one_line(command, tmp_path, table):
    (tmp_path / "properties.csv").write_bytes(table)
    assert command("prepare", tmp_path).says(2, f"{tmp_path / 'properties.csv'}")


def test_bad_calls_are_refused_before_anything_is_read(command, tmp_path):
    assert command("prepare", tmp_path / "gone").says(2, "no such folder")
    (tmp_path / "report.json").write_text("mine")
    assert command("prepare", tmp_path).says(2, "exists and is no report of python -m rhonet.prepare")
    answer = command("prepare", tmp_path, "--workers", "0")
    assert answer.code == 2
    assert "must be a whole number of at least 1" in answer.stderr


def test_what_is_passed_by_is_told_and_odd_names_harm_nothing(command, tmp_path):
    for name in ("a/CHGCAR", "a/CHG", "LOCPOT"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(chgcar_text(crystal(0, "NaCl")))
    (tmp_path / "a/CHGCAR").write_text(chgcar_text(crystal(0, "NaCl"))[:-200])
    (tmp_path / os.fsdecode(b"bad\xff.cube")).write_text(cube_text(crystal(0, "NaCl")))
    answer = command("prepare", tmp_path)
    assert answer.code == 1
    assert "a: a/CHGCAR cannot be used, but CHG lies beside it; take that instead" in answer.stdout
    assert "LOCPOT: is a potential by its name" in answer.stdout
    assert r"bad\xff.cube: no table can name such a file" in answer.stdout
    assert command("prepare", tmp_path, "--write-table").says(2, "holds no readable density")
    folder = tmp_path / os.fsdecode(b"\xff")
    folder.mkdir()
    (folder / "si.cube").write_text(cube_text(crystal(0, "Si")))
    for _ in range(2):
        assert command("prepare", folder).stdout.startswith(f"{tmp_path}/\\xff: 1 of 1 density can be used")
    assert json.loads((folder / "report.json").read_text())["folder"] == str(folder)


def test_file_instead_of_a_folder_is_said_to_be_one(command, folder):
    assert command("prepare", folder / "LiF.cube").says(2, "LiF.cube: is a file; give the folder that holds it")


def test_folder_without_densities_is_an_error(command, tmp_path):
    answer = command("prepare", tmp_path, "--report", tmp_path / "r.json")
    assert (answer.code, "holds neither a properties.csv nor a density" in answer.stdout) == (1, True)
    assert command("prepare", tmp_path, "--write-table", "--report", tmp_path / "r.json").says(2, "no readable density")


def test_command_runs_in_processes(folder):
    done = run_module("prepare", folder, "--workers", 2)
    assert (done.returncode, "10 of 10 densities can be used" in done.stdout) == (0, True), done.stdout + done.stderr
