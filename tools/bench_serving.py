#!/usr/bin/env python3
"""How fast a model answers: in process and through a Triton server on this machine, in one run.

    python tools/bench_serving.py --seconds 8 --out serving.md

Exports the model into temporary Triton repositories and starts servers on free ports (with the Python backend if the
server has no other). Clients run on the same machine, so that they share its cores with the server. Requests are
crystals made of Gaussian atoms. Prints tables in Markdown: the time from a CHGCAR on disk to the answer, and its parts;
answers per second against the number of clients; the overhead of the server at a batch of eight; and the gain of
computing several requests together.
"""

from __future__ import annotations

import argparse
import contextlib
import logging
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from rhonet.core.density import ChargeDensity
from rhonet.core.provenance import git_commit
from rhonet.core.startup import start_tensorflow
from rhonet.core.text import markdown_table
from rhonet.formats import read_density
from rhonet.formats.writers import write_density
from rhonet.serving.answer import inputs_of
from rhonet.serving.model_card import NETWORK, VIEWS
from rhonet.serving.triton.client import ServerPredictor, address_argument
from rhonet.serving.triton.config import NETWORK_MODEL, TritonSettings
from rhonet.serving.triton.repository import write_repository
from rhonet.serving.triton.server import RunningServer, find_server, start_server
from rhonet.serving.triton.tensors import FEEDS
from tools.serving_load import Load, ask_for, crystal

Ask = Callable[[], object]

CONCURRENCY = (1, 2, 4, 8, 16)
BATCH = 8
TOGETHER = 16
PERCENTILES = (50, 95, 99)
SCHEMES = {"gRPC": "grpc", "HTTP": "http"}


