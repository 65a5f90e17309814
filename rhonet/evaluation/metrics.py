"""Evaluation of a set of predictions: scores per property and their averages, with bootstrap intervals."""

from __future__ import annotations

import dataclasses
import itertools
import math
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rhonet.core.files import plain_values
from rhonet.core.predictions import NOVEL, Predictions
from rhonet.core.properties import Property
from rhonet.evaluation.bootstrap import CONFIDENCE_LEVEL, Metric, metric_of, resamples_of, share_of
from rhonet.evaluation.scores import ScoredProperty
from rhonet.uncertainty.calibration import PREDICTION_LEVEL

# With fewer groups there are too few different resamples for an interval.
FEWEST_GROUPS = 5


@dataclass(frozen=True)
class NonZeroMetrics:
    """Scores of a regression property over the samples whose label is not zero, as in `RegressionMetrics`.

    Attributes:
        n: number of these samples.
        above: size that labels exceed, in the property's unit; it is the share `scores.ZERO` of the largest label.
        r2: R² of the values.
        mae: mean absolute error, in the property's unit.
        rmse: root mean square error, in the property's unit.
        mae_over_mad: MAE relative to the mean absolute deviation of the labels.
    """

    n: int
    above: float
    r2: Metric
    mae: Metric
    rmse: Metric
    mae_over_mad: Metric


@dataclass(frozen=True)
class RegressionMetrics:
    """Scores of one regression property over its labelled samples.

    Attributes:
        target: the property.
        n: number of labelled samples.
        r2: R² of the values in the property's unit.
        r2_log: R² of the logarithms, for a property that is learned in its logarithm; None for any other.
        mae: mean absolute error, in the property's unit.
        rmse: root mean square error, in the property's unit.
        mae_over_mad: MAE relative to the mean absolute deviation of the labels from their mean. A value of 1 is no
            better than predicting the mean.
        where_not_zero: scores without the labels that are zero; None unless many are (`scores.FEWEST_ZEROS`), such as
            those of band gaps or magnetic moments.
    """

    target: Property
    n: int
    r2: Metric
    r2_log: Metric | None
    mae: Metric
    rmse: Metric
    mae_over_mad: Metric
    where_not_zero: NonZeroMetrics | None = None

    @property
    def r2_learned(self) -> Metric:
        """R² on the scale that was learned: `r2_log` where there is one, else `r2`."""
        return self.r2 if self.r2_log is None else self.r2_log


@dataclass(frozen=True)
class ClassMetrics:
    """Scores of one binary or multiclass property over its labelled samples.

    Attributes:
        target: the property.
        n: number of labelled samples.
        counts: number of labelled samples per class.
        auc: area under the ROC curve; for a multiclass property the mean of one-versus-rest over the classes that
            occur.
        balanced_accuracy: mean recall over the classes that occur. The predicted class is 1 from a probability of
            0.5 on for a binary property, and the most probable class for a multiclass one.
    """

    target: Property
    n: int
    counts: tuple[int, ...]
    auc: Metric
    balanced_accuracy: Metric

    @property
    def n_positive(self) -> int:
        """Number of samples of class 1 of a binary property."""
        return self.counts[1]


@dataclass(frozen=True)
class NonZeroCoverage:
    """Prediction intervals of the samples whose label is not zero, as in `IntervalMetrics`.

    Attributes:
        n: number of these samples.
        coverage: share of their labels inside the interval.
        median_width: from end to end, in the property's unit.
    """

    n: int
    coverage: Metric
    median_width: float


@dataclass(frozen=True)
class IntervalMetrics:
    """Prediction intervals of one regression property, over its samples with a label and an interval.

    Attributes:
        target: the property.
        n: number of these samples.
        coverage: share of the labels inside the interval.
        median_width: from end to end, in the property's unit; NaN without samples.
        where_not_zero: the same for the labels that are not zero, where `RegressionMetrics` scores them separately.
            Intervals that contain all labels of zero may miss most others.
    """

    target: Property
    n: int
    coverage: Metric
    median_width: float
    where_not_zero: NonZeroCoverage | None = None


@dataclass(frozen=True)
class SetMetrics:
    """Prediction sets of one class property, over its samples with a label and a set.

    Attributes:
        target: the property.
        n: number of these samples.
        coverage: share of the labels inside the set.
        mean_size: mean number of classes in a set; NaN without samples.
    """

    target: Property
    n: int
    coverage: Metric
    mean_size: float


@dataclass(frozen=True)
class Average:
    """Mean scores over regression properties, with intervals from resamples that all properties share.

    Attributes:
        properties: names of the properties.
        r2: mean R² on the learned scales.
        mae_over_mad: mean ratio of MAE and MAD.
    """

    properties: tuple[str, ...]
    r2: Metric
    mae_over_mad: Metric


