from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import mannwhitneyu
from sklearn import metrics as reference

from rhonet.evaluation.scores import auc, balanced_accuracy, macro_auc, regression_scores

ONES = np.ones((1, 60))
# Rounding of sums over 60 numbers of order one.
CLOSE = 1e-12


def test_the_mean_scores_zero_and_the_truth_one():
    truth = np.random.default_rng(0).normal(5, 2, 60)
    mean = regression_scores(truth, np.full(60, truth.mean()), ONES)
    np.testing.assert_allclose(mean["r2"], 0, atol=1e-12)
    np.testing.assert_allclose(mean["mae_over_mad"], 1, rtol=CLOSE)
    perfect = regression_scores(truth, truth, ONES)
    assert {name: score[0] for name, score in perfect.items()} == {"r2": 1, "mae": 0, "rmse": 0, "mae_over_mad": 0}


def test_regression_scores_agree_with_scikit_learn_for_any_weights():
    rng = np.random.default_rng(1)
    truth, predicted = rng.normal(size=60), rng.normal(size=60)
    weights = rng.integers(0, 4, (5, 60)).astype(float)
    scores = regression_scores(truth, predicted, weights)
    for row, weight in enumerate(weights):
        mae = reference.mean_absolute_error(truth, predicted, sample_weight=weight)
        mad = reference.mean_absolute_error(truth, np.full(60, np.average(truth, weights=weight)), sample_weight=weight)
        assert scores["r2"][row] == pytest.approx(reference.r2_score(truth, predicted, sample_weight=weight))
        assert scores["mae"][row] == pytest.approx(mae)
        assert scores["mae_over_mad"][row] == pytest.approx(mae / mad)
        assert scores["rmse"][row] ** 2 == pytest.approx(
            reference.mean_squared_error(truth, predicted, sample_weight=weight)
        )


def test_counts_as_weights_are_repeated_samples():
    rng = np.random.default_rng(2)
    truth, predicted = rng.normal(size=60), rng.normal(size=60)
    counts = rng.integers(0, 3, 60)
    weighted = regression_scores(truth, predicted, counts[None].astype(float))
    repeated = regression_scores(np.repeat(truth, counts), np.repeat(predicted, counts), np.ones((1, counts.sum())))
    for name, score in weighted.items():
        np.testing.assert_allclose(score, repeated[name], rtol=CLOSE)


@pytest.mark.parametrize("value", [0.0, 0.1, -1783.023538, 1e9])
def test_r2_is_undefined_for_equal_labels_in_spite_of_rounding(value):
    scores = regression_scores(np.full(60, value), np.arange(60.0), np.full((1, 60), 3.0))
    assert np.isnan(scores["r2"][0])
    assert np.isnan(scores["mae_over_mad"][0])
    assert np.isfinite(scores["mae"][0])


def test_auc_is_the_mann_whitney_statistic_with_ties():
    rng = np.random.default_rng(3)
    positive, score = rng.random(60) < 0.3, rng.integers(0, 6, 60) / 5
    statistic = mannwhitneyu(score[positive], score[~positive]).statistic
    pairs = positive.sum() * (~positive).sum()
    np.testing.assert_allclose(auc(positive, score, ONES), statistic / pairs, rtol=CLOSE)


def test_auc_of_counts_is_that_of_repeated_samples():
    rng = np.random.default_rng(4)
    positive, score = rng.random(60) < 0.5, rng.random(60).round(1)
    counts = rng.integers(0, 3, (4, 60))
    areas = auc(positive, score, counts.astype(float))
    for row, count in enumerate(counts):
        expected = reference.roc_auc_score(np.repeat(positive, count), np.repeat(score, count))
        assert areas[row] == pytest.approx(expected)


def test_reversed_scores_mirror_the_auc():
    rng = np.random.default_rng(5)
    positive, score = rng.random(60) < 0.5, rng.random(60)
    np.testing.assert_allclose(auc(positive, -score, ONES), 1 - auc(positive, score, ONES), rtol=CLOSE)
    np.testing.assert_allclose(auc(positive, np.exp(score), ONES), auc(positive, score, ONES), rtol=CLOSE)


def test_class_scores_agree_with_scikit_learn():
    rng = np.random.default_rng(6)
    labels, raw = rng.integers(0, 3, 60), rng.random((60, 3))
    probabilities = raw / raw.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    expected = reference.roc_auc_score(labels, probabilities, multi_class="ovr", average="macro")
    np.testing.assert_allclose(macro_auc(labels, probabilities, ONES), expected, rtol=CLOSE)
    expected = reference.balanced_accuracy_score(labels, predicted)
    np.testing.assert_allclose(balanced_accuracy(labels, predicted, ONES), expected, rtol=CLOSE)


def test_class_scores_are_undefined_without_all_classes_of_the_sample():
    labels, probabilities = np.array([0, 1, 2]), np.eye(3)
    weights = np.array([[1.0, 1.0, 1.0], [1.0, 2.0, 0.0]])
    assert np.isnan(macro_auc(labels, probabilities, weights)).tolist() == [False, True]
    assert np.isnan(balanced_accuracy(labels, labels, weights)).tolist() == [False, True]
    one_class = np.zeros(3)
    assert np.isnan(macro_auc(one_class, probabilities, weights)).all()
    assert np.isnan(balanced_accuracy(one_class, one_class, weights)).all()
