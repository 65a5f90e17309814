"""Result of a study: scores of each variant and paired differences to the first one, as tables and as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rhonet.core.errors import DataError
from rhonet.core.predictions import Predictions
from rhonet.core.text import markdown_table, spaced
from rhonet.evaluation.bootstrap import Metric, metric_of
from rhonet.evaluation.metrics import Evaluation, evaluate, property_scores
from rhonet.experiments.trials import Result, pool_results
from rhonet.reports.wording import signed, three_decimals, with_interval

RESAMPLES = 2000


@dataclass(frozen=True)
class Comparison:
    """Scores of one variant.

    Attributes:
        name: of the variant.
        n_seeds: number of its trainings.
        cpu_minutes: mean of one training.
        evaluation: of all its predictions together.
        average: mean R² (learned scale) over the variant's regression properties with enough labels.
        difference: mean over these properties of the paired difference to the reference, with an interval from
            resampling groups of samples; None for the reference.
        differences: paired differences by property (R²; AUC of a class), with such intervals.
        by_seed: mean R² of each training alone.
    """

    name: str
    n_seeds: int
    cpu_minutes: float
    evaluation: Evaluation
    average: Metric
    difference: Metric | None
    differences: dict[str, Metric]
    by_seed: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        return {**asdict(self), "evaluation": self.evaluation.to_dict()}


def compare(results: Mapping[str, Sequence[Result]], *, paired: bool = True) -> list[Comparison]:
    """Scores of every variant, compared to the first variant.

    Args:
        results: finished trials by variant, in the order of the report.
        paired: whether the variants predicted the same samples, so that differences can be paired.

    Raises:
        DataError: `paired`, but the variants predicted different samples.
    """
    pooled = {name: pool_results(trials).sorted_by_id() for name, trials in results.items()}
    if paired:
        require_same_samples(pooled)
    reference = next(iter(pooled))
    comparisons = []
    for name, predictions in pooled.items():
        scores = property_scores(predictions, resamples=RESAMPLES)
        evaluation = evaluate(predictions, resamples=RESAMPLES)
        trials = results[name]
        differences: dict[str, Metric] = {}
        if name != reference and paired:
            before = property_scores(pooled[reference], resamples=RESAMPLES)
            shared = [item for item in scores if item in before]
            drawn = {item: scores[item] - before[item] for item in shared}
            averaged = evaluation.averages["all"].properties
            defined = [values for item, values in drawn.items() if item in averaged and not np.isnan(values[0])]
            differences = {item: metric_of(values, "undefined score") for item, values in drawn.items()}
            if defined:
                differences[""] = metric_of(np.mean(defined, axis=0), "")
        names = evaluation.averages["all"].properties
        by_seed = tuple(_mean_r2(trial.predictions, names) for trial in trials)
        comparisons.append(
            Comparison(
                name,
                len(trials),
                float(np.mean([trial.cpu_seconds for trial in trials])) / 60,
                evaluation,
                evaluation.averages["all"].r2,
                differences.pop("", None),
                differences,
                by_seed,
            )
        )
    return comparisons


def require_same_samples(pooled: Mapping[str, Predictions]) -> None:
    """Checks that the variants predicted the same samples, in any order.

    Raises:
        DataError: the data set has changed between two trials.
    """
    first = next(iter(pooled))
    samples = set(pooled[first].ids)
    for name, predictions in pooled.items():
        different = samples.symmetric_difference(predictions.ids)
        if different:
            raise DataError(
                f"variants {first} and {name} did not predict the same samples ({len(different)} differ, e.g. "
                f"{min(different)}): the data set has changed during the study; give another --out or remove the trials"
            )


def format_comparison(comparisons: Sequence[Comparison]) -> str:
    """Markdown table: one row per variant, R² (learned scale) or AUC of every property; best numbers in bold.

    A property whose labels are often zero has a second column: R² over the labels that are not zero.
    """
    names = list(dict.fromkeys(name for variant in comparisons for name in _scores(variant.evaluation)))
    best = {name: max((_score(variant, name) for variant in comparisons), default=np.nan) for name in names}
    head = ["variant", "seeds", "mean R²", "difference", *(spaced(name) for name in names), "CPU min"]
    rows = []
    for variant in comparisons:
        cells = [_shown(_score(variant, name), best[name]) for name in names]
        difference = "" if variant.difference is None else with_interval(variant.difference, signed)
        average = with_interval(variant.average, three_decimals)
        minutes = f"{variant.cpu_minutes:.1f}"
        rows.append([variant.name, str(variant.n_seeds), average, difference, *cells, minutes])
    return markdown_table(head, rows)


def format_differences(comparisons: Sequence[Comparison]) -> str:
    """Markdown table of paired differences to the first variant, one row per variant and property."""
    head, rows = ["variant", "property", "reference", "variant's", "difference"], []
    first = comparisons[0]
    for variant in comparisons[1:]:
        for name, difference in variant.differences.items():
            scores = (f"{_score(compared, name):.2f}" for compared in (first, variant))
            rows.append([variant.name, spaced(name), *scores, with_interval(difference, signed)])
    return markdown_table(head, rows)


def _scores(evaluation: Evaluation) -> dict[str, float]:
    """R² on the learned scale, or AUC, by property; as "NAME not 0" also R² over the labels that are not zero."""
    scores = {}
    for item in evaluation.regression:
        scores[item.target.name] = item.r2_learned.value
        if item.where_not_zero is not None:
            scores[f"{item.target.name} not 0"] = item.where_not_zero.r2.value
    return scores | {item.target.name: item.auc.value for item in evaluation.classes}


def _score(variant: Comparison, name: str) -> float:
    """Score of that name; NaN for a property that the variant does not predict."""
    return _scores(variant.evaluation).get(name, float("nan"))


def _shown(value: float, best: float) -> str:
    if np.isnan(value):
        return ""
    return f"**{value:.2f}**" if value >= best - 0.005 else f"{value:.2f}"


def _mean_r2(predictions: Predictions, names: Sequence[str]) -> float:
    """Mean R² of the named properties whose R² is defined; NaN if none is."""
    scores = property_scores(predictions, resamples=0)
    known = [score for name in names if not np.isnan(score := scores[name][0])]
    return float(np.mean(known)) if known else float("nan")
