"""Scores of weighted samples, for many weightings at once.

Every scoring function takes weights (b, n), one row per weighting: ones score the sample itself, counts of draws a
bootstrap resample. It returns (b,) scores, NaN where a score is not defined.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

# Labels that differ by less than this share of the largest one count as equal: their variance is rounding noise.
_EQUAL = 1e-12
# So do those that vary less than this share of what all samples vary: a resample of metals, and one gap of 1e-5 eV.
_FLAT = 1e-3


def regression_scores(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """R², MAE, RMSE and MAE/MAD of `guess` (n,) against `truth` (n,), both finite; (b,) each.

    MAD is the mean absolute deviation of the weighted truth from its mean. R² and MAE/MAD are NaN where the
    truths of positive weight are as good as equal, everything is where no weight is positive.
    """
    total = _positive(weights.sum(axis=1))
    error = np.abs(guess - truth)
    mae = weights @ error / total
    mse = weights @ error**2 / total
    deviation = np.abs(truth - (weights @ truth / total)[:, None])
    mad = np.einsum("bn,bn->b", weights, deviation) / total
    # The square in place: with 1000 resamples of 1000 samples, the time goes into memory traffic.
    variance = np.einsum("bn,bn->b", weights, np.square(deviation, out=deviation)) / total
    varies = mad > max(_EQUAL * np.abs(truth).max(), _FLAT * np.abs(truth - truth.mean()).mean())
    return {
        "r2": 1 - mse / np.where(varies, variance, np.nan),
        "mae": mae,
        "rmse": np.sqrt(mse),
        "mae_over_mad": mae / np.where(varies, mad, np.nan),
    }


def auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, (b,): how often a positive scores above a negative, ties counting half.

    NaN where a class has no weight.

    Args:
        positive: (n,) bool.
        score: (n,) finite, higher for positives.
    """
    order = np.argsort(score, kind="stable")
    ties = np.flatnonzero(np.diff(score[order], prepend=-np.inf))
    sorted_weights = weights[:, order]
    positives = np.add.reduceat(sorted_weights * positive[order], ties, axis=1)
    negatives = np.add.reduceat(sorted_weights * ~positive[order], ties, axis=1)
    below = np.cumsum(negatives, axis=1) - negatives
    wins = np.einsum("bn,bn->b", positives, below + negatives / 2)
    return wins / _positive(positives.sum(axis=1) * negatives.sum(axis=1))


def macro_auc(labels: np.ndarray, probabilities: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean one-versus-rest AUC over the classes that occur in `labels`, (b,).

    NaN where one of those classes has no weight, or all of it.

    Args:
        labels: (n,) class numbers.
        probabilities: (n, classes).
    """
    areas = [auc(labels == at, probabilities[:, int(at)], weights) for at in np.unique(labels)]
    return np.mean(areas, axis=0)


def balanced_accuracy(labels: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that occur in `labels`, (b,).

    NaN where one of those classes has no weight, or where only one class occurs.

    Args:
        labels: (n,) class numbers.
        guess: (n,) predicted class numbers.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        return np.full(len(weights), np.nan)
    hit = labels == guess
    recalls = [weights @ (hit & (labels == at)) / _positive(weights @ (labels == at)) for at in classes]
    return np.mean(recalls, axis=0)


def wilson_interval(hits: float, n: int, level: float) -> tuple[float, float]:
    """Wilson's score interval of a share of n > 0 independent samples; it has a width even where all are hits."""
    z = NormalDist().inv_cdf((1 + level) / 2)
    share, tail = hits / n, z * z / n
    centre, half = share + tail / 2, z * math.sqrt(share * (1 - share) / n + tail / (4 * n))
    return max(0.0, (centre - half) / (1 + tail)), min(1.0, (centre + half) / (1 + tail))


def _positive(total: np.ndarray) -> np.ndarray:
    """The denominators, with NaN in the place of zeros."""
    return np.where(total > 0, total, np.nan)
