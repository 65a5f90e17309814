from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from rhonet.core.config import TrainConfig
from rhonet.core.errors import ConfigError, TrainingError
from rhonet.core.properties import Property
from rhonet.models import network
from rhonet.models.losses import task_losses
from rhonet.training.checkpoint import weights_hash
from rhonet.training.experiment import Experiment
from rhonet.training.runs import Run
from rhonet.training.trainer import Epoch, Trainer, _optimizer, _task_weights
from tests.crystals import weights_in

pytest_plugins = ("tests.fixtures",)


SMALLEST = "model.name=plain3dcnn"


@dataclasses.dataclass(frozen=True)
class Stepper:
    """A trainer, its compiled step and a batch to feed it with."""

    trainer: Trainer
    step: Callable[[Any], Any]
    inputs: Any
    targets: np.ndarray


@pytest.fixture(scope="module")
def strategy() -> tf.distribute.Strategy:
    return tf.distribute.MirroredStrategy(["/CPU:0"])


@pytest.fixture(scope="module")
def make_trainer(builder, index, crystals, strategy, tmp_path_factory) -> Callable[..., Trainer]:
    """Trainer of a small network for a few properties; `change` replaces fields of the index."""

    def make(
        *settings: str, names: Sequence[str] = ("band_gap", "is_metal"), resumed: Run | None = None, **change: Any
    ) -> Trainer:
        run, resume = resumed or Run(tmp_path_factory.mktemp("run")), resumed is not None
        columns = [at for at, item in enumerate(index.properties) if item.name in names]
        change.setdefault("labels", index.labels)
        change["labels"] = change["labels"][:, columns]
        change["properties"] = tuple(index.properties[at] for at in columns)
        config = crystals.config(SMALLEST, *settings)
        experiment = Experiment(run, config, builder, dataclasses.replace(index, **change), strategy)
        return Trainer(experiment, resume=resume)

    return make


@pytest.fixture(scope="module")
def whole(make_trainer) -> Trainer:
    """Trainer that has run through all epochs at once."""
    trainer = make_trainer()
    trainer.fit()
    return trainer


@pytest.fixture(scope="module")
def stepper(make_trainer) -> Stepper:
    # With dropout no two calls would give the same loss.
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network, "DROPOUT", 0.0)
        trainer = make_trainer("train.weight_decay=0", names=("band_gap", "hardness", "phase"))
    (inputs, targets), *_ = trainer.data.epoch(0)
    return Stepper(trainer, trainer._compile_step(), inputs, targets.numpy())


def history_of(run: Run) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run.history_file.read_text().splitlines()]


class Recorder:
    """Observer that keeps what it sees, and can stop a training as a user does."""

    def __init__(self, trainer: Trainer, *, interrupt_in_epoch: int = -1) -> None:
        self.trainer, self.stop_in = trainer, interrupt_in_epoch
        self.weights: list[list[np.ndarray]] = []
        self.epochs: list[Epoch] = []

    def on_step(self, epoch: int, step: int, steps: int, loss: float) -> None:
        self.weights.append(self.trainer.network.standardized.get_weights())
        if epoch == self.stop_in and step == 2:
            raise KeyboardInterrupt

    def on_epoch(self, epoch: Epoch) -> None:
        self.epochs.append(epoch)


def test_four_crystals_are_learned_by_heart(make_trainer, index):
    trainer = make_trainer(
        "train.epochs=5",
        "train.views_per_epoch=30",
        "train.learning_rate=2e-3",
        "train.warmup=0",
        "train.ema=0",
        "train.weight_decay=0",
        "view.augment=false",
        splits=np.where(np.arange(len(index.ids)) < 4, "train", "validation"),
        labels=np.where(np.arange(len(index.ids))[:, None] < 4, np.nan_to_num(index.labels, nan=1.0), np.nan),
    )
    trainer.fit()
    history = history_of(trainer.run)
    assert history[-1]["loss"]["train"] < 0.05 * history[0]["loss"]["train"]
    # No label to validate on: the last weights count, and there is no number instead of a made-up one.
    assert trainer.progress.kept_epoch == 4
    assert {line["loss"]["validation"] for line in history} == {None}
    assert set(history[0]["validation"].values()) == {None}
    assert weights_hash(trainer.kept.standardized.weights) == weights_hash(trainer.network.standardized.weights)


@pytest.mark.slow
def test_moving_average_is_the_recursion_over_all_steps(make_trainer):
    trainer = make_trainer("train.epochs=1", "train.ema=0.8", names=("band_gap",))
    mean = [array.astype(np.float64) for array in trainer.network.standardized.get_weights()]
    recorder = Recorder(trainer)
    trainer.fit([recorder])
    for number, weights in enumerate(recorder.weights, start=1):
        decay = min(0.8, (1 + number) / (10 + number))
        mean = [decay * old + (1 - decay) * new for old, new in zip(mean, weights, strict=True)]
    for array, expected in zip(trainer.averaged.standardized.get_weights(), mean, strict=True):
        np.testing.assert_allclose(array, expected, atol=1e-6)
    # What is validated and exported is the average.
    assert weights_hash(trainer.kept.standardized.weights) == weights_hash(trainer.averaged.standardized.weights)


