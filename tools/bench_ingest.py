#!/usr/bin/env python3
"""How fast density files become records: rhonet beside pymatgen + pyrho and beside ASE + scipy, in one run.

    python tools/bench_ingest.py --grid 96 --repeats 5

Makes files of a smooth, periodic density in a temporary folder and takes each from text to a float16 record:
parse, verify (finite values, plausible electrons), resample to the storage grid, round. Times are CPU seconds of all
threads, the best of the repeats, so that neighbours on the machine matter little. Prints a table in markdown.
"""

from __future__ import annotations

import argparse
import gzip
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ase.calculators.vasp import VaspChargeDensity
from ase.io.cube import read_cube
from ase.units import Bohr
from pymatgen.io.common import VolumetricData
from pymatgen.io.vasp.outputs import Chgcar
from pyrho.utils import interpolate_fourier
from scipy.signal import resample

from rhonet.density import ChargeDensity
from rhonet.formats import read_density
from rhonet.records import to_float16
from rhonet.regrid import storage_grid, storage_shape

EDGE = 8.0
SPACING = 0.25
SHAPE = storage_shape(np.eye(3) * EDGE, SPACING)


@dataclass(frozen=True)
class Stack:
    """One way from a file to fields on the storage grid.

    Args:
        name: as the table shows it.
        read: a file's density and, with spin, magnetization, verified; e/Å³ and µB/Å³.
        resample: both on the storage grid.
    """

    name: str
    read: Callable[[Path], Any]
    resample: Callable[[Any], list[np.ndarray]]


def verified(*fields: np.ndarray) -> list[np.ndarray]:
    """The least that must be checked after libraries that do not."""
    electrons = fields[0].mean() * EDGE**3
    if not all(np.isfinite(field).all() for field in fields) or not electrons > 0:
        raise ValueError(f"no density: {electrons} electrons")
    return list(fields)


def resample_with_rhonet(density: ChargeDensity) -> list[np.ndarray]:
    stored = storage_grid(density, SPACING)
    return [stored.values] if stored.magnetization is None else [stored.values, stored.magnetization]


def read_with_pymatgen(path: Path) -> list[np.ndarray]:
    if path.suffix == ".cube":
        return verified(VolumetricData.from_cube(path).data["total"] / Bohr**3)
    data = Chgcar.from_file(str(path)).data
    return verified(*(data[key] / EDGE**3 for key in ("total", "diff") if key in data))


def resample_with_pyrho(fields: list[np.ndarray]) -> list[np.ndarray]:
    return [interpolate_fourier(field, list(SHAPE)) for field in fields]


def read_with_ase(path: Path) -> list[np.ndarray]:
    if path.suffix == ".cube":
        with path.open() as file:
            return verified(np.asarray(read_cube(file)["data"]) / Bohr**3)
    if path.suffix == ".gz":
        packed, path = path, path.with_suffix(".unpacked")
        path.write_bytes(gzip.decompress(packed.read_bytes()))
    densities = VaspChargeDensity(str(path))
    return verified(*densities.chg, *densities.chgdiff)


def resample_with_scipy(fields: list[np.ndarray]) -> list[np.ndarray]:
    for axis, size in enumerate(SHAPE):
        fields = [np.asarray(resample(field, size, axis=axis)) for field in fields]
    return fields


STACKS = (
    Stack("rhonet", read_density, resample_with_rhonet),
    Stack("pymatgen + pyrho", read_with_pymatgen, resample_with_pyrho),
    Stack("ASE + scipy", read_with_ase, resample_with_scipy),
)


def smooth_density(points: int) -> np.ndarray:
    """Some Gaussians on a periodic grid, (points, points, points) e/Å³, 16 electrons."""
    axis = np.arange(points) / points
    values = np.full((points,) * 3, 1e-3)
    for center in np.random.default_rng(0).random((4, 3)):
        x, y, z = (np.exp((np.cos(2 * np.pi * (axis - c)) - 1) * 6) for c in center)
        values += x[:, None, None] * y[None, :, None] * z[None, None, :]
    return values * 16 / (values.mean() * EDGE**3)


def block(values: np.ndarray, *, columns: int, number: str) -> str:
    """Numbers in rows of so many columns."""
    whole = values.size // columns * columns
    text = ((number * columns + "\n") * (whole // columns)) % tuple(values[:whole])
    return text + "".join(number % value for value in values[whole:]) + "\n" * (whole < values.size)


def write_files(folder: Path, points: int) -> list[Path]:
    """A CHGCAR, the same gzipped, one with spin, and a cube file."""
    values = smooth_density(points)
    header = f"bench\n1.0\n{EDGE} 0 0\n0 {EDGE} 0\n0 0 {EDGE}\nSi\n4\nDirect\n" + "0.1 0.2 0.3\n" * 4 + "\n"
    grid = f" {points} {points} {points}\n"
    field = grid + block((values * EDGE**3).ravel(order="F"), columns=5, number=" %.11E")
    voxel = EDGE / points / Bohr
    cube = f"bench\ndensity\n1 0 0 0\n{points} {voxel} 0 0\n{points} 0 {voxel} 0\n{points} 0 0 {voxel}\n14 4 1 2 3\n"
    rows = (block(row, columns=6, number=" %12.5E") for row in values.reshape(-1, points) * Bohr**3)
    contents = {"CHGCAR": header + field, "CHGCAR.spin": header + field + field, "density.cube": cube + "".join(rows)}
    for name, text in contents.items():
        (folder / name).write_text(text)
    (folder / "CHGCAR.gz").write_bytes(gzip.compress(contents["CHGCAR"].encode(), compresslevel=6))
    return [folder / name for name in ("CHGCAR", "CHGCAR.gz", "CHGCAR.spin", "density.cube")]


def measure(stack: Stack, path: Path, repeats: int) -> tuple[float, float, np.ndarray]:
    """CPU seconds until the fields are read and verified, and from there to the record; the resampled density."""
    reading, rest, resampled = [], [], []
    for _ in range(repeats):
        start = time.process_time()
        fields = stack.read(path)
        middle = time.process_time()
        resampled = stack.resample(fields)
        for field in resampled:
            to_float16(field)
        reading.append(middle - start)
        rest.append(time.process_time() - middle)
    return min(reading), min(rest), resampled[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--grid", type=int, default=96, help="points along each axis of the files (default: %(default)s)"
    )
    parser.add_argument("--repeats", type=int, default=5, help="times each file is read (default: %(default)s)")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{options.grid}³ points to {SHAPE[0]}x{SHAPE[1]}x{SHAPE[2]}, {options.repeats} repeats, per core\n")
    print("| file | MB of text | stack | parse, verify: s | resample, record: s | files/s | MB/s | time | differs by |")
    print("|---|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for path in write_files(Path(folder), options.grid):
            plain = path.with_suffix("") if path.suffix == ".gz" else path
            megabytes = plain.stat().st_size / 1e6
            ours, expected = 0.0, np.empty(0)
            for stack in STACKS:
                reading, rest, resampled = measure(stack, path, options.repeats)
                total = reading + rest
                if stack is STACKS[0]:
                    ours, expected = total, resampled
                difference = np.abs(resampled - expected).max() / expected.max()
                print(
                    f"| {path.name} | {megabytes:.1f} | {stack.name} | {reading:.3f} | {rest:.3f} | {1 / total:.2f} "
                    f"| {megabytes / total:.0f} | {total / ours:.1f}x | {difference:.0e} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
