"""Observers of a training: lines and a progress bar on the terminal, curves and images in TensorBoard."""

from __future__ import annotations

import contextlib
import logging
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import tensorflow as tf
from tensorboard.plugins.hparams import api as hparams
from tqdm import tqdm

from rhonet.core.config import Config
from rhonet.core.errors import DiskError
from rhonet.evaluation.metrics import Evaluation
from rhonet.reports.plots.parity import figure_to_image, overview_figure
from rhonet.training.runs import Run
from rhonet.training.trainer import Epoch, Trainer

log = logging.getLogger(__name__)


class ConsoleObserver:
    """One log line per epoch, and a progress bar for the running epoch if the output is a terminal.

    Args:
        epochs: of the whole training.
        done: epochs that were trained before, in an interrupted training.
    """

    def __init__(self, epochs: int, *, done: int = 0) -> None:
        self._epochs, self._done, self._started = epochs, done, time.monotonic()
        self._first = done
        self._bar: tqdm | None = None

    def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Moves the progress bar.

        Args:
            epoch: number of the epoch, from 0.
            step: number of the step within it, from 1.
            steps: steps of an epoch.
            loss: of the step's batch.
        """
        if not sys.stderr.isatty():
            return
        if self._bar is None:
            self._bar = tqdm(total=steps, desc=f"epoch {epoch + 1}/{self._epochs}", leave=False, unit="step")
        self._bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
        self._bar.update()

    def on_epoch(self, epoch: Epoch) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        self._done = epoch.number + 1
        each = (time.monotonic() - self._started) / (self._done - self._first)
        left = each * (self._epochs - self._done)
        log.info(
            "epoch %3d/%d  loss %.3f  validation %s%s  R² %s  lr %.1e  %.0f s  %s left",
            self._done,
            self._epochs,
            epoch.train_loss,
            _number(epoch.validation_loss),
            " *" if epoch.improved else "  ",
            _number(epoch.evaluation.averages["all"].r2.value),
            epoch.learning_rate,
            epoch.seconds,
            f"{left // 60:.0f}:{left % 60:02.0f}",
        )


class TensorBoardObserver:
    """Losses, R² and errors per property, learning rate, parity images, graph and hyperparameters.

    Args:
        run: its tensorboard folder is written to.
        config: resolved configuration.
        trainer: its network is drawn as a graph.

    Raises:
        DiskError: the disk is full; every method raises it.
    """

    def __init__(self, run: Run, config: Config, trainer: Trainer) -> None:
        self._run, self._every, self._epochs = run, config.train.image_every, config.train.epochs
        self._writers = {
            split: tf.summary.create_file_writer(str(run.tensorboard / split)) for split in ("train", "validation")
        }
        with self._write("validation"):
            hparams.hparams(_flat(config))
            tf.summary.text("config", f"```\n{config.to_toml()}\n```", step=0)
        with self._write("train"):
            tf.summary.graph(_graph(trainer))

    def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Writes the loss of every tenth step.

        Args:
            epoch: number of the epoch, from 0.
            step: number of the step within it, from 1.
            steps: steps of an epoch.
            loss: of the step's batch.
        """
        if step % 10 == 0:
            with self._write("train"):
                tf.summary.scalar("loss per step", loss, step=epoch * steps + step)

    def on_epoch(self, epoch: Epoch) -> None:
        number = epoch.number + 1
        for split, loss, losses in (
            ("train", epoch.train_loss, epoch.train_losses),
            ("validation", epoch.validation_loss, epoch.validation_losses),
        ):
            with self._write(split):
                _scalar("loss", loss, number)
                for name, value in losses.items():
                    _scalar(f"loss of property/{name}", value, number)
        with self._write("train"):
            tf.summary.scalar("learning rate", epoch.learning_rate, step=number)
        with self._write("validation"):
            _write_evaluation(epoch.evaluation, number)
            if number % self._every == 0 or number == self._epochs:
                image = figure_to_image(overview_figure(epoch.predictions, epoch.evaluation, split="validation"))
                tf.summary.image("parity on validation", image[None], step=number)

    @contextlib.contextmanager
    def _write(self, split: str) -> Iterator[None]:
        """Writes the summaries of the `with` block to the split's file."""
        try:
            with self._writers[split].as_default():
                yield
        except tf.errors.OpError as error:
            reason = error.message.splitlines()[0].rpartition("; ")[2]
            raise DiskError(
                f"{self._run.tensorboard}: cannot be written: {reason}; free some space, then go on with "
                f"--resume {self._run.path}"
            ) from error


def _write_evaluation(evaluation: Evaluation, step: int) -> None:
    for item in evaluation.regression:
        _scalar(f"R2/{item.target.name}", item.r2_learned.value, step)
        _scalar(f"MAE/{item.target.name} ({item.target.unit})", item.mae.value, step)
    for item in evaluation.classes:
        _scalar(f"AUC/{item.target.name}", item.auc.value, step)
        _scalar(f"balanced accuracy/{item.target.name}", item.balanced_accuracy.value, step)
    for name, average in evaluation.averages.items():
        _scalar(f"R2 average/{name}", average.r2.value, step)


def _scalar(name: str, value: float, step: int) -> None:
    if math.isfinite(value):
        tf.summary.scalar(name, value, step=step)


def _number(value: float) -> str:
    return f"{value:.3f}" if math.isfinite(value) else "n/a"


def _flat(config: Config) -> dict[str, Any]:
    return {
        f"{section}.{key}": ", ".join(map(str, value)) if isinstance(value, list) else value
        for section, values in config.to_dict().items()
        for key, value in values.items()
    }


def _graph(trainer: Trainer) -> tf.Graph:
    """Graph of the network on a batch of one."""
    model = trainer.averaged.standardized
    signature = {name: tf.TensorSpec((1, *item.shape[1:]), tf.float32) for name, item in model.input.items()}
    return tf.function(lambda inputs: model(inputs)).get_concrete_function(signature).graph
