"""Coverage of prediction intervals and log loss of probabilities on all folds, each calibrated on the other folds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rhonet.core.errors import DataError
from rhonet.core.predictions import Predictions, merge_predictions
from rhonet.core.properties import Property
from rhonet.core.text import markdown_table, spaced
from rhonet.evaluation.bootstrap import Metric, metric_of, resamples_of, share_of
from rhonet.evaluation.scores import ScoredProperty
from rhonet.reports.wording import signed, three_decimals, with_interval
from rhonet.uncertainty.calibration import PREDICTION_LEVEL, conformal_quantile, fit_conformal_widths, learned_errors
from rhonet.uncertainty.difficulty import prediction_features
from rhonet.uncertainty.temperature import fit_temperature, log_losses, logits_of

RESAMPLES = 1000


@dataclass(frozen=True)
class FoldCoverage:
    """Prediction intervals of one property over all folds.

    Attributes:
        item: the property.
        n: labelled samples.
        coverage: share of these samples inside their intervals, with Wilson's interval.
        not_zero: that share among the labels that are not zero (`rhonet.evaluation.scores`); None if too few labels
            are zero.
        half_widths: 10th, 50th and 90th percentile, on the learned scale. For a class: one minus the least probability
            of a class in the prediction set.
        score: mean interval score, relative to that of intervals equally wide for all samples, with groups resampled;
            None for classes. The interval score is the width plus 20 times the distance of a label outside (Gneiting &
            Raftery, J. Am. Stat. Assoc. 102, 359 (2007)).
    """

    item: Property
    n: int
    coverage: Metric
    not_zero: Metric | None
    half_widths: tuple[float, float, float]
    score: Metric | None

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        fields = {name: value for name, value in asdict(self).items() if name != "item"}
        return {"property": self.item.name, "level": PREDICTION_LEVEL, **fields}


@dataclass(frozen=True)
class FoldProbabilities:
    """Mean log loss of one class property over all folds.

    Attributes:
        item: the property.
        n: labelled samples.
        before: log loss of their probabilities as trained.
        after: log loss of their temperature-scaled probabilities.
        gain: before - after, with groups resampled.
        temperature: of the median fold.
    """

    item: Property
    n: int
    before: float
    after: float
    gain: Metric
    temperature: float

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        return {"property": self.item.name, **{name: value for name, value in asdict(self).items() if name != "item"}}


def measure_fold_coverage(folds: Sequence[Predictions], volumes: Mapping[str, float]) -> tuple[FoldCoverage, ...]:
    """Coverage of every property with enough labels.

    Args:
        folds: predictions of each fold, by a network that has not trained on it.
        volumes: cell volumes by sample, Å³.

    Raises:
        DataError: fewer than two folds, or a sample in several of them.
    """
    ids = [name for fold in folds for name in fold.ids]
    if len(folds) < 2 or len(set(ids)) < len(ids):
        raise DataError(f"{len(folds)} folds with {len(ids)} samples, {len(set(ids))} different: each belongs to one")
    merged = merge_predictions(folds)
    fold_volumes = [np.array([volumes[name] for name in fold.ids]) for fold in folds]
    fold_widths = [_half_widths_of_fold(folds, fold_volumes, number) for number in range(len(folds))]
    coverages = []
    for item in merged.properties:
        errors = np.concatenate([learned_errors(item, fold, v) for fold, v in zip(folds, fold_volumes, strict=True)])
        widths = np.concatenate([own[item.name] for own, _ in fold_widths])
        equal_widths = np.concatenate([equal[item.name] for _, equal in fold_widths])
        known = ~np.isnan(errors)
        if not known.any() or not np.isfinite(widths + equal_widths).all():
            continue
        units, hits, not_zero, score = merged.units[known], errors[known] <= widths[known], None, None
        if not item.is_class:
            nonzero = ScoredProperty.of(item, merged).where_not_zero()
            if nonzero is not None and nonzero.n:
                not_zero = share_of((errors <= widths)[nonzero.rows], "no labels", nonzero.units)
            scores = _interval_scores(errors[known], widths[known])
            equal_scores = _interval_scores(errors[known], equal_widths[known])
            score = _ratio_of_means(scores, equal_scores, np.unique(units, return_inverse=True)[1])
        low, median, high = np.quantile(widths[known], [0.1, 0.5, 0.9]).tolist()
        coverage = share_of(hits, "no labels", units)
        coverages.append(FoldCoverage(item, len(hits), coverage, not_zero, (low, median, high), score))
    return tuple(coverages)


def format_fold_coverage(coverages: Sequence[FoldCoverage]) -> str:
    """Markdown: the table, and how it was measured."""
    if not coverages:
        return f"Too few labelled samples for {PREDICTION_LEVEL:.0%} intervals.\n"
    head = ["property", "coverage", "where not 0", "n", "half width", "interval score"]
    rows = [
        [
            spaced(item.item.name),
            with_interval(item.coverage, three_decimals),
            "" if item.not_zero is None else with_interval(item.not_zero, three_decimals),
            str(item.n),
            _shown(item.item, item.half_widths),
            "" if item.score is None else with_interval(item.score, three_decimals),
        ]
        for item in coverages
    ]
    mean = np.mean([item.coverage.value for item in coverages])
    table = markdown_table(head, rows)
    return (
        f"{PREDICTION_LEVEL:.0%} intervals of each fold, and sets of classes, come from the errors on the others. "
        "Share of the labels inside, with Wilson's 95 % interval of as many as there are groups; "
        f"{mean:.1%} on average. Half widths of the median sample and, in brackets, the 10th and 90th percentile. "
        "Interval score, the smaller the better, over that of intervals equally wide for all samples, groups "
        f"resampled.\n\n{table}"
    )


def measure_fold_probabilities(folds: Sequence[Predictions]) -> tuple[FoldProbabilities, ...]:
    """Log losses of every class property with labels.

    Args:
        folds: predictions of each fold, by a network that has not trained on it.
    """
    units = merge_predictions(folds).units
    losses = []
    for item in folds[0].properties:
        if not item.is_class or not any((~np.isnan(fold.labels[item.name])).any() for fold in folds):
            continue
        labels = [fold.labels[item.name] for fold in folds]
        logits = [logits_of(item, fold.values[item.name]) for fold in folds]
        temperatures = [
            fit_temperature(
                item,
                np.concatenate(logits[:number] + logits[number + 1 :]),
                np.concatenate(labels[:number] + labels[number + 1 :]),
            )
            for number in range(len(folds))
        ]
        known = ~np.isnan(truth := np.concatenate(labels))
        scaled = np.concatenate([part / temperature for part, temperature in zip(logits, temperatures, strict=True)])
        before, after = (log_losses(item, z[known], truth[known]) for z in (np.concatenate(logits), scaled))
        gain = _mean(before - after, np.unique(units[known], return_inverse=True)[1])
        median = float(np.median(temperatures))
        losses.append(FoldProbabilities(item, len(before), float(before.mean()), float(after.mean()), gain, median))
    return tuple(losses)


def format_fold_probabilities(losses: Sequence[FoldProbabilities]) -> str:
    """Markdown: the table, and how it was measured."""
    head = ["property", "log loss", "temperature-scaled", "gain", "temperature", "n"]
    rows = [
        [
            spaced(item.item.name),
            f"{item.before:.3f}",
            f"{item.after:.3f}",
            with_interval(item.gain, signed),
            f"{item.temperature:.1f}",
            str(item.n),
        ]
        for item in losses
    ]
    table = markdown_table(head, rows)
    return (
        "Mean of minus the logarithm of the true class's probability, as trained and with logits divided by the "
        f"temperature that the other folds gave:\n\n{table}"
    )


def _half_widths_of_fold(
    folds: Sequence[Predictions], volumes: Sequence[np.ndarray], number: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Half widths (n,) by property for the samples of one fold, fitted on the other folds.

    Args:
        folds: predictions of each fold.
        volumes: of their samples, Å³.
        number: of the fold.

    Returns:
        Widths of `fit_conformal_widths`, and widths that are equal for all samples.
    """
    others = merge_predictions([fold for k, fold in enumerate(folds) if k != number])
    other_volumes = np.concatenate([part for k, part in enumerate(volumes) if k != number])
    widths, difficulty = fit_conformal_widths(others, other_volumes)
    columns, own, equal = prediction_features(folds[number], volumes[number]), {}, {}
    for item in others.properties:
        factors = np.asarray(difficulty.factors(columns, [item.name])[:, 0], np.float64)
        own[item.name] = np.full(len(columns), widths[item.name].half_width * factors)
        errors = learned_errors(item, others, other_volumes)
        equal[item.name] = np.full(len(columns), conformal_quantile(errors[~np.isnan(errors)], PREDICTION_LEVEL))
    return own, equal


