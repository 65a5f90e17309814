"""Fixtures with a real Triton server; test modules load them by `pytest_plugins`."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from rhonet.core.errors import ServerError
from rhonet.serving.triton.config import TritonSettings
from rhonet.serving.triton.repository import write_repository
from rhonet.serving.triton.server import RunningServer, find_server, start_server
from tests.serving.triton.handmade import write_model_folder, write_onnx

MAX_GRID_POINTS = 4096


@pytest.fixture(scope="session")
def triton() -> None:
    """Skips a test without a server for this machine and Python, unless RHONET_TESTS_NEED_SERVER is set (CI)."""
    try:
        find_server()
    except ServerError as error:
        if os.environ.get("RHONET_TESTS_NEED_SERVER"):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def handmade(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders `onnx` and `model` of the handmade model, and its `repository` for the Python backend."""
    root = tmp_path_factory.mktemp("handmade")
    write_onnx(root / "onnx")
    write_model_folder(root / "model")
    settings = TritonSettings(backend="python", max_grid_points=MAX_GRID_POINTS, threads=1, queue_microseconds=5000)
    write_repository(root / "onnx", root / "model", root / "repository", settings=settings)
    return root


@pytest.fixture(scope="session")
def server(triton: None, handmade: Path) -> Iterator[RunningServer]:
    """A server of the handmade model."""
    with start_server(handmade / "repository") as running:
        yield running
