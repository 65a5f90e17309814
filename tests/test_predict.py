from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest

from rhonet import predict
from rhonet.serving.answer_notes import NO_SPIN
from rhonet.serving.exported_model import Predictor
from tests.crystals import smooth_density
from tests.synthetic import chgcar_text, cube_text, density_of, write_archive

pytest_plugins = ("tests.fixtures",)


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """Two CHGCARs (one with spin, one gzipped), a cube, a truncated file and a LOCPOT."""
    folder = tmp_path_factory.mktemp("files")
    spin = chgcar_text(smooth_density(70, spin=True))
    texts = {
        "CHGCAR": spin.encode(),
        "CHGCAR_2.gz": gzip.compress(chgcar_text(smooth_density(71)).encode(), mtime=0),
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
    assert answer.stderr.splitlines()[-1] == "2 of 5 files failed"
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
            # The archive is float16; some answers, such as moments, lie close to zero.
            np.testing.assert_allclose(other[name], value, rtol=2e-3, atol=1e-3, err_msg=name)


@pytest.mark.parametrize("name", ["nothing.cube", "."])
def test_missing_file_is_listed_like_a_bad_one(command, finished, tmp_path, name):
    answer = command("predict", tmp_path / name, "--model", finished.run.model)
    assert (answer.code, answer.stdout) == (1, "")
    assert f"error: {tmp_path / name}" in answer.stderr
    assert "1 of 1 files failed" in answer.stderr


def test_folder_that_is_no_model_is_refused_before_tensorflow_starts(command, files, tmp_path, monkeypatch):
    monkeypatch.setattr(predict, "start_tensorflow", lambda: pytest.fail("TensorFlow was started"))
    answer = command("predict", files[0], "--model", tmp_path)
    assert answer.says(2, "not a model folder (no card.toml)")


def test_missing_released_model_says_what_to_do(command, files, monkeypatch):
    monkeypatch.setattr("rhonet.serving.model_card.RELEASED", "nothing")
    assert command("predict", files[0]).says(2, "nothing: the released model is not there; give one with --model DIR")


@pytest.mark.slow
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


def test_files_without_spin_are_named_where_a_moment_is_predicted(command, tiny_model, files):
    answer = command("predict", *files[:3], "--model", tiny_model, "--format", "json")
    assert answer.code == 0, answer.stderr
    noted = [NO_SPIN in file["warnings"] for file in json.loads(answer.stdout)["files"]]
    assert noted == [False, True, True]
    notes = [line for line in answer.stderr.splitlines() if NO_SPIN in line]
    assert notes == [f"{files[1]} and 1 other file: note: {NO_SPIN}"]


def test_densities_that_the_model_sees_badly_are_named(command, finished, tmp_path):
    values = np.full((20, 20, 20), 1e-5)
    values[:4] = 1.0
    file = tmp_path / "slab.cube"
    file.write_text(cube_text(density_of(values, lattice=np.diag([16.0, 16.0, 16.0]))))
    answer = command("predict", file, "--model", finished.run.path, "--format", "json")
    assert answer.code == 0, answer.stderr
    (row,) = json.loads(answer.stdout)["files"]
    warnings = " ".join(row["warnings"])
    assert "along a, b and c this one is coarser" in warnings
    assert "80% of the cell is empty" in warnings
    assert "80% of the cell is empty" in answer.stderr
