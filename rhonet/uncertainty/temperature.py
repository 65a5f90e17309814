"""Class probabilities that say how often they are right: a temperature per property (no TensorFlow).

A network that is shown each crystal dozens of times becomes surer of its classes than it is right. Dividing its logits
by one number, fitted on crystals that it has not trained on, mends that and keeps the order of the answers
(Guo et al., arXiv:1706.04599).
"""

from __future__ import annotations

import math

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import log_expit, log_softmax

from rhonet.core.properties import Property
from rhonet.core.standardize import Scale, Standardizer

# Fewer labels say too little about how sure a network may be.
FEWEST = 20
MAX_TEMPERATURE = 10.0


def fit_temperature(item: Property, logits: np.ndarray, labels: np.ndarray) -> float:
    """Divisor of the logits with the lowest mean log loss; from 1, as no network is made surer than it is, to 10.

    Args:
        item: a class property.
        logits: (n, Z), as `rhonet.models` gives them.
        labels: (n,) class numbers, NaN where missing; under `FEWEST` of them the temperature is 1.
    """
    known = ~np.isnan(labels)
    if known.sum() < FEWEST:
        return 1.0

    def loss(log_temperature: float) -> float:
        return float(log_losses(item, logits[known] / math.exp(log_temperature), labels[known]).mean())

    found = minimize_scalar(loss, bounds=(0.0, math.log(MAX_TEMPERATURE)), method="bounded")
    return math.exp(found.x) if found.fun < loss(0.0) else 1.0


def log_losses(item: Property, logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Minus the logarithm of the probability of each true class, (n,)."""
    if item.kind == "binary":
        return -log_expit(np.where(labels == 1, logits[:, 0], -logits[:, 0]))
    return -log_softmax(logits, axis=1)[np.arange(len(labels)), labels.astype(np.intp)]


def logits_of(item: Property, probabilities: np.ndarray) -> np.ndarray:
    """Logits (n, Z) that give these probabilities, (n,) of class 1 or (n, classes); 0 and 1 count as nearly so."""
    tiny = 1e-7
    kept = np.clip(np.asarray(probabilities, np.float64), tiny, 1 - tiny)
    return np.log(kept / (1 - kept))[:, None] if item.kind == "binary" else np.log(kept)


def temper(standardizer: Standardizer, answers: np.ndarray, labels: np.ndarray) -> Standardizer:
    """The standardizer with the temperatures of its class properties, whatever they were before.

    Args:
        answers: (n, Z) standardised outputs for crystals that the network has not trained on.
        labels: (n, P) of them, NaN where missing.
    """
    scales, at = [], 0
    for column, (item, scale) in enumerate(zip(standardizer.properties, standardizer.scales, strict=True)):
        logits = np.asarray(answers, np.float64)[:, at : at + item.size]
        at += item.size
        scales.append(Scale(0.0, 1 / fit_temperature(item, logits, labels[:, column])) if item.is_class else scale)
    return Standardizer(standardizer.properties, tuple(scales))
