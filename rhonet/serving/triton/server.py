"""Finds, starts and stops a Triton server on this machine."""

from __future__ import annotations

import contextlib
import ctypes.util
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import sysconfig
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rhonet.core.errors import ServerError

PROGRAM = "tritonserver"
PYTHON = f"{sys.version_info.major}.{sys.version_info.minor}"
READY_SECONDS = 120.0
EXIT_SECONDS = 5  # for running requests and connected clients after a stop
STOP_SECONDS = 15.0
POLL_SECONDS = 0.1
LOG_LINES = 15
NOISE = ("Cuda", "CUDA", "NVML")  # in log lines of every machine without a GPU


@dataclass(frozen=True)
class Installation:
    """Where a Triton server is installed.

    Attributes:
        program: path of tritonserver.
        backends: folder of its backends; None if the server finds them itself.
        libraries: folders with shared libraries that the server needs.
    """

    program: Path
    backends: Path | None = None
    libraries: tuple[Path, ...] = ()

    @property
    def backend(self) -> str:
        """Backend for ONNX files that this server has: the wheel of nvidia-pytriton has the Python backend only."""
        return "onnxruntime" if self.backends is None else "python"


@dataclass(frozen=True, eq=False)
class RunningServer:
    """A server that was started.

    Attributes:
        process: of tritonserver.
        http: host:port of the HTTP service.
        grpc: host:port of the gRPC service.
        metrics: host:port of the metrics service.
        log: file with the server's output.
    """

    process: subprocess.Popen[bytes]
    http: str
    grpc: str
    metrics: str
    log: Path

    def is_ready(self) -> bool:
        """Whether the server is up and all its models are loaded."""
        try:
            # Without a proxy: on clusters the environment may name one even for this machine.
            direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
            with direct.open(f"http://{self.http}/v2/health/ready", timeout=5.0) as response:
                return response.status == 200
        except (urllib.error.URLError, OSError):
            return False


def find_server() -> Installation:
    """The server in PATH, otherwise the one in the wheel of nvidia-pytriton.

    Raises:
        ServerError: there is no server, or the wheel's Python backend does not support this Python.
    """
    program = shutil.which(PROGRAM)
    if program is not None:
        return Installation(Path(program))
    spec = importlib.util.find_spec("pytriton")
    if spec is None or spec.origin is None:
        raise ServerError(
            f"no {PROGRAM} in PATH, and no nvidia-pytriton, which brings one: pip install --no-deps -r "
            "locks/triton.txt, or use NVIDIA's container (docs/compose/triton.yml)"
        )
    site = Path(spec.origin).parent.parent
    root = site / "pytriton" / "tritonserver"
    if not _stub(root / "backends").is_file():
        raise ServerError(f"{root}: its Python backend does not support Python {PYTHON}")
    return Installation(root / "bin" / PROGRAM, root / "backends", (site / "nvidia_pytriton.libs", *_libpython()))


@contextlib.contextmanager
def start_server(
    repository: Path,
    *,
    host: str = "127.0.0.1",
    ports: tuple[int, int, int] = (0, 0, 0),
    log: Path | None = None,
    options: tuple[str, ...] = (),
    ready_seconds: float = READY_SECONDS,
) -> Iterator[RunningServer]:
    """Starts a server, waits until all models of the repository are ready, and stops it at the end.

    Args:
        repository: folder of the models to serve.
        host: address on which the server listens.
        ports: of HTTP, gRPC and metrics; 0 takes a free one.
        log: file to which the server's output is appended; by default a temporary one.
        options: further options of tritonserver.
        ready_seconds: to wait for the models.

    Raises:
        ServerError: no server is installed, a port is in use, or the server ends or is not ready in time; the message
            then holds the last lines of its log.
    """
    installation = find_server()
    with tempfile.TemporaryDirectory(prefix="rhonet-triton-") as scratch:
        backends = _with_stub(installation.backends, Path(scratch)) if installation.backends else None
        log = log or Path(scratch) / "server.log"
        http, grpc, metrics = free_ports(host, ports)
        memory_prefix = Path(scratch).name
        command = [
            str(installation.program),
            f"--model-repository={repository.resolve()}",
            *(f"--{service}-address={host}" for service in ("http", "grpc", "metrics")),
            f"--http-port={http}",
            f"--grpc-port={grpc}",
            f"--metrics-port={metrics}",
            f"--exit-timeout-secs={EXIT_SECONDS}",
            f"--backend-config=python,shm-region-prefix-name={memory_prefix}",
            *([f"--backend-directory={backends}"] if backends is not None else []),
            *options,
        ]
        with log.open("ab") as output:
            process = subprocess.Popen(
                command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=_environment(installation),
                start_new_session=True,  # Ctrl-C reaches only this process, which then stops the server in order
            )
        server = RunningServer(process, f"{host}:{http}", f"{host}:{grpc}", f"{host}:{metrics}", log)
        try:
            _wait(server, ready_seconds)
            yield server
        finally:
            _stop(process)
            # A killed server leaves behind the memory that it shared with its Python backend.
            for leftover in Path("/dev/shm").glob(f"{memory_prefix}*"):
                leftover.unlink(missing_ok=True)