@dataclass(frozen=True)
class Evaluation:
    """All scores of one predictor on one set of samples.

    Attributes:
        n: number of samples.
        n_groups: number of their groups.
        regression: one entry per regression property.
        classes: one entry per class property.
        averages: means over "all" and over the "without_volume_like" regression properties. A property with fewer
            labels than `scores.FEWEST_LABELS`, or without R² or MAE/MAD, is left out of averages.
        resamples: number of bootstrap resamples.
        seed: of the resampling.
        intervals: one entry per property that was predicted with an interval.
        novel: share of the samples with a novelty above 1; None where the predictor does not give a novelty.
        sets: one entry per property that was predicted with a prediction set.
    """

    n: int
    n_groups: int
    regression: tuple[RegressionMetrics, ...]
    classes: tuple[ClassMetrics, ...]
    averages: dict[str, Average]
    resamples: int
    seed: int
    intervals: tuple[IntervalMetrics, ...] = ()
    novel: Metric | None = None
    sets: tuple[SetMetrics, ...] = ()

    def to_dict(self) -> dict[str, typing.Any]:
        """Nested values for JSON: scores by property name, with None for NaN."""
        tree = {
            "n": self.n,
            "groups": self.n_groups,
            "interval": {
                "level": CONFIDENCE_LEVEL,
                "method": "percentile bootstrap",
                "resamples": self.resamples,
                "seed": self.seed,
            },
            "regression": {item.target.name: _property_dict(item) for item in self.regression},
            "classes": {item.target.name: _property_dict(item) for item in self.classes},
            "averages": {name: plain_values(dataclasses.asdict(average)) for name, average in self.averages.items()},
        }
        if self.intervals or self.sets:
            tree["prediction_intervals"] = {
                "level": PREDICTION_LEVEL,
                "interval_of_coverage": "Wilson, of as many samples as there are groups",
                "properties": {item.target.name: _property_dict(item) for item in (*self.intervals, *self.sets)},
            }
        if self.novel is not None:
            tree["novel"] = {"above": NOVEL, "share": plain_values(dataclasses.asdict(self.novel))}
        return tree


