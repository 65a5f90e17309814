"""Class properties, from a user's column to the prediction: multiclass with names, and binary."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest

from rhonet.core.errors import FolderError
from rhonet.data.folder import read_folder
from rhonet.serving.model_card import read_card
from tests.conftest import REPOSITORY
from tests.crystals import Crystals

pytest_plugins = ("tests.fixtures",)

PHASES = ("cubic", "layered | odd", "amorphous")
SETTINGS_TOML = f"""
name = "classes"
[properties.phase]
kind = "multiclass"
classes = {json.dumps(PHASES)}
"""
# One epoch of the smaller network: seconds.
SHORT = ("model.name=plain3dcnn", "train.epochs=1", "train.views_per_epoch=2")


@pytest.fixture
def classified(crystals: Crystals, tmp_path: Path) -> Crystals:
    """The small data set with phases by name or number, and stability, as its only columns."""
    folder = tmp_path / "classes"
    shutil.copytree(crystals.folder, folder)
    with (folder / "properties.csv").open(newline="") as table:
        rows = list(csv.DictReader(table))
    lines = ["id,file,phase,dynamically_stable"]
    for at, row in enumerate(rows):
        phase = row["phase"] and (PHASES[int(row["phase"])] if at % 2 else row["phase"])
        lines.append(f"{row['id']},{row['file']},{phase},{'' if at % 5 == 4 else at % 2}")
    (folder / "properties.csv").write_text("\n".join(lines) + "\n")
    (folder / "dataset.toml").write_text(SETTINGS_TOML)
    return Crystals(folder, crystals.data_dir)


@pytest.mark.slow
def test_users_classes_are_learned_scored_and_answered_by_name(command, classified, tmp_path):
    checked = command("prepare", classified.folder)
    assert "undeclared" not in checked.stdout + checked.stderr
    run = tmp_path / "run"
    trained = command("train", *classified.arguments(*SHORT), "--run-dir", run)
    assert trained.code == 0, trained.stderr
    assert re.search(r"^phase +\d\.\d\d", trained.stdout, re.MULTILINE)
    assert re.search(r"^dynamically_stable +\d\.\d\d", trained.stdout, re.MULTILINE)
    assert re.search(r"classes of phase: cubic \d, layered \| odd \d, amorphous \d", trained.stdout)
    phase, stable = read_card(run / "model").properties
    assert (phase.class_names, phase.classes) == (PHASES, 3)
    assert stable.class_labels == ("no", "yes")
    metrics = json.loads((run / "metrics.json").read_text())["model"]
    assert list(metrics["classes"]) == ["phase", "dynamically_stable"]
    page = (run / "report.html").read_text()
    assert "amorphous" in page
    answer = command("predict", classified.folder / "0.cube", "--model", run)
    assert answer.code == 0, answer.stderr
    heads, units, *lines = answer.stdout.splitlines()
    assert {"phase", "stable"} <= set(heads.split())
    assert "class (p)" in units
    assert "p(yes)" in units
    assert any(f"{name} (0." in lines[-1] for name in PHASES)
    tree = json.loads(command("predict", classified.folder / "0.cube", "--model", run, "--format", "json").stdout)
    assert tree["properties"]["phase"]["classes"] == list(PHASES)
    assert sum(tree["files"][0]["properties"]["phase"]) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('classes = ["a"]', "multiclass needs classes >= 2"),
        ('classes = ["a", "a"]', "2 classes need as many different names, found a, a"),
        ('classes = ["a", 2]', "classes must be a number or a list of names in quotes, found ['a', 2]"),
        ('classes = ["a", ""]', "classes must be a number or a list of names in quotes, found ['a', '']"),
        ('classes = "ab"', "classes must be int, found 'ab'"),
        ('classes = ["b", "a"]', "properties.csv:2: phase is 'cubic', none of the classes b, a; correct it"),
    ],
)
def test_wrong_classes_are_refused(text, message, tmp_path):
    (tmp_path / "one.cube").touch()
    (tmp_path / "properties.csv").write_text("id,file,phase\none,one.cube,cubic\n")
    (tmp_path / "dataset.toml").write_text(f'[properties.phase]\nkind = "multiclass"\n{text}\n')
    with pytest.raises(FolderError, match=re.escape(message)):
        read_folder(tmp_path)


def test_names_of_classes_are_part_of_a_folders_fingerprint(tmp_path):
    (tmp_path / "one.cube").touch()
    (tmp_path / "properties.csv").write_text("id,file,phase\none,one.cube,1\n")
    prints = set()
    for classes in ("2", '["a", "b"]', '["b", "a"]'):
        (tmp_path / "dataset.toml").write_text(f'[properties.phase]\nkind = "multiclass"\nclasses = {classes}\n')
        folder = read_folder(tmp_path)
        assert folder.samples[0].labels["phase"] == 1
        prints.add(folder.fingerprint())
    assert len(prints) == 3


def test_example_of_the_documentation_is_a_folder_of_four_classes(tmp_path, monkeypatch):
    """docs/own_data.md; training it takes minutes."""
    monkeypatch.chdir(tmp_path)
    text = (REPOSITORY / "docs" / "own_data.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    exec(compile(code, "docs/own_data.md", "exec"), {})
    folder = read_folder("packing")
    (packing,) = folder.properties
    assert packing.class_names == ("tetrahedral", "octahedral", "body-centred", "close-packed")
    counts = Counter(packing.class_labels[int(sample.labels["packing"])] for sample in folder.samples)
    assert min(counts.values()) >= 30
    assert f"classes = {json.dumps(packing.class_names)}" in text
