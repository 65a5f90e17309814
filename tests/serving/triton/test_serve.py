"""`python -m rhonet.serve`: exports, starts, says how to ask, stops."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from rhonet.core.errors import ServerError
from rhonet.serving.triton.config import TritonSettings
from rhonet.serving.triton.example import example_request
from rhonet.serving.triton.export import export_repository
from rhonet.serving.triton.repository import is_current
from rhonet.serving.triton.server import find_server, start_server
from tests.crystals import REPOSITORY
from tests.serving.triton.handmade import write_model_folder, write_onnx

pytest_plugins = ("tests.fixtures", "tests.serving.triton.servers")

FREE = ("--port", "0", "--grpc-port", "0", "--metrics-port", "0")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Folder of a model with its ONNX files."""
    folder = tmp_path / "model_by_hand"
    write_model_folder(folder)
    write_onnx(tmp_path / "onnx")
    for file in (tmp_path / "onnx").iterdir():
        shutil.copy(file, folder)
    return folder


def hear() -> None:
    """Restores signals: tests that run in the background or under nohup inherit ignored signals."""
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)


@contextmanager
def serving(model: Path, repository: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "rhonet.serve", str(model), "--repository", str(repository), *FREE]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=REPOSITORY, preexec_fn=hear) as process:
        try:
            yield process
        finally:
            process.terminate()  # which ends its server as well


@pytest.mark.slow
@pytest.mark.server
@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_serves_until_told_to_stop_and_says_how_to_ask(triton, model, tmp_path, ending):
    with serving(model, tmp_path / "repository") as process:
        assert process.stdout is not None
        predict, metrics, curl = (process.stdout.readline() for _ in range(3))
        assert predict.startswith("python -m rhonet.predict CHGCAR --server grpc://127.0.0.1:"), process.stderr
        done = subprocess.run(["bash", "-c", curl.replace("curl", "curl -sS")], capture_output=True, cwd=REPOSITORY)
        outputs = {item["name"]: item["data"] for item in json.loads(done.stdout)["outputs"]}
        assert outputs["bulk_modulus"] == pytest.approx([8 / 4**3], rel=1e-3)
        process.send_signal(ending)
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors
        assert errors.splitlines()[-1] == "stopped"
    # Refused, or cut where a process of the server is just ending.
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        urllib.request.urlopen(metrics.split()[1], timeout=5)


@pytest.mark.server
def test_port_in_use_is_one_clear_line(triton, command, model, tmp_path):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        answer = command("serve", model, "--repository", tmp_path / "repository", "--port", port)
    assert answer.says(2, f"127.0.0.1:{port}: cannot listen there")
    assert not (tmp_path / "repository").exists()  # the port is checked before the export


def test_model_without_a_server_says_what_to_install(command, model, tmp_path, monkeypatch):
    monkeypatch.setattr("rhonet.serving.triton.server.shutil.which", lambda _: None)
    monkeypatch.setattr("rhonet.serving.triton.server.importlib.util.find_spec", lambda _: None)
    answer = command("serve", model, "--repository", tmp_path / "repository")
    assert answer.says(2, "no tritonserver in PATH, and no nvidia-pytriton, which brings one")
    assert not (tmp_path / "repository").exists()


def test_server_in_the_path_is_taken_with_its_own_backends(tmp_path, monkeypatch):
    program = tmp_path / "tritonserver"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    installation = find_server()
    assert (installation.program, installation.backends, installation.backend) == (program, None, "onnxruntime")


@pytest.mark.server
def test_python_without_its_shared_library_says_what_to_install(triton, monkeypatch):
    monkeypatch.setattr("rhonet.serving.triton.server.sys.base_prefix", "/nowhere")
    monkeypatch.setattr("rhonet.serving.triton.server.sysconfig.get_config_var", lambda _: None)
    monkeypatch.setattr("rhonet.serving.triton.server.ctypes.util.find_library", lambda _: None)
    with pytest.raises(
        ServerError, match=r"needs libpython3\.1\d\.so\.1\.0, .* install it \(Debian, Ubuntu: libpython3"
    ):
        find_server()


def test_server_that_ends_at_once_gives_its_last_words(tmp_path, monkeypatch):
    program = tmp_path / "tritonserver"
    program.write_text("#!/bin/sh\necho 'E1123 failed to load model'\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    with (
        pytest.raises(ServerError, match=r"ended with code 3; it said last:\nE1123 failed to load model"),
        start_server(tmp_path),
    ):
        pass


def test_repository_is_used_again_until_the_model_changes(model, tmp_path):
    repository = tmp_path / "repository"
    assert not is_current(repository, model, "python")
    assert export_repository(model, repository, settings=TritonSettings(backend="python")) == 1
    assert is_current(repository, model, "python")
    assert not is_current(repository, model, "onnxruntime")
    # Half written, or with another model file for the Python backend.
    density = repository / "rhonet_density" / "config.pbtxt"
    text = density.read_text()
    density.unlink()
    assert not is_current(repository, model, "python")
    density.write_text(text)
    backend = repository / "rhonet_views" / "1" / "model.py"
    kept = backend.read_text()
    backend.write_text(kept + "# changed\n")
    assert not is_current(repository, model, "python")
    backend.write_text(kept)
    assert is_current(repository, model, "python")
    (model / "card.toml").write_text((model / "card.toml").read_text().replace("abc", "def"))
    assert not is_current(repository, model, "python")
    assert export_repository(model, repository, settings=TritonSettings(backend="python")) == 2
    assert is_current(repository, model, "python")
    # Exported again with the card of before: other weights.
    (model / "saved_model" / "variables").mkdir(parents=True)
    (model / "saved_model" / "variables" / "variables.data-00000-of-00001").write_bytes(b"weights")
    assert not is_current(repository, model, "python")


def test_example_is_a_density_with_its_electrons():
    density, magnetization, lattice = example_request()["inputs"]  # pyright: ignore[reportGeneralTypeIssues]
    assert (density["name"], magnetization["shape"], lattice["name"]) == ("density", [0, 0, 0], "lattice")
    volume = np.linalg.det(np.reshape(lattice["data"], (3, 3)))
    assert np.mean(density["data"]) * volume == pytest.approx(8.0, rel=1e-3)
