"""How good predictions are: scores per property and their averages, with bootstrap intervals."""

from __future__ import annotations

import dataclasses
import itertools
import math
import typing
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rhonet.bootstrap import LEVEL, Metric, metric_of, resamples_of, share_of
from rhonet.calibration import LEVEL as PREDICTION_LEVEL
from rhonet.predictions import NOVEL, Predictions
from rhonet.properties import Property
from rhonet.scores import auc, balanced_accuracy, macro_auc, regression_scores

# Labels up to this share of the largest one count as zero: codes leave gaps of 1e-5 eV where levels touch.
ZERO = 1e-3
# From this share of zeros on, a property is scored on its other labels as well.
FEWEST_ZEROS = 0.2
ENOUGH = 5  # labels that are not zero; a property with fewer hangs on them and does not count in averages


@dataclass(frozen=True)
class NonZeroMetrics:
    """Scores of a regression property, over its n samples whose label is not zero; as in `RegressionMetrics`.

    above: smallest size of a label that counts, in the property's unit: `ZERO` of the largest.
    """

    n: int
    above: float
    r2: Metric
    mae: Metric
    rmse: Metric
    mae_over_mad: Metric


@dataclass(frozen=True)
class RegressionMetrics:
    """Scores of one regression property, over its n labelled samples.

    r2: of the values in their unit.
    r2_log: of the logarithms, for a property that is learned in log; None for any other.
    mae, rmse: in the property's unit.
    mae_over_mad: MAE relative to the labels' mean absolute deviation from their mean; 1 is no better than the mean.
    where_not_zero: scores without the labels that are zero, where at least `FEWEST_ZEROS` are: band gaps, moments.
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
    """Scores of one binary or multiclass property, over its n labelled samples.

    counts: labelled samples per class.
    auc: area under the ROC curve; multiclass: mean of one-versus-rest over the classes that occur.
    balanced_accuracy: mean recall over the classes that occur; binary: at probability 0.5, multiclass: of the
        most probable class.
    """

    target: Property
    n: int
    counts: tuple[int, ...]
    auc: Metric
    balanced_accuracy: Metric

    @property
    def n_positive(self) -> int:
        """Samples of class 1 of a binary property."""
        return self.counts[1]


@dataclass(frozen=True)
class IntervalMetrics:
    """Prediction intervals of one regression property, over its n samples that have a label and an interval.

    coverage: share of the labels inside. median_width: from end to end, in the property's unit; NaN without samples.
    """

    target: Property
    n: int
    coverage: Metric
    median_width: float


@dataclass(frozen=True)
class SetMetrics:
    """Prediction sets of one class property, over its n samples that have a label and a set.

    coverage: share of the labels inside. mean_size: classes in a set; NaN without samples.
    """

    target: Property
    n: int
    coverage: Metric
    mean_size: float


@dataclass(frozen=True)
class Average:
    """Means over the regression properties named (R² on the learned scales), with intervals from joint resampling."""

    properties: tuple[str, ...]
    r2: Metric
    mae_over_mad: Metric


@dataclass(frozen=True)
class Evaluation:
    """All scores of one predictor on one set of n samples.

    averages: "all" and "without_volume_like" regression properties whose R² and MAE/MAD are defined and rest on enough.
    intervals: one entry per property that was predicted with an interval.
    sets: one entry per property that was predicted with a set of classes.
    novel: share of the samples with a novelty above 1; None where the predictor does not say.
    """

    n: int
    regression: tuple[RegressionMetrics, ...]
    classes: tuple[ClassMetrics, ...]
    averages: dict[str, Average]
    resamples: int
    seed: int
    intervals: tuple[IntervalMetrics, ...] = ()
    novel: Metric | None = None
    sets: tuple[SetMetrics, ...] = ()

    def to_dict(self) -> dict[str, typing.Any]:
        """Plain nested values, ready for JSON: scores by property name, NaN as None."""
        tree = {
            "n": self.n,
            "interval": {
                "level": LEVEL,
                "method": "percentile bootstrap",
                "resamples": self.resamples,
                "seed": self.seed,
            },
            "regression": {item.target.name: _property_dict(item) for item in self.regression},
            "classes": {item.target.name: _property_dict(item) for item in self.classes},
            "averages": {name: _plain(dataclasses.asdict(average)) for name, average in self.averages.items()},
        }
        if self.intervals or self.sets:
            tree["prediction_intervals"] = {
                "level": PREDICTION_LEVEL,
                "interval_of_coverage": "Wilson",
                "properties": {item.target.name: _property_dict(item) for item in (*self.intervals, *self.sets)},
            }
        if self.novel is not None:
            tree["novel"] = {"above": NOVEL, "share": _plain(dataclasses.asdict(self.novel))}
        return tree


def evaluate(predictions: Predictions, *, resamples: int = 1000, seed: int = 0) -> Evaluation:
    """Score predictions against their labels; samples without a label do not count for that property.

    Intervals come from resampling groups of samples, the same draws for all properties, in the order of the names:
    two predictors on the same samples meet the same resamples. Nothing undefined raises: it is NaN with a reason.

    Args:
        resamples: bootstrap resamples; 0 for none, and intervals that are NaN.
    """
    predictions = predictions.sorted_by_id()
    tasks = [_Task.of(item, predictions) for item in predictions.properties]
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
    numbers = [task for task in tasks if not task.target.is_class and (task not in parts or parts[task].n >= ENOUGH)]
    learned = [(task.target, drawn[task][task.main_name], drawn[task]["mae_over_mad"]) for task in numbers]
    averages = {
        "all": _average(learned),
        "without_volume_like": _average([row for row in learned if not row[0].volume_like]),
    }
    return Evaluation(
        n=len(predictions),
        regression=tuple(regression),
        classes=tuple(classes),
        averages=averages,
        resamples=resamples,
        seed=seed,
        intervals=_score_intervals(predictions),
        sets=_score_sets(predictions),
        novel=None
        if predictions.novelty is None
        else share_of(predictions.novelty > NOVEL, "no samples", predictions.units),
    )


def property_scores(predictions: Predictions, *, resamples: int, seed: int = 0) -> dict[str, np.ndarray]:
    """R² on the learned scale, or AUC, of each property: the samples' own, then of `evaluate`'s resamples, (1 + b,)."""
    predictions = predictions.sorted_by_id()
    tasks = [_Task.of(item, predictions) for item in predictions.properties]
    drawn = _draw(tasks, predictions, resamples, seed)
    return {task.target.name: drawn[task][task.main_name] for task in tasks}


def _draw(
    tasks: Sequence[_Task], predictions: Predictions, resamples: int, seed: int
) -> dict[_Task, dict[str, np.ndarray]]:
    """Every score of each task: that of the samples themselves, then those of the resamples, (1 + b,)."""
    weightings = itertools.chain([np.ones((1, len(predictions)))], resamples_of(predictions.units, resamples, seed))
    blocks = [[task.score(weights) for task in tasks] for weights in weightings]
    return {
        task: {name: np.concatenate([block[at][name] for block in blocks]) for name in task.names}
        for at, task in enumerate(tasks)
    }


def _metrics_of(task: _Task, scores: dict[str, np.ndarray]) -> dict[str, typing.Any]:
    return {name: metric_of(scores[name], task.reason(name)) for name in task.names}


@dataclass(frozen=True, eq=False)
class _Task:
    """One property's labelled samples: `rows` of all samples, `labels` and `values` there.

    above: size that the labels have at least, where those that are zero are left out.
    """

    target: Property
    rows: np.ndarray
    labels: np.ndarray
    values: np.ndarray
    above: float = math.nan

    @classmethod
    def of(cls, item: Property, predictions: Predictions) -> _Task:
        labels = np.asarray(predictions.labels[item.name], dtype=np.float64)
        values = np.asarray(predictions.values[item.name], dtype=np.float64)
        rows = np.flatnonzero(~np.isnan(labels))
        return cls(item, rows, labels[rows], values[rows])

    def where_not_zero(self) -> _Task | None:
        """The samples whose label is not zero; None where too few labels are zero for them to matter."""
        if self.target.is_class or self.target.transform == "log" or not self.n:
            return None
        sizes = np.abs(self.labels)
        above = ZERO * float(sizes.max())
        kept = sizes > above
        if np.mean(~kept) < FEWEST_ZEROS:
            return None
        return _Task(self.target, self.rows[kept], self.labels[kept], self.values[kept], above)

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def names(self) -> tuple[str, ...]:
        """Scores of this kind of property."""
        if self.target.is_class:
            return "auc", "balanced_accuracy"
        logarithm = ("r2_log",) if self.target.transform == "log" else ()
        return "r2", *logarithm, "mae", "rmse", "mae_over_mad"

    @property
    def main_name(self) -> str:
        """The score that one looks at first: R² on the learned scale, or AUC."""
        if self.target.is_class:
            return "auc"
        return "r2_log" if self.target.transform == "log" else "r2"

    def class_counts(self) -> tuple[int, ...]:
        return tuple(int(np.count_nonzero(self.labels == at)) for at in range(self.target.classes or 2))

    def score(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Every score under weights (b, all samples), (b,) each."""
        if self._undefined():
            return {name: np.full(len(weights), np.nan) for name in self.names}
        if self.n < weights.shape[1]:
            weights = weights[:, self.rows]
        if self.target.kind == "binary":
            return {
                "auc": auc(self.labels == 1, self.values, weights),
                "balanced_accuracy": balanced_accuracy(self.labels, self.values >= 0.5, weights),
            }
        if self.target.kind == "multiclass":
            return {
                "auc": macro_auc(self.labels, self.values, weights),
                "balanced_accuracy": balanced_accuracy(self.labels, self.values.argmax(axis=1), weights),
            }
        scores = regression_scores(self.labels, self.values, weights)
        if self.target.transform == "log" and not self._not_positive():
            scores["r2_log"] = regression_scores(np.log(self.labels), np.log(self.values), weights)["r2"]
        elif self.target.transform == "log":
            scores["r2_log"] = np.full(len(weights), np.nan)
        return scores

    def reason(self, name: str) -> str:
        """Why the score of that name would be undefined."""
        if self._undefined():
            return self._undefined()
        if name == "r2_log" and self._not_positive():
            return self._not_positive()
        if self.target.is_class:
            return "labels of one class only"
        return "all labels are equal"

    def _undefined(self) -> str:
        """Why no score is defined at all, or ""."""
        if self.n < 2:
            none = "no labels" if math.isnan(self.above) else "all labels are zero"
            return none if self.n == 0 else "one label only"
        wrong = np.count_nonzero(~np.isfinite(self.values.reshape(self.n, -1)).all(axis=1))
        return f"{wrong} of {self.n} predictions are not finite" if wrong else ""

    def _not_positive(self) -> str:
        """Why there is no logarithm, or ""."""
        for what, values in (("labels", self.labels), ("predictions", self.values)):
            count = np.count_nonzero(values <= 0)
            if count:
                return f"{count} of {self.n} {what} are not above 0"
        return ""


