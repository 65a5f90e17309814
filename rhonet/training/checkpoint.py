"""Checkpoints: every variable of a training and the state of its loop, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rhonet.core.errors import RunError
from rhonet.core.files import explain_disk, replacing

STATE = "state.npz"


def save_checkpoint(folder: Path, variables: Mapping[str, Sequence[keras.Variable]], progress: dict[str, Any]) -> None:
    """Replaces the checkpoint in `folder`; a crash at any moment leaves the old or the new one.

    Args:
        folder: made if it is missing; holds one file.
        variables: groups of variables by name, each in a fixed order.
        progress: JSON-ready state of the training loop.

    Raises:
        DiskError: it cannot be written; the old checkpoint is unchanged.
    """
    arrays = {
        f"{group}/{number:04d}": keras.ops.convert_to_numpy(variable)
        for group, group_variables in variables.items()
        for number, variable in enumerate(group_variables)
    }
    with explain_disk(folder / STATE, f"free some space, then go on with --resume {folder.parent}"):
        folder.mkdir(exist_ok=True)
        with replacing(folder / STATE) as partial, partial.open("wb") as file:
            np.savez(file, progress=np.array(json.dumps(progress)), **arrays)


def has_checkpoint(folder: Path) -> bool:
    return (folder / STATE).is_file()


def load_checkpoint(folder: Path, variables: Mapping[str, Sequence[keras.Variable]]) -> dict[str, Any]:
    """Restores the variables and returns the progress that was saved with them.

    Raises:
        RunError: the checkpoint is missing, is damaged, or belongs to another network.
    """
    path = folder / STATE
    if not has_checkpoint(folder):
        raise RunError(f"{path}: no checkpoint; the run stopped before its first epoch ended, go on with --resume")
    try:
        # Opened here, as numpy leaves a damaged file open.
        with open(path, "rb") as raw, np.load(raw, allow_pickle=False) as file:
            stored = dict(file)
        progress = json.loads(str(stored.pop("progress")))
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise RunError(f"{path}: cannot be read: {error}; start a new run") from error
    for group, group_variables in variables.items():
        keys = [f"{group}/{number:04d}" for number in range(len(group_variables))]
        if sorted(key for key in stored if key.startswith(f"{group}/")) != keys:
            raise RunError(f"{path}: does not fit the network ({group}); was config.toml changed?")
        for key, variable in zip(keys, group_variables, strict=True):
            if stored[key].shape != tuple(variable.shape):
                raise RunError(f"{path}: does not fit the network (at {key}); was config.toml changed?")
            variable.assign(stored[key])
    return progress


def weights_hash(variables: Sequence[keras.Variable]) -> str:
    """SHA-256 over all values: equal only for bit-identical weights."""
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()
