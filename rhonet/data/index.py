"""Records of a built data set, and an index of their labels and splits."""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from ase.data import atomic_numbers

from rhonet.core.config import DataConfig
from rhonet.core.errors import ConfigError
from rhonet.core.properties import Property
from rhonet.data.splits import ALL, SPLITS, assign_by_element, assign_fold, assign_split, position

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Index:
    """Ids, groups, splits, labels and volumes of n records, in the order of the records.

    Attributes:
        ids: (n,) names.
        groups: (n,) names of the groups that the splits are made on.
        splits: (n,) "train", "validation", "test", or "unused" for training groups beyond data.train_share.
        labels: (n, P) physical units, NaN where missing.
        volumes: (n,) cell volumes, Å³.
        properties: P of them.
    """

    ids: np.ndarray
    groups: np.ndarray
    splits: np.ndarray
    labels: np.ndarray
    volumes: np.ndarray
    properties: tuple[Property, ...]

    def rows(self, split: str) -> np.ndarray:
        """Record numbers of a split or of `ALL`, ascending."""
        return np.flatnonzero((self.splits == split) | (split == ALL))

    def as_trained_by_ensemble(self, data: DataConfig) -> Index:
        """Index of an ensemble: records outside the test split train, as each is in training folds of some networks.

        Records beyond data.train_share train no network; they count as validation.

        Args:
            data: how the records were split.
        """
        train = np.array([not _is_left_out(group, data) for group in self.groups.tolist()])
        own = np.where(train, "train", "validation")
        return dataclasses.replace(self, splits=np.where(self.splits == "test", "test", own))

    def fingerprint(self) -> str:
        """Hash of ids, splits, labels, volumes and property names: equal for two runs on the same data."""
        digest = hashlib.sha256()
        for array in (self.ids, self.splits):
            digest.update("\n".join(array.tolist()).encode())
        digest.update(self.labels.astype("<f4").tobytes() + self.volumes.astype("<f4").tobytes())
        digest.update(",".join(item.name for item in self.properties).encode())
        return digest.hexdigest()[:16]


def select_properties(data: DataConfig, stored: Sequence[Property]) -> tuple[Property, ...]:
    """Properties to train on: the configured ones, or all of the data set.

    The default list belongs to the bundled crystals: with it, all columns of a user's own data set are used.
    `cell_volume` is used only if data.properties names it, as it follows from the lattice.

    Raises:
        ConfigError: a wanted property is not in the data set, or none is left.
    """
    by_name = {item.name: item for item in stored}
    defaults = DataConfig()
    is_own = bool(data.folder) or data.name != defaults.name
    wanted = data.properties
    if not wanted or (is_own and wanted == defaults.properties):
        wanted = tuple(name for name in by_name if name != "cell_volume")
        if "cell_volume" in by_name:
            log.info("cell_volume is left out: it follows from the lattice; name it in data.properties to train on it")
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise ConfigError(
            f"data.properties: the data set has no {', '.join(missing)}; it has {', '.join(by_name) or 'no property'}"
        )
    if not wanted:
        raise ConfigError("the data set has no property column; add one to properties.csv")
    return tuple(by_name[name] for name in wanted)


def shared_properties(predicted: Sequence[Property], stored: Sequence[Property]) -> tuple[Property, ...]:
    """The properties of a model for which a data set has labels.

    Raises:
        ConfigError: there is none, or one has another unit or kind in the data set.
    """
    by_name = {item.name: item for item in stored}
    shared = tuple(item for item in predicted if item.name in by_name)
    if not shared:
        names = ", ".join(item.name for item in predicted)
        raise ConfigError(f"the model predicts {names}; the data set has {', '.join(by_name) or 'no property'}")
    for item in shared:
        column = by_name[item.name]
        if any(getattr(item, key) != getattr(column, key) for key in ("unit", "kind", "classes", "class_names")):
            raise ConfigError(
                f"property {item.name!r}: the model gives {_describe(item)}, the data set has {_describe(column)}; "
                "convert the column"
            )
    return shared


