from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest

from rhonet import predict
from rhonet.predict import Row, csv_rows, format_rows, json_rows
from rhonet.properties import PROPERTIES, Property
from rhonet.serving import Predictor
from tests.crystals import smooth_density
from tests.synthetic import chgcar_text, cube_text, write_archive

pytest_plugins = ("tests.fixtures",)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")

ITEMS = (PROPERTIES["band_gap"], PROPERTIES["is_metal"], Property("phase", kind="multiclass", classes=3))


def values_of(gap: float, metal: float, phase: list[float]) -> dict[str, np.ndarray]:
    return {"band_gap": np.array(gap), "is_metal": np.array(metal), "phase": np.array(phase)}


ROWS = [
    Row("a.cube", "NaCl", 8.0, values_of(1.23456789, 0.25, [0.1, 0.7, 0.2])),
    Row("b,c.cube", error="b,c.cube:3: is cut"),
    Row("x/" * 30 + "d.cube", "", 4.5, values_of(1e-7, 1.0, [1.0, 0.0, 0.0])),
]


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Two CHGCARs (one with spin, one gzipped), a cube, a truncated file and a LOCPOT."""
    folder = tmp_path_factory.mktemp("files")
    spin = chgcar_text(smooth_density(70, spin=True))
    texts = {
        "CHGCAR": spin.encode(),
        "CHGCAR_2.gz": gzip.compress(chgcar_text(smooth_density(71)).encode()),
        "three.cube": cube_text(smooth_density(72)).encode(),
        "CHGCAR_cut": spin[: len(spin) // 2].encode(),
        "LOCPOT": spin.encode(),
    }
    for name, text in texts.items():
        (folder / name).write_bytes(text)
    return [folder / name for name in texts]


def test_good_files_are_answered_and_bad_ones_listed(command, finished, files):
    answer = command("predict", *files, "--model", finished.run.model)
    assert answer.code == 1
    heads, units, errors, *lines = answer.stdout.splitlines()
    assert heads.split()[:4] == ["file", "formula", "electrons", "E_g"]
    assert units.split()[0] == "eV"
    assert errors.startswith("mean error on test crystals")
    assert len(lines) == 3
    for line, file in zip(lines, files, strict=False):
        assert line.split()[0].endswith(file.name)
    errors = [line for line in answer.stderr.splitlines() if line.startswith("error: ")]
    assert len(errors) == 2
    for error, file in zip(errors, files[3:], strict=True):
        assert error.startswith(f"error: {file}")
    assert answer.stderr.splitlines()[-1] == "2 of 5 files could not be read"
    assert "Traceback" not in answer.stderr


def test_answers_do_not_depend_on_the_other_files(command, finished, files):
    together = json.loads(command("predict", *files, "--model", finished.run.model, "--format", "json").stdout)
    alone = json.loads(command("predict", files[1], "--model", finished.run.model, "--format", "json").stdout)
    assert alone["files"] == [together["files"][1]]
    assert [set(file) >= {"error"} for file in together["files"]] == [False] * 3 + [True] * 2


def test_file_of_another_format_gives_the_same_answer(command, finished, tmp_path):
    density = smooth_density(73)
    (tmp_path / "CHGCAR").write_text(chgcar_text(density))
    (tmp_path / "same.cube").write_text(cube_text(density))
    write_archive(tmp_path / "all.h5", {"same": density})
    paths = [tmp_path / "CHGCAR", tmp_path / "same.cube", f"{tmp_path / 'all.h5'}::same"]
    answer = command("predict", *paths, "--model", finished.run.path, "--format", "json")
    assert answer.code == 0, answer.stderr
    first, *others = (file["properties"] for file in json.loads(answer.stdout)["files"])
    for other in others:
        for name, value in first.items():
            # The archive is float16.
            np.testing.assert_allclose(other[name], value, rtol=2e-3, err_msg=name)


def test_csv_can_be_read_back_with_units_and_errors():
    rows = list(csv.DictReader(io.StringIO(csv_rows(ROWS, ITEMS))))
    heads = ["file", "formula", "n_electrons", "band_gap [eV]", "is_metal", "phase_0", "phase_1", "phase_2", "error"]
    assert list(rows[0]) == heads
    assert rows[0]["band_gap [eV]"] == "1.234568"
    assert [row["file"] for row in rows] == [row.file for row in ROWS]
    assert (rows[1]["error"], rows[1]["n_electrons"], rows[1]["phase_2"]) == ("b,c.cube:3: is cut", "", "")
    assert float(rows[2]["band_gap [eV]"]) == pytest.approx(1e-7)


def test_json_says_units_once_and_probabilities_in_full():
    tree = json.loads(json_rows(ROWS, ITEMS))
    assert tree["properties"]["band_gap"] == {"unit": "eV", "kind": "regression", "test_mae": None}
    with_errors = json.loads(json_rows(ROWS, ITEMS, typical_errors={"band_gap": 0.5}))
    assert with_errors["properties"]["band_gap"]["test_mae"] == 0.5
    good, bad, nameless = tree["files"]
    assert good["properties"] == {"band_gap": 1.23456789, "is_metal": 0.25, "phase": [0.1, 0.7, 0.2]}
    assert bad == {"file": "b,c.cube", "formula": None, "error": "b,c.cube:3: is cut"}
    assert nameless["formula"] is None


def test_table_says_the_likeliest_class_and_ends_of_long_paths():
    lines = format_rows(ROWS, ITEMS).splitlines()
    assert len(lines) == 4
    assert "1.235" in lines[2]
    assert "0.25" in lines[2]
    assert "1 (0.70)" in lines[2]
    assert lines[3].startswith("…")
    assert "d.cube" in lines[3]
    assert max(map(len, lines)) < 100
    assert format_rows(ROWS[1:2], ITEMS) == ""


@pytest.mark.parametrize("name", ["nothing.cube", "."])
def test_missing_file_is_listed_like_a_bad_one(command, finished, tmp_path, name):
    answer = command("predict", tmp_path / name, "--model", finished.run.model)
    assert (answer.code, answer.stdout) == (1, "")
    assert f"error: {tmp_path / name}" in answer.stderr
    assert "1 of 1 files could not be read" in answer.stderr


def test_folder_that_is_no_model_is_refused_before_tensorflow_starts(command, files, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "start_tensorflow", lambda: pytest.fail("TensorFlow was started"))
    answer = command("predict", files[0], "--model", tmp_path)
    assert answer.says(2, "not a model folder (no card.toml)")


def test_missing_released_model_says_what_to_do(command, files, monkeypatch):
    monkeypatch.setattr(predict, "RELEASED", "nothing")
    assert command("predict", files[0]).says(2, "nothing: the released model is not there; give one with --model DIR")


def test_released_model_answers_by_default(command, files):
    answer = command("predict", files[0], "--format", "json")
    assert answer.code == 0, answer.stderr
    assert "bulk_modulus" in json.loads(answer.stdout)["files"][0]["properties"]


FROM_OTHERS = (
    ("zerothi__sisl-files/tests__vasp__nitric_oxide__polarized__CHGCAR", "NO", 11.0),  # spin-polarised
    ("materialsproject__pymatgen-core/test-files__io__vasp__outputs__CHGCAR.nospin.gz", "Li", 1.0),
    ("SWeav02__baderkit/src__baderkit__tests__test_files__CHGCAR.cube", "Ca2N", 25.0),  # in bohr
)
REFUSED = (
    "aiidateam__aiida-quantumespresso/"
    "tests__parsers__fixtures__pp__default_3d_ldos__aiida.filplot001aiida.fileout",  # 6 of 46656 values
    "WMD-group__MacroDensity/tests__LOCPOT.test",
)


def test_files_of_other_programs_give_three_rows_and_two_errors(command, shared_densities, finished):
    files = [shared_densities / name for name in (*(name for name, *_ in FROM_OTHERS), *REFUSED)]
    answer = command("predict", *files, "--model", finished.run.model, "--format", "csv")
    assert answer.code == 1
    rows = list(csv.DictReader(io.StringIO(answer.stdout)))
    assert [bool(row["error"]) for row in rows] == [False, False, False, True, True]
    for row, (_, formula, electrons) in zip(rows, FROM_OTHERS, strict=False):
        assert row["formula"] == formula
        assert float(row["n_electrons"]) == pytest.approx(electrons, abs=1e-3)
        assert np.isfinite(float(row["band_gap [eV]"]))
    for row, file in zip(rows[3:], files[3:], strict=True):
        assert row["error"].startswith(str(file))
        assert "\n" not in row["error"]


def test_predictor_takes_any_grid(finished):
    predictor = Predictor(finished.run.model)
    for shape in ((3, 3, 3), (4, 3, 50)):
        values = predictor.predict(smooth_density(0, shape)).values
        assert all(np.isfinite(value).all() for value in values.values())
