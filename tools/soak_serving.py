#!/usr/bin/env python3
"""Send good and bad requests to a Triton server for minutes: no wrong answers, no memory growth, errors for bad ones.

    python tools/soak_serving.py --minutes 10

Exports the model into a temporary Triton repository, starts a server on free ports and sends requests from several
clients over HTTP and gRPC. The SavedModel in this process gives the expected answers to the good requests. An answer
is wrong if it differs by more than 1e-4 of its value or, near zero, of the width of its prediction interval. Memory is
that of the server's processes. Exit code 1 if anything was wrong.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import RefusedError
from rhonet.core.startup import start_tensorflow
from rhonet.core.text import markdown_table
from rhonet.serving.answer import Answer
from rhonet.serving.triton.client import ServerPredictor, address_argument
from rhonet.serving.triton.config import DENSITY_MODEL, NETWORK_MODEL, TritonSettings
from rhonet.serving.triton.repository import write_repository
from rhonet.serving.triton.server import RunningServer, find_server, start_server
from tools.serving_load import crystal

MAX_GRID_POINTS = 40**3
TOLERANCE = 1e-4
BAD_SHARE = 0.3
SAMPLE_SECONDS = 2.0
# The first share of the time lets caches fill. The rest is divided into parts: the first and the last are compared.
WARM_UP, PARTS = 0.2, 4
MOST_GROWTH = 0.05

BadQuestion = Callable[[ServerPredictor], object]


@dataclass
class Tally:
    """Counts of requests and problems; shared by the clients.

    Attributes:
        asked: number of requests by kind.
        wrong: problems with the answers.
        lock: held while a count is changed.
    """

    asked: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def note(self, kind: str, problem: str = "") -> None:
        """Counts a request, and its problem if there was one."""
        with self.lock:
            self.asked[kind] += 1
            if problem:
                self.wrong.append(f"{kind}: {problem}")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("saved_models/base"), help="model folder (%(default)s)")
    parser.add_argument("--minutes", type=float, default=10.0, help="how long (default: %(default)s)")
    parser.add_argument("--clients", type=int, default=4, help="half over gRPC, half over HTTP (default: %(default)s)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    start_tensorflow()
    from rhonet.serving.export import export_model
    from rhonet.serving.exported_model import Predictor

    predictor = Predictor(options.model)
    good = [
        crystal(points, edge, spin=spin, seed=seed)
        for seed, (points, edge, spin) in enumerate(
            [(12, 3.0, False), (20, 4.0, True), (24, 5.0, False), (33, 7.0, True), (40, 8.0, False)]
        )
    ]
    expected = [predictor.predict(density) for density in good]
    with tempfile.TemporaryDirectory(prefix="soak-serving-") as scratch:
        onnx, repository = Path(scratch) / "onnx", Path(scratch) / "repository"
        export_model(options.model, onnx, onnx=True)
        settings = TritonSettings(backend=find_server().backend, max_grid_points=MAX_GRID_POINTS)
        write_repository(onnx, options.model, repository, settings=settings)
        with start_server(repository) as server:
            tally, memory = soak(server, good, expected, seconds=60 * options.minutes, n_clients=options.clients)
            return assess(tally, memory, alive=server.is_ready())


def soak(
    server: RunningServer, good: list[ChargeDensity], expected: list[Answer], *, seconds: float, n_clients: int
) -> tuple[Tally, np.ndarray]:
    """Sends requests; gives the tally, and the memory of the server every `SAMPLE_SECONDS`, (n,), MB.

    Args:
        server: serves the model.
        good: densities to ask about.
        expected: answers to them.
        seconds: how long.
        n_clients: half over gRPC, half over HTTP.
    """
    tally, end = Tally(), time.monotonic() + seconds
    bad = bad_questions()

    def work(number: int) -> None:
        rng = np.random.default_rng(number)
        address = f"grpc://{server.grpc}" if number % 2 == 0 else f"http://{server.http}"
        client = ServerPredictor(address_argument(address))
        network = ServerPredictor(address_argument(address), model=NETWORK_MODEL)
        while time.monotonic() < end:
            if rng.random() < BAD_SHARE:
                name, (model, ask) = list(bad.items())[rng.integers(len(bad))]
                tally.note(name, _refusal(ask, network if model == NETWORK_MODEL else client))
            else:
                which = rng.integers(len(good))
                tally.note("good", _difference(client, good[which], expected[which]))

    threads = [threading.Thread(target=_guarded, args=(work, number, tally)) for number in range(n_clients)]
    for thread in threads:
        thread.start()
    memory = []
    while any(thread.is_alive() for thread in threads):
        memory.append(session_memory(server.process.pid))
        time.sleep(SAMPLE_SECONDS)
    return tally, np.array(memory)


def bad_questions() -> dict[str, tuple[str, BadQuestion]]:
    """Bad requests, and the model that each is sent to, by what is wrong with them."""
    lattice, none = 4 * np.eye(3), np.zeros((0, 0, 0))
    grid = np.ones((8, 8, 8))
    hole = grid.copy()
    hole[1, 2, 3] = np.nan

    def grids(density: np.ndarray, spin: np.ndarray, cell: np.ndarray) -> tuple[str, BadQuestion]:
        inputs = {"density": density, "magnetization": spin, "lattice": cell}
        return DENSITY_MODEL, lambda client: client.infer(inputs)

    return {
        "a number missing": grids(hole, none, lattice),
        "infinite": grids(grid * np.inf, none, lattice),
        "flat lattice": grids(grid, none, lattice * [1, 1, 0]),
        "lattice of four vectors": grids(grid, none, np.ones((4, 3))),
        "density of rank 2": grids(grid[0], none, lattice),
        "spin on another grid": grids(grid, grid[:4], lattice),
        "too large": grids(np.ones((48, 48, 48)), none, lattice),
        "empty": grids(none, none, lattice),
        "no lattice": (DENSITY_MODEL, lambda client: client.infer({"density": grid, "magnetization": none})),
        "unknown input": (
            DENSITY_MODEL,
            lambda client: client.infer({"rho": grid, "magnetization": none, "lattice": lattice}),
        ),
        "views of another size": (
            NETWORK_MODEL,
            lambda client: client.infer({"views": np.ones((1, 2, 3, 4, 5, 6)), "lattice": lattice[None]}),
        ),
        "density of rank 4": grids(grid[None], none, lattice),
    }


def session_memory(leader: int) -> float:
    """Resident memory, MB, of all processes in the session of a process: the server and its backends."""
    total = 0
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name before the last parenthesis may hold anything; the session is the fourth number after it.
            if int(stat.read_text().rpartition(")")[2].split()[3]) == leader:
                total += int((stat.parent / "statm").read_text().split()[1])
        except (OSError, IndexError):
            continue  # the process has ended
    return total * os.sysconf("SC_PAGE_SIZE") / 2**20


def growth(memory: np.ndarray) -> float:
    """Relative growth of the memory from the first part of the time after the warm-up to the last part."""
    later = memory[int(len(memory) * WARM_UP) :]
    part = max(1, len(later) // PARTS)
    return float(np.median(later[-part:]) / np.median(later[:part]) - 1)


def assess(tally: Tally, memory: np.ndarray, *, alive: bool) -> int:
    """Prints the results and returns the exit code: 1 if anything was wrong.

    Args:
        tally: of all requests.
        memory: of the server over time, (n,), MB.
        alive: whether the server is still ready.
    """
    rows = [[kind, str(count)] for kind, count in tally.asked.most_common()]
    print(markdown_table(["question", "asked"], rows))
    grown = growth(memory)
    print(f"{sum(tally.asked.values())} questions, {len(tally.wrong)} answered wrongly")
    print(f"memory of the server: {memory[0]:.0f} MB at first, {memory[-1]:.0f} MB at last, {grown:+.1%} after warm-up")
    print("the server is ready" if alive else "the server is NOT ready any more")
    for problem in tally.wrong[:20]:
        print(f"wrong: {problem}")
    return 1 if tally.wrong or not alive or grown > MOST_GROWTH else 0


def _difference(client: ServerPredictor, density: ChargeDensity, expected: Answer) -> str:
    """What is wrong with the answer to a good request, "" for nothing."""
    try:
        answer = client.predict(density)
    except Exception as error:  # any error is a problem to report
        return f"{type(error).__name__}: {error}"
    for name, value in expected.values.items():
        scale = np.maximum(np.abs(value), expected.upper.get(name, 1.0) - expected.lower.get(name, 0.0))
        if not (np.abs(np.asarray(answer.values[name]) - value) <= TOLERANCE * scale).all():
            return f"{name} is {answer.values[name]}, expected {value}"
    if not abs(answer.novelty - expected.novelty) <= TOLERANCE * max(1.0, expected.novelty):
        return f"novelty is {answer.novelty}, expected {expected.novelty}"
    return ""


def _refusal(ask: BadQuestion, client: ServerPredictor) -> str:
    """What is wrong with the answer to a bad request, "" if it was refused with a reason."""
    try:
        ask(client)
    except RefusedError as error:
        return "" if str(error) else "refused without a reason"
    except Exception as error:  # any other error is a problem to report
        return f"{type(error).__name__}: {error}"
    return "was answered"


def _guarded(work: Callable[[int], None], number: int, tally: Tally) -> None:
    try:
        work(number)
    except Exception as error:  # otherwise a client that died would go unnoticed
        tally.note("client", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    sys.exit(main())
