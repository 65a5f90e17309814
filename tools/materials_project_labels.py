"""Labels of a material from its Materials Project documents, in rhonet's names and units.

Energies come from the thermo documents of the GGA/GGA+U scheme. The summary's energies may be mixed with r2SCAN, whose
total energies cannot be compared with those of PBE. The other labels come from the summary; a label is left out if the
summary says that it was calculated with neither PBE nor PBE+U.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

# Run types of the Materials Project that are PBE or PBE+U, and how dataset.toml names them.
FUNCTIONALS = {"GGA": "PBE", "PBE": "PBE", "GGA+U": "PBE+U", "PBE+U": "PBE+U"}
STATIC = " Static"
# PBE and r2SCAN volumes differ by 1 to 4 %; two PBE relaxations of one material by a few tenths of a percent.
MAX_VOLUME_DIFFERENCE = 0.02
# Interpolated acoustic branches dip below zero near Γ in stable crystals too. A crystal counts as unstable if more than
# this share of its phonon states lies below this frequency (THz); both are our own choice.
SOFT_THZ = -0.3
MAX_SOFT_SHARE = 1e-3

SUMMARY_FIELDS = (
    "material_id",
    "formula_pretty",
    "chemsys",
    "elements",
    "symmetry",
    "nsites",
    "volume",
    "density",
    "band_gap",
    "efermi",
    "is_metal",
    "total_magnetization",
    "bulk_modulus",
    "origins",
    "phonon_IDs",
)
THERMO_TYPE = "GGA_GGA+U"
THERMO_FIELDS = ("material_id", "uncorrected_energy_per_atom", "formation_energy_per_atom")

# Origin of each label: text for dataset.toml, and the entry of summary.origins that names its calculation.
SOURCES = {
    "bulk_modulus": ("summary.bulk_modulus.vrh, Voigt-Reuss-Hill average; values not above 0 are left out", ""),
    "volume_per_atom": ("summary.volume / summary.nsites; empty where the density's cell differs", "structure"),
    "mass_density": ("summary.density; empty where the density's cell differs", "structure"),
    "total_energy_per_atom": (f"thermo.uncorrected_energy_per_atom, {THERMO_TYPE}; VASP's zero of energy", ""),
    "formation_energy_per_atom": (f"thermo.formation_energy_per_atom, {THERMO_TYPE}, with MP2020 corrections", ""),
    "fermi_energy": ("summary.efermi; VASP's zero of energy", "electronic_structure"),
    "band_gap": ("summary.band_gap", "electronic_structure"),
    "magnetic_moment": ("|summary.total_magnetization|, scaled to the density's cell", "magnetism"),
    "is_metal": ("summary.is_metal", "electronic_structure"),
    "dynamically_stable": (
        f"at most {MAX_SOFT_SHARE:.1%} of the phonon density of states below {SOFT_THZ:g} THz; the phonons' functional",
        "",
    ),
}
_SAME_CELL = ("volume_per_atom", "mass_density")


@dataclass(frozen=True)
class Task:
    """One calculation.

    Attributes:
        id: as the Materials Project writes it.
        calc_type: such as "GGA Static".
    """

    id: str
    calc_type: str

    @property
    def functional(self) -> str:
        """PBE, PBE+U, or "" for anything else."""
        return FUNCTIONALS.get(self.calc_type.removesuffix(STATIC), "")


@dataclass(frozen=True)
class Material:
    """A material before its density is fetched.

    Attributes:
        id: such as "mp-149".
        formula: as the summary gives it.
        chemical_system: as the summary gives it.
        spacegroup: as the summary gives it.
        n_sites: atoms in the summary's cell.
        volume: of that cell, Å³.
        labels: known values by property; the magnetic moment (µB) is that of the summary's cell.
        tasks: static PBE or PBE+U calculations; those that most probably have the density come first.
        phonons: method and id of each phonon calculation.
        flags: labels that were left out, and why.
    """

    id: str
    formula: str
    chemical_system: str
    spacegroup: str
    n_sites: int
    volume: float
    labels: Mapping[str, float]
    tasks: tuple[Task, ...]
    phonons: tuple[tuple[str, str], ...] = ()
    flags: tuple[str, ...] = ()


def read_material(
    name: str, summary: Mapping[str, Any], thermo: Mapping[str, Any], calc_types: Mapping[str, str]
) -> Material:
    """Material with its labels, from its summary, its GGA/GGA+U thermo document and the types of its calculations.

    Args:
        name: id of the material.
        summary: document with `SUMMARY_FIELDS`; missing fields give no label.
        thermo: document with `THERMO_FIELDS`; empty if there is none.
        calc_types: calculation types by task id.
    """
    n_sites = int(summary.get("nsites") or 0)
    volume = _number(summary.get("volume"))
    moment = _number(summary.get("total_magnetization"))
    values = {
        "bulk_modulus": _positive((summary.get("bulk_modulus") or {}).get("vrh")),
        "volume_per_atom": volume / n_sites if n_sites else math.nan,
        "mass_density": _positive(summary.get("density")),
        "total_energy_per_atom": _number(thermo.get("uncorrected_energy_per_atom")),
        "formation_energy_per_atom": _number(thermo.get("formation_energy_per_atom")),
        "fermi_energy": _number(summary.get("efermi")),
        "band_gap": _number(summary.get("band_gap")),
        "magnetic_moment": abs(moment),
        "is_metal": _number(summary.get("is_metal")),
    }
    origins = {origin["name"]: str(origin["task_id"]) for origin in summary.get("origins") or ()}
    foreign = {
        label: calc_types[task]
        for label, (_, origin) in SOURCES.items()
        if (task := origins.get(origin, "")) in calc_types and not _is_pbe(calc_types[task])
    }
    labels = {label: value for label, value in values.items() if math.isfinite(value) and label not in foreign}
    return Material(
        name,
        str(summary.get("formula_pretty") or ""),
        str(summary.get("chemsys") or ""),
        str((summary.get("symmetry") or {}).get("symbol") or ""),
        n_sites,
        volume,
        labels,
        _static_tasks(calc_types, preferred=set(origins.values())),
        tuple((method, str(number)) for method, ids in (summary.get("phonon_IDs") or {}).items() for number in ids),
        tuple(f"{label} is {calc_type}" for label, calc_type in foreign.items() if math.isfinite(values[label])),
    )


def labels_of_cell(material: Material, n_atoms: int, volume: float) -> Material:
    """The material with labels of its density's cell.

    The magnetic moment is scaled to the number of atoms. Volume and mass density are left out if the volumes per atom
    differ by more than `MAX_VOLUME_DIFFERENCE`: then the density belongs to another relaxation.

    Args:
        material: with the labels of the summary's cell.
        n_atoms: atoms in the density's cell.
        volume: of the density's cell, Å³.
    """
    if not (material.n_sites and math.isfinite(material.volume)):
        return material
    labels = dict(material.labels)
    flags = material.flags
    if "magnetic_moment" in labels:
        labels["magnetic_moment"] *= n_atoms / material.n_sites
    difference = (volume / n_atoms) / (material.volume / material.n_sites) - 1
    if abs(difference) > MAX_VOLUME_DIFFERENCE:
        labels = {label: value for label, value in labels.items() if label not in _SAME_CELL}
        flags = (*flags, f"volume of the density's cell differs by {difference:+.1%}")
    return replace(material, labels=labels, flags=flags)


def is_dynamically_stable(frequencies: Sequence[float], densities: Sequence[float]) -> bool:
    """Does a phonon density of states have (almost) no imaginary modes?

    Args:
        frequencies: ascending, THz; imaginary ones are negative.
        densities: states per THz, in any normalisation.
    """
    grid, states = np.asarray(frequencies, float), np.asarray(densities, float)
    soft = np.where(grid < SOFT_THZ, states, 0.0)
    return bool(np.trapezoid(soft, grid) <= MAX_SOFT_SHARE * np.trapezoid(states, grid))


def _static_tasks(calc_types: Mapping[str, str], preferred: set[str]) -> tuple[Task, ...]:
    """Calculations that may have the density: first those of the labels, then the newest (highest id)."""
    tasks = [Task(name, calc_type) for name, calc_type in calc_types.items() if calc_type.endswith(STATIC)]
    pbe = [task for task in tasks if task.functional]
    return tuple(sorted(pbe, key=lambda task: (task.id in preferred, len(task.id), task.id), reverse=True))


def _is_pbe(calc_type: str) -> bool:
    return calc_type.partition(" ")[0] in FUNCTIONALS


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)


def _positive(value: Any) -> float:
    number = _number(value)
    return number if number > 0 else math.nan
