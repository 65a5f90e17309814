"""Relaxation of the volume: a search with the stress from a first guess, then energies at three volumes."""

from __future__ import annotations

import dataclasses
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tools.dft.abinit_input import Task
from tools.dft.abinit_run import Calculation, Runner
from tools.dft.bands import find_bands
from tools.dft.elements import find_element, symbols_in
from tools.dft.equation_of_state import Equilibrium, fit_equilibrium
from tools.dft.errors import CalculationFailed, NotConverged, OutOfTime
from tools.dft.kmesh import k_mesh
from tools.dft.prototypes import Structure
from tools.dft.volume_search import VolumeSearch

INSULATOR_FROM = 0.6  # eV; with a larger gap on the coarse mesh, the mesh of insulators is used
VOLUMES = (1.0, 0.94, 1.06)  # of the equation of state, relative; the density is computed at the first
FAR_OFF = 0.065  # if the minimum is farther from the first volume, the three volumes are computed again around it
NEAR_ENOUGH = 0.015  # if the minimum is nearer to the first volume, density and bands are taken there
LOST_MOMENT = 0.05  # µB; if the search ends with a smaller moment, the rest is computed without spin
COLLAPSED_MOMENT = 0.3  # µB; wave functions with a smaller moment do not start a magnetic calculation
# Vanadium is computed with spin only in compounds with one of these.
VANADIUM_PARTNERS = frozenset(symbols_in("O F Cl Br I S"))


@dataclass(frozen=True)
class Guess:
    """Start of the volume search.

    Attributes:
        log_volume: ln(V / V of the first guess).
        bulk_modulus: GPa; None for a rule of thumb.
    """

    log_volume: float = 0.0
    bulk_modulus: float | None = None


@dataclass(frozen=True)
class Job:
    """Calculation of one crystal.

    Attributes:
        structure: at the volume of the first guess.
        cutoff: of the plane waves, hartree.
        run: computes tasks.
        scratch: folder for the runs of this crystal only.
        deadline: on the clock of time.monotonic(), seconds.
        steps: calculations so far.
    """

    structure: Structure
    cutoff: float
    run: Runner
    scratch: Path
    deadline: float
    steps: list[Calculation] = field(default_factory=list)

    def compute(self, name: str, task: Task) -> Calculation:
        """Computes a task in the sub-folder `name`.

        Raises:
            OutOfTime: the deadline has passed, or passes while the task runs.
        """
        left = self.deadline - time.monotonic()
        if left <= 0:
            raise OutOfTime(f"out of time before the step {name!r}")
        done = self.run(task, self.scratch / name, seconds=left)
        self.steps.append(done)
        return done


@dataclass(frozen=True, eq=False)
class Searched:
    """Result of the volume search.

    Attributes:
        factor: volume, relative to that of the first guess.
        waves: file of the last step's wave functions, None if they are not a good start.
        moments: initial moments of the next calculations, µB per atom; None without spin.
        purpose: of the k mesh, "insulator" or "metal".
    """

    factor: float
    waves: Path | None
    moments: tuple[float, ...] | None
    purpose: str


@dataclass(frozen=True, eq=False)
class Relaxed:
    """The crystal at equilibrium.

    Attributes:
        equilibrium: minimum of the energy.
        three: calculation at the three volumes of the equation of state.
        nearest: calculation whose first volume is within `NEAR_ENOUGH` of the equilibrium.
        k_points: of both calculations.
        moments: initial moments of both, µB per atom; None without spin.
    """

    equilibrium: Equilibrium
    three: Calculation
    nearest: Calculation
    k_points: str
    moments: tuple[float, ...] | None


def initial_moments(symbols: tuple[str, ...]) -> tuple[float, ...] | None:
    """Initial moments of a ferromagnetic start, µB per atom; None for cells that are computed without spin."""
    moments = tuple(find_element(symbol).initial_moment for symbol in symbols)
    if "V" in symbols and VANADIUM_PARTNERS.isdisjoint(symbols):
        moments = tuple(0.0 if symbol == "V" else moment for symbol, moment in zip(symbols, moments, strict=True))
    return moments if any(moments) else None


