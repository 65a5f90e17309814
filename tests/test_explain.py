"""`python -m rhonet.explain`: what it prints, writes and draws, and what it refuses."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import ase.io.cube
import numpy as np
import pytest
from ase.units import Bohr
from PIL import Image

from tests.crystals import smooth_density
from tests.synthetic import chgcar_text, cube_text, random_density

pytest_plugins = ("tests.fixtures",)


@pytest.fixture
def once_traced(monkeypatch, differentiable) -> None:
    """Derivatives from the graph that the other tests use."""
    monkeypatch.setattr("rhonet.attribution.differentiable_model.DifferentiableModel", lambda _: differentiable)


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "CHGCAR_one"
    path.write_text(chgcar_text(smooth_density(70, spin=True)))
    return path


def number_after(name: str, text: str) -> float:
    found = re.search(rf"^\s*{name}\s+(\S+)", text, re.MULTILINE)
    assert found, text
    return float(found[1])


def read_cube(path: Path) -> dict[str, Any]:
    with path.open() as lines:
        return ase.io.cube.read_cube(lines)


def integral_of_cube(path: Path) -> float:
    cube = read_cube(path)
    return float(cube["data"].mean() * cube["atoms"].get_volume() / Bohr**3)


@pytest.mark.parametrize("smooth", [0, 0.3])
def test_written_cubes_integrate_to_what_is_printed(tiny_model, once_traced, command, file, tmp_path, smooth):
    arguments = ("--property", "band_gap", "--model", tiny_model, "--smooth", smooth)
    answer = command("explain", file, *arguments, "--save", tmp_path / "out.cube")
    assert answer.code == 0, answer.stderr
    written = sum(integral_of_cube(tmp_path / name) for name in ("out.cube", "out_magnetization.cube"))
    assert written == pytest.approx(number_after("attributed", answer.stdout), rel=1e-3)
    assert written == pytest.approx(number_after("difference", answer.stdout), rel=0.02)
    raised, lowered = (number_after(f"{way} it", answer.stdout) for way in ("raising", "lowering"))
    assert raised + lowered == pytest.approx(written, rel=1e-2, abs=1e-3 * raised)
    assert "attribution of band_gap in eV per volume" in (tmp_path / "out.cube").read_text().splitlines()[0]


def test_chgcar_and_picture_are_written(tiny_model, once_traced, command, tmp_path):
    path = tmp_path / "one.cube"
    path.write_text(cube_text(smooth_density(71)))
    outputs = ("--save", tmp_path / "why.CHGCAR", "--plot", tmp_path / "why.png")
    answer = command("explain", path, "--property", "is_metal", "--model", tiny_model, *outputs)
    assert answer.code == 0, answer.stderr
    assert answer.stdout.startswith("probability of is_metal")
    assert "attribution of probability of is_metal" in (tmp_path / "why.CHGCAR").read_text().splitlines()[0]
    with Image.open(tmp_path / "why.png") as image:
        assert len(np.unique(np.asarray(image.convert("L")))) > 50


def test_too_few_steps_are_owned_up_to(tiny_model, once_traced, command, file):
    answer = command("explain", file, "--property", "band_gap", "--model", tiny_model, "--steps", 2)
    assert answer.code == 0
    assert "warning: the attributions miss" in answer.stderr


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--property", "colour"), "does not predict it; it predicts "),
        (("--property", "band_gap", "--steps", "1"), "at least 2"),
        (("--property", "band_gap", "--smooth", "-1"), "0 or above"),
        (("--property", "band_gap", "--save", "why.txt"), "tells no format"),
        (("--property", "band_gap", "--plot", "why.txt"), "its suffix is none of"),
        (("--property", "band_gap", "--plot", __file__), "its suffix is none of"),
    ],
)
def test_calls_that_make_no_sense_are_refused_in_one_line(command, file, options, reason):
    assert command("explain", file, *options).says(2, reason)


def test_outputs_that_exist_are_kept(command, file, tmp_path):
    (tmp_path / "why.png").touch()
    answer = command("explain", file, "--property", "band_gap", "--plot", tmp_path / "why.png")
    assert answer.says(2, "exists already")


def test_outputs_of_a_noncollinear_density_that_exist_are_kept(command, tmp_path):
    """Its attribution is collinear: one magnetization, whatever the file has."""
    file = tmp_path / "CHGCAR_noncollinear"
    file.write_text(chgcar_text(random_density(blocks=4)))
    (tmp_path / "why_magnetization.cube").touch()
    answer = command("explain", file, "--property", "band_gap", "--save", tmp_path / "why.cube")
    assert answer.says(2, "why_magnetization.cube: exists already")


def test_file_that_holds_no_density_is_named(command, tmp_path):
    (tmp_path / "CHGCAR").write_text("nothing\n")
    answer = command("explain", tmp_path / "CHGCAR", "--property", "band_gap")
    assert answer.code == 1
    assert str(tmp_path / "CHGCAR") in answer.stderr