def _wait(server: RunningServer, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not server.is_ready():
        code = server.process.poll()
        if code is not None:
            raise ServerError(f"{PROGRAM} ended with code {code}; it said last:\n{_last_lines(server.log)}")
        if time.monotonic() > end:
            raise ServerError(f"{PROGRAM} is not ready after {seconds:g} s; it said last:\n{_last_lines(server.log)}")
        time.sleep(POLL_SECONDS)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ends the server and the processes of its Python backend, which share its process group."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_lines(log: Path) -> str:
    """The last errors in the log of a server; its last lines if it holds no error."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    errors = [line for line in lines if line.startswith("E") and not any(word in line for word in NOISE)]
    return "\n".join((errors or lines)[-LOG_LINES:])


def free_ports(host: str, ports: tuple[int, int, int]) -> tuple[int, int, int]:
    """The given ports, with a free one in place of each zero.

    All are reserved until the last one is found, so that they differ.

    Args:
        host: address on which to listen.
        ports: of HTTP, gRPC and metrics.

    Raises:
        ServerError: a port is in use; its owner might be mistaken for the new server.
    """
    with contextlib.ExitStack() as held:
        free = []
        for port in ports:
            probe = held.enter_context(socket.socket())
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except (OSError, OverflowError) as error:
                raise ServerError(f"{host}:{port}: cannot listen there: {error}; give another port") from error
            free.append(probe.getsockname()[1])
    http, grpc, metrics = free
    return http, grpc, metrics


def _libpython() -> list[Path]:
    """Folder of this Python's shared library, to which the Python backend is linked; [] if the system finds it.

    Raises:
        ServerError: this Python has no shared library.
    """
    name = f"libpython{PYTHON}.so.1.0"
    for folder in (sysconfig.get_config_var("LIBDIR"), Path(sys.base_prefix) / "lib"):
        if folder and Path(folder, name).is_file():
            return [Path(folder)]
    if ctypes.util.find_library(f"python{PYTHON}") is None:
        raise ServerError(
            f"Triton's Python backend needs {name}, which {sys.executable} comes without; install it (Debian, Ubuntu: "
            f"libpython{PYTHON}), or use a Python built with --enable-shared"
        )
    return []


def _stub(backends: Path) -> Path:
    """The wheel's program that runs the Python backend with this version of Python."""
    return backends.parent / "python_backend_stubs" / PYTHON / "triton_python_backend_stub"


def _with_stub(backends: Path, scratch: Path) -> Path:
    """A copy of the wheel's backends with the stub for this version of Python in the place where Triton expects it."""
    copy = scratch / "backends"
    shutil.copytree(backends, copy, ignore=shutil.ignore_patterns("__pycache__"))
    stub = copy / "python" / "triton_python_backend_stub"
    shutil.copy(_stub(backends), stub)
    stub.chmod(0o755)
    return copy


def _environment(installation: Installation) -> dict[str, str]:
    """Environment of the server; this Python comes first in PATH, since the Python backend takes the first python3."""
    python_folder = str(Path(sys.executable).parent)
    library_path = os.environ.get("LD_LIBRARY_PATH")
    return {
        **os.environ,
        "PATH": os.pathsep.join([python_folder, os.environ.get("PATH", "")]),
        "LD_LIBRARY_PATH": os.pathsep.join(
            [*map(str, installation.libraries), *([library_path] if library_path else [])]
        ),
    }