def read_index(builder: tfds.core.DatasetBuilder, data: DataConfig, properties: Sequence[Property]) -> Index:
    """Index of all records of a built data set; reads every record once, without its density.

    Args:
        builder: of the data set.
        data: how the records are split.
        properties: columns of the labels.

    Raises:
        ConfigError: the data set holds no record.
    """
    import tensorflow_datasets as tfds

    from rhonet.data.builds import stored_properties

    started = time.monotonic()
    key = {"id": "", "element": "chemical_system"}.get(data.split_by, data.split_by)
    wanted = {"id": True, "groups": {key: True} if key else True, "lattice": True}
    records = as_records(builder, tfds.decode.PartialDecoding({**wanted, "labels": True}))
    ids, groups, lattices, labels = [], [], [], []
    record: dict[str, Any]
    for record in records.as_numpy_iterator():  # pyright: ignore[reportAssignmentType] (typed for flat records)
        ids.append(record["id"].decode())
        groups.append(record["groups"][key].decode() if key else ids[-1])
        lattices.append(record["lattice"])
        labels.append(record["labels"])
    if not ids:
        raise ConfigError("the data set holds no record")
    names = [item.name for item in stored_properties(builder)]
    columns = [names.index(item.name) for item in properties]
    splits = [_split_of(group, data) for group in groups]
    counts = Counter(splits)
    log.info(
        "%d records: %s (by %s, %d groups) in %.1f s",
        len(ids),
        ", ".join(f"{counts[split]} {split}" for split in SPLITS),
        data.split_by,
        len(set(groups)),
        time.monotonic() - started,
    )
    return Index(
        ids=np.array(ids),
        groups=np.array(groups),
        splits=np.array(splits),
        labels=np.stack(labels)[:, columns].astype(np.float64),
        volumes=np.abs(np.linalg.det(np.stack(lattices).astype(np.float64))),
        properties=tuple(properties),
    )


def _split_of(group: str, data: DataConfig) -> str:
    """Split of a record with that group; for splits by element, `group` is the chemical system."""
    if data.split_by == "element":
        symbols = group.split("-")
        named = all(atomic_numbers.get(symbol, 0) > 0 for symbol in symbols)
        split = assign_by_element(symbols if named else [group], fractions=data.fractions, seed=data.split_seed)
    else:
        split = assign_split(group, fractions=data.fractions, seed=data.split_seed)
    if data.folds and split != "test":
        fold = assign_fold(group, folds=data.folds, seed=data.split_seed)
        split = "validation" if fold == data.fold else "train"
    return "unused" if split == "train" and _is_left_out(group, data) else split


def _is_left_out(group: str, data: DataConfig) -> bool:
    """Is the group beyond data.train_share?"""
    return position(f"share {group}", seed=data.split_seed) >= data.train_share


def as_records(
    builder: tfds.core.DatasetBuilder, decoders: tfds.decode.PartialDecoding | None = None
) -> tf.data.Dataset:
    """All records, always in their stored order."""
    import tensorflow_datasets as tfds

    from rhonet.data.records import SPLIT

    order = tfds.ReadConfig(interleave_cycle_length=1, shuffle_seed=0, add_tfds_id=False)
    read: Any = builder.as_dataset  # a decorator of TFDS hides its signature
    return read(split=SPLIT, shuffle_files=False, read_config=order, decoders=decoders)


def records_at(builder: tfds.core.DatasetBuilder, rows: np.ndarray) -> Iterator[Any]:
    """Records with these numbers as numpy, one at a time, in ascending order."""
    wanted = set(rows.tolist())
    return (record for row, record in enumerate(as_records(builder).as_numpy_iterator()) if row in wanted)


def read_formulas(builder: tfds.core.DatasetBuilder) -> dict[str, str]:
    """Reduced formula of every record whose species are known, by id; reads no density."""
    import tensorflow_datasets as tfds

    records: Any = as_records(builder, tfds.decode.PartialDecoding({"id": True, "formula": True}))
    formulas = {record["id"].decode(): record["formula"].decode() for record in records.as_numpy_iterator()}
    return {name: formula for name, formula in formulas.items() if formula}


def _describe(item: Property) -> str:
    names = f" ({', '.join(item.class_names)})" if item.class_names else ""
    return f"{item.kind}{item.classes or ''}{names} {f'in {item.unit}' if item.unit else 'without unit'}"
