"""An answer: what a model says about one density, and the arrays that it takes."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.core.properties import Property


@dataclass(frozen=True, eq=False)
class Answer:
    """What a model says about one density.

    Attributes:
        values: by property name: a scalar in its unit, a probability of class 1, or (classes,) probabilities.
        lower: lower end of the 90 % prediction interval by name of a regression property, in its unit; {} without
            calibration.
        upper: upper end, likewise.
        novelty: above 1 for densities unlike the training data; NaN without calibration.
    """

    values: dict[str, np.ndarray]
    lower: dict[str, float]
    upper: dict[str, float]
    novelty: float


def inputs_of(density: ChargeDensity) -> dict[str, np.ndarray]:
    """Inputs of an exported model for one density, all float32.

    Returns:
        `density` (nx, ny, nz), e/Å³; `magnetization` (nx, ny, nz), µB/Å³, or shape (0, 0, 0) without spin; `lattice`
        (3, 3), Å.
    """
    spin = density.collinear_magnetization()
    arrays = {
        "density": density.values,
        "magnetization": np.zeros((0, 0, 0)) if spin is None else spin,
        "lattice": density.lattice,
    }
    return {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


def answer_of(outputs: Mapping[str, np.ndarray], properties: Sequence[Property]) -> Answer:
    """Answer from the outputs of an exported model for one density.

    Args:
        outputs: arrays by name: each property, NAME_lower, NAME_upper, novelty; a scalar may have shape (1,).
        properties: of the model's card.

    Raises:
        KeyError: the output of a property is missing.
    """
    return Answer(
        values={item.name: outputs[item.name].reshape((item.classes,) if item.classes else ()) for item in properties},
        lower=_ends(outputs, "lower", properties),
        upper=_ends(outputs, "upper", properties),
        novelty=float(outputs["novelty"].item()) if "novelty" in outputs else math.nan,
    )


def _ends(outputs: Mapping[str, np.ndarray], end: str, properties: Sequence[Property]) -> dict[str, float]:
    keys = {item.name: f"{item.name}_{end}" for item in properties}
    return {name: float(outputs[key].item()) for name, key in keys.items() if key in outputs}
