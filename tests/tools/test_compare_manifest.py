"""The comparison with a manifest finds every difference."""

import csv

import pytest

from tests.synthetic import chgcar_text, cube_text, random_density, spin_of
from tools import compare_manifest

COLUMNS = (
    "file,format,grid_shape,n_atoms,formula,n_blocks,integral_block1,integral_block2_or_moment,min,max,odd_features"
)
DENSITY = random_density((6, 5, 7), blocks=2)


def row_of(**changes):
    """What an independent reader says about DENSITY in a CHGCAR, or something else."""
    in_file = DENSITY.values * DENSITY.volume
    row = dict.fromkeys(COLUMNS.split(","), "") | {
        "file": "CHGCAR",
        "format": "VASP CHGCAR",
        "grid_shape": "6x5x7",
        "n_atoms": "2",
        "formula": "Na1Cl1",
        "n_blocks": "2",
        "integral_block1": "8",
        "integral_block2_or_moment": f"{spin_of(DENSITY).mean() * DENSITY.volume:.6g}",
        "min": f"{in_file.min():.6g}",
        "max": f"{in_file.max():.6g}",
    }
    return row | changes


@pytest.fixture
def verdicts(tmp_path, capsys, monkeypatch):
    """Verdicts on the files of the rows that are given, and what the tool printed."""
    (tmp_path / "CHGCAR").write_text(chgcar_text(DENSITY))
    (tmp_path / "LOCPOT").write_text(chgcar_text(DENSITY))
    (tmp_path / "rho.cube").write_text(cube_text(DENSITY))
    (tmp_path / "empty").touch()

    def run(*rows):
        with (tmp_path / "manifest.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS.split(","))
            writer.writeheader()
            writer.writerows(rows)
        monkeypatch.setattr("sys.argv", ["compare_manifest.py", str(tmp_path / "manifest.csv")])
        code = compare_manifest.main()
        text = capsys.readouterr().out
        lines = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][2:]
        return code, [line[1] for line in lines], text

    return run


def test_what_fits_agrees_and_what_is_no_density_is_refused(verdicts):
    code, judged, text = verdicts(
        row_of(),
        row_of(file="rho.cube", format="cube", n_blocks="1", integral_block2_or_moment="", min="", max=""),
        row_of(file="LOCPOT", format="VASP LOCPOT"),
        row_of(file="empty", odd_features="empty_file"),
    )
    assert (code, judged) == (0, ["agrees", "agrees", "refused rightly", "refused rightly"])
    assert "4 files: 2 agree, 2 refused rightly, 0 disagree" in text
    assert "1 potentials" in text


def test_every_difference_is_found(verdicts):
    changes = {
        "format": "cube",
        "grid_shape": "6x5x8",
        "n_atoms": "3",
        "formula": "Na1Cl2",
        "n_blocks": "1",
        "integral_block1": "8.001",
        "integral_block2_or_moment": "0.123",
        "min": "1.0",
        "max": "99",
    }
    code, judged, text = verdicts(*(row_of(**{column: value}) for column, value in changes.items()))
    assert (code, judged) == (1, ["DISAGREES"] * len(changes))
    for column in ("format vasp", "grid 6x5x7", "2 atoms", "formula NaCl", "2 blocks", "integral_block1 8,", "max "):
        assert column in text


def test_density_that_is_refused_and_trap_that_is_read_disagree(verdicts):
    code, judged, text = verdicts(row_of(file="LOCPOT"), row_of(format="VASP ELFCAR"), row_of(file="gone"))
    assert (code, judged) == (1, ["DISAGREES"] * 3)
    assert "refused, but it is a density" in text
    assert "read, but localisation functions should be refused" in text


def test_wrong_reason_disagrees(verdicts):
    _, judged, text = verdicts(row_of(file="LOCPOT", odd_features="empty_file"))
    assert judged == ["DISAGREES"]
    assert "for empty files the reason should be 'is empty'" in text
