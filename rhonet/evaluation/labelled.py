"""One property's labelled samples, and their scores under any weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.evaluation.scores import auc, balanced_accuracy, macro_auc, regression_scores

# Labels up to this share of the largest one count as zero: codes leave gaps of 1e-5 eV where levels touch.
ZERO = 1e-3
# From this share of zeros on, a property is scored on its other labels as well.
FEWEST_ZEROS = 0.2
# Labels, or labels that are not zero: a property with fewer hangs on them and does not count in averages.
ENOUGH = 5


@dataclass(frozen=True, eq=False)
class Labelled:
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
    def of(cls, item: Property, predictions: Predictions) -> Labelled:
        labels = np.asarray(predictions.labels[item.name], dtype=np.float64)
        values = np.asarray(predictions.values[item.name], dtype=np.float64)
        rows = np.flatnonzero(~np.isnan(labels))
        return cls(item, rows, labels[rows], values[rows], predictions.units[rows])

    def where_not_zero(self) -> Labelled | None:
        """The samples whose label is not zero; None where too few labels are zero for them to matter."""
        if self.target.is_class or self.target.transform == "log" or not self.n:
            return None
        sizes = np.abs(self.labels)
        above = ZERO * float(sizes.max())
        kept = sizes > above
        if np.mean(~kept) < FEWEST_ZEROS:
            return None
        return Labelled(self.target, self.rows[kept], self.labels[kept], self.values[kept], self.units[kept], above)

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
