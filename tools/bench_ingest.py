#!/usr/bin/env python3
"""How fast density files become records: rhonet beside pymatgen + pyrho and beside ASE + scipy, in one run.

    python tools/bench_ingest.py --grid 96 --repeats 5

Writes files of a smooth, periodic density to a temporary folder and converts each to a float16 record: parse, verify
(finite values, plausible electrons), resample to the storage grid, round. Times are CPU seconds of all threads, the
best of the repeats, so that other programs on the machine matter little. Prints a table in Markdown.
"""

from __future__ import annotations

import argparse
import gzip
import json
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
from ase.io.xsf import read_xsf
from ase.units import Bohr
from pymatgen.io.common import VolumetricData
from pymatgen.io.vasp.outputs import Chgcar
from pymatgen.io.xcrysden import XSF
from pyrho.utils import interpolate_fourier
from scipy.signal import resample

from rhonet.core.density import ChargeDensity
from rhonet.core.regrid import storage_grid, storage_shape
from rhonet.core.text import markdown_table
from rhonet.data.records import to_float16
from rhonet.formats import read_density

EDGE = 8.0
SPACING = 0.25
SHAPE = storage_shape(np.eye(3) * EDGE, SPACING)
HEAD = (
    "file",
    "MB of text",
    "stack",
    "parse, verify: s",
    "MB/s",
    "times rhonet",
    "resample, record: s",
    "in all: MB/s",
    "times rhonet",
    "differs by",
)


@dataclass(frozen=True)
class Stack:
    """One way from a file to fields on the storage grid.

    Attributes:
        name: in the table.
        read: gives a file's density, e/Å³, and with spin its magnetization, µB/Å³, both verified.
        resample: resamples both to the storage grid.
        suffixes: of the files that it reads.
    """

    name: str
    read: Callable[[Path], Any]
    resample: Callable[[Any], list[np.ndarray]]
    suffixes: tuple[str, ...]


def verified(*fields: np.ndarray) -> list[np.ndarray]:
    """The fields, with the checks that the other libraries leave out.

    Raises:
        ValueError: a value is not finite, or there are no electrons.
    """
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
    if path.suffix == ".xsf":
        # The last plane along each axis repeats the first.
        file: Any = XSF.from_file(path)
        (grid,) = file.grids.values()
        return verified(np.asarray(grid.data)[0, :-1, :-1, :-1] / Bohr**3)
    if path.suffix == ".json":
        loaded: Any = Chgcar.from_dict(json.loads(path.read_text()))
        data = loaded.data
        return verified(*(np.asarray(data[key]) / EDGE**3 for key in ("total", "diff") if key in data))
    data = Chgcar.from_file(str(path)).data
    return verified(*(data[key] / EDGE**3 for key in ("total", "diff") if key in data))


def resample_with_pyrho(fields: list[np.ndarray]) -> list[np.ndarray]:
    return [interpolate_fourier(field, list(SHAPE)) for field in fields]


def read_with_ase(path: Path) -> list[np.ndarray]:
    if path.suffix == ".cube":
        with path.open() as file:
            return verified(np.asarray(read_cube(file)["data"]) / Bohr**3)
    if path.suffix == ".xsf":
        with path.open() as file:
            values, *_ = read_xsf(file, read_data=True)
        return verified(np.asarray(values)[:-1, :-1, :-1] / Bohr**3)
    if path.suffix == ".gz":
        packed, path = path, path.with_suffix(".unpacked")
        path.write_bytes(gzip.decompress(packed.read_bytes()))
    densities = VaspChargeDensity(str(path))
    return verified(*densities.chg, *densities.chgdiff)


def resample_with_scipy(fields: list[np.ndarray]) -> list[np.ndarray]:
    for axis, size in enumerate(SHAPE):
        fields = [np.asarray(resample(field, size, axis=axis)) for field in fields]
    return fields


VASP = ("", ".gz", ".spin")
STACKS = (
    Stack("rhonet", read_density, resample_with_rhonet, (*VASP, ".cube", ".xsf", ".json", ".den_fmt")),
    Stack("pymatgen + pyrho", read_with_pymatgen, resample_with_pyrho, (*VASP, ".cube", ".xsf", ".json")),
    Stack("ASE + scipy", read_with_ase, resample_with_scipy, (*VASP, ".cube", ".xsf")),
)