def _interval_scores(errors: np.ndarray, half_widths: np.ndarray) -> np.ndarray:
    return 2 * half_widths + 2 / (1 - PREDICTION_LEVEL) * np.maximum(errors - half_widths, 0)


def _ratio_of_means(scores: np.ndarray, equal_scores: np.ndarray, units: np.ndarray) -> Metric:
    """Mean of `scores` over the mean of `equal_scores`, resampled by units."""
    if not equal_scores.any():
        return Metric(math.nan, reason="no errors")
    resampled = np.concatenate(
        [(counts @ scores) / (counts @ equal_scores) for counts in resamples_of(units, RESAMPLES, seed=0)]
    )
    return metric_of(np.concatenate([[scores.sum() / equal_scores.sum()], resampled]), "no labels")


def _mean(values: np.ndarray, units: np.ndarray) -> Metric:
    """Mean of the samples, resampled by their units."""
    blocks = resamples_of(units, RESAMPLES, seed=0)
    resampled = np.concatenate([(counts @ values) / counts.sum(axis=1) for counts in blocks])
    return metric_of(np.concatenate([[values.mean()], resampled]), "no labels")


def _shown(item: Property, widths: tuple[float, float, float]) -> str:
    """Half widths in the property's unit, or as factors."""
    low, median, high = widths
    if item.is_class:
        return f"probability {1 - median:.2f}"
    if item.transform == "log":
        return f"×÷ {math.exp(median):.2f} [{math.exp(low):.2f}, {math.exp(high):.2f}]"
    unit = item.unit if item.intensive else f"{item.unit} per Å³"
    low, median, high = (f"{float(f'{width:.2g}'):g}" for width in widths)
    return f"± {median} [{low}, {high}] {unit}".rstrip()
