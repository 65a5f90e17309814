"""What `bench_serving.py` and `soak_serving.py` share: densities to ask about, and askers side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import ase
import numpy as np

from rhonet.core.density import ChargeDensity

WARM_UP = 2
# Atoms per Å³, electrons of each, and the width of its cloud, Å: those of an ordinary crystal.
ATOM_VOLUME, ATOM_ELECTRONS, ATOM_WIDTH = 16.0, 6.0, 0.45


@dataclass(frozen=True, eq=False)
class Load:
    """What came of asking for a while.

    seconds: (n,) from question to answer. wall: seconds in all.
    """

    seconds: np.ndarray
    wall: float

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.wall

    def milliseconds(self, percentile: float) -> float:
        """Time within which so many percent of the answers came."""
        return float(np.percentile(self.seconds, percentile)) * 1e3


def crystal(points: int, edge: float, *, spin: bool = False, seed: int = 0) -> ChargeDensity:
    """Gaussian atoms, strewn at random in a slightly skewed cell, on points³ grid points.

    Args:
        edge: of the cell, Å.
        spin: with a magnetization.
        seed: of positions and charges.
    """
    rng = np.random.default_rng(seed)
    lattice = edge * np.array([[1.0, 0.0, 0.0], [0.1, 1.0, 0.0], [0.0, -0.1, 1.0]])
    n_atoms = max(1, round(float(np.linalg.det(lattice)) / ATOM_VOLUME))
    # Of the structure factor and the atom's form: exact for any cell, and periodic.
    millers = np.stack(np.meshgrid(*[np.fft.fftfreq(points, 1 / points)] * 3, indexing="ij"), axis=-1)
    g = 2 * np.pi * millers @ np.linalg.inv(lattice).T
    form = np.exp(-0.5 * ATOM_WIDTH**2 * (g**2).sum(axis=-1))
    waves = np.zeros((points,) * 3, complex)
    places = rng.random((n_atoms, 3))
    for place, charge in zip(places, rng.uniform(0.5, 1.5, n_atoms), strict=True):
        x, y, z = (np.exp(-2j * np.pi * np.fft.fftfreq(points, 1 / points) * at) for at in place)
        waves += charge * x[:, None, None] * y[:, None] * z
    values = np.fft.ifftn(waves * form).real * points**3 * ATOM_ELECTRONS / np.linalg.det(lattice)
    atoms = ase.Atoms(f"C{n_atoms}", scaled_positions=places, cell=lattice, pbc=True)
    return ChargeDensity(values, lattice, magnetization=0.1 * values if spin else None, atoms=atoms)


def ask_for(seconds: float, connect: Callable[[], Callable[[], object]], *, askers: int) -> Load:
    """Askers side by side, each with a connection of its own and one question at a time.

    Args:
        connect: makes a connection; what it gives asks once.
    """
    started: list[float] = []
    ready = threading.Barrier(askers, action=lambda: started.append(time.perf_counter()))
    found: list[list[float]] = [[] for _ in range(askers)]
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
            pass  # another one failed
        except BaseException as error:
            failures.append(error)
            ready.abort()

    threads = [threading.Thread(target=work, args=(times,)) for times in found]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    return Load(np.concatenate(found), time.perf_counter() - started[0])
