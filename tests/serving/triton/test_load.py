"""The tools that load a server: they measure correctly, and the soak test detects faults."""

from __future__ import annotations

import copy
import dataclasses
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from rhonet.serving.answer import Answer, inputs_of
from rhonet.serving.triton.client import ServerPredictor, address_argument
from rhonet.serving.triton.server import RunningServer
from tools import soak_serving
from tools.bench_serving import OnnxModel, latencies, network_inputs
from tools.serving_load import Load, ask_for, crystal
from tools.soak_serving import Tally, assess, growth, session_memory, soak

pytest_plugins = ("tests.serving.triton.servers",)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:gevent")

GOOD = [crystal(8, 3.0), crystal(10, 4.0, spin=True, seed=1)]


def test_made_up_crystal_has_its_atoms_electrons_and_none_below_zero():
    density = crystal(32, 6.0)
    n_atoms = round(density.volume / 16)
    assert 3 * n_atoms < density.n_electrons < 9 * n_atoms
    assert density.values.min() > -1e-3 * density.values.max()
    # The field is the same on another grid: its points are among those of a finer one.
    np.testing.assert_allclose(crystal(64, 6.0).values[::2, ::2, ::2], density.values, atol=2e-3)


def test_load_is_shared_by_the_askers_and_timed():
    active, most = [0], [0]
    lock = threading.Lock()

    def ask() -> None:
        with lock:
            active[0] += 1
            most[0] = max(most[0], active[0])
        time.sleep(0.02)
        with lock:
            active[0] -= 1

    load = ask_for(0.4, lambda: ask, askers=3)
    assert most[0] == 3
    assert 10 <= len(load.seconds) <= 66
    assert 20 <= load.milliseconds(50) < load.milliseconds(100) + 1
    assert load.per_second == pytest.approx(len(load.seconds) / load.wall)


def test_failure_of_an_asker_ends_the_load_with_it():
    with pytest.raises(ZeroDivisionError):
        ask_for(60.0, lambda: lambda: 1 / 0, askers=2)


def test_latencies_become_a_table():
    load = Load(np.array([0.010, 0.020, 0.030]), 0.1)
    assert latencies([(["one", "4"], load)], first=["way", "clients"]).splitlines() == [
        "| way | clients | p50, ms | p95, ms | p99, ms | answers per second |",
        "| --- | --- | --- | --- | --- | --- |",
        "| one | 4 | 20 | 29 | 30 | 30.0 |",
    ]


@pytest.mark.server
def test_both_halves_in_process_are_what_the_server_says(server, handmade):
    sessions = OnnxModel(handmade / "onnx")
    expected = ServerPredictor(address_argument(f"grpc://{server.grpc}")).infer(inputs_of(GOOD[1]))
    outputs = sessions.answer(GOOD[1])
    for name, value in outputs.items():
        np.testing.assert_allclose(np.ravel(value), np.ravel(expected[name]), rtol=1e-5)
    batch = sessions.ask_network(sessions.render(GOOD[1]), times=3)
    assert {len(value) for value in batch.values()} == {3}
    assert {len(value) for value in network_inputs(sessions.render(GOOD[1]), 3).values()} == {3}


@pytest.fixture
def expected(server: RunningServer) -> list[Answer]:
    client = ServerPredictor(address_argument(f"http://{server.http}"))
    return [client.predict(density) for density in GOOD]


@pytest.mark.server
def test_soak_finds_nothing_wrong_with_a_good_server(server, expected, capsys):
    tally, memory = soak(server, GOOD, expected, seconds=4, n_clients=2)
    assert assess(tally, memory[:1], alive=server.is_ready()) == 0, tally.wrong
    assert tally.asked["good"] > 20
    assert len(tally.asked) > 5
    assert memory[0] > 20
    assert "0 answered wrongly" in capsys.readouterr().out


@pytest.mark.server
def test_soak_sees_wrong_answers(server, expected):
    wrong = copy.deepcopy(expected)
    name = next(iter(wrong[1].values))
    wrong[1].values[name] = wrong[1].values[name] + 1e-2 * (1 + np.abs(wrong[1].values[name]))
    wrong[0] = dataclasses.replace(wrong[0], novelty=wrong[0].novelty + 1)
    tally, _ = soak(server, GOOD, wrong, seconds=1, n_clients=2)
    assert len(tally.wrong) == tally.asked["good"] > 0


@pytest.mark.server
def test_soak_sees_bad_questions_that_are_answered(server, expected, monkeypatch):
    fine = {"fine": ("rhonet_density", lambda client: client.predict(GOOD[0]))}
    monkeypatch.setattr(soak_serving, "bad_questions", lambda: fine)
    tally, memory = soak(server, GOOD, expected, seconds=1, n_clients=2)
    assert set(tally.wrong) == {"fine: was answered"}
    assert assess(tally, memory, alive=True) == 1


@pytest.mark.server
def test_soak_sees_a_server_that_dies(expected, handmade, triton):
    from rhonet.serving.triton.server import start_server

    with start_server(handmade / "repository") as server:
        killer = threading.Timer(1.0, server.process.kill)
        killer.start()
        tally, memory = soak(server, GOOD, expected, seconds=3, n_clients=2)
        killer.join()
        assert tally.wrong
        assert assess(tally, memory[:1], alive=server.is_ready()) == 1


def test_growth_leaves_out_the_warm_up():
    steady = np.concatenate([np.linspace(100, 200, 20), np.full(80, 200.0)])
    assert growth(steady) == 0
    assert growth(np.concatenate([steady[:20], np.linspace(200, 240, 80)])) > 0.1
    assert assess(Tally(), np.linspace(100, 200, 50), alive=True) == 1
    assert assess(Tally(), steady, alive=True) == 0


def test_memory_is_that_of_the_whole_session():
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'x = bytearray(80_000_000); input()'])"
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, start_new_session=True) as process:
        end = time.monotonic() + 20
        while session_memory(process.pid) < 90 and time.monotonic() < end:
            time.sleep(0.05)
        assert 80 < session_memory(process.pid) < 400
        process.communicate(b"\n")
    assert session_memory(process.pid) == 0
    assert session_memory(os.getsid(0)) > 0