@pytest.mark.slow
@pytest.mark.parametrize(("patience", "epochs"), [(1, 2), (0, 3)])
def test_training_stops_early_unless_patience_is_zero(make_trainer, patience, epochs):
    # With steps this small the weights, and with them the validation loss, stay as they are.
    trainer = make_trainer(
        "train.epochs=3",
        f"train.patience={patience}",
        "train.learning_rate=1e-30",
        "train.ema=0",
        "train.views_per_epoch=1",
        names=("band_gap",),
    )
    trainer.fit()
    assert (trainer.progress.lowest_epoch, trainer.progress.next_epoch) == (0, epochs)
    assert [line["lowest"] for line in history_of(trainer.run)] == [True] + [False] * (epochs - 1)


@pytest.mark.slow
@pytest.mark.parametrize(("patience", "kept"), [(0, 2), (1, 1), (9, 1)])
def test_validation_chooses_the_weights_only_with_patience(make_trainer, monkeypatch, patience, kept):
    trainer = make_trainer(
        "train.epochs=3", f"train.patience={patience}", "train.views_per_epoch=1", "train.ema=0", names=("band_gap",)
    )
    validate, losses, weights = trainer._validate, iter((0.3, 0.1, 0.2)), []

    def validate_as_told():
        predictions, sums = validate()
        weights.append(weights_hash(trainer.averaged.standardized.weights))
        return predictions, np.stack([next(losses) * sums[1], sums[1]])

    monkeypatch.setattr(trainer, "_validate", validate_as_told)
    trainer.fit()
    assert len(set(weights)) == 3
    assert trainer.progress.kept_epoch == kept
    assert weights_hash(trainer.kept.standardized.weights) == weights[kept]


def test_loss_of_a_step_is_the_weighted_sum_over_known_labels(stepper):
    trainer, targets = stepper.trainer, stepper.targets
    outputs = trainer.network.standardized(stepper.inputs, training=True)
    losses, mask = (np.asarray(item) for item in task_losses(trainer.index.properties, targets, outputs))
    assert 0 < mask.mean() < 1
    loss, sums = stepper.step((stepper.inputs, tf.constant(targets)))
    assert float(loss) == pytest.approx((losses * trainer.task_weights).sum() / len(targets), rel=1e-5)
    np.testing.assert_allclose(sums, [losses.sum(axis=0), mask.sum(axis=0)], rtol=1e-5)


def test_batch_without_any_label_of_a_property_leaves_its_head_alone(stepper):
    # Adam's momentum of earlier batches would carry it on.
    model = stepper.trainer.network.standardized
    for variable in stepper.trainer.optimizer.variables[2:]:
        variable.assign(keras.ops.zeros_like(variable))
    hidden = [item.name for item in stepper.trainer.index.properties].index("hardness")
    targets = stepper.targets.copy()
    targets[:, hidden] = np.nan
    before = {variable.path: variable.numpy() for variable in model.trainable_variables}
    for _ in range(3):  # the first step of the warm-up has a rate of zero
        loss, sums = stepper.step((stepper.inputs, tf.constant(targets)))
    assert np.isfinite(float(loss))
    assert sums.numpy()[:, hidden].tolist() == [0, 0]
    for variable in model.trainable_variables:
        moved = not np.array_equal(variable.numpy(), before[variable.path])
        if "hardness" in variable.path:
            assert not moved
        elif "kernel" in variable.path:
            assert moved, variable.path
    _, sums = stepper.step((stepper.inputs, tf.fill(targets.shape, np.float32(np.nan))))
    assert sums.numpy().tolist() == [[0] * 3, [0] * 3]
    assert all(np.isfinite(array).all() for array in model.get_weights())


def test_rarely_labelled_properties_count_like_others_up_to_a_limit():
    items = (Property("a"), Property("b"), Property("c", loss_weight=2.0))
    targets = np.zeros((100, 3))
    targets[50:, 1] = np.nan
    targets[1:, 2] = np.nan
    np.testing.assert_allclose(_task_weights(items, targets), np.array([1, 2, 2 * 10]) / 4)


