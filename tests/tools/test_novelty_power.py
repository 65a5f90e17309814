"""The study of the novelty score, on made-up density peaks of known elements."""

from __future__ import annotations

import re

import numpy as np
import pytest

from rhonet.core.config import ViewConfig
from rhonet.uncertainty.training_peaks import WIDTHS
from tests.crystals import smooth_density
from tests.synthetic import cube_text
from tools import novelty_power
from tools.novelty_power import Flag, Power, ScoredFile, group_files, score_files

N_ELEMENTS = 12


def compounds(n: int, *, seed: int, first: int = 0) -> tuple[list[np.ndarray], list[str]]:
    """Peaks of n binary compounds of the elements `first` ... 11, with 3 % noise, and their chemical systems."""
    elements = np.random.default_rng(0).normal(4, 1, (N_ELEMENTS, len(WIDTHS)))
    rng = np.random.default_rng(seed)
    pairs = [rng.choice(np.arange(first, N_ELEMENTS), 2, replace=False) for _ in range(n)]
    peaks = [elements[pair] + 0.03 * rng.normal(size=(2, len(WIDTHS))) for pair in pairs]
    return peaks, [f"{min(pair)}-{max(pair)}" for pair in pairs]


@pytest.fixture(scope="module")
def flag() -> Flag:
    """Novelty score of a training set without the elements 0 and 1."""
    return Flag.fit(*compounds(200, seed=1, first=2))


def test_five_percent_of_ordinary_crystals_and_nearly_all_new_elements_are_flagged(flag):
    ordinary, _ = compounds(400, seed=2, first=2)
    assert np.mean(flag.novelty(ordinary) > 1) == pytest.approx(0.05, abs=0.04)
    new = [peaks for peaks, system in zip(*compounds(400, seed=3), strict=True) if system[:2] in ("0-", "1-")]
    assert np.mean(flag.novelty(new) > 1) > 0.95


def test_row_says_share_and_area_under_the_curve():
    row = Power("odd", np.array([0.5, 2.0, 3.0, 4.0])).row(np.array([0.1, 0.2, 1.5, 0.4]))
    assert row == ["odd", "4", "75 % [30 %, 95 %]", "0.94", "2.50"]


def test_files_are_scored_once_a_density_and_unreadable_ones_left_out(flag, tmp_path):
    (tmp_path / "a.cube").write_text(cube_text(smooth_density(1)))
    (tmp_path / "copy.cube").write_text(cube_text(smooth_density(1)))
    (tmp_path / "b.cube").write_text(cube_text(smooth_density(2)))
    (tmp_path / "broken.cube").write_text("no cube")
    (tmp_path / "manifest.csv").write_text(
        "file,group,formula,odd_features\na.cube,one,NaCl,\ncopy.cube,one,NaCl,\nbroken.cube,two,,\n"
        "b.cube,three,Si2,synthetic_values\n"
    )
    files = score_files(tmp_path / "manifest.csv", flag, ViewConfig())
    assert [(file.group, file.formula, file.code, file.is_nonsense) for file in files] == [
        ("one", "NaCl", "cube", False),
        ("three", "Si2", "cube", True),
    ]
    assert all(np.isfinite(file.novelty) for file in files)


def test_files_are_grouped_by_format_with_nonsense_last():
    files = [
        ScoredFile("a", "", "vasp", False, 2.0),
        ScoredFile("b", "", "cube", True, 9.0),
        ScoredFile("c", "", "cube", False, 0.5),
        ScoredFile("d", "", "vasp", False, 0.7),
    ]
    groups = group_files(files)
    assert [group.name for group in groups] == ["format cube", "format vasp", "no valence density"]
    assert [group.novelty.tolist() for group in groups] == [[0.5], [2.0, 0.7], [9.0]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--densities", "nowhere.csv"], r"nowhere\.csv: cannot be read"),
        (["--densities", "table.csv"], r"table\.csv: has no column group, odd_features; it has file, format"),
        (["--out", "nowhere/novelty.md"], r"there is no folder nowhere; make it first"),
    ],
)
def test_bad_call_ends_before_anything_is_computed(arguments, message, tmp_path, monkeypatch, capsys):
    (tmp_path / "table.csv").write_text("file,format\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["novelty_power.py", *arguments])
    with pytest.raises(SystemExit, match="2"):
        novelty_power.main()
    assert re.search(message, capsys.readouterr().err)
