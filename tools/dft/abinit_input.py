"""ABINIT input files: one calculation at one or more volumes of the same cell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tools.dft.elements import find_element, symbols_in, valence_electrons
from tools.dft.prototypes import Structure
from tools.dft.units import BOHR

# Plane-wave cut-offs, hartree (435 and 544 eV); cells with one of HARD_ELEMENTS have the higher one.
SOFT_CUTOFF, HARD_CUTOFF = 16.0, 20.0
HARD_ELEMENTS = frozenset(symbols_in("H He B C N O F Ne Ar"))
# Box of the wave functions over the diameter of their sphere in reciprocal space (2 is exact).
BOX_RATIO = 1.6
DENSITY_SPACING = 0.10  # Å, at the largest volume
SMEARING = 0.10  # eV, Gaussian

GridShape = tuple[int, int, int]


@dataclass(frozen=True)
class Grids:
    """FFT grids of a calculation.

    Attributes:
        waves: points along a, b, c of the grid of the wave functions.
        density: points along a, b, c of the grid of the density.
    """

    waves: GridShape
    density: GridShape


@dataclass(frozen=True, eq=False)
class Task:
    """One run of ABINIT.

    Attributes:
        structure: the cell at volume factor 1.
        volume_factors: volumes to compute, in this order, in units of the structure's volume.
        k_points: input variables of the mesh or list of k points.
        cutoff: of the plane waves, hartree.
        moments: initial moments, µB per atom, None without spin.
        energy_tolerance: of the self-consistent cycle, hartree.
        max_steps: of the self-consistent cycle.
        smearing: Gaussian, eV.
        density_spacing: of the density's grid at the largest volume, Å, at most.
        mixing: further input variables, for cycles that did not converge.
        n_bands: None for a number that fits the structure.
        grids: None for grids that fit the cut-off.
        start: file of wave functions to start from.
        bands_of: density file; if given, its bands are computed without a self-consistent cycle.
        keep_density: whether the density of the first volume is kept.
        keep_waves: whether wave functions are kept even of a single volume.
    """

    structure: Structure
    volume_factors: tuple[float, ...]
    k_points: str
    cutoff: float
    moments: tuple[float, ...] | None = None
    energy_tolerance: float = 1e-6
    max_steps: int = 40
    smearing: float = SMEARING
    density_spacing: float = DENSITY_SPACING
    mixing: str = ""
    n_bands: int | None = None
    grids: Grids | None = None
    start: Path | None = None
    bands_of: Path | None = None
    keep_density: bool = False
    keep_waves: bool = False

    @property
    def n_spins(self) -> int:
        return 1 if self.moments is None else 2


def cutoff_for(symbols: Sequence[str]) -> float:
    """Plane-wave cut-off of a cell with these atoms, hartree."""
    return HARD_CUTOFF if HARD_ELEMENTS.intersection(symbols) else SOFT_CUTOFF


def input_text(task: Task, paw_folder: Path) -> str:
    """Text of the input file; `paw_folder` holds the PAW data sets as SET.PBE.xml."""
    structure = task.structure
    types = sorted(set(structure.symbols))
    type_numbers = " ".join(str(1 + types.index(symbol)) for symbol in structure.symbols)
    grids = choose_grids(task)
    lines = [
        f'pseudos "{", ".join(str(paw_path(paw_folder, symbol)) for symbol in types)}"',
        f"ndtset {len(task.volume_factors)}",
        *(f"acell{i} 3*{factor ** (1 / 3.0) / BOHR:.10f}" for i, factor in enumerate(task.volume_factors, start=1)),
        f"rprim {_rows(structure.lattice)}",
        f"ntypat {len(types)} znucl {' '.join(str(find_element(symbol).number) for symbol in types)}",
        f"natom {len(structure.symbols)} typat {type_numbers}",
        f"xred {_rows(structure.positions)}",
        f"mqgrid 700 mqgriddg 1000 ecut {task.cutoff:g} ecutsm 0.5 pawecutdg {_density_cutoff(task, grids):.4f} "
        "pawovlp -1",
        "ngfft {} {} {} ngfftdg {} {} {}".format(*grids.waves, *grids.density),
        f"{task.k_points} chksymbreak 0 chkprim 0",
        f"occopt 7 tsmear {task.smearing:g} eV",
        f"nband {count_bands(task)}",
        _cycle(task),
        f"optforces 0 optstress {'0' if task.bands_of else '1 usepotzero 1'} prteig 0 prtebands 0 prtden 0 "
        + ("prtden1 1" if task.keep_density else ""),
        *_wave_functions(task),
    ]
    if task.moments is not None:
        lines.append("nsppol 2 nspden 2 spinat " + " ".join(f"0 0 {moment:g}" for moment in task.moments))
    if task.mixing:
        lines.append(task.mixing)
    return "\n".join(lines) + "\n"


def paw_path(folder: Path, symbol: str) -> Path:
    """PAW data set of an element."""
    return folder / f"{find_element(symbol).paw_set}.PBE.xml"


def count_bands(task: Task) -> int:
    """Bands to compute: the occupied ones and enough empty ones for metals and moments."""
    if task.n_bands is not None:
        return task.n_bands
    symbols = task.structure.symbols
    for_moments = sum(abs(moment) for moment in task.moments) * 0.45 if task.moments is not None else 0
    return math.ceil(valence_electrons(symbols) / 2 * 1.08 + 0.6 * len(symbols) + 2.5 + for_moments)


def choose_grids(task: Task) -> Grids:
    """FFT grids for the largest of the volumes."""
    if task.grids is not None:
        return task.grids
    lattice = _largest_lattice(task)
    longest_wave = math.sqrt(2 * task.cutoff) / BOHR
    waves = _fft_grid(lattice, BOX_RATIO * longest_wave)
    density = _fft_grid(lattice, np.pi / task.density_spacing)
    return Grids(waves, (max(waves[0], density[0]), max(waves[1], density[1]), max(waves[2], density[2])))


def fft_size(least: int) -> int:
    """Smallest number of at least `least` without a prime factor above 5."""
    size = least
    while True:
        rest = size
        for prime in (2, 3, 5):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return size
        size += 1


def _fft_grid(lattice: np.ndarray, wave_number: float) -> GridShape:
    """Grid that holds plane waves up to `wave_number`, 1/Å."""
    lengths = np.linalg.norm(lattice, axis=1)
    a, b, c = (fft_size(math.ceil(wave_number * length / np.pi - 1e-6)) for length in lengths)
    return a, b, c


def _density_cutoff(task: Task, grids: Grids) -> float:
    """Cut-off of the density, hartree: as high as its grid allows, and not below that of the wave functions."""
    lengths = np.linalg.norm(_largest_lattice(task), axis=1)
    coarsest = min(np.pi * n / length for n, length in zip(grids.density, lengths, strict=True))
    return max(task.cutoff, 0.5 * (coarsest * BOHR / 2) ** 2 * 0.999)


def _largest_lattice(task: Task) -> np.ndarray:
    return task.structure.lattice * max(task.volume_factors) ** (1 / 3.0)


def _rows(values: np.ndarray) -> str:
    return "\n ".join(" ".join(f"{value:.12f}" for value in row) for row in values)


def _cycle(task: Task) -> str:
    if task.bands_of:
        return f'iscf -2 tolwfr 3e-6 nbdbuf 2 nstep 30 nline 4 getden_filepath "{task.bands_of}"'
    return f"toldfe {task.energy_tolerance:g} nstep {task.max_steps} nline 3"


def _wave_functions(task: Task) -> list[str]:
    """Input variables of the wave functions: each volume starts from those of the volume before it."""
    several = len(task.volume_factors) > 1
    lines = [f"prtwf {int(several or task.keep_waves)}"]
    if several:
        lines.append("".join(f" getwfk{i} -1" for i in range(2, len(task.volume_factors) + 1)))
    if task.start:
        lines.append(f'getwfk_filepath{"1" if several else ""} "{task.start}"')
    return lines
