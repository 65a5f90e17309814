"""A built data set as training sees it: its records, an index of their labels, and the splits."""

from __future__ import annotations

import hashlib
import logging
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rhonet.config import ConfigError, DataConfig
from rhonet.properties import Property
from rhonet.splits import SPLITS, assign_split

if TYPE_CHECKING:
    import tensorflow as tf
    import tensorflow_datasets as tfds

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Index:
    """Everything about n records but their densities, in the order of the records.

    ids: (n,) names.
    groups: (n,) names that the splits are made on.
    splits: (n,) "train", "validation" or "test".
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
        """Record numbers of a split, ascending."""
        return np.flatnonzero(self.splits == split)

    def fingerprint(self) -> str:
        """Hash of ids, labels, volumes and splits: equal where two runs saw the same data."""
        digest = hashlib.sha256()
        for array in (self.ids, self.splits):
            digest.update("\n".join(array.tolist()).encode())
        digest.update(self.labels.astype("<f4").tobytes() + self.volumes.astype("<f4").tobytes())
        digest.update(",".join(item.name for item in self.properties).encode())
        return digest.hexdigest()[:16]


def select_properties(data: DataConfig, stored: Sequence[Property]) -> tuple[Property, ...]:
    """Properties to predict: the configured ones, or all that the table has.

    The default list is what rhonet knows; a user's table need not have all of it, so a default name that the
    table lacks is left out, but a name that the user asked for must be there.

    Raises:
        ConfigError: a wanted property is not in the data set, or none is left.
    """
    by_name = {item.name: item for item in stored}
    wanted = list(data.properties) or [name for name in by_name if name != "cell_volume"]
    if data.properties == DataConfig().properties and data.folder:
        wanted = [name for name in by_name if name != "cell_volume"]
    missing = [name for name in wanted if name not in by_name]
    if missing:
        raise ConfigError(
            f"data.properties: the data set has no {', '.join(missing)}; it has {', '.join(by_name) or 'no property'}"
        )
    if not wanted:
        raise ConfigError("the data set has no property column; add one to properties.csv")
    return tuple(by_name[name] for name in wanted)


def read_index(builder: tfds.core.DatasetBuilder, data: DataConfig, properties: Sequence[Property]) -> Index:
    """Index of all records of a built data set; reads every record once, without its density.

    Raises:
        ConfigError: no record, or a split without any.
    """
    import tensorflow_datasets as tfds

    from rhonet.builds import stored_properties

    started = time.monotonic()
    wanted = {"id": True, "groups": {data.split_by: True} if data.split_by != "id" else True, "lattice": True}
    records = as_records(builder, tfds.decode.PartialDecoding({**wanted, "labels": True}))
    ids, groups, lattices, labels = [], [], [], []
    for record in records.as_numpy_iterator():
        ids.append(record["id"].decode())
        groups.append(ids[-1] if data.split_by == "id" else record["groups"][data.split_by].decode())
        lattices.append(record["lattice"])
        labels.append(record["labels"])
    if not ids:
        raise ConfigError("the data set holds no record")
    names = [item.name for item in stored_properties(builder)]
    columns = [names.index(item.name) for item in properties]
    splits = [assign_split(group, fractions=data.fractions, seed=data.split_seed) for group in groups]
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


def as_records(
    builder: tfds.core.DatasetBuilder, decoders: tfds.decode.PartialDecoding | None = None
) -> tf.data.Dataset:
    """All records in their stored order, which never changes."""
    import tensorflow_datasets as tfds

    from rhonet.builds import SPLIT

    order = tfds.ReadConfig(interleave_cycle_length=1, shuffle_seed=0, add_tfds_id=False)
    return builder.as_dataset(split=SPLIT, shuffle_files=False, read_config=order, decoders=decoders)
