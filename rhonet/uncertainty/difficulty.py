"""How hard a crystal is for a model, from what the model answers about it (no TensorFlow).

Errors are not alike: where a network sees a metal its band gap is hardly ever wrong, where it sees an insulator it may
be wrong by an eV. The expected absolute error of a property is therefore fitted, on crystals that the network has not
trained on, as the exponential of a linear function of all its answers and of their magnitudes; intervals are as much
wider or narrower (locally weighted conformal prediction, arXiv:1604.04173, section 5.2).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.optimize import minimize

from rhonet.core.predictions import Predictions
from rhonet.core.standardize import learned_scale
from rhonet.uncertainty.temperature import logits_of

# Fewer errors say too little about where they are large.
FEWEST = 100
FOLDS = 5
# Logits beyond are all the same: certain.
SURE = 5.0
# Standardised answers are bent to stay below.
FARTHEST = 3.0
# No crystal is expected to err more than that many times more or less than the mean.
MOST = 30.0
# Like so many crystals that say nothing; chosen on the folds of the bundled set.
_PENALTY = 20.0


@dataclass(frozen=True)
class Difficulty:
    """Expected error of a crystal as a multiple of the median crystal's, per property.

    centers, spreads: (Z,) mean and standard deviation of each column of answers over the calibration crystals.
    terms: per property the logarithm of the median crystal's, then the weights of the Z standardised columns and
        those of their magnitudes; the properties that are not named are as hard for all crystals.
    """

    centers: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()
    terms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def factors(self, columns: Any, names: Sequence[str]) -> Any:
        """Multiples (n, len(names)) of the median crystal's expected error; (1, len(names)) where all are as hard.

        Args:
            columns: (n, Z) answers as `answer_columns` gives them, a NumPy array or a tensor.
            names: of properties, in any order, also more than once.
        """
        if not self.terms:
            return np.ones((1, len(names)), np.float32)
        width = len(self.centers)
        table = np.array([self.terms.get(name, (0.0,) * (2 * width + 1)) for name in names], np.float32)
        median, plain, magnitudes = table[:, 0], table[:, 1 : width + 1].T, table[:, width + 1 :].T
        places, most = self._places(columns), math.log(MOST)
        logs = places @ plain + abs(places) @ magnitudes
        return math.e ** ((abs(logs + most) - abs(logs - most)) / 2 - median)

    def _places(self, columns: Any) -> Any:
        """Standardised columns, bent to stay within ±`FARTHEST`; by operators that arrays and tensors share."""
        places = (columns - np.array(self.centers, np.float32)) / np.array(self.spreads, np.float32)
        return places / (1 + abs(places) / FARTHEST)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back."""
        terms = {name: list(numbers) for name, numbers in self.terms.items()}
        return {"centers": list(self.centers), "spreads": list(self.spreads), "terms": terms}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Difficulty:
        """Difficulty from what `to_dict` gave."""
        terms = {name: tuple(numbers) for name, numbers in values["terms"].items()}
        return cls(tuple(values["centers"]), tuple(values["spreads"]), terms)


def answer_columns(predictions: Predictions, volumes: np.ndarray) -> np.ndarray:
    """Answers (n, Z) float32: regression on the learned scale, of classes the logits, no surer than `SURE`.

    Args:
        volumes: (n,) Å³.
    """
    columns = []
    for item in predictions.properties:
        values = predictions.values[item.name]
        if item.is_class:
            columns.append(np.clip(logits_of(item, values), -SURE, SURE))
        else:
            columns.append(learned_scale(item, values, volumes)[:, None])
    return np.concatenate(columns, axis=1).astype(np.float32)


def fit_difficulty(
    columns: np.ndarray, errors: Mapping[str, np.ndarray], units: np.ndarray
) -> tuple[Difficulty, dict[str, np.ndarray]]:
    """Difficulty from crystals that a network has not trained on, and that of each of them fitted without it.

    A property is as hard for all crystals where under `FEWEST` errors are known, or where the fits do not clearly say
    more about the errors of what they left out than the mean error does (by two standard errors).

    Args:
        columns: (n, Z) answers.
        errors: per property (n,) absolute errors, NaN where unknown.
        units: (n,) number of the group of each crystal, from 0 on; groups are left out as a whole.

    Returns:
        The second per property (n,).
    """
    # Answers that differ by rounding only say nothing.
    spreads, sizes = columns.std(axis=0), abs(columns).max(axis=0, initial=0)
    spreads = np.where(spreads > 1e-5 * sizes, spreads, np.maximum(sizes, 1.0))
    frame = Difficulty(tuple(columns.mean(axis=0).tolist()), tuple(spreads.tolist()))
    folds = np.random.default_rng(0).permutation(units.max(initial=-1) + 1)[units] % FOLDS
    terms, unseen = {}, {}
    for name, own in errors.items():
        unseen[name], known = np.ones(len(own)), ~np.isnan(own)
        if known.sum() < FEWEST or len(np.unique(folds[known & (own > 0)])) < FOLDS:
            continue
        crossed = np.ones(len(own))
        for fold in range(FOLDS):
            others, left_out = known & (folds != fold), folds == fold
            crossed[left_out] = _expected(frame, _fit(frame, columns[others], own[others]), columns[left_out])
        gain = _surprise(own[known], np.ones(known.sum())) - _surprise(own[known], crossed[known])
        if gain.mean() > 2 * gain.std() / math.sqrt(len(gain)):
            weights = _fit(frame, columns[known], own[known])
            median = float(np.median(_expected(frame, weights, columns[known])))
            terms[name], unseen[name] = (math.log(median), *weights), crossed / median
    return (replace(frame, terms=terms) if terms else Difficulty()), unseen


def _fit(frame: Difficulty, columns: np.ndarray, errors: np.ndarray) -> tuple[float, ...]:
    """Weights (2 Z,) under which errors, spread exponentially around what is expected, are likeliest."""
    places = frame._places(columns).astype(np.float64)
    inputs = np.concatenate([places, abs(places)], axis=1)
    errors, penalty = errors / errors.mean(), _PENALTY / len(errors)

    def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        logs = numbers[0] + inputs @ numbers[1:]
        ratios = errors * np.exp(-logs)
        slopes = inputs.T @ (1 - ratios) / len(errors) + 2 * penalty * numbers[1:]
        value = logs.mean() + ratios.mean() + penalty * (numbers[1:] ** 2).sum()
        return float(value), np.concatenate([[(1 - ratios).mean()], slopes])

    found = minimize(loss, np.zeros(inputs.shape[1] + 1), jac=True, method="L-BFGS-B")
    return tuple(found.x[1:].tolist())


def _expected(frame: Difficulty, weights: tuple[float, ...], columns: np.ndarray) -> np.ndarray:
    """Expected errors (n,) up to a factor."""
    return replace(frame, terms={"": (0.0, *weights)}).factors(columns, [""])[:, 0]


def _surprise(errors: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Minus the logarithm of how likely each error is (n,), spread exponentially around what is expected of it."""
    ratios = errors / expected
    return np.log(expected * ratios.mean()) + ratios / ratios.mean()
