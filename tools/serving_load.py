"""Made-up densities and parallel clients for `bench_serving.py` and `soak_serving.py`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import ase
import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.core.regrid import wave_numbers, wave_vectors

WARM_UP = 2
# Volume of an atom, Å³, its electrons, and the width of its density, Å, as in an ordinary crystal.
ATOM_VOLUME, ATOM_ELECTRONS, ATOM_WIDTH = 16.0, 6.0, 0.45


@dataclass(frozen=True, eq=False)
class Load:
    """Measured load of a server or model.

    Attributes:
        seconds: from request to answer, (n,).
        wall: duration of the measurement, seconds.
    """

    seconds: np.ndarray
    wall: float

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.wall

    def milliseconds(self, percentile: float) -> float:
        """Latency at that percentile, ms."""
        return float(np.percentile(self.seconds, percentile)) * 1e3


def crystal(points: int, edge: float, *, spin: bool = False, seed: int = 0) -> ChargeDensity:
    """Density of Gaussian atoms at random positions in a slightly skewed cell.

    Args:
        points: grid points along each axis.
        edge: of the cell, Å.
        spin: whether it has a magnetization.
        seed: of positions and charges.
    """
    rng = np.random.default_rng(seed)
    lattice = edge * np.array([[1.0, 0.0, 0.0], [0.1, 1.0, 0.0], [0.0, -0.1, 1.0]])
    n_atoms = max(1, round(float(np.linalg.det(lattice)) / ATOM_VOLUME))
    # Structure factor times form factor: exact for any cell, and periodic.
    numbers = wave_numbers((points,) * 3)
    form = np.exp(-0.5 * ATOM_WIDTH**2 * (wave_vectors(numbers, lattice) ** 2).sum(axis=-1))
    waves = np.zeros((points,) * 3, complex)
    places = rng.random((n_atoms, 3))
    for place, charge in zip(places, rng.uniform(0.5, 1.5, n_atoms), strict=True):
        x, y, z = (np.exp(-2j * np.pi * turns * fraction) for turns, fraction in zip(numbers, place, strict=True))
        waves += charge * x[:, None, None] * y[:, None] * z
    values = np.fft.ifftn(waves * form).real * points**3 * ATOM_ELECTRONS / np.linalg.det(lattice)
    atoms = ase.Atoms(f"C{n_atoms}", scaled_positions=places, cell=lattice, pbc=True)
    return ChargeDensity(values, lattice, magnetization=0.1 * values if spin else None, atoms=atoms)


def ask_for(seconds: float, connect: Callable[[], Callable[[], object]], *, askers: int) -> Load:
    """Load of parallel clients; each has its own connection and sends one request at a time.

    Args:
        seconds: how long.
        connect: opens a connection; gives a function that sends one request.
        askers: number of clients.

    Raises:
        BaseException: the first error of a client; it ends the others.
    """
    started: list[float] = []
    ready = threading.Barrier(askers, action=lambda: started.append(time.perf_counter()))
    times_of_askers: list[list[float]] = [[] for _ in range(askers)]
    failures: list[BaseException] = []

    def work(times: list[float]) -> None:
        try:
            ask = connect()
            for _ in range(WARM_UP):
                ask()
            ready.wait()
            while (before := time.perf_counter()) < started[0] + seconds:
                ask()
                times.append(time.perf_counter() - before)
        except threading.BrokenBarrierError:
            pass  # another client failed
        except BaseException as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=work, args=(times,)) for times in times_of_askers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return Load(np.concatenate(times_of_askers), time.perf_counter() - started[0])
