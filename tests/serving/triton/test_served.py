"""A real Triton server gives what the ONNX files give, refuses bad requests, and goes on."""

from __future__ import annotations

import json
import os
import signal
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from rhonet.serving.triton.server import RunningServer, start_server
from tests.serving.triton.asking import Asker
from tests.serving.triton.handmade import LIMITS, VIEW, expected

pytest_plugins = ("tests.serving.triton.servers",)
pytestmark = [
    pytest.mark.server,
    # tritonclient's HTTP client brings gevent, whose own modules are older than this Python's warnings
    pytest.mark.filterwarnings("ignore::DeprecationWarning:gevent"),
]

PROTOCOLS = ("http", "grpc")
NO_SPIN = np.zeros((0, 0, 0), np.float32)
LATTICE = np.array([[3.1, 0.2, -0.4], [1.4, 4.2, 0.3], [-0.9, 1.1, 5.3]], np.float32)


@pytest.fixture(params=PROTOCOLS)
def asker(request: pytest.FixtureRequest, server: RunningServer) -> Asker:
    return Asker(server, request.param)


def grid(shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random(shape, np.float32)


@pytest.mark.parametrize("shape", [(5, 6, 7), (8, 8, 8), (1, 3, 16)])
@pytest.mark.parametrize("spin", [False, True])
def test_grid_of_any_shape_is_answered(asker, shape, spin):
    density, magnetization = grid(shape), grid(shape, 1) if spin else NO_SPIN
    answer = asker.ask("rhonet_density", density=density, magnetization=magnetization, lattice=LATTICE)
    for name, value in expected(density, magnetization, LATTICE).items():
        np.testing.assert_allclose(answer.as_numpy(name), value, rtol=1e-5, err_msg=name)


def test_views_of_a_grid_are_served_alone(asker):
    density = grid((4, 5, 6))
    answer = asker.ask("rhonet_views", density=density, magnetization=NO_SPIN, lattice=LATTICE)
    views = answer.as_numpy("views")
    assert views.shape == (1, *VIEW)
    np.testing.assert_allclose(views[..., 0], density.mean(), rtol=1e-5)
    np.testing.assert_array_equal(answer.as_numpy("lattice_batch"), LATTICE[None])


@pytest.mark.parametrize("size", [1, 2, 33, 64])
def test_batch_is_answered_row_by_row(asker, size):
    views = grid((size, *VIEW))
    lattices = LATTICE + np.arange(size, dtype=np.float32)[:, None, None] * np.eye(3, dtype=np.float32)
    answer = asker.ask("rhonet", views=views, lattice=lattices)
    means = views.mean(axis=(1, 2, 3, 4))
    np.testing.assert_allclose(answer.as_numpy("phase"), means, rtol=1e-5)
    np.testing.assert_allclose(answer.as_numpy("bulk_modulus"), means[:, :1], rtol=1e-5)
    np.testing.assert_allclose(answer.as_numpy("is_metal")[:, 0], np.linalg.det(lattices), rtol=1e-5)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_concurrent_clients_get_their_own_answers(server, protocol):
    def ask(seed: int) -> tuple[float, float]:
        density = grid((3 + seed % 3, 4, 5), seed)
        answer = Asker(server, protocol).ask("rhonet_density", density=density, magnetization=NO_SPIN, lattice=LATTICE)
        return float(answer.as_numpy("bulk_modulus").item()), float(density.mean())

    with ThreadPoolExecutor(8) as pool:
        pairs = list(pool.map(ask, range(32)))
    np.testing.assert_allclose(*zip(*pairs, strict=True), rtol=1e-5)


NAN_GRID = np.full((3, 3, 3), np.nan, np.float32)
GOOD = {"density": grid((3, 3, 3)), "magnetization": NO_SPIN, "lattice": LATTICE}
BAD = [
    ({"density": NAN_GRID}, "density holds values that are not finite"),
    ({"magnetization": NAN_GRID}, "magnetization holds values that are not finite"),
    ({"lattice": np.full((3, 3), np.inf, np.float32)}, "lattice holds values that are not finite"),
    ({"lattice": np.ones((3, 3), np.float32)}, "lattice spans a volume of 0 Å³"),
    ({"density": grid((0, 3, 3))}, "density is empty"),
    ({"density": grid((16, 16, 17))}, "density has 4352 grid points, (16, 16, 17); this server takes at most 4096"),
    ({"magnetization": grid((3, 3, 4))}, "magnetization has shape (3, 3, 4); expected that of density, (3, 3, 3)"),
    ({"density": grid((3, 9))}, "unexpected shape for input 'density'"),
    ({"lattice": LATTICE[None]}, "unexpected shape for input 'lattice'"),
    ({"density": grid((3, 3, 3)).astype(np.float64)}, "inference input 'density' data-type is 'FP64'"),
    ({"density": None, "charge": grid((3, 3, 3))}, "unexpected inference input 'charge'"),
    ({"lattice": None}, "expected 3 inputs but got 2 inputs"),
]


@pytest.mark.parametrize(("change", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_request_is_refused_and_the_server_goes_on(asker, change, message):
    inputs = {name: array for name, array in (GOOD | change).items() if array is not None}
    with pytest.raises(InferenceServerException) as caught:
        asker.ask("rhonet_density", **inputs)
    assert message in str(caught.value.message())
    assert "Traceback" not in str(caught.value)
    answer = asker.ask("rhonet_density", **GOOD)
    np.testing.assert_allclose(answer.as_numpy("bulk_modulus"), GOOD["density"].mean(), rtol=1e-5)


def test_bad_row_spoils_no_other_request(server):
    """Of requests that may form one batch, only those with NaN fail."""

    def ask(row: int) -> str:
        views = grid((1, *VIEW), row)
        if row % 3 == 0:
            views[0, 0, 0, 0, 0, 0] = np.nan
        try:
            answer = Asker(server, "grpc").ask("rhonet", views=views, lattice=LATTICE[None])
        except InferenceServerException as error:
            return str(error.message())
        np.testing.assert_allclose(answer.as_numpy("phase"), views.mean(axis=(1, 2, 3, 4)), rtol=1e-5)
        return "answered"

    with ThreadPoolExecutor(12) as pool:
        results = list(pool.map(ask, range(24)))
    for row, result in enumerate(results):
        assert ("views holds values that are not finite" if row % 3 == 0 else "answered") in result


def test_batch_above_the_limit_is_refused(asker):
    with pytest.raises(InferenceServerException, match="batch-size must be <= 64"):
        asker.ask("rhonet", views=grid((65, *VIEW)), lattice=np.repeat(LATTICE[None], 65, axis=0))


def test_configuration_tells_units_classes_limits_and_origin(server):
    with urllib.request.urlopen(f"http://{server.http}/v2/models/rhonet_density/config") as answer:
        parameters = json.load(answer)["parameters"]
    strings = {name: item["string_value"] for name, item in parameters.items()}
    assert strings["unit.bulk_modulus"] == strings["unit.bulk_modulus_lower"] == "GPa"
    assert strings["unit.density"] == "e/Å³ on a periodic grid"
    assert strings["classes.phase"] == "rocksalt,zincblende,fluorite"
    assert strings["limits"] == LIMITS
    assert strings["model.commit"] == "abc"
    assert json.loads(strings["card"])["properties"][1]["unit"] == "µB"


def test_metrics_count_requests(server):
    with urllib.request.urlopen(f"http://{server.metrics}/metrics") as answer:
        assert 'nv_inference_request_success{model="rhonet"' in answer.read().decode()


def test_server_logs_no_error(asker, server):
    """The hand-over of arrays leaves no exception that Python cannot raise."""
    asker.ask("rhonet_density", **GOOD)
    log = server.log.read_text(encoding="utf-8", errors="replace")
    assert "Traceback" not in log
    assert "PyCapsule" not in log


def test_killed_server_serves_again(triton, handmade):
    for _ in range(2):
        with start_server(handmade / "repository") as running:
            answer = Asker(running, "http").ask("rhonet_density", **GOOD)
            assert np.isfinite(answer.as_numpy("phase")).all()
            os.kill(running.process.pid, signal.SIGKILL)
            running.process.wait()
            assert not running.is_ready()