def test_rate_warms_up_and_falls_along_a_cosine_to_a_hundredth():
    def rate(step: int, *, warmup: float) -> float:
        train = TrainConfig(epochs=10, learning_rate=1e-3, warmup=warmup)
        schedule: Any = _optimizer(train, 20)._learning_rate
        return float(schedule(step))

    assert rate(0, warmup=0.1) == 0
    assert rate(10, warmup=0.1) == pytest.approx(5e-4)
    assert rate(20, warmup=0.1) == pytest.approx(1e-3)
    assert rate(110, warmup=0.1) == pytest.approx(1e-3 * (0.5 + 0.5 * 0.01))
    assert rate(200, warmup=0.1) == pytest.approx(1e-5)
    assert rate(0, warmup=0.0) == pytest.approx(1e-3)
    assert rate(200, warmup=0.0) == pytest.approx(1e-5)


def test_loss_that_is_no_longer_finite_ends_the_training_in_one_line(make_trainer):
    trainer = make_trainer("train.learning_rate=1e38", "train.warmup=0", names=("band_gap",))
    with pytest.raises(
        TrainingError, match=r"the loss is not finite in epoch 1; start a new run with train.learning_rate"
    ):
        trainer.fit()
    assert not trainer.run.checkpoint.exists()


@pytest.mark.slow
def test_interrupted_training_goes_on_to_the_same_weights(make_trainer, whole):
    stopped = make_trainer()
    with pytest.raises(KeyboardInterrupt):
        stopped.fit([Recorder(stopped, interrupt_in_epoch=1)])
    resumed = make_trainer(resumed=stopped.run)
    assert resumed.progress.next_epoch == 1
    recorder = Recorder(resumed)
    resumed.fit([recorder])
    assert [epoch.number for epoch in recorder.epochs] == [1, 2]
    for group, variables in resumed.variables.items():
        assert weights_hash(variables) == weights_hash(whole.variables[group]), group
    without_seconds = [[{**line, "seconds": 0} for line in history_of(one.run)] for one in (whole, resumed)]
    assert without_seconds[0] == without_seconds[1]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["values", "msa3dcnn"])
def test_described_values_are_fitted_before_training_and_stay_as_they_are(make_trainer, name):
    trainer = make_trainer(f"model.name={name}", "train.epochs=1", "train.views_per_epoch=2", names=("band_gap",))
    cubes = trainer.data.sample()
    weights = trainer.network.standardized.weights
    paths, before = [weight.path for weight in weights], [weight.numpy() for weight in weights]
    mean = before[paths.index("channel_scale/mean")]
    np.testing.assert_allclose(mean, cubes.mean(axis=(0, 1, 2, 3)), rtol=1e-4, atol=1e-5)
    learned = {variable.path for variable in trainer.network.standardized.trainable_variables}
    trainer.fit()
    for trained in (trainer.network, trainer.averaged, trainer.kept):
        for path, old, new in zip(paths, before, trained.standardized.get_weights(), strict=True):
            if path.startswith(("channel_scale", "value_distribution", "value_scale")):
                np.testing.assert_array_equal(new, old, err_msg=path)
            elif "kernel" in path:
                assert path in learned
                assert not np.array_equal(new, old), path


def test_batch_must_be_shared_evenly_by_the_devices(builder, index, crystals, tmp_path):
    three: Any = SimpleNamespace(num_replicas_in_sync=3)
    with pytest.raises(ConfigError, match=r"train.batch_size 4 is no multiple of the 3 devices"):
        Trainer(Experiment(Run(tmp_path), crystals.config(), builder, index, three))


@pytest.mark.slow
def test_initial_weights_do_not_depend_on_what_was_drawn_before(make_trainer):
    first, second = (make_trainer(names=("band_gap",)) for _ in range(2))
    assert weights_hash(first.averaged.standardized.weights) == weights_hash(second.network.standardized.weights)
    keras.utils.set_random_seed(99)
    assert weights_hash(make_trainer(names=("band_gap",)).kept.standardized.weights) == weights_hash(
        first.network.standardized.weights
    )


@pytest.mark.slow
def test_two_devices_give_the_loss_of_one(on_one_and_two_devices):
    histories = [history_of(run) for run in on_one_and_two_devices]
    assert len(histories[0]) == 3
    for one, two in zip(*histories, strict=True):
        for split in ("train", "validation"):
            assert two["loss"][split] == pytest.approx(one["loss"][split], rel=1e-5)


@pytest.mark.slow
def test_run_killed_half_way_gives_the_weights_of_the_uninterrupted_one(killed, finished):
    assert "trained" not in killed.log
    assert killed.next_epoch in (1, 2)
    assert not killed.had_model
    assert killed.resumed.returncode == 0, killed.resumed.stderr
    assert f"at epoch {killed.next_epoch + 1}" in killed.resumed.stderr
    assert weights_in(killed.resumed.stderr) == weights_in(finished.stderr)
    assert killed.resumed.stdout == finished.stdout
    assert (killed.run.model / "card.toml").is_file()
