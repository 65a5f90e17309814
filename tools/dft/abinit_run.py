"""Runs ABINIT on a task within a time limit, and kills all of its processes when it must end."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tools.dft.abinit_input import Grids, Task, choose_grids, count_bands, input_text
from tools.dft.abinit_output import Point, count_cycles, failure_reason, read_point
from tools.dft.errors import CalculationFailed, GenerateError, Interrupted, NotConverged, OutOfTime

# One thread per run: several crystals side by side use a machine better.
ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "OMPI_MCA_btl": "self",
    "OMPI_MCA_ess_singleton_isolated": "1",  # no daemon beside each run, as it would survive a kill
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}
INSTALL_HINT = "install it (Debian and Ubuntu: apt-get install abinit) or name it with --abinit"


@dataclass(frozen=True, eq=False)
class Calculation:
    """A finished run.

    Attributes:
        points: results, one per volume.
        seconds: wall time.
        cycles: self-consistent steps, one number per volume.
        grids: that were used.
        n_bands: that were used.
        waves: file of the first volume's wave functions; exists if the task kept them.
        density_file: of the first volume; exists if the task kept it.
    """

    points: tuple[Point, ...]
    seconds: float
    cycles: tuple[int, ...]
    grids: Grids
    n_bands: int
    waves: Path
    density_file: Path


class Runner(Protocol):
    """Computes tasks."""

    def __call__(self, task: Task, folder: Path, *, seconds: float) -> Calculation:
        """Result of a task.

        Args:
            task: what to compute.
            folder: for the files of this run only.
            seconds: time limit.

        Raises:
            CalculationFailed: there is no result.
            Interrupted: the command is being stopped.
        """
        ...


class Abinit:
    """The installed program; may be called from several threads.

    Args:
        program: name or path of the executable.
        paw_folder: holds the PAW data sets.

    Raises:
        GenerateError: there is no such program.
    """

    def __init__(self, program: str, paw_folder: Path) -> None:
        executable = shutil.which(program)
        if executable is None:
            raise GenerateError(f"there is no program {program!r}; {INSTALL_HINT}")
        # Each run has its own working folder, so relative paths must become absolute.
        self._program = str(Path(executable).absolute())
        self._paw_folder = paw_folder.absolute()
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._stopped = False

    def version(self) -> str:
        """Version as the program prints it, e.g. 9.6.2.

        Raises:
            GenerateError: it does not start.
        """
        try:
            done = subprocess.run(
                [self._program, "--version"],
                capture_output=True,
                text=True,
                timeout=60,
                env={**os.environ, **ENVIRONMENT},
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GenerateError(f"{self._program} does not start: {error}; {INSTALL_HINT}") from error
        if done.returncode or not done.stdout.strip():
            raise GenerateError(f"{self._program} --version ended with code {done.returncode}; {INSTALL_HINT}")
        return done.stdout.split()[-1]

    def __call__(self, task: Task, folder: Path, *, seconds: float) -> Calculation:
        """Result of a task.

        Args:
            task: what to compute.
            folder: for the files of this run only; it is emptied first.
            seconds: time limit.

        Raises:
            CalculationFailed: there is no result.
            Interrupted: the command is being stopped.
        """
        if folder.exists():
            shutil.rmtree(folder)
        folder.mkdir(parents=True)
        (folder / "r.abi").write_text(input_text(task, self._paw_folder), encoding="utf-8")
        started = time.monotonic()
        self._run(folder, seconds)
        elapsed = time.monotonic() - started
        log = (folder / "r.log").read_text(encoding="utf-8", errors="replace")
        points = []
        for number in range(1, 1 + len(task.volume_factors)):
            path = folder / f"ro_DS{number}_GSR.nc"
            if not path.exists():
                raise CalculationFailed(f"abinit: {failure_reason(log)}")
            points.append(read_point(path))
        cycles = count_cycles(log)
        if not task.bands_of and len(cycles) < len(points):
            raise NotConverged(f"self-consistency was reached at {len(cycles)} of {len(points)} volumes")
        return Calculation(
            points=tuple(points),
            seconds=elapsed,
            cycles=tuple(cycles),
            grids=choose_grids(task),
            n_bands=count_bands(task),
            waves=folder / "ro_DS1_WFK",
            density_file=folder / "ro_DS1_DEN",
        )

    def stop(self) -> None:
        """Kills all running calculations; every later call raises `Interrupted`."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                _kill_group(process)

    def _run(self, folder: Path, seconds: float) -> None:
        with (folder / "r.log").open("wb") as log, self._lock:
            if self._stopped:
                raise Interrupted
            process = subprocess.Popen(
                [self._program, "r.abi"],
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, **ENVIRONMENT},
                start_new_session=True,
            )
            self._running.add(process)
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise OutOfTime(f"out of time: abinit was killed after {seconds:.0f} s") from None
        finally:
            _kill_group(process)
            process.wait()
            with self._lock:
                self._running.discard(process)
        if self._stopped:
            raise Interrupted


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kills the process and its children, unless it has ended: then its number may belong to another process."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
