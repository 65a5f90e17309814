"""Fixtures around the small data set; a test module asks for them by `pytest_plugins = ("tests.fixtures",)`."""

from __future__ import annotations

from typing import Any

import pytest

from rhonet.dataset import Index
from rhonet.runs import Run
from tests.crystals import Crystals, FinishedRun, run_module, write_crystals


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
