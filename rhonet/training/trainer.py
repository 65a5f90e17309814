"""The training loop: deterministic, on one or several devices; a resumed training gives bit-identical weights."""

from __future__ import annotations

import dataclasses
import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from rhonet.core.config import TrainConfig
from rhonet.core.errors import ConfigError, TrainingError
from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.core.standardize import Standardizer
from rhonet.evaluation.metrics import Evaluation, evaluate
from rhonet.models.losses import task_losses
from rhonet.models.network import Network, build_network
from rhonet.models.value_distribution import fit_to_cubes
from rhonet.training.checkpoint import load_checkpoint, save_checkpoint
from rhonet.training.experiment import Experiment
from rhonet.training.inference import average_views, to_predictions
from rhonet.training.runs import write_history
from rhonet.views.pipeline import KeptViews, TrainingData, fixed_views

log = logging.getLogger(__name__)

MAX_COVERAGE_WEIGHT = 10.0


@dataclass(frozen=True)
class Epoch:
    """Results of one epoch.

    Attributes:
        number: of the epoch, from 0.
        train_loss: weighted mean of `train_losses`.
        validation_loss: weighted mean of `validation_losses`.
        train_losses: mean training loss by property; NaN without labels.
        validation_losses: mean validation loss by property; NaN without labels.
        learning_rate: at the end of the epoch.
        seconds: wall time.
        improved: whether the validation loss is the lowest so far.
        predictions: for the validation split.
        evaluation: scores of these predictions.
    """

    number: int
    train_loss: float
    validation_loss: float
    train_losses: dict[str, float]
    validation_losses: dict[str, float]
    learning_rate: float
    seconds: float
    improved: bool
    predictions: Predictions
    evaluation: Evaluation


class Observer(Protocol):
    """Is told about every step and every epoch of a training."""

    def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        """Called after every step.

        Args:
            epoch: number of the epoch, from 0.
            step: number of the step within it, from 1.
            steps: steps of an epoch.
            loss: of the step's batch.
        """
        ...

    def on_epoch(self, epoch: Epoch) -> None:
        """Called after every epoch, once its checkpoint is written."""
        ...


@dataclass
class Progress:
    """State of the training loop; saved with every checkpoint.

    Attributes:
        next_epoch: number of the epoch to train next, from 0.
        lowest_loss: lowest validation loss so far.
        lowest_epoch: epoch with that loss; -1 if there was none.
        kept_epoch: epoch whose weights are kept as the result; -1 before the first epoch has ended.
        history: the epochs so far, as history.jsonl holds them.
    """

    next_epoch: int = 0
    lowest_loss: float = math.inf
    lowest_epoch: int = -1
    kept_epoch: int = -1
    history: list[dict[str, Any]] = field(default_factory=list)


