"""How often intervals of any level hold the truth on other crystals than those they were fitted on."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.stats import betabinom

from rhonet.core.predictions import Predictions
from rhonet.uncertainty.calibration import Calibration, half_widths, learned_errors


@dataclass(frozen=True)
class CoverageCurve:
    """Share of one property's labelled samples within their intervals, or sets of classes, at each of `CURVE_LEVELS`.

    NaN where the half width is infinite. n: groups of the samples; n_calibration: samples that the half widths come
    from, counted as groups, too, if they have as many relatives.
    """

    n: int
    n_calibration: int
    shares: tuple[float, ...]


def coverage_curves(
    calibration: Calibration, predictions: Predictions, volumes: np.ndarray
) -> dict[str, CoverageCurve]:
    """Measured coverage per property that has half widths at all levels, and labels on the learned scale.

    Args:
        predictions: of n samples.
        volumes: (n,) cell volumes, Å³.
    """
    curves = {}
    for item in predictions.properties:
        widths = calibration.widths.get(item.name)
        errors = learned_errors(item, predictions, volumes)
        n_groups = len(np.unique(predictions.units[~np.isnan(errors)]))
        if widths is not None and widths.half_width > 0 and item.name in predictions.upper:
            # As many times wider or narrower at all levels.
            own = half_widths(item, predictions.values[item.name], predictions.upper[item.name])
            errors = errors * widths.half_width / (own if item.intensive else own / volumes)
        errors = errors[~np.isnan(errors)]
        if widths is not None and widths.half_widths and len(errors):
            shares = [
                float((errors <= width).mean()) if math.isfinite(width) else math.nan for width in widths.half_widths
            ]
            n_calibration = max(1, round(widths.n * n_groups / len(errors)))
            curves[item.name] = CoverageCurve(n_groups, n_calibration, tuple(shares))
    return curves


def relative_errors(predictions: Predictions, volumes: np.ndarray) -> np.ndarray:
    """Error of each sample on the learned scales, over that of all samples, averaged over its properties, (n,).

    1 is an average sample; NaN where a sample has no label.
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
    """Central 95 % of the coverage that n samples measure, where they are drawn like the calibration samples.

    Beta-binomial: chance in the n samples and in the half width (arXiv:2107.07511, section 3.2).
    """
    rank = math.ceil((n_calibration + 1) * level - 1e-9)
    if rank > n_calibration:
        return 1.0, 1.0
    low, high = betabinom.ppf((0.025, 0.975), n, rank, n_calibration + 1 - rank)
    return float(low / n), float(high / n)