def evaluate(predictions: Predictions, *, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Scores of predictions against their labels; a sample counts for the properties that it has a label of.

    Intervals come from a bootstrap over groups of samples. All properties share the resamples. So do all predictors for
    the same samples, as samples are sorted by their ids first. An undefined score is NaN with a reason.

    Args:
        predictions: predictions and labels of n samples.
        resamples: number of bootstrap resamples; with 0, intervals are NaN.
        seed: of the resampling.
    """
    predictions = predictions.sorted_by_id()
    tasks = [ScoredProperty.of(item, predictions) for item in predictions.properties]
    parts = {task: part for task in tasks if (part := task.where_not_zero()) is not None}
    drawn = _draw([*tasks, *parts.values()], predictions, resamples, seed)
    regression, classes = [], []
    for task in tasks:
        metrics = _metrics_of(task, drawn[task])
        if task.target.is_class:
            classes.append(ClassMetrics(task.target, task.n, task.class_counts(), **metrics))
            continue
        metrics.setdefault("r2_log", None)
        part = parts.get(task)
        non_zero = None if part is None else NonZeroMetrics(part.n, part.above, **_metrics_of(part, drawn[part]))
        regression.append(RegressionMetrics(task.target, task.n, **metrics, where_not_zero=non_zero))
    n_groups = len(np.unique(predictions.units))
    numbers = _enough_labelled(tasks, n_groups)
    learned = [(task.target, drawn[task][task.main_name], drawn[task]["mae_over_mad"]) for task in numbers]
    averages = {
        "all": _average(learned),
        "without_volume_like": _average([row for row in learned if not row[0].volume_like]),
    }
    return Evaluation(
        n=len(predictions),
        n_groups=n_groups,
        regression=tuple(regression),
        classes=tuple(classes),
        averages=averages,
        resamples=resamples if n_groups >= FEWEST_GROUPS else 0,
        seed=seed,
        intervals=_score_intervals(predictions, {task.target.name: part for task, part in parts.items()}),
        sets=_score_sets(predictions),
        novel=None
        if predictions.novelty is None
        else share_of(predictions.novelty > NOVEL, "no samples", predictions.units),
    )


def averaged_properties(predictions: Predictions) -> tuple[str, ...]:
    """Names of the regression properties that count in averages: those with enough labels, from enough groups.

    If the samples have fewer groups than `FEWEST_GROUPS`, the labels must come from all of them.
    """
    tasks = [ScoredProperty.of(item, predictions) for item in predictions.properties]
    return tuple(task.target.name for task in _enough_labelled(tasks, len(np.unique(predictions.units))))


def property_scores(predictions: Predictions, *, resamples: int, seed: int = 0) -> dict[str, np.ndarray]:
    """R² on the learned scale, or AUC, per property: of the samples, then of the b resamples of `evaluate`, (1 + b,).

    The scores of resamples are NaN for a property whose labels come from fewer than `FEWEST_GROUPS` groups. If all
    samples do, b is 0.

    Args:
        predictions: predictions and labels of n samples.
        resamples: number of bootstrap resamples.
        seed: of the resampling.
    """
    predictions = predictions.sorted_by_id()
    tasks = [ScoredProperty.of(item, predictions) for item in predictions.properties]
    drawn = _draw(tasks, predictions, resamples, seed)
    scores = {task.target.name: drawn[task][task.main_name] for task in tasks}
    for task in tasks:
        if task.n_groups < FEWEST_GROUPS:
            scores[task.target.name][1:] = np.nan
    return scores


def _enough_labelled(tasks: Sequence[ScoredProperty], n_groups: int) -> list[ScoredProperty]:
    """The properties that count in averages, for samples of `n_groups` groups."""
    fewest = min(FEWEST_GROUPS, n_groups)
    return [task for task in tasks if task.counts_in_averages and task.n_groups >= fewest]


def _draw(
    tasks: Sequence[ScoredProperty], predictions: Predictions, resamples: int, seed: int
) -> dict[ScoredProperty, dict[str, np.ndarray]]:
    """Every score of each property: that of the samples, then those of the resamples, (1 + b,)."""
    units = predictions.units
    resamples = resamples if len(np.unique(units)) >= FEWEST_GROUPS else 0
    weightings = itertools.chain([np.ones((1, len(predictions)))], resamples_of(units, resamples, seed))
    blocks = [[task.score(weights) for task in tasks] for weights in weightings]
    return {
        task: {name: np.concatenate([block[column][name] for block in blocks]) for name in task.names}
        for column, task in enumerate(tasks)
    }


def _metrics_of(task: ScoredProperty, scores: dict[str, np.ndarray]) -> dict[str, typing.Any]:
    """Metrics by name; without intervals if the samples come from too few groups."""
    used = slice(None) if task.n_groups >= FEWEST_GROUPS else slice(1)
    return {name: metric_of(scores[name][used], task.reason(name)) for name in task.names}


def _score_intervals(predictions: Predictions, parts: Mapping[str, ScoredProperty]) -> tuple[IntervalMetrics, ...]:
    """Metrics of each property with intervals; `parts` has the samples whose label is not zero, by property."""
    scored = []
    for item in predictions.properties:
        if item.name not in predictions.lower:
            continue
        rows = np.flatnonzero(~np.isnan(predictions.labels[item.name]))
        part = parts.get(item.name)
        non_zero = None if part is None else NonZeroCoverage(*_coverage(predictions, item.name, part.rows))
        scored.append(IntervalMetrics(item, *_coverage(predictions, item.name, rows), where_not_zero=non_zero))
    return tuple(scored)


def _coverage(predictions: Predictions, name: str, rows: np.ndarray) -> tuple[int, Metric, float]:
    """Number of the samples `rows` that have an interval, share of their labels inside, and median width."""
    label, lower, upper = (arrays[name][rows] for arrays in (predictions.labels, predictions.lower, predictions.upper))
    bounded = ~np.isnan(lower + upper)
    inside = ((lower <= label) & (label <= upper))[bounded]
    coverage = share_of(inside, "no labels", predictions.units[rows][bounded])
    return int(bounded.sum()), coverage, float(np.median((upper - lower)[bounded])) if bounded.any() else math.nan


def _score_sets(predictions: Predictions) -> tuple[SetMetrics, ...]:
    scored = []
    for item in predictions.properties:
        if item.name not in predictions.sets:
            continue
        labels, is_in_set = predictions.labels[item.name], predictions.sets[item.name]
        rows = np.flatnonzero(~np.isnan(labels))
        inside = is_in_set[rows, labels[rows].astype(np.intp)]
        size = float(is_in_set[rows].sum(axis=1).mean()) if len(rows) else math.nan
        scored.append(SetMetrics(item, len(rows), share_of(inside, "no labels", predictions.units[rows]), size))
    return tuple(scored)


def _average(rows: Sequence[tuple[Property, np.ndarray, np.ndarray]]) -> Average:
    """Mean over properties; each row is a property, its R² on the learned scale and its MAE/MAD, (1 + b,) each."""
    defined = [(item, r2, ratio) for item, r2, ratio in rows if not np.isnan([r2[0], ratio[0]]).any()]
    if not defined:
        undefined = Metric(math.nan, reason="no property has both scores and enough labels")
        return Average((), undefined, undefined)
    properties, r2s, ratios = zip(*defined, strict=True)
    return Average(
        tuple(item.name for item in properties),
        metric_of(np.mean(r2s, axis=0), ""),
        metric_of(np.mean(ratios, axis=0), ""),
    )


def _property_dict(item: RegressionMetrics | ClassMetrics | IntervalMetrics | SetMetrics) -> dict[str, typing.Any]:
    """Scores of one property, with its unit, kind and transform."""
    target = item.target
    head = {"unit": target.unit, "kind": target.kind, "transform": target.transform, "volume_like": target.volume_like}
    fields = {field.name: getattr(item, field.name) for field in dataclasses.fields(item) if field.name != "target"}
    plain = {
        name: plain_values(
            dataclasses.asdict(value) if isinstance(value, Metric | NonZeroMetrics | NonZeroCoverage) else value
        )
        for name, value in fields.items()
    }
    return head | {name: value for name, value in plain.items() if value is not None}
