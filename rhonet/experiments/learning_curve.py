"""Learning curves: a power law is fitted to R² against the number of training crystals and extrapolated."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rhonet.core.errors import DataError
from rhonet.core.text import markdown_table, spaced
from rhonet.evaluation.bootstrap import CONFIDENCE_LEVEL, Metric, metric_of
from rhonet.evaluation.metrics import averaged_properties, property_scores
from rhonet.experiments.comparison import RESAMPLES, require_same_samples
from rhonet.experiments.trials import Result, pool_results
from rhonet.reports.wording import three_decimals, with_interval

# The table extrapolates to so many times as much data, and gives the data that R² = AIM takes.
FACTORS = (2.0, 4.0, 16.0)
AIM = 0.9
# R² above this are clipped: the logarithm of 1 - R² would be noise.
MOST_EXPLAINED = 0.999
# Upper limit of the factor by which the data must grow.
ENDLESS = 1e9
MEAN = "mean"


@dataclass(frozen=True)
class LearningCurve:
    """Learning curve of one property, or of the mean over properties: 1 - R² = a · n^(-exponent).

    Intervals come from resampling groups of crystals. They do not say whether the power law holds for more data.

    Attributes:
        name: of the property, or `MEAN`.
        now: R² on the learned scale with all training crystals.
        exponent: of the power law.
        ahead: R² with `FACTORS` times as many training crystals.
        aim: times as many training crystals that R² = `AIM` takes; `ENDLESS` at most.
    """

    name: str
    now: Metric
    exponent: Metric
    ahead: tuple[Metric, ...]
    aim: Metric

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        return asdict(self)


def fit_learning_curves(results: Mapping[str, Sequence[Result]]) -> tuple[LearningCurve, ...]:
    """Learning curve of the mean over properties with enough labels, then of every regression property.

    Args:
        results: finished trials by variant; each variant has another share of the training crystals.

    Raises:
        DataError: fewer than two shares, or variants that predicted different samples.
    """
    pooled = {name: pool_results(trials).sorted_by_id() for name, trials in results.items()}
    require_same_samples(pooled)
    shares = np.array([trials[0].trial.config.data.train_share for trials in results.values()])
    if len(set(shares.tolist())) < 2:
        raise DataError("a learning curve needs at least two shares of the training set; name more with --only")
    drawn = [property_scores(part, resamples=RESAMPLES) for part in pooled.values()]
    regression = [item.name for item in next(iter(pooled.values())).properties if not item.is_class]
    curves = {name: np.stack([scores[name] for scores in drawn]) for name in regression}
    known = {name: curve for name, curve in curves.items() if np.isfinite(curve[:, 0]).all()}
    enough = averaged_properties(next(iter(pooled.values())))
    if averaged := [curve for name, curve in known.items() if name in enough]:
        known = {MEAN: np.mean(averaged, axis=0), **known}
    return tuple(_fit(name, shares, curve) for name, curve in known.items())


def format_learning_curves(curves: Sequence[LearningCurve]) -> str:
    """Markdown: the table, and what it means."""
    head = ["property", "R² now", "exponent", *(f"x {factor:g}" for factor in FACTORS), f"data for R² {AIM:.2f}"]
    rows = [
        [
            spaced(curve.name),
            f"{curve.now.value:.2f}",
            with_interval(curve.exponent, three_decimals),
            *(f"{ahead.value:.2f}" for ahead in curve.ahead),
            _times(curve),
        ]
        for curve in curves
    ]
    table = markdown_table(head, rows)
    return (
        f"1 - R² falls with the number n of training crystals about as n^(-exponent). Read on beyond the set at hand, "
        f"this gives R² with {', '.join(f'{factor:g}' for factor in FACTORS)} times as many, and how many it takes. "
        f"{CONFIDENCE_LEVEL:.0%} intervals from resampling groups of crystals; they do not say whether the law goes on."
        "\n\n"
        f"{table}"
    )


def _fit(name: str, shares: np.ndarray, curve: np.ndarray) -> LearningCurve:
    """Fits a straight line to log(1 - R²) against log(share).

    Args:
        name: of the property.
        shares: of the training crystals, (s,).
        curve: R² at these shares, (s, 1 + b): of the samples, then of b resamples.
    """
    unexplained = np.log(np.maximum(1 - curve, 1 - MOST_EXPLAINED))
    x = np.log(shares)
    weights = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
    slope = weights @ unexplained
    at_one = unexplained.mean(axis=0) - slope * x.mean()
    with np.errstate(divide="ignore", over="ignore"):
        needed = np.where(slope < 0, np.exp((np.log(1 - AIM) - at_one) / slope), ENDLESS)
    return LearningCurve(
        name,
        metric_of(curve[int(np.argmax(shares))], ""),
        metric_of(-slope, ""),
        tuple(metric_of(1 - np.exp(at_one + slope * np.log(factor)), "") for factor in FACTORS),
        metric_of(np.minimum(needed, ENDLESS), ""),
    )


def _times(curve: LearningCurve) -> str:
    """How many times as much data the aim takes, in two digits."""
    if curve.now.value >= AIM:
        return "reached"
    if math.isnan(curve.aim.lower):
        return f"x {_two_digits(curve.aim.value)}"
    shown = [_two_digits(value) for value in (curve.aim.value, curve.aim.lower, curve.aim.upper)]
    return f"x {shown[0]} [{shown[1]}, {shown[2]}]"


def _two_digits(value: float) -> str:
    return f"{value:.2g}" if value < 99.5 else "> 100"
