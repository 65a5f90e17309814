"""Equilibrium volume, energy and bulk modulus from energies at a few volumes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tools.dft.errors import CalculationFailed
from tools.dft.units import EV_PER_CUBIC_ANGSTROM


@dataclass(frozen=True)
class Equilibrium:
    """Minimum of E(V).

    Attributes:
        energy: eV.
        volume: Å³.
        bulk_modulus: GPa.
    """

    energy: float
    volume: float
    bulk_modulus: float


def fit_equilibrium(volumes: Sequence[float] | np.ndarray, energies: Sequence[float] | np.ndarray) -> Equilibrium:
    """Minimum of the parabola in V^(-2/3) (Birch-Murnaghan of second order: K' = 4) through E(V).

    Args:
        volumes: Å³, at least three.
        energies: eV, one each.

    Raises:
        CalculationFailed: the parabola has no minimum at a positive volume.
    """
    strains = np.asarray(volumes, float) ** (-2 / 3.0)
    heights = np.asarray(energies, float)
    # Centred and scaled, so that the fit stays accurate for energies that differ by meV.
    middle, spread = strains.mean(), strains.std()
    parabola = np.polyfit((strains - middle) / spread, heights - heights.mean(), 2)
    if parabola[0] <= 0:
        raise CalculationFailed(f"the energies {_listed(heights)} eV have no minimum at {_listed(volumes)} Å³")
    lowest = -parabola[1] / (2 * parabola[0])
    strain = lowest * spread + middle
    if strain <= 0:
        raise CalculationFailed(f"the energies {_listed(heights)} eV at {_listed(volumes)} Å³ have no minimum nearby")
    volume = strain**-1.5
    slope = -2 / 3.0 * volume ** (-5 / 3.0)
    curvature = 2 * parabola[0] / spread**2 * slope**2
    return Equilibrium(
        energy=float(np.polyval(parabola, lowest) + heights.mean()),
        volume=float(volume),
        bulk_modulus=float(volume * curvature * EV_PER_CUBIC_ANGSTROM),
    )


def _listed(values: Sequence[float] | np.ndarray) -> str:
    return ", ".join(f"{value:.4f}" for value in values)
