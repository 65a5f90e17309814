"""records.csv of a run or model: the split, group and volume of each of its records."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np

from rhonet.core.errors import ModelError
from rhonet.core.files import write_text
from rhonet.data.index import Index
from rhonet.data.splits import SPLITS

_HEADS = ["id", "split", "group", "volume [Å³]"]
_TEST = "test"
# Relative difference of volumes up to which two crystals of one group are taken for the same crystal.
_SAME_VOLUME = 1e-4


def write_trained_records(path: Path, index: Index) -> None:
    """Writes id, split, group and cell volume of every record.

    Raises:
        OSError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_HEADS)
    columns = (index.ids.tolist(), index.splits.tolist(), index.groups.tolist(), index.volumes.tolist())
    writer.writerows((*names, f"{volume:.6f}") for *names, volume in zip(*columns, strict=True))
    write_text(path, text.getvalue())


def seen_in_training(path: Path, index: Index, *, split_by: str) -> np.ndarray:
    """Which records of another data set trained or validated a model, (n,) bool.

    A record counts as seen if the model's records outside the test split contain one of the same group whose volume
    agrees to a ten-thousandth, whatever their ids. With a split by prototype the id takes the place of the group, as
    different crystals share a structure type.

    Args:
        path: records.csv of the model.
        index: of the other data set.
        split_by: kind of the groups of both data sets.

    Raises:
        ModelError: the file is missing or damaged.
    """
    if not path.is_file():
        raise ModelError(
            f"{path}: is missing, so crystals that trained the model cannot be told from new ones; export the model "
            "again, or score all crystals (--split all)"
        )
    by_id = split_by == "prototype"
    volumes: dict[str, list[float]] = {}
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            for name, split, group, volume in list(csv.reader(stream))[1:]:
                if split in SPLITS and split != _TEST:
                    volumes.setdefault(name if by_id else group, []).append(float(volume))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}; export the model again"
        ) from error
    keys = (index.ids if by_id else index.groups).tolist()
    known = (
        any(abs(volume / trained - 1) < _SAME_VOLUME for trained in volumes.get(key, ()))
        for key, volume in zip(keys, index.volumes.tolist(), strict=True)
    )
    return np.fromiter(known, bool, len(keys))