def smooth_density(points: int) -> np.ndarray:
    """Density of a few Gaussians on a periodic grid, (points, points, points), e/Å³; 16 electrons."""
    axis = np.arange(points) / points
    values = np.full((points,) * 3, 1e-3)
    for center in np.random.default_rng(0).random((4, 3)):
        x, y, z = (np.exp((np.cos(2 * np.pi * (axis - c)) - 1) * 6) for c in center)
        values += x[:, None, None] * y[None, :, None] * z[None, None, :]
    return values * 16 / (values.mean() * EDGE**3)


def block(values: np.ndarray, *, columns: int, number: str) -> str:
    """Text of the numbers in rows.

    Args:
        values: any shape; written in C order.
        columns: numbers per row.
        number: format of a number, such as " %12.5E".
    """
    whole = values.size // columns * columns
    text = ((number * columns + "\n") * (whole // columns)) % tuple(values[:whole])
    return text + "".join(number % value for value in values[whole:]) + "\n" * (whole < values.size)


def write_files(folder: Path, points: int) -> list[Path]:
    """A CHGCAR, the same gzipped, one with spin, and the density as cube, XSF, Chgcar JSON and den_fmt."""
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
    (folder / "density.json").write_text(Chgcar.from_file(str(folder / "CHGCAR")).to_json())
    wrapped = np.pad(values, (0, 1), mode="wrap").ravel(order="F") * Bohr**3
    cell = f"{EDGE} 0 0\n0 {EDGE} 0\n0 0 {EDGE}\n"
    head = f"# e/bohr^3\nCRYSTAL\nPRIMVEC\n{cell}PRIMCOORD\n4 1\n" + "14 0.8 1.6 2.4\n" * 4
    head += f"BEGIN_BLOCK_DATAGRID_3D\nbench\nBEGIN_DATAGRID_3D_density\n{' '.join([str(points + 1)] * 3)}\n0 0 0\n"
    tail = "END_DATAGRID_3D\nEND_BLOCK_DATAGRID_3D\n"
    (folder / "density.xsf").write_text(head + cell + block(wrapped, columns=6, number=" %.8E") + tail)
    rows_abc = "".join(f"     {axis} = {EDGE}  angle = 90.0\n" for axis in "abc").splitlines()
    head = " BEGIN header\n\n           Real Lattice(A)               Lattice parameters(A)    Cell Angles\n"
    head += "".join(f"{line}{row}\n" for line, row in zip(cell.splitlines(), rows_abc, strict=True))
    head += f"\n   1     ! nspins\n   {points}   {points}   {points}   ! fine FFT grid along <a,b,c>\n"
    head += ' END header: data is "<a b c> charge" in units of electrons/grid_point * number \n of grid_points\n\n'
    index = np.indices(values.shape).reshape(3, -1, order="F").T + 1
    table = np.column_stack([index, values.ravel(order="F") * EDGE**3])
    (folder / "density.den_fmt").write_text(head + "%6d%6d%6d%20.9f\n" * len(table) % tuple(table.ravel()))
    names = ("CHGCAR", "CHGCAR.gz", "CHGCAR.spin", "density.cube", "density.xsf", "density.json", "density.den_fmt")
    return [folder / name for name in names]


def measure(stack: Stack, path: Path, repeats: int) -> tuple[float, float, np.ndarray]:
    """CPU seconds to read and verify the fields, CPU seconds from there to the record, and the resampled density.

    Args:
        stack: what is measured.
        path: density file.
        repeats: the best time of so many counts.
    """
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
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for path in write_files(Path(folder), options.grid):
            plain = path.with_suffix("") if path.suffix == ".gz" else path
            megabytes = plain.stat().st_size / 1e6
            ours, ours_reading, expected = 0.0, 0.0, np.empty(0)
            for stack in STACKS:
                if path.suffix not in stack.suffixes:
                    continue
                reading, rest, resampled = measure(stack, path, options.repeats)
                total = reading + rest
                if stack is STACKS[0]:
                    ours, ours_reading, expected = total, reading, resampled
                difference = np.abs(resampled - expected).max() / expected.max()
                rows.append(
                    [
                        path.name,
                        f"{megabytes:.1f}",
                        stack.name,
                        f"{reading:.3f}",
                        f"{megabytes / reading:.0f}",
                        f"{reading / ours_reading:.1f}",
                        f"{rest:.3f}",
                        f"{megabytes / total:.0f}",
                        f"{total / ours:.1f}",
                        f"{difference:.0e}",
                    ]
                )
    print(markdown_table(HEAD, rows), end="")


if __name__ == "__main__":
    main()
