"""`python -m rhonet.predict --server`: the same output as a local prediction, and clear errors."""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from rhonet import predict
from rhonet.core.density import ChargeDensity
from rhonet.core.errors import ServerError
from rhonet.serving.answer import Answer
from rhonet.serving.triton.client import Address, ServerPredictor, address_argument
from rhonet.serving.triton.config import TritonSettings
from rhonet.serving.triton.repository import write_repository
from rhonet.serving.triton.server import RunningServer, start_server
from tests.crystals import REPOSITORY, smooth_density
from tests.serving.triton.handmade import expected
from tests.synthetic import chgcar_text, cube_text

pytest_plugins = ("tests.fixtures", "tests.serving.triton.servers")
pytestmark = [pytest.mark.server, pytest.mark.filterwarnings("ignore::DeprecationWarning:gevent")]

PROTOCOLS = ("grpc", "http")


@pytest.fixture(scope="module")
def files(tmp_path_factory) -> list[Path]:
    """A CHGCAR with spin, a cube, a grid that the server finds too large, a file that is none."""
    folder = tmp_path_factory.mktemp("files")
    texts = {
        "CHGCAR": chgcar_text(smooth_density(70, spin=True)),
        "two.cube": cube_text(smooth_density(71, (9, 8, 7))),
        "large.cube": cube_text(smooth_density(72, (18, 16, 15))),
        "CHGCAR_bad": "nothing",
    }
    for name, text in texts.items():
        (folder / name).write_text(text)
    return [folder / name for name in texts]


@pytest.fixture(autouse=True)
def no_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(predict, "start_tensorflow", lambda: pytest.fail("TensorFlow was started"))


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(5)
        yield listener.getsockname()[1]


def url(server: RunningServer, protocol: str) -> str:
    return f"{protocol}://{getattr(server, protocol)}"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_server_answers_like_a_local_model(command, server, files, protocol):
    answer = command("predict", *files, "--server", url(server, protocol), "--format", "json")
    assert answer.code == 1
    tree = json.loads(answer.stdout)
    assert list(tree["properties"]) == ["bulk_modulus", "magnetic_moment", "is_metal", "phase"]
    assert tree["properties"]["bulk_modulus"] == {"unit": "GPa", "kind": "regression", "test_mae": 1.5}
    assert tree["interval_level"] == 0.9
    for file, seed, shape, spin in zip(
        tree["files"][:2], (70, 71), ((12, 10, 15), (9, 8, 7)), (True, False), strict=True
    ):
        density = smooth_density(seed, shape, spin=spin)
        magnetization = density.collinear_magnetization() if spin else np.zeros((0, 0, 0))
        assert magnetization is not None
        outputs = expected(density.values, magnetization, density.lattice)
        for name, value in file["properties"].items():
            np.testing.assert_allclose(value, np.squeeze(outputs[name]), rtol=1e-5, err_msg=name)
        assert file["intervals"]["bulk_modulus"] == pytest.approx(
            [outputs["bulk_modulus_lower"].item(), outputs["bulk_modulus_upper"].item()], rel=1e-5
        )
        assert file["novelty"] == pytest.approx(outputs["novelty"].item(), rel=1e-5)
    large, bad = tree["files"][2:]
    assert large["error"].startswith(f"{files[2]}: refused by the server: ")
    assert "density has 4320 grid points, (18, 16, 15); this server takes at most 4096" in large["error"]
    assert bad["error"].startswith(str(files[3]))
    assert answer.stderr.splitlines()[-1] == "2 of 4 files failed"


def test_table_and_csv_have_units_intervals_and_class_names(command, server, files):
    answer = command("predict", files[0], "--server", url(server, "grpc"))
    assert answer.code == 0, answer.stderr
    _, units, line, within = answer.stdout.splitlines()
    assert units.split()[:2] == ["GPa", "µB"]
    assert within.startswith("  90% within ")
    assert "×÷" in within
    assert "rocksalt" in line or "zincblende" in line
    answer = command("predict", files[0], "--server", url(server, "http"), "--format", "csv")
    assert "bulk_modulus [GPa],magnetic_moment [µB],is_metal,phase_rocksalt" in answer.stdout


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_server_that_is_down_is_one_clear_line(command, files, protocol):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    answer = command("predict", files[0], "--server", f"{protocol}://127.0.0.1:{port}")
    assert answer.says(2, f"{protocol}://127.0.0.1:{port}: cannot be reached")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_server_that_says_nothing_is_given_up(command, files, silent_port, protocol):
    address = f"{protocol}://127.0.0.1:{silent_port}"
    answer = command("predict", files[0], "--server", address, "--timeout", "0.3")
    assert answer.says(2, f"{address}: no answer within 0.3 s")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_model_that_is_not_there_or_not_ours_is_named(command, server, files, protocol):
    answer = command("predict", files[0], "--server", url(server, protocol), "--server-model", "resnet")
    assert answer.says(2, "unknown model: 'resnet'")
    answer = command("predict", files[0], "--server", url(server, protocol), "--server-model", "rhonet_views")
    assert answer.says(2, "model rhonet_views was not exported by rhonet (its configuration has no card)")