class Trainer:
    """Trains one network on the training split and validates it after every epoch.

    The result is the exponential moving average of the weights after the last epoch: the validation split is not used
    to choose an epoch. With `train.patience` and validation labels, the result is that average after the epoch with
    the lowest validation loss. The initial weights depend on `train.seed` and the training views.

    Args:
        experiment: run, settings, data and devices.
        resume: whether to continue from the run's checkpoint.
        kept_views: rendered views of an earlier training. They are used if this training has the same views, and are
            replaced otherwise.

    Raises:
        ConfigError: the batch size does not fit the data or the devices.
        DataError: labels that cannot be learned.
        RunError: the checkpoint does not fit the network.
    """

    def __init__(self, experiment: Experiment, *, resume: bool = False, kept_views: KeptViews | None = None) -> None:
        self.experiment = experiment
        self.run, self.config = run, config = experiment.run, experiment.config
        self.index, self.strategy = index, strategy = experiment.index, experiment.strategy
        train, replicas = index.rows("train"), strategy.num_replicas_in_sync
        if config.train.batch_size % replicas:
            raise ConfigError(f"train.batch_size {config.train.batch_size} is no multiple of the {replicas} devices")
        self.standardizer = Standardizer.fit(index.properties, index.labels[train], index.volumes[train])
        self.targets = self.standardizer.forward(index.labels, index.volumes)
        self.task_weights = _task_weights(index.properties, self.targets[train])
        self.data = TrainingData(experiment.builder, index, self.targets, config, kept_views=kept_views)
        self.validation_views = fixed_views(
            experiment.builder,
            index.rows("validation"),
            config.view,
            batch_size=config.train.batch_size,
            cache_mb=config.data.cache_mb,
        )
        keras.utils.set_random_seed(config.train.seed)
        with strategy.scope():
            self.network = build_network(config.view, config.model, self.standardizer)
            self.optimizer = _optimizer(config.train, self.data.steps_per_epoch)
            self.optimizer.build(self.network.standardized.trainable_variables)
        if not resume:  # the checkpoint holds what was fitted; a finished training renders no views
            fit_to_cubes(self.network.standardized, self.data.sample())
        self.averaged = build_network(config.view, config.model, self.standardizer)
        self.kept = build_network(config.view, config.model, self.standardizer)
        for network in (self.averaged, self.kept):
            network.standardized.set_weights(self.network.standardized.get_weights())
        self.progress = Progress(**load_checkpoint(run.checkpoint, self.variables)) if resume else Progress()

    @property
    def variables(self) -> dict[str, Sequence[keras.Variable]]:
        """All variables that a resumed training needs, by group, in a fixed order."""
        return {
            "network": self.network.standardized.variables,
            "averaged": self.averaged.standardized.variables,
            "kept": self.kept.standardized.variables,
            "optimizer": self.optimizer.variables,
        }

    def fit(self, observers: Sequence[Observer] = ()) -> Network:
        """Runs the remaining epochs; returns the network with the final weights.

        Raises:
            TrainingError: the loss is not finite.
            DiskError: the checkpoint cannot be written.
        """
        train, progress = self.config.train, self.progress
        step = self._compile_step()
        for number in range(progress.next_epoch, train.epochs):
            if train.patience and progress.lowest_epoch >= 0 and number > progress.lowest_epoch + train.patience:
                log.info("stopped early: no better validation loss for %d epochs", train.patience)
                break
            started = time.monotonic()
            sums = self._run_epoch(number, step, observers)
            if not np.isfinite(sums).all():
                raise TrainingError(
                    f"{self.run.path}: the loss is not finite in epoch {number + 1}; "
                    f"start a new run with train.learning_rate below {train.learning_rate:g}"
                )
            epoch = self._close_epoch(number, sums, time.monotonic() - started)
            for observer in observers:
                observer.on_epoch(epoch)
        return self.kept

    def _run_epoch(self, number: int, step: Any, observers: Sequence[Observer]) -> np.ndarray:
        """Summed losses and label counts of the epoch, (2, P)."""
        sums = np.zeros((2, len(self.index.properties)))
        batches = self.strategy.experimental_distribute_dataset(self.data.epoch(number))
        for step_number, batch in enumerate(batches, start=1):
            loss, batch_sums = step(batch)
            sums += batch_sums.numpy()
            for observer in observers:
                observer.on_step(number, step_number, self.data.steps_per_epoch, float(loss))
        return sums

    def _close_epoch(self, number: int, sums: np.ndarray, seconds: float) -> Epoch:
        """Validates, updates the kept weights, and saves the checkpoint."""
        train_loss, train_losses = self._weighted(sums)
        predictions, validation_sums = self._validate()
        validation_loss, validation_losses = self._weighted(validation_sums)
        progress = self.progress
        if not np.isfinite(validation_sums).all():
            raise TrainingError(
                f"{self.run.path}: the validation loss is not finite in epoch {number + 1}; "
                f"start a new run with train.learning_rate below {self.config.train.learning_rate:g}"
            )
        improved = validation_loss < progress.lowest_loss
        if improved:
            progress.lowest_loss, progress.lowest_epoch = validation_loss, number
        if improved or not self.config.train.patience or progress.lowest_epoch < 0:
            progress.kept_epoch = number
            self.kept.standardized.set_weights(self.averaged.standardized.get_weights())
        progress.next_epoch = number + 1
        epoch = Epoch(
            number=number,
            train_loss=train_loss,
            validation_loss=validation_loss,
            train_losses=train_losses,
            validation_losses=validation_losses,
            learning_rate=float(keras.ops.convert_to_numpy(self.optimizer.learning_rate)),
            seconds=seconds,
            improved=improved,
            predictions=predictions,
            evaluation=evaluate(predictions, resamples=0),
        )
        progress.history.append(_history_line(epoch))
        save_checkpoint(self.run.checkpoint, self.variables, dataclasses.asdict(progress))
        write_history(self.run, progress.history)
        return epoch

    def _compile_step(self) -> Any:
        model, optimizer, properties = self.network.standardized, self.optimizer, self.index.properties
        batch_size, clip = self.config.train.batch_size, self.config.train.clip_norm
        weights = tf.constant(self.task_weights, tf.float32)
        replicas = self.strategy.num_replicas_in_sync

        def replica_step(inputs: dict[str, tf.Tensor], targets: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape() as tape:
                losses, mask = task_losses(properties, targets, model(inputs, training=True))
                loss = tf.reduce_sum(losses * weights) / batch_size
            gradients = tape.gradient(loss, model.trainable_variables)
            # Summed here, so that the norm of the whole batch is clipped; the optimizer sums over the replicas again.
            gradients = tf.distribute.get_replica_context().all_reduce("sum", gradients)
            gradients, _ = tf.clip_by_global_norm(gradients, clip)
            optimizer.apply([gradient / replicas for gradient in gradients], model.trainable_variables)
            return loss, tf.stack([tf.reduce_sum(losses, axis=0), tf.reduce_sum(mask, axis=0)])

        @tf.function(autograph=False)
        def step(batch: tuple) -> tuple[tf.Tensor, tf.Tensor]:
            loss, sums = self.strategy.run(replica_step, args=batch)
            self._update_average()
            return self.strategy.reduce("sum", loss, axis=None), self.strategy.reduce("sum", sums, axis=None)

        return step

    def _update_average(self) -> None:
        """Updates the moving average of the weights; its memory is short at first, so that early epochs count too."""
        done = tf.cast(self.optimizer.iterations.value, tf.float32)
        decay = tf.minimum(self.config.train.ema, (1.0 + done) / (10.0 + done))
        pairs = zip(
            self.averaged.standardized.trainable_variables,
            self.network.standardized.trainable_variables,
            strict=True,
        )
        for mean, value in pairs:
            mean.value.assign(decay * mean.value + (1.0 - decay) * tf.convert_to_tensor(value.value))

    def _validate(self) -> tuple[Predictions, np.ndarray]:
        rows = self.index.rows("validation")
        standardized = average_views(self.averaged, self.validation_views, rows)
        losses, mask = task_losses(self.index.properties, self.targets[rows], standardized)
        predictions = to_predictions(self.averaged, standardized, self.index, rows)
        sums = np.stack([keras.ops.convert_to_numpy(item).sum(axis=0) for item in (losses, mask)])
        return predictions, sums

    def _weighted(self, sums: np.ndarray) -> tuple[float, dict[str, float]]:
        """Weighted mean of the losses of all properties, and their mean losses by name; NaN without labels."""
        means = np.where(sums[1] > 0, sums[0] / np.maximum(sums[1], 1), np.nan)
        loss_weights = np.array([item.loss_weight for item in self.index.properties])
        known = ~np.isnan(means)
        total = float(np.average(means[known], weights=loss_weights[known])) if known.any() else math.nan
        return total, dict(zip((item.name for item in self.index.properties), means.tolist(), strict=True))


def _task_weights(properties: Sequence[Property], targets: np.ndarray) -> np.ndarray:
    """Weights (P,) that give properties with few labels the same total weight as the others, up to a limit."""
    coverage = np.maximum((~np.isnan(targets)).mean(axis=0), 1 / MAX_COVERAGE_WEIGHT)
    weights = np.array([item.loss_weight for item in properties]) / coverage
    return weights / sum(item.loss_weight for item in properties)


def _optimizer(train: TrainConfig, steps_per_epoch: int) -> keras.optimizers.Optimizer:
    steps = max(train.epochs * steps_per_epoch, 1)
    warmup = int(train.warmup * steps)
    schedule = keras.optimizers.schedules.CosineDecay(
        train.learning_rate if not warmup else 0.0,
        decay_steps=max(steps - warmup, 1),
        alpha=0.01,
        warmup_target=train.learning_rate if warmup else None,
        warmup_steps=warmup,
    )
    return keras.optimizers.AdamW(schedule, weight_decay=train.weight_decay)


def _history_line(epoch: Epoch) -> dict[str, Any]:
    return {
        "epoch": epoch.number + 1,
        "loss": {"train": epoch.train_loss, "validation": epoch.validation_loss},
        "learning_rate": epoch.learning_rate,
        "seconds": round(epoch.seconds, 2),
        "lowest": epoch.improved,
        "train": epoch.train_losses,
        "validation": epoch.validation_losses,
        "r2": {item.target.name: item.r2_learned.value for item in epoch.evaluation.regression},
    }
