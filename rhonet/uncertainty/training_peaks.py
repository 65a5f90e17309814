"""Density peaks of a network's training crystals, in a space where distances measure novelty (no TensorFlow)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.spatial import KDTree

from rhonet.core.files import replacing

# Widths of the Gaussians that smooth the density for a peak's fingerprint, Å: from the resolution of a view to half
# the length of a bond.
WIDTHS = (0.0, 0.15, 0.35, 0.6)
# Number of nearest peaks among which a peak of another crystal is searched.
NEIGHBOURS = 16
# Share of the peaks, the nearest to a peak of another crystal, that count as being of the same kind as that peak.
SAME_KIND_SHARE = 0.8
# Largest ratio between the weights of two directions, however little the training crystals vary in one of them.
MOST_UNEVEN = 10.0
LEAST_VARIANCE = 1e-6


@dataclass(frozen=True, eq=False)
class TrainingPeaks:
    """The peaks of all training crystals, in a space where peaks of the same kind have distances of about 1.

    Attributes:
        whitening: (S, S) matrix from fingerprints (`rhonet.uncertainty.density_peaks`) to that space.
        points: (n, S) peaks in that space.
    """

    whitening: np.ndarray
    points: np.ndarray

    @classmethod
    def fit(cls, peaks: Sequence[np.ndarray]) -> TrainingPeaks:
        """Peaks and their space, from the fingerprints (peaks, S) of each training crystal.

        The whitening gives the differences between peaks of the same kind unit variance in every direction: the less
        such peaks differ in a direction, the larger its weight.
        """
        fingerprints = np.concatenate(peaks).astype(np.float64)
        crystal = np.repeat(np.arange(len(peaks)), [len(item) for item in peaks])
        differences = _differences(fingerprints, crystal)
        variance, directions = np.linalg.eigh(differences.T @ differences / max(len(differences), 1))
        least = max(variance[-1] / MOST_UNEVEN**2, LEAST_VARIANCE)
        whitening = directions / np.sqrt(np.maximum(variance, least))
        return cls(whitening, fingerprints @ whitening)

    def save(self, path: Path) -> None:
        """Writes a file that `load` reads; a crash leaves no partial file.

        Raises:
            OSError: the file cannot be written.
        """
        with replacing(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, whitening=self.whitening, points=self.points)

    @classmethod
    def load(cls, path: Path) -> TrainingPeaks:
        """Training peaks from a file that `save` wrote.

        Raises:
            OSError: the file cannot be read.
        """
        with np.load(path, allow_pickle=False) as stored:
            return cls(stored["whitening"], stored["points"])


def _differences(fingerprints: np.ndarray, crystal: np.ndarray) -> np.ndarray:
    """Differences between peaks and the nearest peaks of other crystals, if near enough to be of one kind, (m, S)."""
    ranks = np.arange(1, min(NEIGHBOURS, len(fingerprints)) + 1)
    tree: Any = KDTree(fingerprints)  # typed as if it took one query at a time
    distances, neighbours = tree.query(fingerprints, k=ranks)
    distances = np.where(crystal[neighbours] == crystal[:, None], np.inf, distances)
    nearest = distances.argmin(axis=1, keepdims=True)
    closest = np.take_along_axis(distances, nearest, axis=1)[:, 0]
    partners = np.take_along_axis(neighbours, nearest, axis=1)[:, 0]
    known = np.isfinite(closest)
    if not known.any():
        return np.empty((0, fingerprints.shape[1]))
    near = closest <= np.quantile(closest[known], SAME_KIND_SHARE)
    return fingerprints[near] - fingerprints[partners[near]]
