"""The training crystals of a network as a place to be near to or far from (no TensorFlow)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from rhonet.core.files import replacing

# Gaussians that smooth the density for a peak's fingerprint, Å: from as sharp as a view sees it to half a bond.
WIDTHS = (0.0, 0.15, 0.35, 0.6)
# Neighbours among which one of another crystal is looked for.
NEIGHBOURS = 16
# Of the peaks, those near enough to another crystal's to be its relatives; the others have none.
WITH_RELATIVES = 0.8
# No direction counts more than so many times another, however exact the training crystals seem in it.
MOST_UNEVEN = 10.0
LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, eq=False)
class TrainingPeaks:
    """The peaks of all training crystals, in a space where peaks of the same kind are about one apart.

    whitening: (S, S) from fingerprints (`rhonet.uncertainty.density_peaks`) to that space. points: (n, S) peaks there.
    """

    whitening: np.ndarray
    points: np.ndarray

    @classmethod
    def fit(cls, peaks: Sequence[np.ndarray]) -> TrainingPeaks:
        """Space of the peaks of the training crystals, (peaks, S) each.

        The differences between peaks and the nearest ones of other crystals are made white: a direction counts the
        more, the less peaks of one kind differ in it.
        """
        fingerprints = np.concatenate(peaks).astype(np.float64)
        crystal = np.repeat(np.arange(len(peaks)), [len(one) for one in peaks])
        differences = _differences(fingerprints, crystal)
        variance, directions = np.linalg.eigh(differences.T @ differences / max(len(differences), 1))
        least = max(variance[-1] / MOST_UNEVEN**2, LEAST_VARIANCE)
        whitening = directions / np.sqrt(np.maximum(variance, least))
        return cls(whitening, fingerprints @ whitening)

    def save(self, path: Path) -> None:
        """Writes a file that `load` reads; a crash leaves none.

        Raises:
            OSError: it cannot be written.
        """
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, whitening=self.whitening, points=self.points)

    @classmethod
    def load(cls, path: Path) -> TrainingPeaks:
        """What `save` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            return cls(stored["whitening"], stored["points"])


def _differences(fingerprints: np.ndarray, crystal: np.ndarray) -> np.ndarray:
    """What separates peaks from their nearest relatives in other crystals, (m, S)."""
    ranks = np.arange(1, min(NEIGHBOURS, len(fingerprints)) + 1)
    tree: Any = KDTree(fingerprints)  # typed as if it answered one question at a time
    distances, neighbours = tree.query(fingerprints, k=ranks)
    distances = np.where(crystal[neighbours] == crystal[:, None], np.inf, distances)
    nearest = distances.argmin(axis=1, keepdims=True)
    closest = np.take_along_axis(distances, nearest, axis=1)[:, 0]
    relatives = np.take_along_axis(neighbours, nearest, axis=1)[:, 0]
    known = np.isfinite(closest)
    if not known.any():
        return np.empty((0, fingerprints.shape[1]))
    near = closest <= np.quantile(closest[known], WITH_RELATIVES)
    return fingerprints[near] - fingerprints[relatives[near]]
