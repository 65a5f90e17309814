"""Gap, band edges and band widths from eigenvalues and occupations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Bands that are separated by a smaller gap, eV, count as one occupied manifold.
CONNECTED = 0.5
# A level is partly occupied if its occupation is between this share and one minus this share.
PARTIAL = 0.05


@dataclass(frozen=True)
class Bands:
    """Band gap, band edges and band width; a metal has gap 0 and both edges at its Fermi energy.

    Attributes:
        gap: eV.
        valence_maximum: eV.
        conduction_minimum: eV.
        width: of the connected occupied manifold below the valence band maximum or Fermi energy, eV.
    """

    gap: float
    valence_maximum: float
    conduction_minimum: float
    width: float

    @property
    def fermi_energy(self) -> float:
        """Fermi energy of a metal, the middle of the gap of an insulator."""
        return (self.valence_maximum + self.conduction_minimum) / 2


def find_bands(
    eigenvalues: np.ndarray,
    occupations: np.ndarray,
    weights: np.ndarray,
    *,
    fermi_energy: float,
    further: np.ndarray | None = None,
) -> Bands:
    """Bands of a self-consistent mesh and of further k points.

    Args:
        eigenvalues: on the mesh, (n_spins, n_k, n_bands), eV.
        occupations: on the mesh, (n_spins, n_k, n_bands), electrons.
        weights: of the mesh's points, (n_k,), sum 1.
        fermi_energy: eV.
        further: eigenvalues at other points, (n_spins, n_further, bands), eV, with the same energy zero. Only bands
            that both have are used then.
    """
    n_spins = len(eigenvalues)
    full = 2.0 if n_spins == 1 else 1.0
    energies = eigenvalues
    if further is not None:
        n_bands = min(eigenvalues.shape[2], further.shape[2])
        energies = np.concatenate([eigenvalues[:, :, :n_bands], further[:, :, :n_bands]], axis=1)
    partly = (occupations > PARTIAL * full) & (occupations < (1 - PARTIAL) * full)
    filled = (weights[:, None] * occupations).sum(axis=(1, 2)) / full
    whole = np.rint(filled).astype(int)
    gap, top, bottom = 0.0, fermi_energy, fermi_energy
    if not partly.any() and np.all(abs(filled - whole) < 0.02):
        highest = max(energies[spin, :, n - 1].max() for spin, n in enumerate(whole) if n > 0)
        lowest = min(energies[spin, :, n].min() for spin, n in enumerate(whole) if n < energies.shape[2])
        if lowest > highest:
            gap, top, bottom = lowest - highest, highest, lowest
    ranges = np.stack([energies.min(axis=1), energies.max(axis=1)], axis=-1).reshape(-1, 2)
    return Bands(float(gap), float(top), float(bottom), float(top - _manifold_bottom(ranges, top)))


def _manifold_bottom(ranges: np.ndarray, top: float) -> float:
    """Lower end of the manifold of connected bands below `top`; `ranges` of the bands are (n, 2), eV."""
    bottom = top
    occupied = [(low, min(high, top)) for low, high in ranges if low < top - 1e-6]
    for low, high in sorted(occupied, key=lambda band: -band[1]):
        if high < bottom - CONNECTED:
            break
        bottom = min(bottom, low)
    return bottom
