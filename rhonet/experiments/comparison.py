"""What a study found: scores of each variant and paired differences to the first, as a table and as JSON."""

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

    n_seeds: trainings behind it; cpu_minutes: of one of them.
    evaluation: of all its predictions together.
    average: mean R² (learned scale) over the properties that all variants of the study share, or its own ones.
    difference: of that mean to the reference's on the same samples, and per property (R²; AUC of a class), with
        intervals from resampling groups of samples; None for the reference.
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
    """Every variant beside the first.

    Args:
        results: per variant, in the order of the report, the finished trials.
        paired: the variants predicted the same samples, so that differences can be paired.

    Raises:
        DataError: they should have, but did not.
    """
    pooled = {name: pool_results(trials).sorted_by_id() for name, trials in results.items()}
    if paired:
        require_same_samples(pooled)
    reference = next(iter(pooled))
    found = []
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
        found.append(
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
    return found


def require_same_samples(pooled: Mapping[str, Predictions]) -> None:
    """Checks that the variants predicted the same samples, in whatever order.

    Raises:
        DataError: the data set has changed between two trials.
    """
    first = next(iter(pooled))
    samples = set(pooled[first].ids)
    for name, predictions in pooled.items():
        odd = samples.symmetric_difference(predictions.ids)
        if odd:
            raise DataError(
                f"variants {first} and {name} did not predict the same samples ({len(odd)} differ, e.g. {min(odd)}): "
                "the data set has changed during the study; give another --out or remove the trials"
            )


def format_comparison(comparisons: Sequence[Comparison]) -> str:
    """Markdown table: one row per variant, R² (learned scale) or AUC of every property; best numbers in bold.

    Properties that are often zero have a second column: R² where they are not.
    """
    names = list(dict.fromkeys(name for one in comparisons for name in _scores(one.evaluation)))
    best = {name: max((_value(one, name) for one in comparisons), default=np.nan) for name in names}
    head = ["variant", "seeds", "mean R²", "difference", *(spaced(name) for name in names), "CPU min"]
    rows = []
    for one in comparisons:
        cells = [_shown(_value(one, name), best[name]) for name in names]
        difference = "" if one.difference is None else with_interval(one.difference, signed)
        average = with_interval(one.average, three_decimals)
        rows.append([one.name, str(one.n_seeds), average, difference, *cells, f"{one.cpu_minutes:.1f}"])
    return markdown_table(head, rows)


def format_differences(comparisons: Sequence[Comparison]) -> str:
    """Markdown table of paired differences to the first variant, one row per variant and property that has one."""
    head, rows = ["variant", "property", "reference", "variant's", "difference"], []
    first = comparisons[0]
    for one in comparisons[1:]:
        for name, difference in one.differences.items():
            scores = (f"{_value(member, name):.2f}" for member in (first, one))
            rows.append([one.name, spaced(name), *scores, with_interval(difference, signed)])
    return markdown_table(head, rows)


def _scores(evaluation: Evaluation) -> dict[str, float]:
    """R² on the learned scale, or AUC, by the property's name; "NAME not 0" where it is not zero."""
    found = {}
    for item in evaluation.regression:
        found[item.target.name] = item.r2_learned.value
        if item.where_not_zero is not None:
            found[f"{item.target.name} not 0"] = item.where_not_zero.r2.value
    return found | {item.target.name: item.auc.value for item in evaluation.classes}


def _value(one: Comparison, name: str) -> float:
    """One of the scores; NaN for a property that the variant does not predict."""
    return _scores(one.evaluation).get(name, float("nan"))


def _shown(value: float, best: float) -> str:
    if np.isnan(value):
        return ""
    return f"**{value:.2f}**" if value >= best - 0.005 else f"{value:.2f}"


def _mean_r2(predictions: Predictions, names: Sequence[str]) -> float:
    """Over those of the named properties whose R² is defined; NaN where none is."""
    scores = property_scores(predictions, resamples=0)
    known = [score for name in names if not np.isnan(score := scores[name][0])]
    return float(np.mean(known)) if known else float("nan")