def relax(job: Job, guess: Guess) -> Relaxed:
    """Crystal at zero pressure, with the prototype's cell shape and positions.

    Raises:
        CalculationFailed: no volume was found, self-consistency failed, or there was no time left.
    """
    searched = _search(job, guess)
    factor = searched.factor
    for _ in range(2):
        k_points = k_mesh(job.structure.scaled(factor), searched.purpose)
        volumes = tuple(factor * ratio for ratio in VOLUMES)
        task = _fine_task(job, searched, volumes, k_points)
        three = _converge(job, "volumes", dataclasses.replace(task, start=searched.waves))
        equilibrium = fit_equilibrium(
            [point.volume for point in three.points], [point.energy for point in three.points]
        )
        ratio = equilibrium.volume / job.structure.volume / factor
        if abs(ratio - 1) <= FAR_OFF:
            break
        if not 0.75 < ratio < 1.33:
            raise CalculationFailed(f"the energies' minimum is far from that of the search ({ratio:.3f} of its volume)")
        factor *= ratio
    else:
        raise CalculationFailed(f"the energies' minimum moved twice ({ratio:.3f} of the volume)")
    nearest = three
    if abs(ratio - 1) > NEAR_ENOUGH:
        task = _fine_task(job, searched, (equilibrium.volume / job.structure.volume,), k_points)
        nearest = _converge(job, "minimum", dataclasses.replace(task, start=three.waves, grids=three.grids))
    return Relaxed(equilibrium, three, nearest, k_points, searched.moments)


def _search(job: Job, guess: Guess) -> Searched:
    """Coarse calculations at one volume after another, until the pressure is almost zero."""
    moments = initial_moments(job.structure.symbols)
    per_atom = job.structure.volume / len(job.structure.symbols)
    search = VolumeSearch(guess.log_volume, guess.bulk_modulus or float(np.clip(1900.0 / per_atom, 8, 300)))
    waves, moment, step = None, 0.0, None
    while not search.settled:
        factor = math.exp(search.log_volume)
        task = Task(
            job.structure,
            (factor,),
            k_mesh(job.structure.scaled(factor), "coarse"),
            job.cutoff,
            moments,
            energy_tolerance=2e-5,
            max_steps=70,
            smearing=0.15,
            density_spacing=0.12,
            start=waves,
            keep_waves=True,
        )
        # Two folders alternate, as each step reads the wave functions of the step before.
        step = job.compute(f"search{len(search.history) % 2}", task)
        moment = abs(step.points[0].moment)
        waves = step.waves if moments is None or moment > COLLAPSED_MOMENT else None
        search.tell(step.points[0].pressure)
    assert step is not None
    point = step.points[0]
    bands = find_bands(point.eigenvalues, point.occupations, point.k_weights, fermi_energy=point.fermi_energy)
    if moments is not None and moment < LOST_MOMENT:
        moments, waves = None, None
    elif moments is not None:
        shrink = min(1.0, max(0.4, moment / sum(moments) * 1.3))
        moments = tuple(initial * shrink for initial in moments)
    purpose = "insulator" if bands.gap > INSULATOR_FROM else "metal"
    return Searched(math.exp(search.log_volume), waves, moments, purpose)


def _fine_task(job: Job, searched: Searched, factors: tuple[float, ...], k_points: str) -> Task:
    return Task(
        job.structure,
        factors,
        k_points,
        job.cutoff,
        searched.moments,
        energy_tolerance=2e-6,
        keep_density=True,
    )


def _converge(job: Job, name: str, task: Task) -> Calculation:
    """Computes a task; if self-consistency fails, once more from scratch with slower mixing."""
    try:
        return job.compute(name, task)
    except NotConverged:
        mixing = "diemix 0.25 npulayit 12" if task.moments is None else "diemix 0.2 diemixmag 0.4 npulayit 12"
        return job.compute(
            name, dataclasses.replace(task, start=None, energy_tolerance=4e-6, max_steps=100, mixing=mixing)
        )
