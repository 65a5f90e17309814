"""How often 90 % intervals hold the truth, measured on all folds: each is judged by intervals that the others gave."""

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
    """Intervals of one property over all folds.

    coverage: share of the n labelled samples inside, with Wilson's interval. not_zero: of those whose label is not
        zero, as `rhonet.evaluation.scores` tells them; None where too few are zero.
    half_widths: 10th, 50th and 90th percentile, on the learned scale; for a class what its probability may miss to 1
        and the class still belongs to the set.
    score: mean interval score (width, and 20 times what a label lies outside; Gneiting & Raftery, J. Am. Stat. Assoc.
        102, 359 (2007)) over that of intervals equally wide for all samples, groups resampled; None for classes.
    """

    item: Property
    n: int
    coverage: Metric
    not_zero: Metric | None
    half_widths: tuple[float, float, float]
    score: Metric | None

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        return {
            "property": self.item.name,
            "level": PREDICTION_LEVEL,
            **{k: v for k, v in asdict(self).items() if k != "item"},
        }


def measure_fold_coverage(folds: Sequence[Predictions], volumes: Mapping[str, float]) -> tuple[FoldCoverage, ...]:
    """Coverage of every property that enough samples are labelled with.

    Args:
        folds: predictions of each fold, by a network that has not trained on it.
        volumes: cell volumes by sample, Å³.

    Raises:
        DataError: fewer than two folds, or a sample in several of them.
    """
    ids = [name for fold in folds for name in fold.ids]
    if len(folds) < 2 or len(set(ids)) < len(ids):
        raise DataError(f"{len(folds)} folds with {len(ids)} samples, {len(set(ids))} different: each belongs to one")
    whole = merge_predictions(folds)
    own = [np.array([volumes[name] for name in fold.ids]) for fold in folds]
    judged = [_judge(folds, own, at) for at in range(len(folds))]
    found = []
    for item in whole.properties:
        errors = np.concatenate([learned_errors(item, fold, v) for fold, v in zip(folds, own, strict=True)])
        widths, equal = (np.concatenate([one[way][item.name] for one in judged]) for way in (0, 1))
        known = ~np.isnan(errors)
        if not known.any() or not np.isfinite(widths + equal).all():
            continue
        units, hits, not_zero, score = whole.units[known], errors[known] <= widths[known], None, None
        if not item.is_class:
            other = ScoredProperty.of(item, whole).where_not_zero()
            if other is not None and other.n:
                not_zero = share_of((errors <= widths)[other.rows], "no labels", other.units)
            scores, others = (_interval_scores(errors[known], one[known]) for one in (widths, equal))
            score = _ratio(scores, others, np.unique(units, return_inverse=True)[1])
        low, median, high = np.quantile(widths[known], [0.1, 0.5, 0.9]).tolist()
        coverage = share_of(hits, "no labels", units)
        found.append(FoldCoverage(item, len(hits), coverage, not_zero, (low, median, high), score))
    return tuple(found)


