"""Reads the output of ABINIT: energies, stresses, eigenvalues, and the density."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from tools.dft.errors import CalculationFailed
from tools.dft.units import BOHR, EV_PER_CUBIC_ANGSTROM, HARTREE


@dataclass(frozen=True, eq=False)
class Point:
    """Result at one volume.

    Attributes:
        energy: eV per cell, extrapolated to zero smearing.
        fermi_energy: eV.
        pressure: GPa.
        volume: of the cell, Å³.
        lattice: rows a, b, c, (3, 3), Å.
        n_electrons: valence electrons of the cell.
        moment: of the cell, µB; 0 without spin.
        eigenvalues: (n_spins, n_k, n_bands), eV.
        occupations: (n_spins, n_k, n_bands), electrons.
        k_points: (n_k, 3), fractions of the reciprocal cell.
        k_weights: (n_k,), sum 1.
    """

    energy: float
    fermi_energy: float
    pressure: float
    volume: float
    lattice: np.ndarray
    n_electrons: float
    moment: float
    eigenvalues: np.ndarray
    occupations: np.ndarray
    k_points: np.ndarray
    k_weights: np.ndarray


def read_point(path: Path) -> Point:
    """Result in a GSR.nc file (netCDF 4, which is HDF5).

    Raises:
        CalculationFailed: the file is damaged or incomplete.
    """
    try:
        with h5py.File(path) as file:
            return _point(file)
    except (OSError, KeyError, RuntimeError) as error:
        raise CalculationFailed(f"{path}: damaged output of ABINIT: {error}") from error


def read_density(path: Path, shape: tuple[int, int, int], *, n_spins: int) -> tuple[np.ndarray, np.ndarray | None]:
    """Density, e/Å³, and with two spins magnetization, µB/Å³, from a DEN file.

    The file ends with one Fortran record per spin component: the total, then spin up.

    Args:
        path: DEN file.
        shape: of both fields, (nx, ny, nz).
        n_spins: 1 or 2.

    Raises:
        CalculationFailed: the number of values does not fit the shape.
    """
    content = path.read_bytes()
    end = len(content)
    records = []
    for _ in range(n_spins):
        length = int.from_bytes(content[end - 4 : end], "little")
        start = end - 4 - length
        if length != 8 * np.prod(shape) or start < 4:
            raise CalculationFailed(f"{path}: found {length} bytes of density for a grid of {shape}; it is truncated")
        values = np.frombuffer(content[start : end - 4], "<f8").reshape(shape, order="F")
        records.append(values / BOHR**3)
        end = start - 4
    if n_spins == 1:
        return records[0], None
    up, total = records
    return total, 2 * up - total


def failure_reason(log: str) -> str:
    """Reason of a failure in ABINIT's log: its first error message, or else the end of the log."""
    message = re.search(r"--- !(?:ERROR|BUG).*?message: \|(.*?)\.\.\.", log, re.DOTALL)
    return " ".join((message[1] if message else log[-200:]).split())[:200] or "it wrote no log"


def count_cycles(log: str) -> list[int]:
    """Steps of each self-consistent cycle that converged."""
    return [int(steps) for steps in re.findall(r"At SCF step\s+(\d+)", log)]


def _point(file: h5py.File) -> Point:
    datasets: Any = file  # h5py types what a file holds as group, dataset or type
    values = {name: datasets[name][()] for name in _NAMES}
    lattice = values["primitive_vectors"] * BOHR
    weights, occupations = values["kpoint_weights"], values["occupations"]
    moment = 0.0
    if len(occupations) == 2:
        moment = float((weights[:, None] * (occupations[0] - occupations[1])).sum())
    stress = values["cartesian_stress_tensor"][:3].mean()
    return Point(
        # Half of the smearing's entropy term extrapolates to zero smearing.
        energy=(float(values["etotal"]) - 0.5 * float(values["e_entropy"])) * HARTREE,
        fermi_energy=float(values["fermie"]) * HARTREE,
        pressure=float(-stress * HARTREE / BOHR**3 * EV_PER_CUBIC_ANGSTROM),
        volume=float(abs(np.linalg.det(lattice))),
        lattice=lattice,
        n_electrons=float(values["nelect"]),
        moment=moment,
        eigenvalues=values["eigenvalues"] * HARTREE,
        occupations=occupations,
        k_points=values["reduced_coordinates_of_kpoints"],
        k_weights=weights,
    )


_NAMES = (
    "etotal",
    "e_entropy",
    "fermie",
    "nelect",
    "eigenvalues",
    "occupations",
    "kpoint_weights",
    "reduced_coordinates_of_kpoints",
    "primitive_vectors",
    "cartesian_stress_tensor",
)
