"""Leak audit: do different splits hold near-duplicate densities?

Densities are compared by a descriptor: volume per electron, histogram of the values, and powder pattern of |ρ_G|².
It does not depend on the origin, orientation or choice of the cell, and changes little with a small strain.
Magnetization, composition and labels are not used.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import DataError
from rhonet.core.text import markdown_table
from rhonet.data.descriptors import DESCRIPTOR_PARTS, strain_tolerant_descriptor
from rhonet.data.index import Index, records_at
from rhonet.data.records import decode_record

STRAIN = 0.01
STRAINED_COPIES = 100
SHOWN_PAIRS = 15

_QUANTILES = (0.0, 0.05, 0.25, 0.5, 0.75, 1.0)
_DUPLICATE = 0.95
_ROWS_AT_ONCE = 512


@dataclass(frozen=True)
class Pair:
    """A record and the training record with the nearest density.

    Attributes:
        split: of the record.
        id: of the record.
        train_id: of the training record.
        distance: between their descriptors, in the unit of `LeakAudit`.
    """

    split: str
    id: str
    train_id: str
    distance: float


@dataclass(frozen=True)
class DistanceQuantiles:
    """Quantiles of n distances of one kind.

    Attributes:
        name: which records are compared to which.
        n: number of distances.
        quantiles: smallest, 5, 25, 50, 75 % and largest; NaN without distances.
        duplicates: number of distances up to `LeakAudit.duplicate`.
    """

    name: str
    n: int
    quantiles: tuple[float, ...]
    duplicates: int


@dataclass(frozen=True)
class LeakAudit:
    """Distances between densities across splits; 1 is the root mean square distance of two training records.

    Attributes:
        duplicate: distance below which two densities count as near-duplicates: 95 % of the strained copies of
            training records are nearer to their record.
        distances: from each other split to the nearest training record. For comparison: from each training record to
            the nearest other one, to the nearest one of another group (the splits keep groups together), and to
            strained copies of itself.
        pairs: every record of another split with its nearest training record, nearest first.
    """

    duplicate: float
    distances: tuple[DistanceQuantiles, ...]
    pairs: tuple[Pair, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        return dataclasses.asdict(self)


def strain_density(density: ChargeDensity, strain: np.ndarray) -> ChargeDensity:
    """The density with the same electrons in a strained cell; without magnetization.

    Args:
        density: values (nx, ny, nz), e/Å³.
        strain: (3, 3); the lattice vectors are multiplied by 1 + strain.
    """
    deformation = np.eye(3) + strain
    values = density.values / abs(np.linalg.det(deformation))
    return dataclasses.replace(density, values=values, lattice=density.lattice @ deformation, magnetization=None)


def random_strain(generator: np.random.Generator) -> np.ndarray:
    """Random symmetric strain (3, 3) with the Frobenius norm of a uniform strain of STRAIN along each axis."""
    strain = generator.normal(size=(3, 3))
    strain += strain.T
    return np.sqrt(3) * STRAIN * strain / np.linalg.norm(strain)


def read_audit(builder: Any, index: Index) -> LeakAudit:
    """Leak audit of a built data set with the splits of its index; reads every record once."""
    generator = np.random.default_rng(0)
    train = index.rows("train")
    copied = set(generator.permutation(train)[:STRAINED_COPIES].tolist())
    descriptors, copies = [], {}
    for row, record in enumerate(records_at(builder, np.arange(len(index.ids)))):
        density = decode_record(record)
        descriptors.append(strain_tolerant_descriptor(density))
        if row in copied:
            copies[row] = strain_tolerant_descriptor(strain_density(density, random_strain(generator)))
    return audit_leaks(index.ids, index.splits, index.groups, descriptors=np.stack(descriptors), strained_copies=copies)


def audit_leaks(
    ids: np.ndarray,
    splits: np.ndarray,
    groups: np.ndarray,
    *,
    descriptors: np.ndarray,
    strained_copies: Mapping[int, np.ndarray],
) -> LeakAudit:
    """Distances of the other splits' densities to the training split, with near-duplicates.

    Args:
        ids: names of the records, (n,).
        splits: split of each record, (n,).
        groups: group of each record, (n,); the splits keep groups together.
        descriptors: from `strain_tolerant_descriptor`, (n, D).
        strained_copies: descriptors (D,) of strained copies of some training records, by record number.

    Raises:
        DataError: fewer than two training records.
    """
    train = np.flatnonzero(splits == "train")
    if len(train) < 2:
        raise DataError(f"the leak audit needs at least two training records, found {len(train)}; add data")
    scaled = descriptors / _scale(descriptors[train])
    rows = np.array(list(strained_copies))
    copies = np.stack(list(strained_copies.values())) / _scale(descriptors[train])
    strained = np.linalg.norm(copies - scaled[rows], axis=1)
    duplicate = float(np.quantile(strained, _DUPLICATE))
    pairs, distances = [], {}
    for split in ("validation", "test"):
        rows = np.flatnonzero(splits == split)
        nearest, split_distances = _nearest(scaled[rows], scaled[train], own=ids[rows], theirs=ids[train])
        distances[f"{split} to train"] = split_distances
        pairs += [
            Pair(split, str(ids[row]), str(ids[train[neighbour]]), float(distance))
            for row, neighbour, distance in zip(rows, nearest, split_distances, strict=True)
        ]
    for name, keys in (("train to train, other groups", groups), ("train to train", ids)):
        distances[name] = _nearest(scaled[train], scaled[train], own=keys[train], theirs=keys[train])[1]
    distances[f"train to copies strained by {STRAIN:.0%}"] = strained
    return LeakAudit(
        duplicate,
        tuple(_quantiles(name, values, duplicate) for name, values in distances.items()),
        tuple(sorted(pairs, key=lambda pair: pair.distance)),
    )


def format_audit(audit: LeakAudit) -> str:
    """Markdown: a table of distances and a table of the nearest pairs."""
    head = ["from", "records", *(f"{share:.0%}" for share in _QUANTILES), "near-duplicates"]
    rows = []
    for distances in audit.distances:
        cells = ("" if np.isnan(value) else f"{value:.3f}" for value in distances.quantiles)
        rows.append([distances.name, str(distances.n), *cells, str(distances.duplicates)])
    nearest = [[f"{pair.distance:.3f}", pair.split, pair.id, pair.train_id] for pair in audit.pairs[:SHOWN_PAIRS]]
    pairs = markdown_table(["distance", "split", "record", "nearest training record"], nearest)
    return (
        "Distance of each density to the nearest one, quantiles; 1 is that of two training crystals on average, "
        f"and near-duplicates lie within {audit.duplicate:.3f} (95 % of copies strained by {STRAIN:.0%} do):\n\n"
        f"{markdown_table(head, rows)}\nNearest pairs:\n\n{pairs}"
    )


def _scale(descriptors: np.ndarray) -> np.ndarray:
    """Divisors (D,) that make the mean square distance of two records 1; each part contributes a third."""
    scales, start = [], 0
    for size in DESCRIPTOR_PARTS:
        variance = 2 * descriptors[:, start : start + size].var(axis=0).sum()
        scales += [np.sqrt(len(DESCRIPTOR_PARTS) * variance) or 1.0] * size
        start += size
    return np.array(scales)


def _nearest(
    points: np.ndarray, reference: np.ndarray, *, own: np.ndarray, theirs: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Nearest reference point and its distance, for each point; references with the point's own key are left out.

    Args:
        points: (n, D).
        reference: (r, D).
        own: keys of the points, (n,).
        theirs: keys of the reference points, (r,).

    Returns:
        Numbers of the reference points (n,), and distances (n,); inf if every reference has the point's key.
    """
    nearest, distances = np.zeros(len(points), np.intp), np.zeros(len(points))
    for start in range(0, len(points), _ROWS_AT_ONCE):
        part = slice(start, start + _ROWS_AT_ONCE)
        block = cdist(points[part], reference)
        block[own[part, None] == theirs] = np.inf
        nearest[part], distances[part] = block.argmin(axis=1), block.min(axis=1)
    return nearest, distances


def _quantiles(name: str, distances: np.ndarray, duplicate: float) -> DistanceQuantiles:
    known = distances[np.isfinite(distances)]
    quantiles = np.quantile(known, _QUANTILES) if len(known) else np.full(len(_QUANTILES), np.nan)
    return DistanceQuantiles(name, len(known), tuple(quantiles.tolist()), int(np.count_nonzero(known <= duplicate)))
