"""Conversion between physical units and the standardised values that the network learns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rhonet.core.errors import DataError
from rhonet.core.properties import Property


@dataclass(frozen=True)
class Scale:
    """Mean and standard deviation of one property in its learned scale.

    Attributes:
        mean: mean of the training labels; 0 for a class property.
        std: their standard deviation. For a class property, the factor of its logits: 1 in training, 1 / temperature
            after temperature scaling (`rhonet.uncertainty.temperature`).
    """

    mean: float
    std: float


@dataclass(frozen=True)
class Standardizer:
    """Scales of all properties, fitted on the training split only; labels of class properties pass unchanged.

    A label y becomes (t(y) - mean) / std with t the property's transform; an extensive y is first divided by the cell
    volume.

    Attributes:
        properties: P of them.
        scales: one per property.
    """

    properties: tuple[Property, ...]
    scales: tuple[Scale, ...]

    @classmethod
    def fit(cls, properties: Sequence[Property], labels: np.ndarray, volumes: np.ndarray) -> Standardizer:
        """Standardizer with the means and standard deviations of the training labels.

        Args:
            properties: P of them.
            labels: (n, P), physical units, NaN where missing; training split only.
            volumes: cell volumes (n,), Å³.

        Raises:
            DataError: a property has no training label, or a label that it cannot have.
        """
        scales = []
        for column, item in enumerate(properties):
            values = learned_scale(item, labels[:, column], volumes)
            values = values[~np.isnan(values)]
            if not len(values):
                raise DataError(
                    f"property {item.name!r} has no label in the training split; leave it out of data.properties or "
                    "add data"
                )
            if item.is_class:
                _check_classes(item, values)
                scales.append(Scale(0.0, 1.0))
                continue
            spread, size = float(values.std()), float(np.abs(values).max())
            # Relative to the size of the labels: a spread that is only rounding must not be magnified.
            scales.append(Scale(float(values.mean()), spread if spread > 1e-12 * size else min(size, 1.0) or 1.0))
        return cls(tuple(properties), tuple(scales))

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `from_dict` reads them back."""
        return {
            "properties": [asdict(item) for item in self.properties],
            "scales": [[scale.mean, scale.std] for scale in self.scales],
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Standardizer:
        """Standardizer from the result of `to_dict`."""
        scales = tuple(Scale(mean, std) for mean, std in values["scales"])
        return cls(tuple(Property(**item) for item in values["properties"]), scales)

    def forward(self, labels: np.ndarray, volumes: np.ndarray) -> np.ndarray:
        """Standardised labels (n, P) float32, NaN where missing.

        Args:
            labels: (n, P), physical units, NaN where missing.
            volumes: cell volumes (n,), Å³.

        Raises:
            DataError: a label that is learned as a logarithm is not positive.
        """
        columns = [
            labels[:, column]
            if item.is_class
            else (learned_scale(item, labels[:, column], volumes) - scale.mean) / scale.std
            for column, (item, scale) in enumerate(zip(self.properties, self.scales, strict=True))
        ]
        return np.stack(columns, axis=1).astype(np.float32)


def least_standardized(standardizer: Standardizer) -> np.ndarray:
    """Lower bound of each output column in the learned scale, (Z,) float32.

    For nonnegative properties without transform this is the standardised 0; otherwise the lowest float32.
    """
    columns = [
        [-scale.mean / scale.std if item.nonnegative and item.transform == "identity" else -np.inf] * item.size
        for item, scale in zip(standardizer.properties, standardizer.scales, strict=True)
    ]
    return np.maximum(np.concatenate(columns), np.finfo(np.float32).min).astype(np.float32)


def learned_scale(item: Property, labels: np.ndarray, volumes: np.ndarray) -> np.ndarray:
    """Labels (n,) before standardisation: divided by the volume if extensive, then transformed.

    Args:
        item: the property.
        labels: (n,), in its unit, NaN where missing.
        volumes: cell volumes (n,), Å³.

    Raises:
        DataError: a label that is learned as a logarithm is not positive.
    """
    values = np.asarray(labels, np.float64)
    if not item.intensive:
        values = values / volumes
    if item.transform == "log":
        if np.any(values <= 0):
            raise DataError(
                f"property {item.name!r} is learned as a logarithm but has the label {np.nanmin(labels):g}; "
                'correct it, or declare transform = "identity" in dataset.toml'
            )
        values = np.log(values)
    return values


def _check_classes(item: Property, values: np.ndarray) -> None:
    classes = max(item.classes, 2)
    wrong = values[(values != np.round(values)) | (values < 0) | (values >= classes)]
    if len(wrong):
        raise DataError(f"property {item.name!r}: label {wrong[0]:g} is none of the classes 0 ... {classes - 1}")
