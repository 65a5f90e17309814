"""Coverage of intervals of any level on crystals that are not in the calibration set."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import betabinom

from rhonet.core.predictions import Predictions
from rhonet.uncertainty.calibration import Calibration, half_widths, learned_errors


@dataclass(frozen=True)
class CoverageCurve:
    """Coverage of one property's intervals, or prediction sets, at each of `CURVE_LEVELS`.

    Attributes:
        n: number of groups of the labelled samples.
        n_calibration: number of groups of the calibration samples, if these groups are as large on average.
        shares: share of the labelled samples inside, per level; NaN where the half width is infinite.
    """

    n: int
    n_calibration: int
    shares: tuple[float, ...]


def coverage_curves(
    calibration: Calibration, predictions: Predictions, volumes: np.ndarray
) -> dict[str, CoverageCurve]:
    """Measured coverage per property that has stored half widths, and labels on the learned scale.

    Args:
        calibration: half widths of the intervals.
        predictions: predictions for n samples that are not in the calibration set, with their intervals.
        volumes: (n,) cell volumes, Å³.
    """
    curves = {}
    for item in predictions.properties:
        widths = calibration.widths.get(item.name)
        errors = learned_errors(item, predictions, volumes)
        n_groups = len(np.unique(predictions.units[~np.isnan(errors)]))
        if widths is not None and widths.half_width > 0 and item.name in predictions.upper:
            # The difficulty of a crystal scales its intervals at all levels by the same factor.
            sample_widths = half_widths(item, predictions.values[item.name], predictions.upper[item.name])
            errors = errors * widths.half_width / (sample_widths if item.intensive else sample_widths / volumes)
        errors = errors[~np.isnan(errors)]
        if widths is not None and widths.half_widths and len(errors):
            shares = [
                float((errors <= width).mean()) if math.isfinite(width) else math.nan for width in widths.half_widths
            ]
            n_calibration = max(1, round(widths.n * n_groups / len(errors)))
            curves[item.name] = CoverageCurve(n_groups, n_calibration, tuple(shares))
    return curves


def relative_errors(predictions: Predictions, volumes: np.ndarray) -> np.ndarray:
    """Error of each sample relative to the mean error of all samples, averaged over the properties, (n,).

    Errors are those on the learned scales. An average sample has 1; a sample without any label has NaN.
    """
    total, counts = np.zeros(len(predictions)), np.zeros(len(predictions))
    for item in predictions.properties:
        errors = learned_errors(item, predictions, volumes)
        known = ~np.isnan(errors)
        if errors[known].any():
            total[known] += errors[known] / errors[known].mean()
            counts[known] += 1
    return np.divide(total, counts, out=np.full(len(predictions), np.nan), where=counts > 0)


def expected_coverage(n: int, n_calibration: int, level: float) -> tuple[float, float]:
    """Central 95 % range of the coverage of n samples from the same distribution as the calibration set.

    The coverage is beta-binomial: both the n samples and the half width are random (arXiv:2107.07511, section 3.2).

    Args:
        n: number of samples, or of their groups.
        n_calibration: number of calibration samples, or of their groups.
        level: nominal coverage.
    """
    rank = math.ceil((n_calibration + 1) * level - 1e-9)
    if rank > n_calibration:
        return 1.0, 1.0
    low, high = betabinom.ppf((0.025, 0.975), n, rank, n_calibration + 1 - rank)
    return float(low / n), float(high / n)
