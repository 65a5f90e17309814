"""What a model says about one density."""

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

    values: per property a scalar in its unit, a probability, or (classes,) probabilities.
    lower, upper: ends of the 90 % interval per regression property, in its unit; {} without calibration.
    novelty: above 1 for densities unlike those trained on; NaN without calibration.
    """

    values: dict[str, np.ndarray]
    lower: dict[str, float]
    upper: dict[str, float]
    novelty: float


def inputs_of(density: ChargeDensity) -> dict[str, np.ndarray]:
    """A density as exported models take it, all float32.

    Returns:
        density (nx, ny, nz), e/Å³; magnetization (nx, ny, nz), µB/Å³, or (0, 0, 0) without spin; lattice (3, 3), Å.
    """
    spin = density.collinear_magnetization()
    arrays = {
        "density": density.values,
        "magnetization": np.zeros((0, 0, 0)) if spin is None else spin,
        "lattice": density.lattice,
    }
    return {name: np.ascontiguousarray(array, np.float32) for name, array in arrays.items()}


def answer_of(outputs: Mapping[str, np.ndarray], properties: Sequence[Property]) -> Answer:
    """Answer from what a served model gives for one density; scalars may come as arrays of one value.

    Args:
        outputs: by name: properties, NAME_lower, NAME_upper, novelty.
        properties: of the model's card.

    Raises:
        KeyError: a property is missing.
    """
    return Answer(
        values={item.name: outputs[item.name].reshape((item.classes,) if item.classes else ()) for item in properties},
        lower=_ends(outputs, "lower", properties),
        upper=_ends(outputs, "upper", properties),
        novelty=float(outputs["novelty"].item()) if "novelty" in outputs else math.nan,
    )


def _ends(outputs: Mapping[str, np.ndarray], end: str, properties: Sequence[Property]) -> dict[str, float]:
    named = {item.name: f"{item.name}_{end}" for item in properties}
    return {name: float(outputs[key].item()) for name, key in named.items() if key in outputs}
