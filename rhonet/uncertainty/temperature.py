"""Temperature scaling of class probabilities, with one temperature per property (no TensorFlow).

A network that sees each crystal dozens of times becomes overconfident: its probabilities are larger than the share of
right predictions. Dividing its logits by one number, the temperature, corrects this and keeps the order of the classes
(Guo et al., arXiv:1706.04599). The temperature is fitted on crystals that the network was not trained on.
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, log_softmax

from rhonet.core.properties import Property
from rhonet.core.standardize import Scale, Standardizer

# With fewer labels, the temperature is 1.
FEWEST = 20
MAX_TEMPERATURE = 10.0


def fit_temperature(item: Property, logits: np.ndarray, labels: np.ndarray) -> float:
    """Temperature with the lowest mean log loss, between 1 and `MAX_TEMPERATURE`.

    It is never below 1, so that probabilities never become more confident. With fewer than `FEWEST` labels it is 1.

    Args:
        item: a class property.
        logits: (n, Z) logits of the network.
        labels: (n,) class numbers, NaN where missing.
    """
    known = ~np.isnan(labels)
    if known.sum() < FEWEST:
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(log_losses(item, logits[known] / math.exp(log_temperature), labels[known]).mean())

    fit = minimize_scalar(loss, bounds=(0.0, math.log(MAX_TEMPERATURE)), method="bounded")
    return math.exp(fit.x) if fit.fun < loss(0.0) else 1.0


def log_losses(item: Property, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Minus the logarithm of the probability of each true class, (n,).

    Args:
        item: a class property.
        logits: (n, Z).
        labels: (n,) class numbers.
    """
    if item.kind == "binary":
        return -log_expit(np.where(labels == 1, logits[:, 0], -logits[:, 0]))
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels.astype(np.intp)]


def logits_of(item: Property, probabilities: np.ndarray) -> np.ndarray:
    """Logits (n, Z) of probabilities, which are (n,) of class 1 or (n, classes).

    Probabilities of 0 and 1 are moved to 1e-7 and 1 - 1e-7, so that logits are finite.
    """
    tiny = 1e-7
    clipped = np.clip(np.asarray(probabilities, np.float64), tiny, 1 - tiny)
    return np.log(clipped / (1 - clipped))[:, None] if item.kind == "binary" else np.log(clipped)


def temper(standardizer: Standardizer, outputs: np.ndarray, labels: np.ndarray) -> Standardizer:
    """The standardizer, with newly fitted temperatures of its class properties.

    Args:
        standardizer: that of the network; its present temperatures have no effect.
        outputs: (n, Z) standardised outputs for crystals that the network was not trained on.
        labels: (n, P) labels of these crystals, NaN where missing.
    """
    scales, start = [], 0
    for column, (item, scale) in enumerate(zip(standardizer.properties, standardizer.scales, strict=True)):
        logits = np.asarray(outputs, np.float64)[:, start : start + item.size]
        start += item.size
        scales.append(Scale(0.0, 1 / fit_temperature(item, logits, labels[:, column])) if item.is_class else scale)
    return Standardizer(standardizer.properties, tuple(scales))
