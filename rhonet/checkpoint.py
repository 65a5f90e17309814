"""Checkpoints: every variable of a training and its place in the schedule, written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rhonet.runs import RunError

STATE = "state.npz"


def save_checkpoint(folder: Path, variables: Mapping[str, Sequence[keras.Variable]], progress: dict[str, Any]) -> None:
    """Replaces the checkpoint in `folder`; a crash at any moment leaves the old or the new one.

    Args:
        folder: holds one file.
        variables: named groups, in a fixed order.
        progress: JSON-ready state of the training loop.
    """
    arrays = {
        f"{group}/{number:04d}": keras.ops.convert_to_numpy(variable)
        for group, members in variables.items()
        for number, variable in enumerate(members)
    }
    folder.mkdir(exist_ok=True)
    partial = folder / (STATE + ".partial")
    with open(partial, "wb") as file:
        np.savez(file, progress=np.array(json.dumps(progress)), **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, folder / STATE)


def load_checkpoint(folder: Path, variables: Mapping[str, Sequence[keras.Variable]]) -> dict[str, Any]:
    """Restores the variables and returns the progress that was saved with them.

    Raises:
        RunError: no checkpoint, or one of another network.
    """
    path = folder / STATE
    if not path.is_file():
        raise RunError(f"{path}: no checkpoint; the run stopped before its first epoch ended, start it anew")
    with np.load(path, allow_pickle=False) as stored:
        for group, members in variables.items():
            for number, variable in enumerate(members):
                key = f"{group}/{number:04d}"
                if key not in stored or stored[key].shape != tuple(variable.shape):
                    raise RunError(f"{path}: does not fit the network (at {key}); was config.toml changed?")
                variable.assign(stored[key])
        return json.loads(str(stored["progress"]))


def weights_hash(variables: Sequence[keras.Variable]) -> str:
    """SHA-256 over all values: equal only for bit-identical weights."""
    digest = hashlib.sha256()
    for variable in variables:
        digest.update(np.ascontiguousarray(keras.ops.convert_to_numpy(variable)).tobytes())
    return digest.hexdigest()
