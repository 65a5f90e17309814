"""Command: serve a model on this machine with Triton until Ctrl-C."""

from __future__ import annotations

import argparse
import json
import logging
import time
from pathlib import Path

from rhonet.cli.command import OK, end_like_ctrl_c, new_parser, run_command
from rhonet.core.errors import ServerError
from rhonet.core.files import explain_disk, write_text
from rhonet.serving.model_card import RELEASED, model_folder
from rhonet.serving.triton.config import BACKENDS, DENSITY_MODEL, TritonSettings
from rhonet.serving.triton.example import example_request
from rhonet.serving.triton.export import export_repository
from rhonet.serving.triton.repository import is_current
from rhonet.serving.triton.server import find_server, free_ports, start_server

log = logging.getLogger("rhonet.serve")

PLACE = Path("runs") / "serve"


def build_parser() -> argparse.ArgumentParser:
    parser = new_parser(
        "serve",
        "Serve a model with Triton until Ctrl-C: over HTTP and gRPC, with metrics. The model is exported first if\n"
        "necessary. The server is the tritonserver in PATH, or else that of the package nvidia-pytriton.",
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
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1, this machine)")
    for name, what, port in (("port", "HTTP", 8000), ("grpc-port", "gRPC", 8001), ("metrics-port", "metrics", 8002)):
        parser.add_argument(
            f"--{name}", type=int, default=port, metavar="N", help=f"port of {what}; 0: a free one (default: {port})"
        )
    parser.add_argument(
        "--backend", choices=BACKENDS, help="Triton backend (default: onnxruntime; python with nvidia-pytriton)"
    )
    return parser


def main(arguments: argparse.Namespace) -> int:
    folder = model_folder(arguments.model)
    end_like_ctrl_c()  # otherwise the server, or half a repository, would be left behind
    backend = arguments.backend or find_server().backend
    ports = (arguments.port, arguments.grpc_port, arguments.metrics_port)
    free_ports(arguments.host, ports)  # before the export, which takes long
    repository = (arguments.repository or PLACE / f"{_name(folder)}-{backend}").resolve()
    if is_current(repository, folder, backend):
        log.info("%s: holds this model already", repository)
    else:
        export_repository(folder, repository, settings=TritonSettings(backend=backend))
    request = repository.with_name(f"{repository.name}-request.json")
    with explain_disk(request, "free some space or give another --repository"):
        write_text(request, json.dumps(example_request()))
    started = time.monotonic()
    log_file = repository.with_name(f"{repository.name}-server.log")
    try:
        with start_server(repository, host=arguments.host, ports=ports, log=log_file) as server:
            log.info(
                "ready after %.1f s; the server's log is %s; Ctrl-C stops it", time.monotonic() - started, log_file
            )
            print(f"python -m rhonet.predict CHGCAR --server grpc://{server.grpc}")
            print(f"curl http://{server.metrics}/metrics")
            url = f"http://{server.http}/v2/models/{DENSITY_MODEL}/infer"
            print(f"curl {url} -H 'Content-Type: application/json' -d @{request}", flush=True)
            code = server.process.wait()
            raise ServerError(f"the server ended with code {code}; see {log_file}")
    except KeyboardInterrupt:
        log.info("stopped")
    return OK


def _name(folder: Path) -> str:
    """Name of a model: that of its folder, or of its run where the folder is RUN/model."""
    folder = folder.resolve()
    return folder.parent.name if folder.name == "model" else folder.name


if __name__ == "__main__":
    run_command(main, build_parser())