def _score_intervals(predictions: Predictions) -> tuple[IntervalMetrics, ...]:
    scored = []
    for item in predictions.properties:
        if item.name not in predictions.lower:
            continue
        label, lower, upper = (of[item.name] for of in (predictions.labels, predictions.lower, predictions.upper))
        rows = ~np.isnan(label + lower + upper)
        coverage = share_of(((lower <= label) & (label <= upper))[rows], "no labels", predictions.units[rows])
        width = float(np.median((upper - lower)[rows])) if rows.any() else math.nan
        scored.append(IntervalMetrics(item, int(rows.sum()), coverage, width))
    return tuple(scored)


def _score_sets(predictions: Predictions) -> tuple[SetMetrics, ...]:
    scored = []
    for item in predictions.properties:
        if item.name not in predictions.sets:
            continue
        labels, members = predictions.labels[item.name], predictions.sets[item.name]
        rows = np.flatnonzero(~np.isnan(labels))
        inside = members[rows, labels[rows].astype(np.intp)]
        size = float(members[rows].sum(axis=1).mean()) if len(rows) else math.nan
        scored.append(SetMetrics(item, len(rows), share_of(inside, "no labels", predictions.units[rows]), size))
    return tuple(scored)


def _average(rows: Sequence[tuple[Property, np.ndarray, np.ndarray]]) -> Average:
    """Mean over properties, each with its R² on the learned scale and its MAE/MAD, (1 + b,)."""
    members = [(item, r2, ratio) for item, r2, ratio in rows if not np.isnan([r2[0], ratio[0]]).any()]
    if not members:
        none = Metric(math.nan, reason="no property has both scores")
        return Average((), none, none)
    properties, r2s, ratios = zip(*members, strict=True)
    return Average(
        tuple(item.name for item in properties),
        metric_of(np.mean(r2s, axis=0), ""),
        metric_of(np.mean(ratios, axis=0), ""),
    )


def _property_dict(item: RegressionMetrics | ClassMetrics | IntervalMetrics | SetMetrics) -> dict[str, typing.Any]:
    """Scores of one property with what a reader of the file needs to know about it."""
    about = item.target
    head = {"unit": about.unit, "kind": about.kind, "transform": about.transform, "volume_like": about.volume_like}
    fields = {field.name: getattr(item, field.name) for field in dataclasses.fields(item) if field.name != "target"}
    plain = {
        name: _plain(dataclasses.asdict(value) if isinstance(value, Metric | NonZeroMetrics) else value)
        for name, value in fields.items()
    }
    return head | {name: value for name, value in plain.items() if value is not None}


def _plain(value: typing.Any) -> typing.Any:
    """The same nested value with None for NaN and lists for tuples."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
