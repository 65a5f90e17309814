"""Train, validation and test splits on groups, stable when data are added.

What the test score means depends on what is held out together:

- `chemical_system` (the default): no test crystal shares its set of elements with a training crystal.
- `formula`: polymorphs stay together, but relatives of other compositions are in the training split.
- `prototype`: whole structure types are held out.
- `element`: every crystal with one of the chosen elements is held out.
- `id`: crystals are drawn at random. This is optimistic, as polymorphs and near-duplicates of test crystals are in
  the training split.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

SPLITS = ("train", "validation", "test")
ALL = "all"
"""Stands for all records, where another data set than the model's own is scored."""


def position(group: str, *, seed: int = 0) -> float:
    """Position of a group in [0, 1): a hash of its name and the seed, independent of all other data."""
    digest = hashlib.sha256(f"rhonet-split-{seed}:{group}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def assign_split(group: str, *, fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0) -> str:
    """Split of every sample of a group: "train", "validation" or "test".

    Samples with the same group never fall on both sides, and adding data never moves a group.

    Args:
        group: e.g. the chemical system "Cl-Na".
        fractions: shares of train, validation, test; they sum to 1.
        seed: another seed gives another, independent assignment.

    Raises:
        ValueError: `fractions` are not three non-negative numbers with sum 1.
    """
    if len(fractions) != 3 or min(fractions) < 0 or abs(sum(fractions) - 1) > 1e-9:
        raise ValueError(f"split fractions must be three numbers >= 0 with sum 1, got {tuple(fractions)}")
    place = position(group, seed=seed)
    if place < fractions[0]:
        return "train"
    return "validation" if place < fractions[0] + fractions[1] else "test"


def assign_by_element(symbols: Sequence[str], *, fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0) -> str:
    """Split of a sample when whole elements are held out.

    A sample with any element of the test belongs to the test split; otherwise one with any element of the validation
    belongs to the validation split. Each element is held out with half the share of `fractions`, as most crystals
    contain two or three elements.

    Args:
        symbols: elements of the sample.
        fractions: shares of train, validation, test; they sum to 1.
        seed: another seed gives another, independent assignment.

    Raises:
        ValueError: as `assign_split`.
    """
    validation, test = fractions[1] / 2, fractions[2] / 2
    shares = (1 - validation - test, validation, test)
    return max((assign_split(f"element {symbol}", fractions=shares, seed=seed) for symbol in symbols), key=SPLITS.index)


def assign_fold(group: str, *, folds: int, seed: int = 0) -> int:
    """Fold of a group, 0 ... folds-1, independent of its split and of all other data.

    Args:
        group: e.g. the chemical system "Cl-Na".
        folds: how many there are.
        seed: another seed gives another, independent assignment.
    """
    return int(position(f"fold {group}", seed=seed) * folds)
