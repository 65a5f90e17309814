"""Scores of one property, for many weightings of its samples at once.

Every scoring function takes weights (b, n), one row per weighting. Weights of 1 give the score of the samples, and the
numbers of draws give the score of a bootstrap resample. The result is (b,) scores, NaN where a score is undefined.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property

# Labels count as equal if they deviate less than this share of the largest one: their variance is rounding noise.
_EQUAL = 1e-12
# They also count as equal if they deviate less than this share of the deviation of all samples. An example is a
# resample that consists of metals and one band gap of 1e-5 eV.
_FLAT = 1e-3
# Labels up to this share of the largest one count as zero: codes give band gaps of 1e-5 eV where levels touch.
ZERO = 1e-3
# If at least this share of the labels is zero, a property is also scored on its other labels.
FEWEST_ZEROS = 0.2
# A property with fewer labels (that are not zero, where many are) is left out of averages.
FEWEST_LABELS = 5


def regression_scores(truth: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """R², MAE, RMSE and MAE/MAD by name, (b,) each.

    MAD is the mean absolute deviation of the weighted labels from their mean. R² and MAE/MAD are NaN where the labels
    of positive weight are practically equal. All scores are NaN where no weight is positive.

    Args:
        truth: (n,) labels, finite.
        predicted: (n,) predictions, finite.
        weights: (b, n).
    """
    total = _positive(weights.sum(axis=1))
    error = np.abs(predicted - truth)
    mae = weights @ error / total
    mse = weights @ error**2 / total
    deviation = np.abs(truth - (weights @ truth / total)[:, None])
    mad = np.einsum("bn,bn->b", weights, deviation) / total
    # The square is taken in place: for many resamples, the memory bandwidth limits the speed.
    variance = np.einsum("bn,bn->b", weights, np.square(deviation, out=deviation)) / total
    varies = mad > max(_EQUAL * np.abs(truth).max(), _FLAT * np.abs(truth - truth.mean()).mean())
    return {
        "r2": 1 - mse / np.where(varies, variance, np.nan),
        "mae": mae,
        "rmse": np.sqrt(mse),
        "mae_over_mad": mae / np.where(varies, mad, np.nan),
    }


def auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, (b,): the probability that a positive has a higher score than a negative sample.

    Equal scores count half. The area is NaN where the positives or the negatives have no weight.

    Args:
        positive: (n,) bool.
        score: (n,) finite, higher for positives.
        weights: (b, n).
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

    It is NaN where one of these classes has no weight, or the whole weight.

    Args:
        labels: (n,) class numbers.
        probabilities: (n, classes).
        weights: (b, n).
    """
    areas = [auc(labels == number, probabilities[:, int(number)], weights) for number in np.unique(labels)]
    return np.mean(areas, axis=0)


def balanced_accuracy(labels: np.ndarray, predicted: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that occur in `labels`, (b,).

    It is NaN where one of these classes has no weight, or if only one class occurs.

    Args:
        labels: (n,) class numbers.
        predicted: (n,) predicted class numbers.
        weights: (b, n).
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        return np.full(len(weights), np.nan)
    hit = labels == predicted
    recalls = [weights @ (hit & (labels == number)) / _positive(weights @ (labels == number)) for number in classes]
    return np.mean(recalls, axis=0)


def _positive(total: np.ndarray) -> np.ndarray:
    """Denominators, with NaN in the place of zeros."""
    return np.where(total > 0, total, np.nan)


@dataclass(frozen=True, eq=False)
class ScoredProperty:
    """The n labelled samples of one property, ready to be scored.

    Attributes:
        target: the property.
        rows: (n,) their numbers among all samples.
        labels: (n,) in the property's unit, or class numbers.
        values: (n,) predictions in the property's unit, or probabilities: (n,) of class 1, (n, classes) of a multiclass
            property.
        units: (n,) number of the group of each sample, as in `Predictions.units`.
        above: size that all labels exceed, in the property's unit, where labels of zero are left out; else NaN.
    """

    target: Property
    rows: np.ndarray
    labels: np.ndarray
    values: np.ndarray
    units: np.ndarray
    above: float = math.nan

    @classmethod
    def of(cls, item: Property, predictions: Predictions) -> ScoredProperty:
        """The labelled samples of one property of some predictions."""
        labels = np.asarray(predictions.labels[item.name], dtype=np.float64)
        values = np.asarray(predictions.values[item.name], dtype=np.float64)
        rows = np.flatnonzero(~np.isnan(labels))
        return cls(item, rows, labels[rows], values[rows], predictions.units[rows])

    def where_not_zero(self) -> ScoredProperty | None:
        """The samples whose label is not zero; None if the share of zeros is below `FEWEST_ZEROS`.

        It is also None for a class property, a property that is learned in its logarithm, and one without labels.
        """
        if self.target.is_class or self.target.transform == "log" or not self.n:
            return None
        sizes = np.abs(self.labels)
        above = ZERO * float(sizes.max())
        kept = sizes > above
        if np.mean(~kept) < FEWEST_ZEROS:
            return None
        return ScoredProperty(
            self.target, self.rows[kept], self.labels[kept], self.values[kept], self.units[kept], above
        )

    @property
    def n(self) -> int:
        return len(self.rows)

    @property
    def n_groups(self) -> int:
        """Number of groups of the samples."""
        return len(np.unique(self.units))

    @property
    def counts_in_averages(self) -> bool:
        """Whether this is a regression property with at least `FEWEST_LABELS` labels.

        Labels of zero do not count where they are left out by `where_not_zero`.
        """
        part = self.where_not_zero()
        return not self.target.is_class and (self if part is None else part).n >= FEWEST_LABELS

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the scores of this kind of property."""
        if self.target.is_class:
            return "auc", "balanced_accuracy"
        logarithm = ("r2_log",) if self.target.transform == "log" else ()
        return "r2", *logarithm, "mae", "rmse", "mae_over_mad"

    @property
    def main_name(self) -> str:
        """Name of the main score: R² on the learned scale, or AUC."""
        if self.target.is_class:
            return "auc"
        return "r2_log" if self.target.transform == "log" else "r2"

    def class_counts(self) -> tuple[int, ...]:
        """Number of samples of each class of a class property."""
        return tuple(int(np.count_nonzero(self.labels == number)) for number in range(self.target.classes or 2))

    def score(self, weights: np.ndarray) -> dict[str, np.ndarray]:
        """Every score by name, (b,) each, for weights (b, number of all samples)."""
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
        """Why all scores are undefined; "" if some may be defined."""
        if self.n < 2:
            if self.n == 1:
                return "one label only"
            return "no labels" if math.isnan(self.above) else "all labels are zero"
        wrong = np.count_nonzero(~np.isfinite(self.values.reshape(self.n, -1)).all(axis=1))
        return f"{wrong} of {self.n} predictions are not finite" if wrong else ""

    def _not_positive(self) -> str:
        """Why labels or predictions have no logarithm; "" if they have."""
        for what, values in (("labels", self.labels), ("predictions", self.values)):
            count = np.count_nonzero(values <= 0)
            if count:
                return f"{count} of {self.n} {what} are not above 0"
        return ""
