from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from rhonet.baselines import DUMMY, HISTOGRAM_GB, N_FEATURES, Samples, density_features, fit_predict_baselines
from rhonet.metrics import evaluate
from rhonet.predictions import Predictions
from rhonet.properties import Property

MODULUS = Property("modulus", unit="GPa", transform="log")
GAP = Property("gap", unit="eV")
MOMENT = Property("moment", unit="µB", intensive=False)
METAL = Property("metal", kind="binary")
SYSTEM = Property("system", kind="multiclass", classes=4)
ALL = (MODULUS, GAP, MOMENT, METAL, SYSTEM)


def simulate(n: int, *, seed: int = 0) -> Samples:
    """Samples whose labels follow from two of the features; class 3 of `system` never occurs."""
    rng = np.random.default_rng(seed)
    features, volumes = rng.random((n, N_FEATURES)), rng.uniform(10, 100, n)
    one, two = features[:, 0], features[:, 1]
    labels = {
        "modulus": np.exp(3 + 2 * one),
        "gap": 5 * two,
        "moment": one * volumes,
        "metal": (one + two > 1.2).astype(float),
        "system": np.floor(3 * one),
    }
    return Samples(tuple(f"{seed}-{at:04d}" for at in range(n)), features, volumes, labels)


@pytest.fixture(scope="module")
def train() -> Samples:
    return simulate(60)


@pytest.fixture(scope="module")
def unseen() -> Samples:
    return simulate(20, seed=1)


@pytest.fixture(scope="module")
def fitted(train: Samples, unseen: Samples) -> dict[str, Predictions]:
    return fit_predict_baselines(ALL, train, test=unseen)


def with_labels(samples: Samples, **labels: np.ndarray) -> Samples:
    return dataclasses.replace(samples, labels=samples.labels | labels)


