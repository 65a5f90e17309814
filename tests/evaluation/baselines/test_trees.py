from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.evaluation.baselines.trees import (
    COMPOSITION_RF,
    DUMMY,
    HISTOGRAM_GB,
    N_DENSITY_FEATURES,
    N_GRID_FEATURES,
    Samples,
    density_features,
    fit_predict_baselines,
    grid_features,
)
from rhonet.evaluation.metrics import evaluate
from tests.synthetic import density_of

MODULUS = Property("modulus", unit="GPa", transform="log")
GAP = Property("gap", unit="eV")
MOMENT = Property("moment", unit="µB", intensive=False)
METAL = Property("metal", kind="binary")
SYSTEM = Property("system", kind="multiclass", classes=4)
ALL = (MODULUS, GAP, MOMENT, METAL, SYSTEM)
TREES = (HISTOGRAM_GB, COMPOSITION_RF)


def simulate(n: int, *, seed: int = 0) -> Samples:
    """Samples whose labels follow from two of the ten features; class 3 of `system` never occurs."""
    rng = np.random.default_rng(seed)
    features, volumes = rng.random((n, 10)), rng.uniform(10, 100, n)
    first, second = features[:, 0], features[:, 1]
    labels = {
        "modulus": np.exp(3 + 2 * first),
        "gap": 5 * second,
        "moment": first * volumes,
        "metal": (first + second > 1.2).astype(float),
        "system": np.floor(3 * first),
    }
    return Samples(
        tuple(f"{seed}-{number:04d}" for number in range(n)), volumes, labels, dict.fromkeys(TREES, features)
    )


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


def with_features(samples: Samples, features: np.ndarray) -> Samples:
    return dataclasses.replace(samples, features=dict.fromkeys(TREES, features))


def random_density(shape: tuple[int, int, int] = (6, 5, 4), *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).lognormal(-1, 1.5, shape)


def test_the_histogram_holds_the_whole_volume_once():
    values = random_density() * np.random.default_rng(1).choice([-0.5, 1, 100], (6, 5, 4))
    histogram = density_features(values)[:33]
    assert histogram.sum() == pytest.approx(1)
    assert (histogram >= 0).all()


def test_density_features_do_not_depend_on_positions_or_the_choice_of_cell():
    values, spin = random_density(), random_density(seed=1) - 0.3
    expected = density_features(values, spin)
    assert expected.shape == (N_DENSITY_FEATURES,)
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


