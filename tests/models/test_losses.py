from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf
from sklearn.metrics import log_loss

from rhonet.core.properties import Property
from rhonet.models.losses import HUBER_DELTA, task_losses

GAP = Property("gap")
METAL = Property("metal", kind="binary")
PHASE = Property("phase", kind="multiclass", classes=3)
ITEMS = (GAP, METAL, PHASE)


def losses_of(targets: list[list[float]], outputs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    losses, mask = task_losses(ITEMS, np.array(targets, np.float32), outputs.astype(np.float32))
    return np.asarray(losses), np.asarray(mask)


def gradient_of(targets: list[list[float]], outputs: np.ndarray) -> np.ndarray:
    watched = tf.constant(outputs, tf.float32)
    with tf.GradientTape() as tape:
        tape.watch(watched)
        losses, _ = task_losses(ITEMS, tf.constant(targets, tf.float32), watched)
    return np.asarray(tape.gradient(losses, watched))


def test_losses_are_huber_and_cross_entropy():
    outputs = np.random.default_rng(0).normal(size=(3, 5))
    targets = [[0.3, 1, 2], [outputs[1, 0] + 0.5, 0, 0], [outputs[2, 0] - 7, 1, 1]]
    losses, mask = losses_of(targets, outputs)
    assert mask.all()
    error = abs(outputs[0, 0] - 0.3)
    first = 0.5 * error**2 if error < HUBER_DELTA else error - 0.5
    np.testing.assert_allclose(losses[:, 0], [first, 0.125, 6.5], rtol=1e-5)
    for row in range(3):
        chance = 1 / (1 + np.exp(-outputs[row, 1]))
        assert losses[row, 1] == pytest.approx(log_loss([targets[row][1]], [chance], labels=[0, 1]), rel=1e-5)
        chances = np.exp(outputs[row, 2:]) / np.exp(outputs[row, 2:]).sum()
        assert losses[row, 2] == pytest.approx(-np.log(chances[int(targets[row][2])]), rel=1e-5)


def test_missing_labels_have_no_loss():
    nan = float("nan")
    losses, mask = losses_of([[nan, 1, nan], [0.5, nan, 2]], np.random.default_rng(0).normal(size=(2, 5)))
    assert mask.tolist() == [[0, 1, 0], [1, 0, 1]]
    assert (losses == 0).tolist() == [[True, False, True], [False, True, False]]
    assert np.isfinite(losses).all()


def test_missing_labels_have_no_gradient():
    nan = float("nan")
    targets = [[nan, nan, nan], [0.5, nan, 2]]
    gradient = gradient_of(targets, np.random.default_rng(0).normal(size=(2, 5)))
    assert (gradient != 0).tolist() == [[False] * 5, [True, False, True, True, True]]
    assert np.isfinite(gradient).all()


def test_gradient_of_a_regression_outlier_is_bounded():
    gradient = gradient_of([[3.0, 0, 0], [1e6, 0, 0]], np.zeros((2, 5)))
    np.testing.assert_allclose(gradient[:, 0], -HUBER_DELTA)
