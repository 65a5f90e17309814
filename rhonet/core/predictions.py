"""Predictions and labels of a set of samples: the input of metrics, plots and reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from rhonet.core.properties import Property

# Novelty above which a sample is out of distribution.
NOVEL = 1.0


@dataclass(frozen=True, eq=False)
class Predictions:
    """Labels and predictions of n samples, in physical units.

    A missing label is NaN; so is a prediction that could not be made.

    Attributes:
        properties: what was predicted, in the order of the report.
        ids: one unique id per sample.
        labels: per property (n,): the value in its unit, 0 or 1 (binary), 0 ... classes-1 (multiclass).
        values: per property (n,): the value in its unit, or the probability of class 1 (binary);
            (n, classes) probabilities for a multiclass property.
        lower: lower ends of the 90 % prediction intervals, (n,) per regression property that has them, in its unit.
        upper: upper ends, for the same properties as `lower`.
        novelty: (n,), above `NOVEL` for out-of-distribution samples; None where the predictor does not estimate it.
        sets: membership of the classes in the 90 % prediction sets, (n, classes) bool, per class property that has
            them.
        groups: name of the group of each sample, by which the split was made (rhonet.data.splits): samples of one
            group are not independent. () where each sample is a group of its own.

    Raises:
        ValueError: a property without an array, a wrong shape, an infinite label, a label that is no class,
            a probability outside [0, 1], or an interval with one end or with its ends swapped.
    """

    properties: tuple[Property, ...]
    ids: tuple[str, ...]
    labels: dict[str, np.ndarray]
    values: dict[str, np.ndarray]
    lower: dict[str, np.ndarray] = field(default_factory=dict)
    upper: dict[str, np.ndarray] = field(default_factory=dict)
    novelty: np.ndarray | None = None
    sets: dict[str, np.ndarray] = field(default_factory=dict)
    groups: tuple[str, ...] = ()

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
        self._check_intervals()
        if self.novelty is not None and self.novelty.shape != (len(self),):
            raise ValueError(f"novelty must have shape ({len(self)},), got {self.novelty.shape}")
        if self.groups and len(self.groups) != len(self):
            raise ValueError(f"{len(self.groups)} groups are named for {len(self)} samples")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def units(self) -> np.ndarray:
        """Number of the group of each sample, (n,), counted from 0."""
        return np.unique(self.groups, return_inverse=True)[1] if self.groups else np.arange(len(self))

    def sorted_by_id(self) -> Predictions:
        """The predictions with the samples in the order of their ids."""
        order = sorted(range(len(self)), key=self.ids.__getitem__)
        arrays = (self.labels, self.values, self.lower, self.upper, self.sets)
        labels, values, lower, upper, sets = (
            {name: array[order] for name, array in by_name.items()} for by_name in arrays
        )
        novelty = None if self.novelty is None else self.novelty[order]
        return Predictions(
            self.properties,
            tuple(self.ids[row] for row in order),
            labels,
            values,
            lower=lower,
            upper=upper,
            novelty=novelty,
            sets=sets,
            groups=tuple(self.groups[row] for row in order) if self.groups else (),
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
            row = no_class.argmax()
            raise ValueError(
                f"property {item.name}: the label of {self.ids[row]} is {labels[row]:g}, "
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

    def _check_intervals(self) -> None:
        classes = {item.name: item.classes or 2 for item in self.properties if item.is_class}
        for name, membership in self.sets.items():
            if membership.shape != (len(self), classes.get(name)):
                raise ValueError(f"{name}: has sets of shape {membership.shape}, but is no class property of that size")
        if self.lower.keys() != self.upper.keys():
            alone = sorted(self.lower.keys() ^ self.upper.keys())
            raise ValueError(f"{', '.join(alone)}: only one end of the interval is given")
        regression = {item.name for item in self.properties if not item.is_class}
        for name in self.lower:
            if name not in regression:
                raise ValueError(f"{name}: has an interval, but is no regression property of these predictions")
            for end in (self.lower[name], self.upper[name]):
                if end.shape != (len(self),):
                    raise ValueError(f"property {name}: interval ends must have shape ({len(self)},), got {end.shape}")
            swapped = self.lower[name] > self.upper[name]
            if swapped.any():
                raise ValueError(f"property {name}: the interval of {self.ids[swapped.argmax()]} has swapped ends")


def merge_predictions(parts: Sequence[Predictions]) -> Predictions:
    """Labels and predictions of disjoint sets of samples as one set, without intervals and novelty.

    Either all parts name groups or none does.

    Raises:
        ValueError: a sample occurs twice.
    """
    properties = parts[0].properties
    return Predictions(
        properties,
        tuple(name for part in parts for name in part.ids),
        {item.name: np.concatenate([part.labels[item.name] for part in parts]) for item in properties},
        {item.name: np.concatenate([part.values[item.name] for part in parts]) for item in properties},
        groups=tuple(name for part in parts for name in part.groups),
    )