def test_grid_features_are_shape_and_scale_only():
    lattice = np.array([[3.0, 0, 0], [0, 4, 0], [0, 2, 2 * np.sqrt(3)]])
    density = density_of(random_density(), lattice=lattice, n_electrons=10.0)
    features = grid_features(density)
    volume = 24 * np.sqrt(3)
    expected = [6, 5, 4, 3, 4, 4, 0.5, 0, 0, volume, 10, 10 / volume, volume / 120]
    assert features.shape == (N_GRID_FEATURES,)
    np.testing.assert_allclose(features, expected, rtol=1e-12, atol=1e-12)
    another = density_of(random_density(seed=1), lattice=lattice, n_electrons=10.0)
    np.testing.assert_allclose(grid_features(another), features, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("poison", [np.nan, 1.0])
def test_test_labels_never_reach_a_baseline(train, unseen, fitted, poison):
    poisoned = with_labels(unseen, **{item.name: np.full(20, poison) for item in ALL})
    dirty = fit_predict_baselines((GAP, METAL), train, test=poisoned)
    for name, predictions in fitted.items():
        for item in (GAP, METAL):
            np.testing.assert_array_equal(dirty[name].values[item.name], predictions.values[item.name])


def test_an_infinite_test_label_is_refused(train, unseen):
    with pytest.raises(ValueError, match="gap: the label of 1-0000 is infinite"):
        fit_predict_baselines((GAP,), train, test=with_labels(unseen, gap=np.full(20, np.inf)))


def test_the_order_of_the_training_samples_does_not_matter(train, unseen, fitted):
    order = np.random.default_rng(0).permutation(60)
    shuffled = Samples(
        tuple(train.ids[row] for row in order),
        train.volumes[order],
        {name: labels[order] for name, labels in train.labels.items()},
        {name: features[order] for name, features in train.features.items()},
    )
    reordered = fit_predict_baselines((GAP, METAL), shuffled, test=unseen)
    for name in TREES:
        for item in (GAP, METAL):
            np.testing.assert_array_equal(reordered[name].values[item.name], fitted[name].values[item.name])


def test_further_properties_and_their_missing_labels_do_not_matter(train, unseen, fitted):
    holes = with_labels(train, modulus=np.where(np.arange(60) % 2, np.nan, train.labels["modulus"]))
    few = fit_predict_baselines((MODULUS, GAP), holes, test=unseen)[HISTOGRAM_GB]
    np.testing.assert_array_equal(few.values["gap"], fitted[HISTOGRAM_GB].values["gap"])
    assert (few.values["modulus"] != fitted[HISTOGRAM_GB].values["modulus"]).any()


def test_training_samples_without_a_label_count_as_absent(train, unseen):
    missing = np.arange(60) % 3 == 0
    features = train.features[HISTOGRAM_GB].copy()
    features[missing] = 1e6
    holes = with_labels(with_features(train, features), gap=np.where(missing, np.nan, train.labels["gap"]))
    rest = np.flatnonzero(~missing)
    fewer = Samples(
        tuple(train.ids[row] for row in rest),
        train.volumes[rest],
        {"gap": train.labels["gap"][rest]},
        dict.fromkeys(TREES, features[rest]),
    )
    with_holes, without_holes = (fit_predict_baselines((GAP,), split, test=unseen) for split in (holes, fewer))
    for name in (DUMMY, *TREES):
        np.testing.assert_array_equal(with_holes[name].values["gap"], without_holes[name].values["gap"])


def test_the_dummy_predicts_the_training_median_per_volume_and_the_class_shares(unseen):
    train = simulate(61)
    dummy = fit_predict_baselines(ALL, dataclasses.replace(train, features={}), test=unseen)[DUMMY].values
    # 61 labels: the median is one of them, and the same on any monotonic scale.
    np.testing.assert_allclose(dummy["modulus"], np.median(train.labels["modulus"]), rtol=1e-12)
    np.testing.assert_allclose(dummy["moment"], np.median(train.labels["moment"] / train.volumes) * unseen.volumes)
    np.testing.assert_allclose(dummy["metal"], train.labels["metal"].mean())
    np.testing.assert_allclose(dummy["system"].sum(axis=1), 1)


def test_trees_learn_what_the_features_hold():
    predictions = fit_predict_baselines(ALL, simulate(200), test=simulate(50, seed=1))
    dummy = evaluate(predictions[DUMMY], resamples=0)
    # Averages of a forest lag behind at the ends of a range.
    for name, least in ((HISTOGRAM_GB, 0.9), (COMPOSITION_RF, 0.7)):
        scored = evaluate(predictions[name], resamples=0)
        for item in scored.regression:
            assert item.r2_learned.value > least, (name, item.target.name)
        assert min(item.auc.value for item in scored.classes) > 0.9
    # A constant explains nothing; the moment's dummy is a constant density and knows at least the volume.
    modulus, gap, moment = (item.r2_learned.value for item in dummy.regression)
    assert modulus <= 0
    assert gap <= 0
    assert 0 < moment < 0.6
    # A constant prediction ranks nothing.
    assert [item.auc.value for item in dummy.classes] == [0.5, 0.5]


def test_a_property_that_grows_with_the_cell_grows_with_the_cell(train, unseen, fitted):
    twice = dataclasses.replace(unseen, volumes=2 * unseen.volumes)
    large = fit_predict_baselines((GAP, MOMENT), train, test=twice)
    for name in (DUMMY, *TREES):
        np.testing.assert_allclose(large[name].values["moment"], 2 * fitted[name].values["moment"])
        np.testing.assert_array_equal(large[name].values["gap"], fitted[name].values["gap"])


def test_nonnegative_properties_are_not_predicted_negative(train, unseen):
    def predict_gaps(nonnegative: bool) -> np.ndarray:
        item = dataclasses.replace(GAP, nonnegative=nonnegative)
        labels = {"gap": np.maximum(train.labels["gap"] - 4, 0) ** 3}
        few = dataclasses.replace(train, labels=labels)
        predictions = fit_predict_baselines((item,), few, test=dataclasses.replace(unseen, labels=unseen.labels))
        return predictions[HISTOGRAM_GB].values["gap"]

    free = predict_gaps(nonnegative=False)
    assert free.min() < 0
    np.testing.assert_array_equal(predict_gaps(nonnegative=True), np.maximum(free, 0))


def test_a_class_that_training_never_saw_gets_probability_zero(fitted):
    for name in TREES:
        values = fitted[name].values["system"]
        assert values[:, 3].tolist() == [0] * 20
        np.testing.assert_allclose(values.sum(axis=1), 1)


def test_samples_without_features_get_the_dummys_prediction_and_are_not_learned_from(train, unseen, fitted):
    unknown = np.arange(20) < 5
    features = unseen.features[COMPOSITION_RF].copy()
    features[unknown, 3] = np.nan
    taught = train.features[COMPOSITION_RF].copy()
    taught[:20] = np.nan
    predictions = fit_predict_baselines((MOMENT, SYSTEM), train, test=with_features(unseen, features))
    fewer = fit_predict_baselines((MOMENT, SYSTEM), with_features(train, taught), test=unseen)
    rest = np.arange(20, 60)
    kept = Samples(
        train.ids[20:],
        train.volumes[rest],
        {name: labels[rest] for name, labels in train.labels.items()},
        {name: table[rest] for name, table in train.features.items()},
    )
    expected = fit_predict_baselines((MOMENT, SYSTEM), kept, test=unseen)
    for name in TREES:
        for item in (MOMENT, SYSTEM):
            values = predictions[name].values[item.name]
            np.testing.assert_array_equal(values[unknown], fitted[DUMMY].values[item.name][unknown])
            np.testing.assert_array_equal(values[~unknown], fitted[name].values[item.name][~unknown])
            np.testing.assert_array_equal(fewer[name].values[item.name], expected[name].values[item.name])


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


def test_an_empty_test_split_is_predicted(train):
    none: dict[str, np.ndarray] = {name: np.empty((0, 10)) for name in TREES}
    empty = Samples((), np.empty(0), {item.name: np.empty(0) for item in ALL}, none)
    for predictions in fit_predict_baselines(ALL, train, test=empty).values():
        assert evaluate(predictions).n == 0


def test_a_label_without_logarithm_and_arrays_that_do_not_fit_are_refused(train, unseen):
    with pytest.raises(ValueError, match="modulus"):
        fit_predict_baselines(ALL, with_labels(train, modulus=np.zeros(60)), test=unseen)
    with pytest.raises(ValueError, match=r"features of histogram_gb must have shape \(60, F\), got \(59, 10\)"):
        with_features(train, train.features[HISTOGRAM_GB][1:])
    with pytest.raises(ValueError, match=r"labels of gap must have shape \(60,\), got \(3,\)"):
        with_labels(train, gap=np.zeros(3))
    with pytest.raises(ValueError, match="cell volume of 0-0000 is not above 0"):
        dataclasses.replace(train, volumes=np.zeros(60))
