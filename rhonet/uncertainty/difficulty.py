"""Difficulty of a crystal: the expected error of a model, from its predictions for the crystal (no TensorFlow).

The size of errors varies: the band gap of a crystal that is predicted to be a metal is hardly ever wrong, that of an
insulator may be wrong by an eV. So the expected absolute error of a property is fitted on crystals that the network was
not trained on. It is the exponential of a linear function of features of the prediction and of their magnitudes. The
widths of intervals are proportional to it (locally weighted conformal prediction, arXiv:1604.04173, section 5.2).
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

# With fewer known errors, no difficulty is fitted.
FEWEST = 100
FOLDS = 5
# Logits are cut off at ± this: beyond, all predictions count as equally certain.
MAX_LOGIT = 5.0
# Limit that standardised features approach smoothly.
MAX_FEATURE = 3.0
# The expected error of a crystal is at most this many times larger or smaller than the mean.
MAX_FACTOR = 30.0
# Strength of the quadratic penalty on the weights, in numbers of crystals; chosen by cross-validation.
_PENALTY = 20.0


@dataclass(frozen=True)
class Difficulty:
    """Expected error of a crystal relative to that of the median crystal, per property.

    Attributes:
        centers: (Z,) mean of each feature over the calibration crystals.
        spreads: (Z,) standard deviation of each feature over the calibration crystals.
        terms: per property 1 + 2 Z numbers: the logarithm of the median crystal's expected error, the weights of the Z
            standardised features, and the weights of their magnitudes. For a property without an entry, all crystals
            have the same difficulty.
    """

    centers: tuple[float, ...] = ()
    spreads: tuple[float, ...] = ()
    terms: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def factors(self, features: Any, names: Sequence[str]) -> Any:
        """Expected errors as multiples of the median crystal's, (n, len(names)).

        If all crystals have the same difficulty for all properties, the shape is (1, len(names)).

        Args:
            features: (n, Z) features of the predictions (`prediction_features`), a NumPy array or a tensor.
            names: names of properties, in any order; a name may occur several times.
        """
        if not self.terms:
            return np.ones((1, len(names)), np.float32)
        width = len(self.centers)
        table = np.array([self.terms.get(name, (0.0,) * (2 * width + 1)) for name in names], np.float32)
        median, weights, magnitude_weights = table[:, 0], table[:, 1 : width + 1].T, table[:, width + 1 :].T
        inputs, limit = self._standardize(features), math.log(MAX_FACTOR)
        logs = inputs @ weights + abs(inputs) @ magnitude_weights
        return math.e ** ((abs(logs + limit) - abs(logs - limit)) / 2 - median)

    def _standardize(self, features: Any) -> Any:
        """Standardised features, compressed into ±`MAX_FEATURE`; uses only operators that arrays and tensors share."""
        standardized = (features - np.array(self.centers, np.float32)) / np.array(self.spreads, np.float32)
        return standardized / (1 + abs(standardized) / MAX_FEATURE)

    def to_dict(self) -> dict[str, Any]:
        """Values for JSON; `from_dict` reads them back."""
        terms = {name: list(numbers) for name, numbers in self.terms.items()}
        return {"centers": list(self.centers), "spreads": list(self.spreads), "terms": terms}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Difficulty:
        """Difficulty from the result of `to_dict`."""
        terms = {name: tuple(numbers) for name, numbers in values["terms"].items()}
        return cls(tuple(values["centers"]), tuple(values["spreads"]), terms)


def prediction_features(predictions: Predictions, volumes: np.ndarray) -> np.ndarray:
    """Features of predictions, (n, Z) float32: values on the learned scale, and logits cut off at ±`MAX_LOGIT`.

    Args:
        predictions: predictions for n crystals.
        volumes: (n,) cell volumes, Å³.
    """
    columns = []
    for item in predictions.properties:
        values = predictions.values[item.name]
        if item.is_class:
            columns.append(np.clip(logits_of(item, values), -MAX_LOGIT, MAX_LOGIT))
        else:
            columns.append(learned_scale(item, values, volumes)[:, None])
    return np.concatenate(columns, axis=1).astype(np.float32)


def fit_difficulty(
    features: np.ndarray, errors: Mapping[str, np.ndarray], units: np.ndarray
) -> tuple[Difficulty, dict[str, np.ndarray]]:
    """Difficulty from n crystals that a network was not trained on, and the difficulty of each, fitted without it.

    The difficulty of a property is the same for all crystals if fewer than `FEWEST` errors are known. It is also the
    same if the fitted difficulty does not predict the errors of crystals left out of the fit better than the mean error
    does, by at least two standard errors.

    Args:
        features: (n, Z) features of the predictions.
        errors: per property (n,) absolute errors, NaN where unknown.
        units: (n,) number of the group of each crystal, from 0 on; groups are left out as a whole.

    Returns:
        The difficulty, and per property the cross-fitted difficulties of the n crystals, (n,).
    """
    # Features that differ by rounding only are constants.
    spreads, sizes = features.std(axis=0), abs(features).max(axis=0, initial=0)
    spreads = np.where(spreads > 1e-5 * sizes, spreads, np.maximum(sizes, 1.0))
    scaling = Difficulty(tuple(features.mean(axis=0).tolist()), tuple(spreads.tolist()))
    folds = np.random.default_rng(0).permutation(units.max(initial=-1) + 1)[units] % FOLDS
    terms, cross_fitted = {}, {}
    for name, values in errors.items():
        cross_fitted[name], known = np.ones(len(values)), ~np.isnan(values)
        if known.sum() < FEWEST or len(np.unique(folds[known & (values > 0)])) < FOLDS:
            continue
        expected = np.ones(len(values))
        for fold in range(FOLDS):
            others, left_out = known & (folds != fold), folds == fold
            weights = _fit(scaling, features[others], values[others])
            expected[left_out] = _expected(scaling, weights, features[left_out])
        gain = _log_loss(values[known], np.ones(known.sum())) - _log_loss(values[known], expected[known])
        if gain.mean() > 2 * gain.std() / math.sqrt(len(gain)):
            weights = _fit(scaling, features[known], values[known])
            median = float(np.median(_expected(scaling, weights, features[known])))
            terms[name], cross_fitted[name] = (math.log(median), *weights), expected / median
    return (replace(scaling, terms=terms) if terms else Difficulty()), cross_fitted


def _fit(scaling: Difficulty, features: np.ndarray, errors: np.ndarray) -> tuple[float, ...]:
    """Weights (2 Z,) of largest likelihood, for errors distributed exponentially with the expected error as mean."""
    standardized = scaling._standardize(features).astype(np.float64)
    inputs = np.concatenate([standardized, abs(standardized)], axis=1)
    errors, penalty = errors / errors.mean(), _PENALTY / len(errors)

    def loss(numbers: np.ndarray) -> tuple[float, np.ndarray]:
        logs = numbers[0] + inputs @ numbers[1:]
        ratios = errors * np.exp(-logs)
        slopes = inputs.T @ (1 - ratios) / len(errors) + 2 * penalty * numbers[1:]
        value = logs.mean() + ratios.mean() + penalty * (numbers[1:] ** 2).sum()
        return float(value), np.concatenate([[(1 - ratios).mean()], slopes])

    fit = minimize(loss, np.zeros(inputs.shape[1] + 1), jac=True, method="L-BFGS-B")
    return tuple(fit.x[1:].tolist())


def _expected(scaling: Difficulty, weights: tuple[float, ...], features: np.ndarray) -> np.ndarray:
    """Expected errors (n,), up to a common factor."""
    return replace(scaling, terms={"": (0.0, *weights)}).factors(features, [""])[:, 0]


def _log_loss(errors: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Minus the log-likelihood of each error (n,), for an exponential distribution with the expected error as mean.

    `expected` is first multiplied by the common factor that fits the errors best.
    """
    ratios = errors / expected
    return np.log(expected * ratios.mean()) + ratios / ratios.mean()
