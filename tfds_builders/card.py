"""The dataset card: origin, skipped files with reasons, and statistics of the labels."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

import rhonet
from rhonet.core.properties import Property
from rhonet.data.folder import Folder
from rhonet.data.records import RECORD_VERSION

CARD_NAME = "card.toml"


@dataclass(frozen=True)
class Skipped:
    """A row whose density file could not be used.

    Attributes:
        id: of the row.
        file: as the table names it.
        reason: why, starting with the file.
    """

    id: str
    file: str
    reason: str


def card_text(folder: Folder, skipped: Sequence[Skipped], *, spacing: float, counts: Mapping[str, int]) -> str:
    """Card of a built data set as TOML.

    Args:
        folder: that it was built from.
        skipped: rows that are not in it; label statistics leave them out.
        spacing: largest spacing of the storage grid, Å.
        counts: numbers that the build counted, by name.
    """
    absent = {row.id for row in skipped}
    labels = np.array(
        [
            [sample.labels[declared.name] for declared in folder.properties]
            for sample in folder.samples
            if sample.id not in absent
        ]
    )
    lines = ["# What this data set holds; written when it was built.", *_pairs(folder.about), ""]
    lines += [
        "[build]",
        *_pairs({"rhonet_version": rhonet.__version__, "record_version": RECORD_VERSION, "spacing": spacing}),
        *_pairs({"fingerprint": folder.fingerprint(), "rows": len(folder.samples), "read": len(labels)}),
        *_pairs({"skipped": len(skipped), **counts}),
    ]
    for declared, column in zip(folder.properties, labels.T, strict=True):
        lines += ["", f"[properties.{declared.name}]", *_pairs(_describe(declared, column[~np.isnan(column)]))]
    for row in skipped:
        lines += ["", "[[skipped_files]]", *_pairs({"id": row.id, "file": row.file, "reason": row.reason})]
    return "\n".join(lines) + "\n"


def _describe(declared: Property, known: np.ndarray) -> dict[str, str | int | float]:
    """Declaration and statistics of one column; `known` are its labels without the missing ones."""
    table: dict[str, str | int | float] = {
        "unit": declared.unit,
        "kind": declared.kind,
        "transform": declared.transform,
        "note": declared.note,
        "known": known.size,
    }
    if declared.is_class:
        table |= {f"class_{label}": int(np.count_nonzero(known == label)) for label in range(max(declared.classes, 2))}
    elif known.size:
        table |= {"min": float(known.min()), "median": float(np.median(known)), "max": float(known.max())}
    return table


def _pairs(table: Mapping[str, str | int | float]) -> list[str]:
    # A JSON string is a TOML basic string.
    return [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in table.items() if value != ""]
