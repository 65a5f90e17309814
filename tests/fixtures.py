"""Fixtures around the small data set; a test module asks for them by `pytest_plugins = ("tests.fixtures",)`."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Callable
from typing import Any

import pytest

from rhonet.cli import run_command
from rhonet.dataset import Index
from rhonet.runs import Run
from tests.crystals import Answer, Crystals, FinishedRun, run_module, write_crystals


@pytest.fixture(scope="session")
def crystals(tmp_path_factory: pytest.TempPathFactory) -> Crystals:
    """24 synthetic crystals in a user's folder, built once."""
    from rhonet.builds import open_or_build

    root = tmp_path_factory.mktemp("crystals")
    small = Crystals(root / "toy", root / "data")
    write_crystals(small.folder)
    open_or_build(small.config().data)
    return small


@pytest.fixture(scope="session")
def builder(crystals: Crystals) -> Any:
    from rhonet.builds import open_or_build

    return open_or_build(crystals.config().data)


@pytest.fixture(scope="session")
def index(crystals: Crystals, builder: Any) -> Index:
    from rhonet.builds import stored_properties
    from rhonet.dataset import read_index, select_properties

    data = crystals.config().data
    return read_index(builder, data, select_properties(data, stored_properties(builder)))


@pytest.fixture(scope="session")
def finished(crystals: Crystals, tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    """`python -m rhonet.train --data FOLDER` on the small data set, never interrupted."""
    path = tmp_path_factory.mktemp("runs") / "finished"
    done = run_module("train", *crystals.arguments(), "--run-dir", path)
    assert done.returncode == 0, done.stderr
    return FinishedRun(Run(path), done.stdout, done.stderr)


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """`python -m rhonet.NAME ARGUMENTS` in this process, which has TensorFlow already."""

    def call(name: str, *arguments: object) -> Answer:
        module = importlib.import_module(f"rhonet.{name}")
        monkeypatch.setattr(sys, "argv", [f"rhonet/{name}.py", *map(str, arguments)])
        root = logging.getLogger()
        handlers = root.handlers
        root.handlers = []
        capsys.readouterr()
        try:
            with pytest.raises(SystemExit) as done:
                run_command(module.main, module.build_parser())
        finally:
            root.handlers = handlers
        said = capsys.readouterr()
        return Answer(int(done.value.code or 0), said.out, said.err)

    return call
