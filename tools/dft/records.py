"""What is kept of each computed crystal and of each elemental reference."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any

from tools.dft.prototypes import PROTOTYPES

SOFT_BELOW = 5.0  # GPa
MOMENT_JUMP = 0.5  # of the moment, at least of 0.3 µB
STRESS_MISMATCH = 0.25
LARGEST_OVERLAP = 1.35


@dataclass(frozen=True)
class CrystalRecord:
    """Properties of one crystal.

    symbols: of all atoms; cutoff: hartree; n_electrons: valence electrons.
    volume: at equilibrium, Å³ per cell; energy: there, eV per atom; mass_density: g/cm³.
    bulk_modulus: GPa, from the energies; bulk_modulus_from_stress: GPa, from the pressures at the outer volumes.
    fermi_energy, band_gap, band_width: eV; moment: µB per cell; moments: at the three volumes.
    sphere_overlap: sum of two atoms' PAW radii over their distance, the largest.
    log_volume_ratio: ln(volume / volume of the first guess).
    band_path_error: why the bands on symmetry points are missing, "" if they are there.
    density_volume: Å³, of the cell that the density was computed in; pressure: there, GPa.
    seconds: wall time.
    """

    id: str
    family: str
    prototype: str
    elements: tuple[str, ...]
    cutoff: float
    n_electrons: float
    volume: float
    energy: float
    mass_density: float
    bulk_modulus: float
    bulk_modulus_from_stress: float
    fermi_energy: float
    band_gap: float
    band_width: float
    moment: float
    moments: tuple[float, ...]
    sphere_overlap: float
    log_volume_ratio: float
    band_path_error: str
    density_volume: float
    pressure: float
    seconds: float

    @property
    def symbols(self) -> tuple[str, ...]:
        """Of all atoms in the cell."""
        return PROTOTYPES[self.prototype].symbols(self.elements)

    @property
    def flags(self) -> list[str]:
        """Names of doubts."""
        jump = max(map(abs, self.moments)) - min(map(abs, self.moments))
        doubts = {
            "eos_stress_mismatch": abs(self.bulk_modulus_from_stress / max(1e-3, self.bulk_modulus) - 1)
            > STRESS_MISMATCH,
            "moment_jump": jump > MOMENT_JUMP * max(0.3, self.moment),
            "soft": self.bulk_modulus < SOFT_BELOW,
            "paw_overlap": self.sphere_overlap > LARGEST_OVERLAP,
            "nscf": bool(self.band_path_error),
        }
        return [name for name, doubted in doubts.items() if doubted]


@dataclass(frozen=True)
class ReferenceRecord:
    """Energies of an element in its usual structure, eV per atom, by cut-off ("16", "20"; hartree)."""

    id: str
    element: str
    energies: dict[str, float]
    seconds: float


def record_text(record: CrystalRecord | ReferenceRecord) -> str:
    """JSON of a record."""
    return json.dumps(dataclasses.asdict(record), indent=1) + "\n"


def crystal_record(text: str) -> CrystalRecord:
    """The record in JSON text.

    Raises:
        ValueError: damaged, or of another version of this program.
    """
    values = _values(text, CrystalRecord)
    return CrystalRecord(
        **{**values, "elements": tuple(values["elements"]), "moments": tuple(values["moments"])},
    )


def reference_record(text: str) -> ReferenceRecord:
    """The record in JSON text.

    Raises:
        ValueError: damaged, or of another version of this program.
    """
    return ReferenceRecord(**_values(text, ReferenceRecord))


def _values(text: str, kind: type[CrystalRecord] | type[ReferenceRecord]) -> dict[str, Any]:
    values = json.loads(text)
    expected = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(values, dict) or set(values) != expected:
        raise ValueError(f"not a {kind.__name__}: other fields than {', '.join(sorted(expected))}")
    return values
