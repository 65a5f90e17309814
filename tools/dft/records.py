"""Records of the computed crystals and of the elemental references."""

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

    Attributes:
        id: prototype and elements, such as "rocksalt_Na_Cl".
        family: of the candidate.
        prototype: name in `PROTOTYPES`.
        elements: of the prototype's sites A, B, C.
        cutoff: of the plane waves, hartree.
        n_electrons: valence electrons of the cell.
        volume: of the cell at equilibrium, Å³.
        energy: at equilibrium, eV per atom.
        mass_density: at equilibrium, g/cm³.
        bulk_modulus: from the energies, GPa.
        bulk_modulus_from_stress: from the pressures at the outer volumes, GPa.
        fermi_energy: eV.
        band_gap: eV.
        band_width: eV.
        moment: of the cell, µB.
        moments: of the cell at the three volumes, µB.
        sphere_overlap: largest ratio of the sum of two atoms' PAW radii to their distance.
        log_volume_ratio: ln(volume / volume of the first guess).
        band_path_error: why the bands on symmetry points are missing, "" if they are not.
        density_volume: volume of the cell in which the density was computed, Å³.
        pressure: at that volume, GPa.
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
        """Symbols of all atoms in the cell."""
        return PROTOTYPES[self.prototype].symbols(self.elements)

    @property
    def flags(self) -> list[str]:
        """Names of the checks that the record fails."""
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
    """Energies of an element in its usual structure.

    Attributes:
        id: of the reference.
        element: symbol.
        energies: eV per atom, by cut-off in hartree as text ("16", "20").
        seconds: wall time.
    """

    id: str
    element: str
    energies: dict[str, float]
    seconds: float


def record_text(record: CrystalRecord | ReferenceRecord) -> str:
    """Record as JSON."""
    return json.dumps(dataclasses.asdict(record), indent=1) + "\n"


def crystal_record(text: str) -> CrystalRecord:
    """Record from JSON.

    Raises:
        ValueError: the text is damaged, or comes from another version of this program.
    """
    values = _values(text, CrystalRecord)
    return CrystalRecord(
        **{**values, "elements": tuple(values["elements"]), "moments": tuple(values["moments"])},
    )


def reference_record(text: str) -> ReferenceRecord:
    """Record from JSON.

    Raises:
        ValueError: the text is damaged, or comes from another version of this program.
    """
    return ReferenceRecord(**_values(text, ReferenceRecord))


def _values(text: str, kind: type[CrystalRecord] | type[ReferenceRecord]) -> dict[str, Any]:
    values = json.loads(text)
    expected = {field.name for field in dataclasses.fields(kind)}
    if not isinstance(values, dict) or set(values) != expected:
        raise ValueError(f"not a {kind.__name__}: other fields than {', '.join(sorted(expected))}")
    return values
