"""A small synthetic data set in a user's folder, and ways to run commands on it."""

from __future__ import annotations

import gzip
import os
import re
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.data import atomic_numbers

from rhonet.core.config import Config, load_config
from rhonet.core.density import ChargeDensity
from rhonet.training.runs import Run
from tests.synthetic import chgcar_text, cube_text, density_of

REPOSITORY = Path(__file__).parent.parent
ELEMENTS = ("Li", "Na", "K", "Mg", "Al", "Si", "Fe", "Co", "Ni", "Cl", "O", "S")
N_CRYSTALS = 24

# Small enough to train in seconds: 24 crystals, cubes of 8³ points, 14 steps an epoch.
SETTINGS = (
    "data.fractions=0.6,0.2,0.2",
    "data.split_seed=13",
    "view.size=8",
    "view.edge=4.0",
    "view.views=2",
    "train.batch_size=4",
    "train.views_per_epoch=4",
    "train.epochs=3",
    "train.image_every=2",
)

DATASET_TOML = """
name = "toy"
functional = "none: made by tests/crystals.py"

[properties.hardness]
unit = "GPa"
kind = "regression"
transform = "log"

[properties.phase]
kind = "multiclass"
classes = 3
"""


def smooth_density(seed: int, shape: tuple[int, int, int] = (12, 10, 15), *, spin: bool = False) -> ChargeDensity:
    """Positive density of a few plane waves in a random cell of 3 to 4.5 Å, right- or left-handed."""
    rng = np.random.default_rng(seed)
    lattice = np.diag(rng.uniform(3.0, 4.5, 3)) + rng.uniform(-0.5, 0.5, (3, 3))
    if rng.random() < 0.5:
        lattice = lattice[[1, 0, 2]]
    fields = []
    for _ in range(2):
        waves = np.zeros(shape, complex)
        waves[:3, :3, :3] = rng.normal(size=(3, 3, 3)) + 1j * rng.normal(size=(3, 3, 3))
        field = np.fft.ifftn(waves).real
        fields.append(field / np.abs(field).max())
    values = 1.2 + fields[0]
    chosen = rng.choice(ELEMENTS, 2, replace=False)
    symbols = "".join(chosen)
    # As many electrons as a pseudopotential may leave: from one per atom on, fewer than there are protons.
    protons = sum(atomic_numbers[symbol] for symbol in chosen)
    n_electrons = float(rng.integers(4, max(5, protons * 3 // 4)))
    density = density_of(values, lattice=lattice, symbols=symbols, n_electrons=n_electrons)
    if not spin:
        return density
    magnetization = 0.3 * density.values * (0.4 + fields[1])
    return density_of(density.values, lattice=lattice, symbols=symbols, magnetization=magnetization)


def write_crystals(folder: Path) -> None:
    """A user's folder: cube and CHGCAR files, some packed, and a table with holes and columns of its own."""
    folder.mkdir()
    rows = ["id,file,band_gap,magnetic_moment,is_metal,hardness,phase,comment"]
    for seed in range(N_CRYSTALS):
        spin = seed % 2 == 1
        # Every third grid is finer than the storage grid.
        density = smooth_density(seed, (24, 20, 27) if seed % 3 == 0 else (12, 10, 15), spin=spin)
        file = f"CHGCAR_{seed}.gz" if spin else f"{seed}.cube"
        if spin:
            (folder / file).write_bytes(gzip.compress(chgcar_text(density).encode(), mtime=0))
        else:
            (folder / file).write_text(cube_text(density))
        mean = density.n_electrons / density.volume
        gap = "" if seed % 5 == 1 else f"{3 * mean:.4f}"
        moment = f"{density.total_moment or 0:.4f}" if seed % 7 else ""
        # Hardly ever known, so that whole batches go without it.
        hardness = f"{10 * mean:.4f}" if seed % 3 == 1 else ""
        phase = "" if seed % 6 == 5 else str(seed % 3)
        rows.append(f"c{seed:02d},{file},{gap},{moment},{int(mean > 0.4)},{hardness},{phase},made up")
    (folder / "properties.csv").write_text("\n".join(rows) + "\n")
    (folder / "dataset.toml").write_text(DATASET_TOML)


def run_module(name: str, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Result of `python -m rhonet.NAME ARGUMENTS`."""
    command = [sys.executable, "-m", f"rhonet.{name}", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY, **options)


def run_code(code: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Result of Python code in an interpreter of its own, in the checkout."""
    path = os.pathsep.join(filter(None, [str(REPOSITORY), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=REPOSITORY, env={**os.environ, "PYTHONPATH": path}
    )


def train_and_kill(arguments: Sequence[str]) -> str:
    """Starts `python -m rhonet.train` and kills it with -9 as soon as it says that its first epoch is done; its log."""
    command = [sys.executable, "-m", "rhonet.train", *arguments]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stderr is not None
        log = ""
        for line in process.stderr:
            log += line
            if "epoch   1/" in line:
                process.kill()
        assert process.wait() == -signal.SIGKILL, log
    return log


def weights_in(log: str) -> str:
    """Hash of the final weights, as the log of a training gives it."""
    found = re.search(r"weights ([0-9a-f]{16})", log)
    assert found, log
    return found[1]


@dataclass(frozen=True)
class Crystals:
    """The small data set: the user's folder, where it is built, and its configuration."""

    folder: Path
    data_dir: Path

    @property
    def overrides(self) -> list[str]:
        return [*SETTINGS, f"data.data_dir={self.data_dir}"]

    def arguments(self, *more: str) -> list[str]:
        """Options of `python -m rhonet.train`; `more` are further settings."""
        settings = [*self.overrides, *more]
        return ["--config", "tiny", "--data", str(self.folder), *(part for one in settings for part in ("--set", one))]

    def config(self, *more: str) -> Config:
        return load_config("tiny", [*self.overrides, f"data.folder={self.folder}", *more])


@dataclass(frozen=True)
class Answer:
    """What a command left behind."""

    code: int
    stdout: str
    stderr: str

    def says(self, code: int, text: str) -> bool:
        """Whether it ended with that code, one line that starts with its name and holds `text`, and no traceback."""
        lines = [line for line in self.stderr.splitlines() if line.startswith("python -m rhonet.")]
        return self.code == code and len(lines) == 1 and text in lines[0] and "Traceback" not in self.stderr


@dataclass(frozen=True)
class FinishedRun:
    """A training that came to its end, and what it said."""

    run: Run
    stdout: str
    stderr: str