def random_density(shape: tuple[int, int, int] = (6, 5, 4), *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(-1, 1.5, shape)


def test_the_histogram_holds_the_whole_volume_once():
    values = random_density() * np.random.default_rng(1).choice([-0.5, 1, 100], (6, 5, 4))
    histogram = density_features(values)[:33]
    assert histogram.sum() == pytest.approx(1)
    assert (histogram >= 0).all()


def test_features_know_neither_positions_nor_the_choice_of_cell():
    values, spin = random_density(), random_density(seed=1) - 0.3
    expected = density_features(values, spin)
    assert expected.shape == (N_FEATURES,)
    order = np.random.default_rng(2).permutation(values.size)
    shuffled = density_features(values.ravel()[order].reshape(4, 5, 6), spin.ravel()[order].reshape(4, 5, 6))
    np.testing.assert_allclose(shuffled, expected, rtol=1e-12, atol=1e-15)
    # Quantiles interpolate between points, so those of a supercell move by up to one point: leave them out.
    supercell = density_features(np.tile(values, (2, 1, 1)), np.tile(spin, (2, 1, 1)))
    for part in (slice(33), slice(44, None)):
        np.testing.assert_allclose(supercell[part], expected[part], rtol=1e-12, atol=1e-15)


def test_features_change_smoothly_with_the_density():
    values = random_density()
    change = density_features(values * (1 + 1e-9)) - density_features(values)
    # At most one part in 1e9, times the slope of 4 bins per unit of asinh.
    assert np.abs(change[:-4]).max() < 1e-8


def test_magnetic_features_are_moments_and_zero_without_spin():
    spin = np.array([[[1.0, -3.0]]])
    np.testing.assert_allclose(density_features(np.ones((1, 1, 2)), spin)[-4:], [1, -1, 2, 3])
    assert density_features(np.ones((1, 1, 2)))[-3:].tolist() == [0, 0, 0]


def test_features_of_half_precision_are_those_of_its_values():
    values = random_density().astype(np.float16)
    np.testing.assert_array_equal(density_features(values), density_features(values.astype(np.float64)))


@pytest.mark.parametrize("poison", [np.nan, 1.0])
def test_test_labels_never_reach_a_baseline(train, unseen, fitted, poison):
    poisoned = with_labels(unseen, **{item.name: np.full(20, poison) for item in ALL})
    dirty = fit_predict_baselines(ALL, train, test=poisoned)
    for name, predictions in fitted.items():
        for item in ALL:
            np.testing.assert_array_equal(dirty[name].values[item.name], predictions.values[item.name])


def test_an_infinite_test_label_is_refused_not_learned(train, unseen):
    with pytest.raises(ValueError, match="gap: the label of 1-0000 is infinite"):
        fit_predict_baselines((GAP,), train, test=with_labels(unseen, gap=np.full(20, np.inf)))


def test_the_order_of_the_training_samples_does_not_matter(train, unseen, fitted):
    order = np.random.default_rng(0).permutation(60)
    shuffled = Samples(
        tuple(train.ids[at] for at in order),
        train.features[order],
        train.volumes[order],
        {name: labels[order] for name, labels in train.labels.items()},
    )
    other = fit_predict_baselines(ALL, shuffled, test=unseen)
    for item in ALL:
        np.testing.assert_array_equal(other[HISTOGRAM_GB].values[item.name], fitted[HISTOGRAM_GB].values[item.name])


def test_further_properties_and_their_missing_labels_do_not_matter(train, unseen, fitted):
    holes = with_labels(train, modulus=np.where(np.arange(60) % 2, np.nan, train.labels["modulus"]))
    few = fit_predict_baselines((MODULUS, GAP), holes, test=unseen)[HISTOGRAM_GB]
    np.testing.assert_array_equal(few.values["gap"], fitted[HISTOGRAM_GB].values["gap"])
    assert (few.values["modulus"] != fitted[HISTOGRAM_GB].values["modulus"]).any()


def test_training_samples_without_a_label_count_as_absent(train, unseen):
    missing = np.arange(60) % 3 == 0
    features = train.features.copy()
    features[missing] = 1e6
    holes = dataclasses.replace(
        train, features=features, labels={"gap": np.where(missing, np.nan, train.labels["gap"])}
    )
    rest = np.flatnonzero(~missing)
    fewer = Samples(
        tuple(train.ids[at] for at in rest),
        train.features[rest],
        train.volumes[rest],
        {"gap": train.labels["gap"][rest]},
    )
    one, other = (fit_predict_baselines((GAP,), split, test=unseen) for split in (holes, fewer))
    for name in (DUMMY, HISTOGRAM_GB):
        np.testing.assert_array_equal(one[name].values["gap"], other[name].values["gap"])


def test_the_dummy_says_the_training_median_per_volume_and_the_class_shares(unseen):
    train = simulate(61)
    dummy = fit_predict_baselines(ALL, train, test=unseen)[DUMMY].values
    # 61 labels: the median is one of them, and the same on any monotonic scale.
    np.testing.assert_allclose(dummy["modulus"], np.median(train.labels["modulus"]), rtol=1e-12)
    np.testing.assert_allclose(dummy["moment"], np.median(train.labels["moment"] / train.volumes) * unseen.volumes)
    np.testing.assert_allclose(dummy["metal"], train.labels["metal"].mean())
    np.testing.assert_allclose(dummy["system"].sum(axis=1), 1)


def test_trees_learn_what_the_features_hold():
    predictions = fit_predict_baselines(ALL, simulate(200), test=simulate(50, seed=1))
    boosted, dummy = (evaluate(predictions[name], resamples=0) for name in (HISTOGRAM_GB, DUMMY))
    for item in boosted.regression:
        assert item.r2_learned.value > 0.9, item.target.name
    # A constant explains nothing; the moment's dummy is a constant density and knows at least the volume.
    modulus, gap, moment = (item.r2_learned.value for item in dummy.regression)
    assert modulus <= 0
    assert gap <= 0
    assert 0 < moment < 0.6
    assert min(item.auc.value for item in boosted.classes) > 0.9
    # One answer for all: no ranking.
    assert [item.auc.value for item in dummy.classes] == [0.5, 0.5]


def test_a_property_that_grows_with_the_cell_grows_with_the_cell(train, unseen, fitted):
    twice = dataclasses.replace(unseen, volumes=2 * unseen.volumes)
    large = fit_predict_baselines((GAP, MOMENT), train, test=twice)
    for name in (DUMMY, HISTOGRAM_GB):
        np.testing.assert_allclose(large[name].values["moment"], 2 * fitted[name].values["moment"])
        np.testing.assert_array_equal(large[name].values["gap"], fitted[name].values["gap"])


def test_a_class_that_training_never_saw_gets_probability_zero(fitted):
    values = fitted[HISTOGRAM_GB].values["system"]
    assert values[:, 3].tolist() == [0] * 20
    np.testing.assert_allclose(values.sum(axis=1), 1)


def test_too_few_labels_or_one_class_give_the_dummy_and_no_label_gives_nan(train, unseen):
    sparse = with_labels(
        train,
        modulus=np.where(np.arange(60) < 9, train.labels["modulus"], np.nan),
        gap=np.full(60, np.nan),
        metal=np.ones(60),
        system=np.full(60, np.nan),
    )
    predictions = fit_predict_baselines(ALL, sparse, test=unseen)
    boosted, dummy = predictions[HISTOGRAM_GB].values, predictions[DUMMY].values
    np.testing.assert_array_equal(boosted["modulus"], dummy["modulus"])
    assert boosted["metal"].tolist() == [1] * 20
    assert np.isnan(boosted["gap"]).all()
    assert np.isnan(boosted["system"]).all()
    assert evaluate(predictions[DUMMY]).regression[1].mae.reason == "20 of 20 predictions are not finite"


def test_an_empty_test_split_is_predicted_without_fuss(train):
    empty = Samples((), np.empty((0, N_FEATURES)), np.empty(0), {item.name: np.empty(0) for item in ALL})
    for predictions in fit_predict_baselines(ALL, train, test=empty).values():
        assert evaluate(predictions).n == 0


def test_a_label_without_logarithm_and_arrays_that_do_not_fit_are_refused(train, unseen):
    with pytest.raises(ValueError, match="modulus"):
        fit_predict_baselines(ALL, with_labels(train, modulus=np.zeros(60)), test=unseen)
    with pytest.raises(ValueError, match=r"features must have shape \(60, 48\), got \(60, 47\)"):
        dataclasses.replace(train, features=train.features[:, 1:])
    with pytest.raises(ValueError, match=r"labels of gap must have shape \(60,\), got \(3,\)"):
        with_labels(train, gap=np.zeros(3))
    with pytest.raises(ValueError, match="cell volume of 0-0000 is not above 0"):
        dataclasses.replace(train, volumes=np.zeros(60))


def test_ten_properties_of_a_thousand_crystals_take_well_under_a_minute():
    train, unseen = simulate(1000), simulate(100, seed=1)
    start = time.process_time()
    fit_predict_baselines((GAP,), train, test=unseen)
    # 0.5 s for one property on one core; processor time, so that neighbours on the machine do not count.
    assert time.process_time() - start < 5
    values = random_density((48, 48, 48))
    start = time.process_time()
    density_features(values)
    # 10 ms at the storage grid of a large cell.
    assert time.process_time() - start < 0.2
