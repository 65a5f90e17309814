"""Table of the computed crystals in rhonet's form: properties.csv and dataset.toml."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rhonet.data.groups import chemical_system
from tools.dft.formation import SETTINGS, formation_energy
from tools.dft.records import CrystalRecord
from tools.dft.references import ReferenceEnergies

BOOKKEEPING = ("id", "file", "formula", "chemical_system", "prototype", "n_atoms", "settings", "flags")


@dataclass(frozen=True)
class Column:
    """A property in dataset.toml.

    Attributes:
        unit: as dataset.toml writes it.
        note: for the dataset card.
        kind: "regression" or "binary".
    """

    unit: str
    note: str
    kind: str = "regression"


COLUMNS = {
    "is_metal": Column("", "band_gap is zero on the sampled k points", "binary"),
    "bulk_modulus": Column("GPa", "from the equation of state"),
    "volume_per_atom": Column("angstrom^3", "equilibrium volume"),
    "cell_volume": Column("angstrom^3", "equilibrium volume of the cell"),
    "mass_density": Column("g/cm^3", "at equilibrium"),
    "total_energy_per_atom": Column("eV", "depends on the PAW data sets"),
    "formation_energy_per_atom": Column("eV", "against elements computed in the same way"),
    "fermi_energy": Column("eV", "metals: Fermi energy; insulators: mid-gap; zero: average potential"),
    "band_gap": Column("eV", "PBE, Kohn-Sham"),
    "band_width": Column("eV", "connected occupied manifold below the Fermi level or valence band maximum"),
    "magnetic_moment": Column("muB", "total moment of the cell, ferromagnetic start; 0 where spin was not enabled"),
}
ABOUT = """functional = "PBE"
code = "ABINIT, PAW (GPAW data sets)"
density = "valence, PAW pseudo plus compensation charge"
"""


def table_text(records: Iterable[CrystalRecord], energies: ReferenceEnergies) -> str:
    """Text of properties.csv; a formation energy is left empty if a reference is unknown."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [*BOOKKEEPING, *COLUMNS], lineterminator="\n")
    writer.writeheader()
    for record in records:
        writer.writerow(_row(record, energies))
    return text.getvalue()


def settings_text() -> str:
    """Text of dataset.toml: level of theory, and unit, kind and note of each property."""
    tables = (
        f'\n[properties.{name}]\nunit = "{column.unit}"\nkind = "{column.kind}"\nnote = "{column.note}"\n'
        for name, column in COLUMNS.items()
    )
    return ABOUT + "".join(tables)


def density_file(name: str) -> str:
    """Path of a crystal's density in the folder."""
    return f"densities/{name}.h5"


def formula(symbols: Iterable[str]) -> str:
    """Formula with the elements in alphabetical order, such as Be3Zn."""
    atoms = list(symbols)
    counts = {symbol: atoms.count(symbol) for symbol in sorted(set(atoms))}
    return "".join(symbol + (str(count) if count > 1 else "") for symbol, count in counts.items())


def _row(record: CrystalRecord, energies: ReferenceEnergies) -> Mapping[str, str | int]:
    symbols = record.symbols
    values = {
        "bulk_modulus": record.bulk_modulus,
        "volume_per_atom": record.volume / len(symbols),
        "cell_volume": record.volume,
        "mass_density": record.mass_density,
        "total_energy_per_atom": record.energy,
        "formation_energy_per_atom": formation_energy(record, energies),
        "fermi_energy": record.fermi_energy,
        "band_gap": record.band_gap,
        "band_width": record.band_width,
        "magnetic_moment": record.moment,
    }
    return {
        "id": record.id,
        "file": density_file(record.id),
        "formula": formula(symbols),
        "chemical_system": chemical_system(record.elements),
        "prototype": record.prototype,
        "n_atoms": len(symbols),
        "settings": SETTINGS,
        "flags": " ".join(record.flags),
        "is_metal": int(record.band_gap <= 0),
        **{name: "" if value is None else f"{value:.6f}" for name, value in values.items()},
    }
