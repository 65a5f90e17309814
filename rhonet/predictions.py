"""What a predictor says about a set of samples, beside the truth: the input of metrics, plots and reports."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from rhonet.properties import Property


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labels and predictions of n samples, in physical units.

    A missing label is NaN; so is a prediction that could not be made.

    Args:
        properties: what was predicted, in the order of the report.
        ids: one unique id per sample.
        labels: per property (n,): the value in its unit, 0 or 1 (binary), 0 ... classes-1 (multiclass).
        values: per property (n,): the value in its unit, or the probability of class 1 (binary);
            (n, classes) probabilities for a multiclass property.

    Raises:
        ValueError: a property without an array, a wrong shape, an infinite label, a label that is no class,
            or a probability outside [0, 1].
    """

    properties: tuple[Property, ...]
    ids: tuple[str, ...]
    labels: dict[str, np.ndarray]
    values: dict[str, np.ndarray]

    def __post_init__(self) -> None:
        for what, names in (("sample id", self.ids), ("property", [item.name for item in self.properties])):
            name, count = next(iter(Counter(names).most_common(1)), ("", 0))
            if count > 1:
                raise ValueError(f"{what} {name} is named {count} times in the predictions; expected once")
        for item in self.properties:
            if item.name not in self.labels or item.name not in self.values:
                raise ValueError(f"property {item.name}: labels or predicted values are not given")
            self._check_labels(item)
            self._check_values(item)

    def __len__(self) -> int:
        return len(self.ids)

    def sorted_by_id(self) -> Predictions:
        """The same predictions with the samples in the order of their ids."""
        order = sorted(range(len(self)), key=self.ids.__getitem__)
        return Predictions(
            self.properties,
            tuple(self.ids[at] for at in order),
            {item.name: self.labels[item.name][order] for item in self.properties},
            {item.name: self.values[item.name][order] for item in self.properties},
        )

    def _check_labels(self, item: Property) -> None:
        labels = self.labels[item.name]
        if labels.shape != (len(self),):
            raise ValueError(f"property {item.name}: labels must have shape ({len(self)},), got {labels.shape}")
        if np.isinf(labels).any():
            raise ValueError(f"property {item.name}: the label of {self.ids[np.isinf(labels).argmax()]} is infinite")
        classes = item.classes or 2
        no_class = ~np.isnan(labels) & ~np.isin(labels, np.arange(classes))
        if item.is_class and no_class.any():
            at = no_class.argmax()
            raise ValueError(
                f"property {item.name}: the label of {self.ids[at]} is {labels[at]:g}, "
                f"expected a class from 0 to {classes - 1}"
            )

    def _check_values(self, item: Property) -> None:
        values = self.values[item.name]
        shape = (len(self), item.classes) if item.kind == "multiclass" else (len(self),)
        if values.shape != shape:
            raise ValueError(f"property {item.name}: predictions must have shape {shape}, got {values.shape}")
        # Softmax and sigmoid in float32 may overshoot by a rounding error.
        if item.is_class and ((values < -1e-5) | (values > 1 + 1e-5)).any():
            raise ValueError(f"property {item.name}: predictions must be probabilities, found values outside [0, 1]")