@dataclass(frozen=True)
class Way:
    """One way to get predictions.

    Attributes:
        name: in the tables.
        connect: opens a connection, once per client; gives a function that asks about a density.
    """

    name: str
    connect: Callable[[], Callable[[ChargeDensity], object]]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, default=Path("saved_models/base"), help="model folder (%(default)s)")
    parser.add_argument("--seconds", type=float, default=8.0, help="for each number (default: %(default)s)")
    parser.add_argument("--grid", type=int, default=96, help="points per axis of the CHGCAR (default: %(default)s)")
    parser.add_argument("--edge", type=float, default=6.0, help="of its cell, Å (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="markdown file to write (default: standard output)")
    options = parser.parse_args()
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    start_tensorflow()
    with tempfile.TemporaryDirectory(prefix="bench-serving-") as scratch:
        text = report(options, Path(scratch))
    if options.out is None:
        print(text, end="")
    else:
        options.out.write_text(text, encoding="utf-8")
    return 0


def report(options: argparse.Namespace, scratch: Path) -> str:
    """All tables; needs TensorFlow and a Triton server."""
    from rhonet.serving.export import export_model
    from rhonet.serving.exported_model import Predictor

    backend = find_server().backend
    onnx = scratch / "onnx"
    export_model(options.model, onnx, onnx=True)
    chgcar = scratch / "CHGCAR"
    write_density(crystal(options.grid, options.edge), chgcar)
    sessions = OnnxModel(onnx)
    predictor = Predictor(options.model)
    local = [
        Way("SavedModel in process", lambda: predictor.predict),
        Way("ONNX Runtime in process", lambda: sessions.answer),
    ]
    command = shlex.join(["python", *sys.argv])
    parts = [
        f"`{command}`, commit {git_commit() or 'unknown'}, {os.cpu_count()} CPU cores ({platform.machine()}), Triton's "
        f"{backend} backend\n"
    ]
    with served(onnx, options.model, scratch / "batching", TritonSettings(backend=backend)) as server:
        ways = [
            *local,
            *(Way(f"Triton, {name}", asker_of(server, scheme)) for name, scheme in SCHEMES.items()),
        ]
        parts.append(end_to_end(ways, chgcar, seconds=options.seconds))
        parts.append(steps(sessions, server, chgcar, seconds=options.seconds))
        parts.append(throughput(ways, crystal(24, 5.0), seconds=options.seconds))
        parts.append(overhead(sessions, server, seconds=options.seconds))
        together = [ask_together(sessions, server, seconds=options.seconds)]
    with served(onnx, options.model, scratch / "alone", TritonSettings(backend=backend, max_batch=1)) as server:
        together.append(ask_together(sessions, server, seconds=options.seconds))
    parts.append(batching(sessions, *together, seconds=options.seconds))
    return "\n".join(parts)


class OnnxModel:
    """Both halves of a model in ONNX Runtime in this process."""

    def __init__(self, folder: Path) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # as on the server
        self._views, self._network = (
            onnxruntime.InferenceSession(str(folder / name), options, providers=["CPUExecutionProvider"])
            for name in (VIEWS, NETWORK)
        )

    def render(self, density: ChargeDensity) -> dict[str, np.ndarray]:
        """All outputs of the rendering half, by name."""
        return self._run(self._views, inputs_of(density))

    def ask_network(self, rendered: dict[str, np.ndarray], *, times: int = 1) -> dict[str, np.ndarray]:
        """Outputs of the networks for a batch: one crystal, `times` times."""
        return self._run(self._network, network_inputs(rendered, times))

    def answer(self, density: ChargeDensity) -> dict[str, np.ndarray]:
        """Outputs of the whole model for one density."""
        return self.ask_network(self.render(density))

    def _run(self, session: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        names = [item.name for item in session.get_outputs()]
        return dict(zip(names, session.run(names, inputs), strict=True))


def network_inputs(rendered: dict[str, np.ndarray], times: int) -> dict[str, np.ndarray]:
    """Inputs of the network: the views of one crystal, repeated `times` times."""
    return {name: np.repeat(rendered[source], times, axis=0) for name, source in FEEDS.items()}


@contextlib.contextmanager
def served(onnx: Path, model: Path, repository: Path, settings: TritonSettings) -> Iterator[RunningServer]:
    """A server of the model on free ports.

    Args:
        onnx: folder of the model in ONNX.
        model: model folder.
        repository: Triton repository to write.
        settings: of the repository.
    """
    write_repository(onnx, model, repository, settings=settings)
    with start_server(repository) as server:
        yield server


def asker_of(server: RunningServer, scheme: str) -> Callable[[], Callable[[ChargeDensity], object]]:
    """Function that opens a connection to the whole model on the server."""
    return lambda: client_of(server, scheme).predict


def client_of(server: RunningServer, scheme: str, **options: Any) -> ServerPredictor:
    place = server.grpc if scheme == "grpc" else server.http
    return ServerPredictor(address_argument(f"{scheme}://{place}"), **options)


def end_to_end(ways: Sequence[Way], chgcar: Path, *, seconds: float) -> str:
    """Section: times from a file to the answer, one request at a time.

    Args:
        ways: to get predictions.
        chgcar: density file.
        seconds: for each measurement.
    """
    rows = []
    for way in ways:

        def connect(way: Way = way) -> Ask:
            ask = way.connect()
            return lambda: ask(read_density(chgcar))

        rows.append(([way.name], ask_for(seconds, connect, askers=1)))
    shape = "x".join(map(str, read_density(chgcar).shape))
    title = f"## From a CHGCAR of {shape} points ({chgcar.stat().st_size / 1e6:.0f} MB) to the answer"
    return f"{title}\n\n{latencies(rows)}"


def steps(sessions: OnnxModel, server: RunningServer, chgcar: Path, *, seconds: float) -> str:
    """Section: median times of the steps of one answer.

    Args:
        sessions: the model in this process.
        server: serves the model.
        chgcar: density file.
        seconds: for each measurement.
    """
    density = read_density(chgcar)
    rendered = sessions.render(density)
    asks = {
        "reading and checking the file": lambda: read_density(chgcar),
        "views and novelty (ONNX Runtime)": lambda: sessions.render(density),
        "networks (ONNX Runtime)": lambda: sessions.ask_network(rendered),
    }
    times = {name: median(lambda ask=ask: ask, seconds) for name, ask in asks.items()}
    inside = sum(times.values()) - times["reading and checking the file"]
    for name, scheme in SCHEMES.items():

        def connect(scheme: str = scheme) -> Ask:
            client = client_of(server, scheme)
            return lambda: client.predict(density)

        times[f"Triton and {name}, beyond both"] = median(connect, seconds) - inside
    table = markdown_table(["step", "ms"], [[name, f"{value:.1f}"] for name, value in times.items()])
    return f"## Where the time goes\n\n{table}"


def throughput(ways: Sequence[Way], density: ChargeDensity, *, seconds: float) -> str:
    """Section: answers per second and latencies against the number of clients.

    Args:
        ways: to get predictions.
        density: that is asked about.
        seconds: for each measurement.
    """
    rows = []
    for way in ways:
        for askers in CONCURRENCY:

            def connect(way: Way = way) -> Ask:
                ask = way.connect()
                return lambda: ask(density)

            rows.append(([way.name, str(askers)], ask_for(seconds, connect, askers=askers)))
    shape = "x".join(map(str, density.shape))
    return f"## More and more clients, {shape} points\n\n{latencies(rows, first=('way', 'clients'))}"


def overhead(sessions: OnnxModel, server: RunningServer, *, seconds: float) -> str:
    """Section: overhead of the server at a batch; the network alone, with views rendered before.

    Args:
        sessions: the model in this process.
        server: serves the model.
        seconds: for each measurement.
    """
    rendered = sessions.render(crystal(24, 5.0))
    inputs = network_inputs(rendered, BATCH)
    own = median(lambda: lambda: sessions.ask_network(rendered, times=BATCH), seconds)
    rows = [["ONNX Runtime in process", f"{own:.1f}", ""]]
    for name, scheme in SCHEMES.items():

        def connect(scheme: str = scheme) -> Ask:
            client = client_of(server, scheme, model=NETWORK_MODEL)
            return lambda: client.infer(inputs)

        theirs = median(connect, seconds)
        rows.append([f"Triton, {name}", f"{theirs:.1f}", f"{theirs / own - 1:+.0%}"])
    size = sum(array.nbytes for array in inputs.values()) / 1e6
    head = f"## The server's share, a batch of {BATCH} crystals ({size:.1f} MB of views)"
    return f"{head}\n\n{markdown_table(['way', 'ms at p50', 'overhead'], rows)}"


def ask_together(sessions: OnnxModel, server: RunningServer, *, seconds: float) -> tuple[Load, Load]:
    """Loads of single requests to the network, from one client and from `TOGETHER` clients at once.

    Args:
        sessions: the model in this process; renders the views.
        server: serves the model.
        seconds: for each measurement.
    """
    inputs = network_inputs(sessions.render(crystal(24, 5.0)), 1)

    def connect() -> Ask:
        client = client_of(server, "grpc", model=NETWORK_MODEL)
        return lambda: client.infer(inputs)

    return ask_for(seconds, connect, askers=1), ask_for(seconds, connect, askers=TOGETHER)


def batching(sessions: OnnxModel, batched: tuple[Load, Load], alone: tuple[Load, Load], *, seconds: float) -> str:
    """Section: gain of dynamic batching, and the largest possible gain.

    Args:
        sessions: the model in this process.
        batched: loads of `ask_together` with dynamic batching.
        alone: loads of `ask_together` without it.
        seconds: for each measurement.
    """
    rendered = sessions.render(crystal(24, 5.0))
    single, together = (
        median(lambda n=n: lambda: sessions.ask_network(rendered, times=n), seconds) / n for n in (1, TOGETHER)
    )
    rows = [
        ("Triton, dynamic batching, 1 client", batched[0].per_second),
        (f"Triton, dynamic batching, {TOGETHER} clients", batched[1].per_second),
        ("Triton, one request after the other, 1 client", alone[0].per_second),
        (f"Triton, one request after the other, {TOGETHER} clients", alone[1].per_second),
        ("ONNX Runtime in process, batches of 1", 1e3 / single),
        (f"ONNX Runtime in process, batches of {TOGETHER}", 1e3 / together),
    ]
    table = markdown_table(["way", "crystals per second"], [[name, f"{value:.1f}"] for name, value in rows])
    return f"## Requests computed together (the network alone, gRPC)\n\n{table}"


def median(connect: Callable[[], Ask], seconds: float) -> float:
    """Median latency of one client that asks for so many seconds, ms."""
    return ask_for(seconds, connect, askers=1).milliseconds(50)


def latencies(loads: Sequence[tuple[Sequence[str], Load]], *, first: Sequence[str] = ("way",)) -> str:
    """Table of loads; the first columns are named by `first` and filled by the names of each load."""
    head = [*first, *(f"p{percentile}, ms" for percentile in PERCENTILES), "answers per second"]
    rows = [
        [
            *names,
            *(f"{load.milliseconds(percentile):.0f}" for percentile in PERCENTILES),
            f"{load.per_second:.1f}",
        ]
        for names, load in loads
    ]
    return markdown_table(head, rows)


if __name__ == "__main__":
    sys.exit(main())