def _judge(
    folds: Sequence[Predictions], volumes: Sequence[np.ndarray], at: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Half widths (n,) of every property for the samples of one fold, from the others; the same if equal for all."""
    others = merge_predictions([fold for k, fold in enumerate(folds) if k != at])
    their_volumes = np.concatenate([one for k, one in enumerate(volumes) if k != at])
    widths, difficulty = fit_conformal_widths(others, their_volumes)
    columns, own, equal = prediction_features(folds[at], volumes[at]), {}, {}
    for item in others.properties:
        factors = np.asarray(difficulty.factors(columns, [item.name])[:, 0], np.float64)
        own[item.name] = np.full(len(columns), widths[item.name].half_width * factors)
        errors = learned_errors(item, others, their_volumes)
        equal[item.name] = np.full(len(columns), conformal_quantile(errors[~np.isnan(errors)], PREDICTION_LEVEL))
    return own, equal


def _interval_scores(errors: np.ndarray, half_widths: np.ndarray) -> np.ndarray:
    return 2 * half_widths + 2 / (1 - PREDICTION_LEVEL) * np.maximum(errors - half_widths, 0)


def _ratio(scores: np.ndarray, others: np.ndarray, units: np.ndarray) -> Metric:
    """Mean of the one over that of the other, resampled by units."""
    if not others.any():
        return Metric(math.nan, reason="no errors")
    resampled = np.concatenate(
        [(counts @ scores) / (counts @ others) for counts in resamples_of(units, RESAMPLES, seed=0)]
    )
    return metric_of(np.concatenate([[scores.sum() / others.sum()], resampled]), "no labels")


def format_fold_coverage(found: Sequence[FoldCoverage]) -> str:
    """Markdown: the table, and how it was measured."""
    if not found:
        return f"Too few labelled samples for {PREDICTION_LEVEL:.0%} intervals.\n"
    head = ["property", "coverage", "where not 0", "n", "half width", "interval score"]
    rows = [
        [
            spaced(one.item.name),
            with_interval(one.coverage, three_decimals),
            "" if one.not_zero is None else with_interval(one.not_zero, three_decimals),
            str(one.n),
            _shown(one.item, one.half_widths),
            "" if one.score is None else with_interval(one.score, three_decimals),
        ]
        for one in found
    ]
    mean = np.mean([one.coverage.value for one in found])
    table = markdown_table(head, rows)
    return (
        f"{PREDICTION_LEVEL:.0%} intervals of each fold, and sets of classes, come from the errors on the others. "
        "Share of the labels inside, with Wilson's 95 % interval of as many as there are groups; "
        f"{mean:.1%} on average. Half widths of the median sample and, in brackets, the 10th and 90th percentile. "
        "Interval score, the smaller the better, over that of intervals equally wide for all samples, groups "
        f"resampled.\n\n{table}"
    )


def _shown(item: Property, widths: tuple[float, float, float]) -> str:
    low, median, high = widths
    if item.is_class:
        return f"probability {1 - median:.2f}"
    if item.transform == "log":
        return f"×÷ {math.exp(median):.2f} [{math.exp(low):.2f}, {math.exp(high):.2f}]"
    unit = item.unit if item.intensive else f"{item.unit} per Å³"
    low, median, high = (f"{float(f'{width:.2g}'):g}" for width in widths)
    return f"± {median} [{low}, {high}] {unit}".rstrip()


@dataclass(frozen=True)
class FoldProbabilities:
    """Mean log loss of one class property over all folds.

    before, after: of the n labelled samples' probabilities as trained, and toned down. gain: before - after, groups
        resampled. temperature: of the median fold.
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


def measure_fold_probabilities(folds: Sequence[Predictions]) -> tuple[FoldProbabilities, ...]:
    """Log losses of every class property with labels.

    Args:
        folds: predictions of each fold, by a network that has not trained on it.
    """
    units = merge_predictions(folds).units
    found = []
    for item in folds[0].properties:
        if not item.is_class or not any((~np.isnan(fold.labels[item.name])).any() for fold in folds):
            continue
        labels = [fold.labels[item.name] for fold in folds]
        logits = [logits_of(item, fold.values[item.name]) for fold in folds]
        temperatures = [
            fit_temperature(
                item, np.concatenate(logits[:at] + logits[at + 1 :]), np.concatenate(labels[:at] + labels[at + 1 :])
            )
            for at in range(len(folds))
        ]
        known = ~np.isnan(truth := np.concatenate(labels))
        tempered = np.concatenate([one / t for one, t in zip(logits, temperatures, strict=True)])
        before, after = (log_losses(item, z[known], truth[known]) for z in (np.concatenate(logits), tempered))
        gain = _mean(before - after, np.unique(units[known], return_inverse=True)[1])
        median = float(np.median(temperatures))
        found.append(FoldProbabilities(item, len(before), float(before.mean()), float(after.mean()), gain, median))
    return tuple(found)


def format_fold_probabilities(found: Sequence[FoldProbabilities]) -> str:
    """Markdown: the table, and how it was measured."""
    head, rows = ["property", "log loss", "toned down", "gain", "temperature", "n"], []
    for one in found:
        losses = [f"{one.before:.3f}", f"{one.after:.3f}", with_interval(one.gain, signed)]
        rows.append([spaced(one.item.name), *losses, f"{one.temperature:.1f}", str(one.n)])
    table = markdown_table(head, rows)
    return (
        "Mean of minus the logarithm of the true class's probability, as trained and with logits divided by the "
        f"temperature that the other folds gave:\n\n{table}"
    )


def _mean(values: np.ndarray, units: np.ndarray) -> Metric:
    """Mean of the samples, resampled by their units."""
    blocks = resamples_of(units, RESAMPLES, seed=0)
    resampled = np.concatenate([(counts @ values) / counts.sum(axis=1) for counts in blocks])
    return metric_of(np.concatenate([[values.mean()], resampled]), "no labels")