@pytest.mark.parametrize("seconds", ["0", "-1", "nan", "soon"])
def test_time_to_wait_must_be_positive(command, files, seconds):
    answer = command("predict", files[0], "--server", "grpc://localhost", "--timeout", seconds)
    assert answer.code == 2
    assert f"argument --timeout: {seconds!r} is no number of seconds above 0" in answer.stderr


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_server_that_goes_away_is_told_from_a_bad_density(triton, handmade, protocol):
    with start_server(handmade / "repository") as running:
        predictor = ServerPredictor(address_argument(url(running, protocol)), timeout_seconds=5.0)
        os.kill(running.process.pid, signal.SIGKILL)
        running.process.wait()
        with pytest.raises(ServerError, match=r"cannot be reached|no answer"):
            predictor.predict(smooth_density(0))


def test_what_was_answered_before_the_server_went_away_is_shown(command, triton, handmade, files, monkeypatch):
    with start_server(handmade / "repository") as running:
        ask = ServerPredictor.predict

        def ask_once(self: ServerPredictor, density: ChargeDensity) -> Answer:
            answer = ask(self, density)
            os.kill(running.process.pid, signal.SIGKILL)
            running.process.wait()
            return answer

        monkeypatch.setattr(ServerPredictor, "predict", ask_once)
        address = url(running, "grpc")
        answer = command("predict", *files[:2], "--server", address, "--timeout", "5", "--format", "json")
    assert answer.code == 1
    first, second = json.loads(answer.stdout)["files"]
    assert "error" not in first or not first["error"]
    assert second["error"].startswith(f"{files[1]}: {address}: ")


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_server_with_too_much_to_do_is_told_from_one_that_is_down(triton, handmade, tmp_path, protocol):
    settings = TritonSettings(backend="python", threads=1, queue_microseconds=300_000, max_queue=1)
    write_repository(handmade / "onnx", handmade / "model", tmp_path / "repository", settings=settings)

    def ask(address: Address) -> str:
        try:
            return str(ServerPredictor(address).predict(smooth_density(0)).novelty)
        except ServerError as error:
            return str(error)

    with start_server(tmp_path / "repository") as running, ThreadPoolExecutor(8) as clients:
        address = address_argument(url(running, protocol))
        responses = list(clients.map(ask, [address] * 8))
    busy = f"{address}: is busy, its queue is full; ask again later"
    assert busy in responses
    assert len(set(responses) - {busy}) == 1  # the others got the same answer


@pytest.mark.parametrize("option", [("--timeout", "5"), ("--server-model", "other")])
def test_options_of_a_server_need_one(command, files, option):
    assert command("predict", files[0], *option).says(2, "--server-model and --timeout need --server URL")


def test_prediction_by_a_server_needs_no_tensorflow(server, files):
    code = "import sys; sys.modules.update(tensorflow=None, keras=None)\nimport runpy; sys.argv = sys.argv[1:]\n"
    code += "runpy.run_module('rhonet.predict', run_name='__main__')"
    arguments = ["predict", files[0], "--server", url(server, "grpc"), "--format", "csv"]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("grpc://localhost:9000", Address("grpc", "localhost", 9000)),
        ("http://node7", Address("http", "node7", 8000)),
        ("grpcs://node7/", Address("grpcs", "node7", 8001)),
        ("https://[::1]:9000", Address("https", "[::1]", 9000)),
    ],
)
def test_address_is_understood(text, address):
    assert address_argument(text) == address


@pytest.mark.parametrize("text", ["localhost:8000", "ftp://a:1", "http://", "http://a:b", "http://a:1/v2", "grpc:a"])
def test_address_that_is_none_is_refused_with_the_form(text):
    with pytest.raises(argparse.ArgumentTypeError, match=r"the form is grpc://HOST:8001 or http://HOST:8000"):
        address_argument(text)
