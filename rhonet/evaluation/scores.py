"""Scores of weighted samples, for many weightings at once.

Every scoring function takes weights (b, n), one row per weighting: ones score the sample itself, counts of draws a
bootstrap resample. It returns (b,) scores, NaN where a score is not defined.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property

# Labels that differ by less than this share of the largest one count as equal: their variance is rounding noise.
_EQUAL = 1e-12
# So do those that vary less than this share of what all samples vary: a resample of metals, and one gap of 1e-5 eV.
_FLAT = 1e-3


def regression_scores(truth: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """R², MAE, RMSE and MAE/MAD of `guess` (n,) against `truth` (n,), both finite; (b,) each.

    MAD is the mean absolute deviation of the weighted truth from its mean. R² and MAE/MAD are NaN where the
    truths of positive weight are as good as equal, everything is where no weight is positive.
    """
    total = _positive(weights.sum(axis=1))
    error = np.abs(guess - truth)
    mae = weights @ error / total
    mse = weights @ error**2 / total
    deviation = np.abs(truth - (weights @ truth / total)[:, None])
    mad = np.einsum("bn,bn->b", weights, deviation) / total
    # The square in place: with 1000 resamples of 1000 samples, the time goes into memory traffic.
    variance = np.einsum("bn,bn->b", weights, np.square(deviation, out=deviation)) / total
    varies = mad > max(_EQUAL * np.abs(truth).max(), _FLAT * np.abs(truth - truth.mean()).mean())
    return {
        "r2": 1 - mse / np.where(varies, variance, np.nan),
        "mae": mae,
        "rmse": np.sqrt(mse),
        "mae_over_mad": mae / np.where(varies, mad, np.nan),
    }


def auc(positive: np.ndarray, score: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Area under the ROC curve, (b,): how often a positive scores above a negative, ties counting half.

    NaN where a class has no weight.

    Args:
        positive: (n,) bool.
        score: (n,) finite, higher for positives.
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

    NaN where one of those classes has no weight, or all of it.

    Args:
        labels: (n,) class numbers.
        probabilities: (n, classes).
    """
    areas = [auc(labels == at, probabilities[:, int(at)], weights) for at in np.unique(labels)]
    return np.mean(areas, axis=0)


def balanced_accuracy(labels: np.ndarray, guess: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Mean recall over the classes that occur in `labels`, (b,).

    NaN where one of those classes has no weight, or where only one class occurs.

    Args:
        labels: (n,) class numbers.
        guess: (n,) predicted class numbers.
    """
    classes = np.unique(labels)
    if len(classes) < 2:
        return np.full(len(weights), np.nan)
    hit = labels == guess
    recalls = [weights @ (hit & (labels == at)) / _positive(weights @ (labels == at)) for at in classes]
    return np.mean(recalls, axis=0)


def _positive(total: np.ndarray) -> np.ndarray:
    """The denominators, with NaN in the place of zeros."""
    return np.where(total > 0, total, np.nan)


# Labels up to this share of the largest one count as zero: codes leave gaps of 1e-5 eV where levels touch.
ZERO = 1e-3


# From this share of zeros on, a property is scored on its other labels as well.
FEWEST_ZEROS = 0.2


# Labels, or labels that are not zero: a property with fewer hangs on them and does not count in averages.
ENOUGH = 5


@dataclass(frozen=True, eq=False)
class ScoredProperty:
    """One property's labelled samples: `rows` of all samples, `labels` and `values` there.

    above: size that the labels have at least, where those that are zero are left out.
    units: number of the group of each sample, as `Predictions.units`.
    """

    target: Property
    rows: np.ndarray
    labels: np.ndarray
    values: np.ndarray
    units: np.ndarray
    above: float = math.nan

    @classmethod
    def of(cls, item: Property, predictions: Predictions) -> ScoredProperty:
        labels = np.asarray(predictions.labels[item.name], dtype=np.float64)
        values = np.asarray(predictions.values[item.name], dtype=np.float64)
        rows = np.flatnonzero(~np.isnan(labels))
        return cls(item, rows, labels[rows], values[rows], predictions.units[rows])

    def where_not_zero(self) -> ScoredProperty | None:
        """The samples whose label is not zero; None where too few labels are zero for them to matter."""
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
        """Groups that the samples are of."""
        return len(np.unique(self.units))

    @property
    def counts_in_averages(self) -> bool:
        """Is this a regression property with enough labels, that are not zero where many are?"""
        part = self.where_not_zero()
        return not self.target.is_class and (self if part is None else part).n >= ENOUGH

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
