from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest

from rhonet.baselines import DUMMY, HISTOGRAM_GB, N_FEATURES, Samples, density_features, fit_predict_baselines
from rhonet.metrics import evaluate
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


@pytest.mark.parametrize("poison", [np.nan, 0.0, 1.0])
def test_test_labels_never_reach_a_baseline(poison):
    train, test = simulate(60), simulate(20, seed=1)
    poisoned = with_labels(test, **{item.name: np.full(20, poison) for item in ALL})
    clean, dirty = (fit_predict_baselines(ALL, train, test=split) for split in (test, poisoned))
    for name, predictions in clean.items():
        for item in ALL:
            np.testing.assert_array_equal(dirty[name].values[item.name], predictions.values[item.name])


def test_an_infinite_test_label_is_refused_not_learned():
    train, test = simulate(60), simulate(20, seed=1)
    with pytest.raises(ValueError, match="gap: the label of 1-0000 is infinite"):
        fit_predict_baselines((GAP,), train, test=with_labels(test, gap=np.full(20, np.inf)))


def test_the_order_of_the_training_samples_does_not_matter():
    train, test = simulate(60), simulate(20, seed=1)
    order = np.random.default_rng(0).permutation(60)
    shuffled = Samples(
        tuple(train.ids[at] for at in order),
        train.features[order],
        train.volumes[order],
        {name: labels[order] for name, labels in train.labels.items()},
    )
    one, other = (fit_predict_baselines(ALL, split, test=test) for split in (train, shuffled))
    for item in ALL:
        np.testing.assert_array_equal(one[HISTOGRAM_GB].values[item.name], other[HISTOGRAM_GB].values[item.name])


def test_further_properties_and_their_missing_labels_do_not_matter():
    train, test = simulate(60), simulate(20, seed=1)
    holes = with_labels(train, modulus=np.where(np.arange(60) % 2, np.nan, train.labels["modulus"]))
    alone = fit_predict_baselines((GAP,), train, test=test)[HISTOGRAM_GB]
    among = fit_predict_baselines(ALL, holes, test=test)[HISTOGRAM_GB]
    np.testing.assert_array_equal(alone.values["gap"], among.values["gap"])


def test_training_samples_without_a_label_count_as_absent():
    train, test = simulate(60), simulate(20, seed=1)
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
    one, other = (fit_predict_baselines((GAP,), split, test=test) for split in (holes, fewer))
    for name in (DUMMY, HISTOGRAM_GB):
        np.testing.assert_array_equal(one[name].values["gap"], other[name].values["gap"])


def test_the_dummy_says_the_training_median_per_volume_and_the_class_shares():
    train, test = simulate(61), simulate(20, seed=1)
    dummy = fit_predict_baselines(ALL, train, test=test)[DUMMY].values
    # 61 labels: the median is one of them, and the same on any monotonic scale.
    np.testing.assert_allclose(dummy["modulus"], np.median(train.labels["modulus"]), rtol=1e-12)
    np.testing.assert_allclose(dummy["moment"], np.median(train.labels["moment"] / train.volumes) * test.volumes)
    np.testing.assert_allclose(dummy["metal"], train.labels["metal"].mean())
    np.testing.assert_allclose(dummy["system"].sum(axis=1), 1)


def test_trees_learn_what_the_features_hold():
    predictions = fit_predict_baselines(ALL, simulate(300), test=simulate(100, seed=1))
    boosted, dummy = (evaluate(predictions[name], resamples=0) for name in (HISTOGRAM_GB, DUMMY))
    for item in boosted.regression:
        assert item.r2_learned.value > 0.9, item.target.name
    # A constant explains nothing; the moment's dummy is a constant density and knows at least the volume.
    modulus, gap, moment = (item.r2_learned.value for item in dummy.regression)
    assert modulus <= 0
    assert gap <= 0
    assert 0 < moment < 0.5
    assert min(item.auc.value for item in boosted.classes) > 0.9
    # One answer for all: no ranking.
    assert [item.auc.value for item in dummy.classes] == [0.5, 0.5]


def test_a_property_that_grows_with_the_cell_grows_with_the_cell():
    train, test = simulate(60), simulate(20, seed=1)
    twice = dataclasses.replace(test, volumes=2 * test.volumes)
    small, large = (fit_predict_baselines(ALL, train, test=split) for split in (test, twice))
    for name in (DUMMY, HISTOGRAM_GB):
        np.testing.assert_allclose(large[name].values["moment"], 2 * small[name].values["moment"])
        np.testing.assert_array_equal(large[name].values["gap"], small[name].values["gap"])


def test_a_class_that_training_never_saw_gets_probability_zero():
    values = fit_predict_baselines(ALL, simulate(60), test=simulate(20, seed=1))[HISTOGRAM_GB].values["system"]
    assert values[:, 3].tolist() == [0] * 20
    np.testing.assert_allclose(values.sum(axis=1), 1)


def test_too_few_labels_or_one_class_give_the_dummy_and_no_label_gives_nan():
    train, test = simulate(60), simulate(5, seed=1)
    sparse = with_labels(
        train,
        modulus=np.where(np.arange(60) < 9, train.labels["modulus"], np.nan),
        gap=np.full(60, np.nan),
        metal=np.ones(60),
        system=np.full(60, np.nan),
    )
    predictions = fit_predict_baselines(ALL, sparse, test=test)
    boosted, dummy = predictions[HISTOGRAM_GB].values, predictions[DUMMY].values
    np.testing.assert_array_equal(boosted["modulus"], dummy["modulus"])
    assert boosted["metal"].tolist() == [1] * 5
    assert np.isnan(boosted["gap"]).all()
    assert np.isnan(boosted["system"]).all()
    assert evaluate(predictions[DUMMY]).regression[1].mae.reason == "5 of 5 predictions are not finite"


def test_an_empty_test_split_is_predicted_without_fuss():
    train = simulate(60)
    empty = Samples((), np.empty((0, N_FEATURES)), np.empty(0), {item.name: np.empty(0) for item in ALL})
    for predictions in fit_predict_baselines(ALL, train, test=empty).values():
        assert evaluate(predictions).n == 0


def test_a_label_without_logarithm_and_arrays_that_do_not_fit_are_refused():
    train, test = simulate(60), simulate(5, seed=1)
    with pytest.raises(ValueError, match="modulus"):
        fit_predict_baselines(ALL, with_labels(train, modulus=np.zeros(60)), test=test)
    with pytest.raises(ValueError, match=r"features must have shape \(60, 48\), got \(60, 47\)"):
        dataclasses.replace(train, features=train.features[:, 1:])
    with pytest.raises(ValueError, match=r"labels of gap must have shape \(60,\), got \(3,\)"):
        with_labels(train, gap=np.zeros(3))
    with pytest.raises(ValueError, match="cell volume of 0-0000 is not above 0"):
        dataclasses.replace(train, volumes=np.zeros(60))


def test_ten_properties_of_a_thousand_crystals_take_well_under_a_minute():
    train, test = simulate(1000), simulate(100, seed=1)
    start = time.process_time()
    fit_predict_baselines((GAP,), train, test=test)
    # 0.5 s for one property on one core; processor time, so that neighbours on the machine do not count.
    assert time.process_time() - start < 5
    values = random_density((48, 48, 48))
    start = time.process_time()
    density_features(values)
    # 10 ms at the storage grid of a large cell.
    assert time.process_time() - start < 0.2
