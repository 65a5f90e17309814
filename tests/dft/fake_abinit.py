#!/usr/bin/env python3
"""A fake ABINIT: reads r.abi in the current folder and writes the results of an analytic solid.

Its energy is that of Birch and Murnaghan with K' = 4, minimum at 0.9 of the atomic volumes, K = 80 GPa; its bands are
cosines; its density is uniform. Writes the files that the generator reads, in ABINIT's forms.
"""

from __future__ import annotations

import re
import struct
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from tools.dft.elements import ELEMENTS, Element
from tools.dft.units import BOHR, EV_PER_CUBIC_ANGSTROM, HARTREE

MODULUS = 80.0  # GPa
COMPRESSION = 0.9
GAP = 2.0  # eV, above the filled bands where the electrons are even
KEPT_MOMENT = 0.8  # of the initial one


@dataclass(frozen=True)
class Solid:
    """What the input asks for."""

    atoms: list[Element]
    lattice: np.ndarray
    text: str

    @property
    def n_electrons(self) -> float:
        return sum(atom.valence_electrons for atom in self.atoms)

    @property
    def equilibrium_volume(self) -> float:
        """Å³."""
        return COMPRESSION * sum(atom.atomic_volume for atom in self.atoms)

    def energy(self, volume: float) -> float:
        """eV per cell."""
        strain = (self.equilibrium_volume / volume) ** (2 / 3) - 1
        return 9 / 8 * self.equilibrium_volume * MODULUS / EV_PER_CUBIC_ANGSTROM * strain**2 - 100 * len(self.atoms)

    def pressure(self, volume: float) -> float:
        """GPa."""
        ratio = self.equilibrium_volume / volume
        return 1.5 * MODULUS * (ratio ** (7 / 3) - ratio ** (5 / 3))


def answer(folder: Path) -> None:
    """Writes what ABINIT would write for folder/r.abi."""
    text = (folder / "r.abi").read_text()
    solid = _read(text)
    n_sets = int(_after(text, "ndtset")[0])
    for number in range(1, n_sets + 1):
        factor = (float(_after(text, f"acell{number} ")[0].removeprefix("3*")) * BOHR) ** 3
        _write_results(folder / f"ro_DS{number}_GSR.nc", solid, factor)
        if number == 1 and "prtden1 1" in text:
            _write_density(folder / "ro_DS1_DEN", solid, factor)
    (folder / "r.log").write_text(" At SCF step    7\n" * n_sets)


def _read(text: str) -> Solid:
    n_types, n_atoms = int(_after(text, "ntypat")[0]), int(_after(text, "natom")[0])
    numbers = [int(word) for word in _after(text, "znucl")[:n_types]]
    types = [int(word) for word in _after(text, "typat")[:n_atoms]]
    by_number = {element.number: element for element in ELEMENTS.values()}
    lattice = np.array([float(word) for word in _after(text, "rprim")[:9]]).reshape(3, 3)
    return Solid([by_number[numbers[one - 1]] for one in types], lattice, text)


def _after(text: str, name: str) -> list[str]:
    """Words that follow an input variable."""
    found = re.search(rf"\b{name}", text)
    assert found, f"no {name!r} in the input"
    return text[found.end() :].split()


def _bands(solid: Solid, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Eigenvalues and occupations, (n_spins, n_k, n_bands), eV, and the Fermi energy."""
    n_spins = 2 if "nsppol 2" in solid.text else 1
    n_bands = int(_after(solid.text, "nband")[0])
    moment = 0.0
    if n_spins == 2:
        words = _after(solid.text, "spinat")[: 3 * len(solid.atoms)]
        moment = KEPT_MOMENT * sum(float(word) for word in words[2::3])
    per_spin = (
        [solid.n_electrons / 2]
        if n_spins == 1
        else [(solid.n_electrons + moment) / 2, (solid.n_electrons - moment) / 2]
    )
    occupations = np.stack([np.clip(filled - np.arange(n_bands), 0, 1) for filled in per_spin]) * (2 / n_spins)
    ladder = -8.0 + np.arange(n_bands) + np.stack([GAP * (np.arange(n_bands) >= round(one)) for one in per_spin])
    wave = 0.4 * np.cos(2 * np.pi * points).sum(axis=1)
    eigenvalues = ladder[:, None, :] + wave[None, :, None]
    fermi = float(ladder[0, max(0, int(per_spin[0]) - 1)])
    return eigenvalues, np.repeat(occupations[:, None, :], len(points), axis=1), fermi


def _write_results(path: Path, solid: Solid, factor: float) -> None:
    lattice = solid.lattice * factor ** (1 / 3)
    volume = abs(np.linalg.det(lattice))
    points = np.array([[0.125, 0.125, 0.125], [0.25, 0.125, 0.375]])
    if "kptopt 0" in solid.text:
        n_points = int(_after(solid.text, "nkpt")[0])
        points = np.array([float(word) for word in _after(solid.text, "kpt ")[: 3 * n_points]]).reshape(-1, 3)
    eigenvalues, occupations, fermi = _bands(solid, points)
    stress = -solid.pressure(volume) / EV_PER_CUBIC_ANGSTROM / HARTREE * BOHR**3
    with h5py.File(path, "w") as file:
        file["etotal"] = solid.energy(volume) / HARTREE
        file["e_entropy"] = 0.0
        file["fermie"] = fermi / HARTREE
        file["nelect"] = solid.n_electrons
        file["eigenvalues"] = eigenvalues / HARTREE
        file["occupations"] = occupations
        file["kpoint_weights"] = np.full(len(points), 1 / len(points))
        file["reduced_coordinates_of_kpoints"] = points
        file["primitive_vectors"] = lattice / BOHR
        file["cartesian_stress_tensor"] = np.array([stress] * 3 + [0.0] * 3)
        file["space_group"] = 1


def _write_density(path: Path, solid: Solid, factor: float) -> None:
    shape = [int(word) for word in _after(solid.text, "ngfftdg")[:3]]
    volume = abs(np.linalg.det(solid.lattice)) * factor / BOHR**3
    total = np.full(np.prod(shape), solid.n_electrons / volume)
    records = [total] if "nsppol 2" not in solid.text else [total, 0.6 * total]
    write_density_file(path, records)


def write_density_file(path: Path, records: list[np.ndarray]) -> None:
    """A DEN file: a header record, then one Fortran record per spin component."""
    with path.open("wb") as file:
        for content in [b"header", *(record.astype("<f8").tobytes() for record in records)]:
            mark = struct.pack("<i", len(content))
            file.write(mark + content + mark)


if __name__ == "__main__":
    print("9.6.2") if "--version" in sys.argv else answer(Path())
