"""First guesses of volumes, learned from the finished crystals; only the number of search steps depends on them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from tools.dft.candidates import Candidate
from tools.dft.prototypes import TETRAHEDRAL
from tools.dft.records import CrystalRecord
from tools.dft.relaxation import Guess

FEWEST = 15
RIDGE = 0.15
LOG_MODULUS_MEAN = 4.3  # ln of 74 GPa
LARGEST_SHIFT = 0.4

Features = dict[tuple[str, ...], float]


def learn_guess(finished: Sequence[CrystalRecord], candidate: Candidate) -> Guess:
    """Guess from a ridge regression of ln(V / V of the first guess) and ln K on prototype and composition.

    With fewer than `FEWEST` finished crystals, it is the default guess.
    """
    if len(finished) < FEWEST:
        return Guess()
    rows = [_features(record.prototype, record.symbols) for record in finished]
    columns = {feature: column for column, feature in enumerate(sorted({feature for row in rows for feature in row}))}
    design = np.array([_vector(row, columns) for row in rows])
    targets = np.array(
        [
            [
                np.clip(record.log_volume_ratio, -0.6, 0.6),
                math.log(max(2.0, record.bulk_modulus)) - LOG_MODULUS_MEAN,
            ]
            for record in finished
        ]
    )
    weights = np.linalg.solve(design.T @ design + RIDGE * np.eye(design.shape[1]), design.T @ targets)
    log_ratio, log_modulus = _vector(_features(candidate.prototype, candidate.symbols), columns) @ weights
    shift = float(np.clip(log_ratio, -LARGEST_SHIFT, LARGEST_SHIFT))
    return Guess(shift, math.exp(log_modulus + LOG_MODULUS_MEAN))


def _features(prototype: str, symbols: Sequence[str]) -> Features:
    """Prototype, shares of the elements, and these shares separately for tetrahedral and for dense structures."""
    kind = "tetrahedral" if prototype in TETRAHEDRAL else "dense"
    row: Features = {("prototype", prototype): 1.0}
    for symbol in set(symbols):
        share = symbols.count(symbol) / len(symbols)
        row["share", symbol] = share
        row[kind, symbol] = 0.7 * share
    return row


def _vector(row: Features, columns: dict[tuple[str, ...], int]) -> np.ndarray:
    """Values of the known features, and 1 for the constant."""
    vector = np.zeros(len(columns) + 1)
    vector[-1] = 1
    for feature, value in row.items():
        if feature in columns:
            vector[columns[feature]] = value
    return vector
