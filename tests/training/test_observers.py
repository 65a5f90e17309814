"""TensorBoard files of a run, and the lines of a training on the terminal."""

from __future__ import annotations

import dataclasses
import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from rhonet.core.config import load_config
from rhonet.core.errors import DiskError
from rhonet.core.predictions import Predictions
from rhonet.core.properties import PROPERTIES
from rhonet.evaluation.metrics import evaluate
from rhonet.training import observers
from rhonet.training.observers import ConsoleObserver, TensorBoardObserver
from rhonet.training.runs import Run
from rhonet.training.trainer import Epoch

pytest_plugins = ("tests.fixtures",)


def events_of(folder: Path) -> EventAccumulator:
    events = EventAccumulator(str(folder), size_guidance={"tensors": 0})
    events.Reload()
    return events


def scalars(events: EventAccumulator, tag: str) -> dict[int, float]:
    return {event.step: float(tf.make_ndarray(event.tensor_proto)) for event in events.Tensors(tag)}


def test_tensorboard_finds_curves_images_graph_and_settings(finished):
    train, validation = (events_of(finished.run.tensorboard / split) for split in ("train", "validation"))
    names = ("band_gap", "magnetic_moment", "hardness", "is_metal", "phase")
    for events in (train, validation):
        assert set(scalars(events, "loss")) == {1, 2, 3}
        for name in names:
            assert set(scalars(events, f"loss of property/{name}")) == {1, 2, 3}
    tags = set(validation.Tags()["tensors"])
    assert {"R2/band_gap", "MAE/band_gap (eV)", "R2/magnetic_moment", "MAE/hardness (GPa)"} <= tags
    # All validation crystals are of one class of is_metal, which has no AUC then.
    assert {"AUC/phase", "balanced accuracy/phase", "R2 average/all", "config"} <= tags
    rates = scalars(train, "learning rate")
    assert rates[3] < rates[2] < rates[1] < 1e-3
    assert set(scalars(train, "loss per step")) == {10, 24, 38}
    assert train.Graph().node

    images = validation.Tensors("parity on validation")
    assert [event.step for event in images] == [2, 3]
    width, height, *pictures = tf.make_ndarray(images[-1].tensor_proto)
    assert tf.image.decode_png(pictures[0]).shape == (int(height), int(width), 3)
    hidden: Any = validation.SummaryMetadata("_hparams_/session_start_info")
    settings = hidden.plugin_data.content
    assert b"train.learning_rate" in settings
    assert b"view.kind" in settings


def test_tensorboard_and_history_say_the_same(finished):
    import json

    train, validation = (events_of(finished.run.tensorboard / split) for split in ("train", "validation"))
    history = [json.loads(line) for line in finished.run.history_file.read_text().splitlines()]
    for split, events in (("train", train), ("validation", validation)):
        for line in history:
            assert scalars(events, "loss")[line["epoch"]] == pytest.approx(line["loss"][split], rel=1e-6)
    assert [line["epoch"] for line in history if line["lowest"]]


def epoch_of(number: int, *, validation_loss: float) -> Epoch:
    gap = PROPERTIES["band_gap"]
    labels = np.linspace(1.0, 3.0, 5)
    predictions = Predictions((gap,), tuple("abcde"), {"band_gap": labels}, {"band_gap": labels + 0.1})
    return Epoch(
        number=number,
        train_loss=0.5,
        validation_loss=validation_loss,
        train_losses={},
        validation_losses={},
        learning_rate=1e-3,
        seconds=2.0,
        improved=number == 0,
        predictions=predictions,
        evaluation=evaluate(predictions, resamples=0),
    )


def test_every_epoch_is_one_line(caplog):
    console = ConsoleObserver(20, done=0)
    with caplog.at_level(logging.INFO):
        console.on_step(0, 1, 10, 0.7)
        console.on_epoch(epoch_of(0, validation_loss=0.4))
        console.on_epoch(dataclasses.replace(epoch_of(1, validation_loss=math.nan)))
    first, second = (record.getMessage() for record in caplog.records)
    assert first.startswith("epoch   1/20  loss 0.500  validation 0.400 *  R² 0.980  lr 1.0e-03  2 s")
    assert first.endswith("left")
    assert "validation n/a" in second


def test_bar_is_only_drawn_on_a_terminal(capsys):
    ConsoleObserver(2).on_step(0, 1, 10, 0.7)
    assert capsys.readouterr().err == ""


def test_full_disk_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(observers, "_graph", lambda _: tf.Graph())
    watching: Any = None
    writer = TensorBoardObserver(Run(tmp_path), load_config("tiny"), watching)

    def fill(*_: Any, **__: Any) -> None:
        raise tf.errors.OutOfRangeError(None, None, "{{node}} /x/events.v2; No space left on device\nFailed to flush")

    monkeypatch.setattr(observers.tf.summary, "scalar", fill)
    with pytest.raises(
        DiskError, match="tensorboard: cannot be written: No space left on device; free some space, then"
    ):
        writer.on_step(0, 10, 20, 0.5)
