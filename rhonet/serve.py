"""Command: serve a model on this machine with Triton until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

import numpy as np

from rhonet.cli.command import OK, end_like_ctrl_c, new_parser, run_command
from rhonet.core.errors import ServerError
from rhonet.core.files import explain_disk, write_text
from rhonet.serving.model_card import RELEASED, model_folder
from rhonet.serving.triton.config import (
    BACKENDS,
    CONFIG,
    DENSITY_MODEL,
    FINGERPRINT,
    NETWORK_MODEL,
    TritonSettings,
    read_config,
)
from rhonet.serving.triton.export import export_repository
from rhonet.serving.triton.repository import has_todays_backend, model_fingerprint
from rhonet.serving.triton.server import find_server, free_ports, start_server

log = logging.getLogger("rhonet.serve")

PLACE = Path("runs") / "serve"
# Points per axis, cubic cell in Å, electrons and width in Å of the blob of charge that the example asks about.
EXAMPLE_GRID, EXAMPLE_EDGE, EXAMPLE_ELECTRONS, EXAMPLE_WIDTH = 8, 4.0, 8.0, 0.8


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "serve",
        "Serve a model with Triton until Ctrl-C: over HTTP and gRPC, with metrics. The model is exported first where\n"
        "that has not been done. The server is the tritonserver in PATH, else that of the package nvidia-pytriton.",
        "python -m rhonet.serve saved_models/base --port 8000",
    )
    parser.add_argument(
        "model",
        nargs="?",
        type=Path,
        metavar="MODEL",
        help=f"model or run folder (default: saved_models/{RELEASED})",
    )
    parser.add_argument(
        "--repository", type=Path, metavar="DIR", help=f"model repository (default: in {PLACE}, by name and backend)"
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at (default: 127.0.0.1, this machine)")
    for name, what, port in (("port", "HTTP", 8000), ("grpc-port", "gRPC", 8001), ("metrics-port", "metrics", 8002)):
        parser.add_argument(
            f"--{name}", type=int, default=port, metavar="N", help=f"port of {what}; 0: a free one (default: {port})"
        )
    parser.add_argument(
        "--backend", choices=BACKENDS, help="what computes (default: onnxruntime; python with nvidia-pytriton)"
    )
    return parser


def main(arguments: argparse.Namespace) -> int:
    folder = model_folder(arguments.model)
    end_like_ctrl_c()  # else the server, or half a repository, would be left behind
    backend = arguments.backend or find_server().backend
    ports = (arguments.port, arguments.grpc_port, arguments.metrics_port)
    free_ports(arguments.host, ports)  # else one would wait for the export first
    repository = (arguments.repository or PLACE / f"{_name(folder)}-{backend}").resolve()
    if is_current(repository, folder, backend):
        log.info("%s: holds this model already", repository)
    else:
        export_repository(folder, repository, settings=TritonSettings(backend=backend))
    request = repository.with_name(f"{repository.name}-request.json")
    with explain_disk(request, "free some space or give another --repository"):
        write_text(request, json.dumps(example_request()))
    started = time.monotonic()
    said = repository.with_name(f"{repository.name}-server.log")
    try:
        with start_server(repository, host=arguments.host, ports=ports, log=said) as server:
            log.info("ready after %.1f s; the server's log is %s; Ctrl-C stops it", time.monotonic() - started, said)
            print(f"python -m rhonet.predict CHGCAR --server grpc://{server.grpc}")
            print(f"curl http://{server.metrics}/metrics")
            url = f"http://{server.http}/v2/models/{DENSITY_MODEL}/infer"
            print(f"curl {url} -H 'Content-Type: application/json' -d @{request}", flush=True)
            code = server.process.wait()
            raise ServerError(f"the server ended with code {code}; see {said}")
    except KeyboardInterrupt:
        log.info("stopped")
    return OK


def is_current(repository: Path, folder: Path, backend: str) -> bool:
    """Whether a repository serves the model of a folder as it is now, through that backend."""
    # The last one is put in its place last: a repository that is half written lacks it, or has an older one.
    configs = [repository / name / CONFIG for name in (NETWORK_MODEL, DENSITY_MODEL)]
    if not all(config.is_file() for config in configs):
        return False
    network, density = map(read_config, configs)
    fingerprint = model_fingerprint(folder)
    same = all(one.parameters[FINGERPRINT].string_value == fingerprint for one in (network, density))
    return same and network.backend == backend and (backend != "python" or has_todays_backend(repository))


def example_request() -> dict[str, object]:
    """Body of a request over HTTP: a blob of charge in a cubic cell, without spin."""
    axis = (np.arange(EXAMPLE_GRID) / EXAMPLE_GRID - 0.5) * EXAMPLE_EDGE
    squares = sum(np.meshgrid(axis**2, axis**2, axis**2, indexing="ij"))
    blob = np.exp(-squares / (2 * EXAMPLE_WIDTH**2))
    density = blob * EXAMPLE_ELECTRONS / (blob.mean() * EXAMPLE_EDGE**3)
    inputs = {
        "density": np.round(density, 4),
        "magnetization": np.zeros((0, 0, 0)),
        "lattice": np.diag([EXAMPLE_EDGE] * 3),
    }
    return {
        "inputs": [
            {"name": name, "shape": list(array.shape), "datatype": "FP32", "data": array.ravel().tolist()}
            for name, array in inputs.items()
        ]
    }


def _name(folder: Path) -> str:
    """What a model is called: its folder, or the run that it came from."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" else folder.name


if __name__ == "__main__":
    run_command(main, build_parser())
