from __future__ import annotations

import errno
import os
from pathlib import Path

import keras
import numpy as np
import pytest

from rhonet.core.errors import DiskError, RunError
from rhonet.core.files import _MACHINE
from rhonet.training.checkpoint import STATE, has_checkpoint, load_checkpoint, save_checkpoint, weights_hash


def variables(*shapes: tuple[int, ...], seed: int = 0) -> list[keras.Variable]:
    rng = np.random.default_rng(seed)
    return [keras.Variable(rng.normal(size=shape).astype(np.float32)) for shape in shapes]


@pytest.fixture
def folder(tmp_path) -> Path:
    """Folder with a checkpoint of 12 + 3 network weights."""
    path = tmp_path / "run" / "checkpoint"
    path.parent.mkdir()
    save_checkpoint(path, {"network": variables((3, 4), (3,)), "optimizer": variables(())}, {"next_epoch": 1})
    return path


def test_what_is_saved_comes_back_bit_by_bit(folder):
    saved = {"network": variables((3, 4), (3,)), "optimizer": variables(())}
    loaded = {"network": variables((3, 4), (3,), seed=1), "optimizer": variables((), seed=1)}
    assert weights_hash(loaded["network"]) != weights_hash(saved["network"])
    assert load_checkpoint(folder, loaded) == {"next_epoch": 1}
    for group in saved:
        assert weights_hash(loaded[group]) == weights_hash(saved[group])
    alone = {"network": variables((3, 4), (3,), seed=2)}
    load_checkpoint(folder, alone)
    assert weights_hash(alone["network"]) == weights_hash(saved["network"])


def test_progress_keeps_numbers_that_json_does_not_know(folder):
    save_checkpoint(folder, {}, {"best_loss": float("inf"), "third": 1 / 3})
    assert load_checkpoint(folder, {}) == {"best_loss": float("inf"), "third": 1 / 3}


def test_hash_sees_the_last_bit():
    values = np.array([1.0, 2.0], np.float32)
    others = np.nextafter(values, np.array([1.0, 3.0], np.float32))
    assert weights_hash([keras.Variable(values)]) != weights_hash([keras.Variable(others)])


@pytest.mark.parametrize(
    "others",
    [
        {"network": [(3, 4)]},
        {"network": [(3, 4), (3,), (3,)]},
        {"network": [(4, 3), (3,)]},
        {"another": [(3, 4), (3,)]},
    ],
    ids=str,
)
def test_weights_of_another_network_are_refused(folder, others):
    members = {group: variables(*shapes) for group, shapes in others.items()}
    with pytest.raises(RunError, match=r"state.npz: does not fit the network .*; was config.toml changed"):
        load_checkpoint(folder, members)


@pytest.mark.parametrize("keep", [0, 10, 200, -30])
def test_damaged_checkpoint_is_one_clear_line(folder, keep):
    path = folder / STATE
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(RunError, match=r"state.npz: cannot be read: .*; start a new run") as caught:
        load_checkpoint(folder, {"network": variables((3, 4), (3,))})
    assert "\n" not in str(caught.value)


def test_missing_checkpoint_says_what_to_do(tmp_path):
    assert not has_checkpoint(tmp_path)
    with pytest.raises(RunError, match="no checkpoint; the run stopped before its first epoch ended"):
        load_checkpoint(tmp_path, {})


def test_full_disk_keeps_the_old_checkpoint_and_says_what_to_do(folder, monkeypatch):
    before = (folder / STATE).read_bytes()

    def fill(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fill)
    message = r"state.npz: cannot be written: No space left on device; free some space, then go on with --resume .*/run"
    with pytest.raises(DiskError, match=message):
        save_checkpoint(folder, {"network": variables((9, 9))}, {"next_epoch": 2})
    assert (folder / STATE).read_bytes() == before
    assert [path.name for path in folder.iterdir()] == [STATE]


def test_half_written_checkpoint_is_no_checkpoint(folder):
    (folder / f".999999999@{_MACHINE}.partial.{STATE}").write_bytes(b"PK")
    assert load_checkpoint(folder, {}) == {"next_epoch": 1}
    save_checkpoint(folder, {}, {"next_epoch": 2})
    assert [path.name for path in folder.iterdir()] == [STATE]
