from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from scipy.stats import mannwhitneyu

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.evaluation.bootstrap import wilson_interval
from rhonet.evaluation.metrics import Evaluation, Metric, averaged_properties, evaluate, property_scores

MODULUS = Property("modulus", unit="GPa", transform="log")
VOLUME = Property("volume", unit="Å³", volume_like=True)
GAP = Property("gap", unit="eV")
METAL = Property("metal", kind="binary")
SYSTEM = Property("system", kind="multiclass", classes=3)
ALL = (MODULUS, VOLUME, GAP, METAL, SYSTEM)


def simulate(n: int, *, seed: int = 0, noise: float = 0.5, missing: float = 0.0) -> Predictions:
    """Predictions of standard normal signals (of their exponential for the modulus) from noisy labels."""
    rng = np.random.default_rng(seed)
    labels, values = {}, {}
    for item in ALL:
        signal, error = rng.normal(size=(2, n))
        if item.kind == "regression":
            label, value = signal + noise * error, signal
            labels[item.name] = np.exp(label) if item.transform == "log" else label
            values[item.name] = np.exp(value) if item.transform == "log" else value
        elif item.kind == "binary":
            values[item.name] = 1 / (1 + np.exp(-signal))
            labels[item.name] = (signal + noise * error > 0).astype(float)
        else:
            raw = rng.random((n, item.classes)) + 0.01
            values[item.name] = raw / raw.sum(axis=1, keepdims=True)
            labels[item.name] = np.where(rng.random(n) < 0.5, values[item.name].argmax(axis=1), rng.integers(0, 3, n))
        labels[item.name] = np.where(rng.random(n) < missing, np.nan, labels[item.name])
    return Predictions(ALL, tuple(f"crystal-{number:05d}" for number in range(n)), labels, values)


def single(item: Property, labels: object, values: object) -> Predictions:
    labels = np.array(labels, dtype=float)
    ids = tuple(f"crystal-{number}" for number in range(len(labels)))
    return Predictions((item,), ids, {item.name: labels}, {item.name: np.array(values, dtype=float)})


def all_metrics(evaluation: Evaluation) -> list[Metric]:
    groups = [*evaluation.regression, *evaluation.classes, *evaluation.averages.values()]
    values = [getattr(group, field.name) for group in groups for field in dataclasses.fields(group)]
    return [value for value in values if isinstance(value, Metric)]


def test_the_mean_has_r2_zero_and_the_truth_has_r2_one():
    labels = np.random.default_rng(0).normal(3, 1, 40)
    mean = evaluate(single(GAP, labels, np.full(40, labels.mean())), resamples=0).regression[0]
    assert mean.r2.value == pytest.approx(0, abs=1e-12)
    assert mean.mae_over_mad.value == pytest.approx(1)
    truth = evaluate(single(GAP, labels, labels)).regression[0]
    assert (truth.r2.value, truth.r2.lower, truth.r2.upper) == (1, 1, 1)


def test_the_learned_scale_of_a_logarithmic_property_is_its_logarithm():
    scored = evaluate(simulate(50), resamples=10).regression
    predictions = simulate(50)
    logs = single(GAP, np.log(predictions.labels["modulus"]), np.log(predictions.values["modulus"]))
    modulus, volume = scored[0], scored[1]
    assert modulus.r2_log is not None
    assert modulus.r2_log.value == pytest.approx(evaluate(logs, resamples=0).regression[0].r2.value)
    assert modulus.r2_learned is modulus.r2_log
    assert volume.r2_log is None
    assert volume.r2_learned is volume.r2


def test_the_auc_is_the_mann_whitney_statistic():
    predictions = simulate(80)
    positive, score = predictions.labels["metal"] == 1, predictions.values["metal"]
    metal = evaluate(predictions, resamples=10).classes[0]
    statistic = mannwhitneyu(score[positive], score[~positive]).statistic
    assert metal.auc.value == pytest.approx(statistic / (positive.sum() * (~positive).sum()))
    assert metal.n_positive == positive.sum()


def test_predictions_for_missing_labels_do_not_matter():
    predictions = simulate(60, missing=0.3)
    nonsense = {}
    for item in ALL:
        nonsense[item.name] = predictions.values[item.name].copy()
        nonsense[item.name][np.isnan(predictions.labels[item.name])] = np.nan
    assert evaluate(predictions).to_dict() == evaluate(dataclasses.replace(predictions, values=nonsense)).to_dict()


def test_samples_without_any_label_do_not_change_a_score():
    predictions = simulate(60)
    longer = Predictions(
        ALL,
        (*predictions.ids, "x", "y"),
        {name: np.append(labels, [np.nan, np.nan]) for name, labels in predictions.labels.items()},
        {name: np.concatenate([values, values[:2]]) for name, values in predictions.values.items()},
    )
    for short, long in zip(all_metrics(evaluate(predictions)), all_metrics(evaluate(longer)), strict=True):
        assert long.value == short.value


def test_the_order_of_the_samples_does_not_matter():
    predictions = simulate(60, missing=0.2)
    order = np.random.default_rng(1).permutation(60)
    shuffled = Predictions(
        ALL,
        tuple(predictions.ids[row] for row in order),
        {name: labels[order] for name, labels in predictions.labels.items()},
        {name: values[order] for name, values in predictions.values.items()},
    )
    assert evaluate(shuffled).to_dict() == evaluate(predictions).to_dict()


def test_the_same_seed_gives_the_same_intervals_and_another_seed_others():
    predictions = simulate(40)
    assert evaluate(predictions, seed=1).to_dict() == evaluate(predictions, seed=1).to_dict()
    first, second = evaluate(predictions, seed=1), evaluate(predictions, seed=2)
    assert first.regression[0].r2.value == second.regression[0].r2.value
    assert first.regression[0].r2.lower != second.regression[0].r2.lower


def test_a_property_scores_the_same_alone_and_among_others():
    predictions = simulate(40, missing=0.2)
    for item in (GAP, METAL):
        alone = evaluate(Predictions((item,), predictions.ids, predictions.labels, predictions.values))
        among = evaluate(predictions)
        key = "classes" if item.is_class else "regression"
        assert alone.to_dict()[key][item.name] == among.to_dict()[key][item.name]


def test_resampling_in_blocks_changes_nothing(monkeypatch):
    predictions = simulate(30)
    whole = evaluate(predictions, resamples=100)
    monkeypatch.setattr("rhonet.evaluation.bootstrap._BLOCK", 7 * 30)
    in_blocks = evaluate(predictions, resamples=100)
    for expected, metric in zip(all_metrics(whole), all_metrics(in_blocks), strict=True):
        # Sums over a block of another size are rounded differently.
        assert (metric.lower, metric.upper) == pytest.approx((expected.lower, expected.upper), rel=1e-12)


def test_intervals_cover_the_true_scores_nominally():
    # Labels are a standard normal signal plus noise of 0.5; a predictor that knows the signal has these true scores.
    truth = {"r2": 1 - 0.25 / 1.25, "mae": 0.5 * math.sqrt(2 / math.pi)}
    truth["mae_over_mad"] = truth["mae"] / math.sqrt(1.25 * 2 / math.pi)
    repeats, covered = 300, dict.fromkeys(truth, 0)
    for seed in range(repeats):
        predictions = simulate(150, seed=seed)
        only = Predictions((GAP,), predictions.ids, predictions.labels, predictions.values)
        scored = evaluate(only, resamples=300, seed=seed).regression[0]
        for name, value in truth.items():
            metric = getattr(scored, name)
            covered[name] += metric.lower <= value <= metric.upper
    for name, hits in covered.items():
        # 95 % within three standard errors (1.3 % each) of 300 repeats, and 1 % for the percentile method.
        assert 0.90 <= hits / repeats <= 0.99, name


def test_averages_count_every_property_once_with_and_without_volume_like_ones():
    evaluation = evaluate(simulate(50))
    everything, rest = evaluation.averages["all"], evaluation.averages["without_volume_like"]
    assert everything.properties == ("modulus", "volume", "gap")
    assert rest.properties == ("modulus", "gap")
    scored = {item.target.name: item.r2_learned.value for item in evaluation.regression}
    assert everything.r2.value == pytest.approx(np.mean([scored[name] for name in everything.properties]))
    assert rest.r2.value == pytest.approx(np.mean([scored[name] for name in rest.properties]))


def test_properties_of_an_average_share_their_resamples():
    # The same labels and predictions twice: the mean of two equal scores has the interval of one.
    predictions = simulate(50)
    twin = dataclasses.replace(GAP, name="twin")
    double = Predictions(
        (GAP, twin),
        predictions.ids,
        {name: predictions.labels["gap"] for name in ("gap", "twin")},
        {name: predictions.values["gap"] for name in ("gap", "twin")},
    )
    evaluation = evaluate(double)
    mean, gap = evaluation.averages["all"].r2, evaluation.regression[0].r2
    assert (mean.lower, mean.upper) == (gap.lower, gap.upper)


@pytest.mark.parametrize(
    ("item", "labels", "values", "score", "reason"),
    [
        (GAP, [], [], "mae", "no labels"),
        (GAP, [np.nan, np.nan], [0, 1], "mae", "no labels"),
        (GAP, [np.nan, 1], [0, 1], "r2", "one label only"),
        (GAP, [0.1] * 5, range(5), "r2", "all labels are equal"),
        (GAP, [1, 2, 3], [1, np.nan, 3], "mae", "1 of 3 predictions are not finite"),
        (MODULUS, [1, 2, 3], [1, 2, -3], "r2_log", "1 of 3 predictions are not above 0"),
        (MODULUS, [0, 2, 3], [1, 2, 3], "r2_log", "1 of 3 labels are not above 0"),
        (METAL, [1, 1, 1], [0.1, 0.5, 0.9], "auc", "labels of one class only"),
        (METAL, [], [], "auc", "no labels"),
        (METAL, [0, 1], [np.nan, np.nan], "balanced_accuracy", "2 of 2 predictions are not finite"),
        (SYSTEM, [2, 2], np.full((2, 3), 1 / 3), "auc", "labels of one class only"),
        (SYSTEM, [], np.empty((0, 3)), "balanced_accuracy", "no labels"),
    ],
)
def test_an_undefined_score_is_nan_with_a_reason(item, labels, values, score, reason):
    evaluation = evaluate(single(item, labels, values))
    metric = getattr((*evaluation.regression, *evaluation.classes)[0], score)
    assert math.isnan(metric.value)
    assert metric.reason == reason
    if score != "mae":
        assert math.isnan(evaluation.averages["all"].r2.value)


def test_a_defined_score_beside_an_undefined_one_stays():
    scored = evaluate(single(GAP, [0.1] * 5, range(5))).regression[0]
    assert scored.mae.value == pytest.approx(1.94)
    assert scored.mae.reason == ""


def test_degenerate_resamples_are_left_out_and_counted():
    # One positive of ten: (9/10)^10 = 35 % of the resamples have none, 0.00000001 % have nothing else.
    metal = evaluate(single(METAL, [1] + [0] * 9, np.linspace(0.9, 0, 10)), resamples=2000).classes[0]
    assert metal.auc.left_out / 2000 == pytest.approx(0.9**10, abs=0.04)
    assert (metal.auc.lower, metal.auc.upper) == (1, 1)


def test_score_that_is_undefined_in_most_resamples_has_no_interval():
    # Two singleton classes of three: both are drawn in fewer than half of the resamples.
    labels = [0, 1] + [2] * 10
    system = evaluate(single(SYSTEM, labels, np.full((12, 3), 1 / 3))).classes[0]
    assert system.auc.value == pytest.approx(0.5)
    assert system.auc.left_out > 500
    assert math.isnan(system.auc.lower)
    assert system.counts == (1, 1, 10)


def test_the_dict_is_json_with_null_for_what_is_undefined():
    predictions = simulate(20)
    predictions.labels["gap"][:] = np.nan
    text = json.dumps(evaluate(predictions).to_dict(), allow_nan=False)
    tree = json.loads(text)
    assert tree["regression"]["gap"]["r2"] == {
        "value": None,
        "lower": None,
        "upper": None,
        "left_out": 0,
        "reason": "no labels",
    }
    assert tree["regression"]["modulus"]["unit"] == "GPa"
    assert "r2_log" not in tree["regression"]["volume"]
    assert tree["averages"]["all"]["properties"] == ["modulus", "volume"]
    assert sum(tree["classes"]["system"]["counts"]) == 20


def mostly_zero(n: int = 60, *, zero: float | np.ndarray = 0.0) -> Predictions:
    """Gaps of which all but every third are zero."""
    predictions = simulate(n)
    labels = np.where(np.arange(n) % 3 == 0, 2 + np.abs(predictions.labels["gap"]), zero)
    return single(GAP, labels, labels + 0.3 * predictions.values["gap"])


def test_labels_that_are_not_zero_are_scored_apart():
    predictions = mostly_zero()
    (gap,) = evaluate(predictions, resamples=200).regression
    kept = np.flatnonzero(predictions.labels["gap"])
    alone = single(GAP, predictions.labels["gap"][kept], predictions.values["gap"][kept])
    (expected,) = evaluate(alone, resamples=0).regression
    part = gap.where_not_zero
    assert part is not None
    assert (gap.n, part.n) == (60, 20)
    for name in ("r2", "mae", "rmse", "mae_over_mad"):
        assert getattr(part, name).value == pytest.approx(getattr(expected, name).value), name
        assert getattr(part, name).lower < getattr(part, name).value < getattr(part, name).upper, name
    # What makes the gap easy is to tell metals from insulators.
    assert part.r2.value < gap.r2.value
    assert expected.where_not_zero is None
    tree = json.loads(json.dumps(evaluate(predictions, resamples=10).to_dict(), allow_nan=False))
    assert tree["regression"]["gap"]["where_not_zero"]["n"] == 20
    assert tree["regression"]["gap"]["where_not_zero"]["mae"]["value"] == pytest.approx(part.mae.value)


def test_tiny_labels_are_zeros_and_negative_ones_are_not():
    exact = evaluate(mostly_zero(), resamples=0).regression[0].where_not_zero
    assert exact is not None
    noise = np.resize([0.0, 3e-6, -5e-5], 60)
    (noisy,) = evaluate(mostly_zero(zero=noise), resamples=0).regression
    assert noisy.where_not_zero is not None
    assert (noisy.where_not_zero.n, noisy.where_not_zero.above) == (exact.n, exact.above)
    assert 0.001 < exact.above < 0.01
    signed = mostly_zero()
    signed.labels["gap"][:] *= -1
    part = evaluate(signed, resamples=0).regression[0].where_not_zero
    assert part is not None
    assert part.n == 20


@pytest.mark.parametrize(
    ("item", "labels", "n"),
    [
        (GAP, [0, 1, 2, 3, 4, 5], None),  # 17 % are zero
        (GAP, [0, 1, 2, 3, 4], 4),
        (GAP, [0, 0, np.nan, 3, np.nan], 1),
        (GAP, [0, 0, 0], 0),
        (GAP, [np.nan, np.nan], None),
        (MODULUS, [1, 1, 1e4, 1e4], None),  # decades apart, and no zero among them
        (METAL, [0, 0, 1], None),
    ],
)
def test_few_zeros_and_properties_without_zeros_are_not_scored_apart(item, labels, n):
    evaluation = evaluate(single(item, labels, np.full(len(labels), 0.5)), resamples=5)
    part = getattr((*evaluation.regression, *evaluation.classes)[0], "where_not_zero", None)
    assert (None if part is None else part.n) == n
    if part is not None and n in (0, 1):
        assert part.mae.reason == ("one label only" if n else "all labels are zero")


def test_a_resample_in_which_only_noise_varies_has_no_r2():
    # Three gaps of 30; 4 % of the resamples hold none of them, but mostly the gap of 1e-5 eV.
    labels = np.zeros(30)
    labels[:3], labels[3:] = (2.0, 2.5, 7.0), np.resize([0, 1e-5], 27)
    (gap,) = evaluate(single(GAP, labels, labels + 0.1)).regression
    assert gap.r2.left_out / 1000 == pytest.approx(0.9**30, abs=0.02)
    assert gap.r2.lower > 0


def with_intervals(predictions: Predictions, half_width: float) -> Predictions:
    lower, upper = ({"gap": predictions.values["gap"] + sign * half_width} for sign in (-1, 1))
    novelty = np.linspace(0, 2, len(predictions))
    return dataclasses.replace(predictions, lower=lower, upper=upper, novelty=novelty)


def test_intervals_are_those_of_the_number_of_groups():
    """Fifty samples of each of eight groups err alike: the interval is that of eight, not of four hundred."""
    rng, covered = np.random.default_rng(0), {True: 0, False: 0}
    groups = tuple(f"group-{number}" for number in range(8) for _ in range(50))
    ids = tuple(f"{number:03d}" for number in range(400))
    for _ in range(100):
        labels = rng.normal(size=400)
        errors = np.repeat(rng.normal(size=8), 50)
        for grouped in covered:
            evaluation = evaluate(
                Predictions((GAP,), ids, {"gap": labels}, {"gap": labels + errors}, groups=groups if grouped else ()),
                resamples=200,
            )
            (gap,) = evaluation.regression
            covered[grouped] += gap.mae.lower <= math.sqrt(2 / math.pi) <= gap.mae.upper
    assert covered[False] < 40
    assert covered[True] > 75


def test_interval_of_the_coverage_is_that_of_the_number_of_groups():
    inside, ids = {"gap": np.zeros(40)}, tuple(f"{number:02d}" for number in range(40))
    lower, upper = {"gap": np.full(40, -1.0)}, {"gap": np.full(40, 1.0)}
    alone, grouped = (
        evaluate(Predictions((GAP,), ids, inside, inside, lower=lower, upper=upper, groups=groups))
        for groups in ((), tuple("ab" * 20))
    )
    assert alone.intervals[0].coverage.lower == pytest.approx(wilson_interval(40, 40, 0.95)[0])
    assert grouped.intervals[0].coverage.lower == pytest.approx(wilson_interval(2, 2, 0.95)[0])


def test_coverage_is_the_share_of_known_labels_inside():
    predictions = with_intervals(single(GAP, [1.0, 2.0, 3.0, np.nan], [1.0, 2.4, 3.6, 4.0]), 0.5)
    evaluation = evaluate(predictions, resamples=0)
    (gap,) = evaluation.intervals
    assert (gap.target, gap.n) == (GAP, 3)
    assert gap.coverage.value == pytest.approx(2 / 3)
    assert gap.median_width == pytest.approx(1.0)
    # Wilson's interval for 2 of 3, e.g. Brown, Cai, DasGupta, doi:10.1214/ss/1009213286, eq. 4.
    assert (gap.coverage.lower, gap.coverage.upper) == pytest.approx((0.2077, 0.9385), abs=1e-4)
    assert evaluation.novel is not None
    assert evaluation.novel.value == 0.5
    tree = json.loads(json.dumps(evaluation.to_dict(), allow_nan=False))
    assert tree["prediction_intervals"]["level"] == 0.9
    assert tree["prediction_intervals"]["properties"]["gap"]["coverage"]["value"] == pytest.approx(2 / 3)
    assert tree["novel"]["share"]["value"] == 0.5


def test_coverage_of_one_has_an_interval():
    (gap,) = evaluate(with_intervals(single(GAP, np.arange(20.0), np.arange(20.0)), 1.0), resamples=0).intervals
    assert gap.coverage.value == gap.coverage.upper == 1
    assert gap.coverage.lower == pytest.approx(0.839, abs=1e-3)


def test_intervals_without_labels_have_no_coverage():
    (gap,) = evaluate(with_intervals(single(GAP, [np.nan] * 3, [1.0, 2.0, 3.0]), 1.0), resamples=0).intervals
    assert gap.n == 0
    assert math.isnan(gap.coverage.value)
    assert gap.coverage.reason == "no labels"
    assert math.isnan(gap.median_width)


def test_sets_of_classes_cover_and_have_a_size():
    predictions = single(SYSTEM, [0, 1, 2, np.nan], np.full((4, 3), 1 / 3))
    is_in_set = np.array([[1, 0, 0], [1, 0, 1], [1, 1, 1], [0, 0, 1]], bool)
    evaluation = evaluate(dataclasses.replace(predictions, sets={"system": is_in_set}), resamples=0)
    (system,) = evaluation.sets
    assert (system.target, system.n) == (SYSTEM, 3)
    assert system.coverage.value == pytest.approx(2 / 3)
    assert system.mean_size == 2
    stored = evaluation.to_dict()["prediction_intervals"]["properties"]["system"]
    assert (stored["mean_size"], stored["n"]) == (2, 3)
    none = dataclasses.replace(single(SYSTEM, [np.nan], np.full((1, 3), 1 / 3)), sets={"system": is_in_set[:1]})
    assert evaluate(none, resamples=0).sets[0].coverage.reason == "no labels"


def test_a_predictor_without_intervals_has_no_scores_of_intervals():
    evaluation = evaluate(simulate(20), resamples=0)
    assert evaluation.intervals == ()
    assert evaluation.novel is None
    assert not {"prediction_intervals", "novel"} & set(evaluation.to_dict())


def test_property_with_few_labels_above_zero_is_left_out_of_averages():
    n = 40
    labels = {"gap": np.linspace(0, 1, n), "moment": np.zeros(n)}
    for few in (4, 5):
        labels["moment"] = np.where(np.arange(n) < few, 2.0, 0.0)
        values = {"gap": labels["gap"] + 0.1, "moment": labels["moment"] + 0.5}
        items = (GAP, Property("moment", unit="µB"))
        evaluation = evaluate(
            Predictions(items, tuple(f"{number:02d}" for number in range(n)), labels, values), resamples=10
        )
        assert evaluation.averages["all"].properties == (("gap",) if few == 4 else ("gap", "moment"))
        assert math.isfinite(evaluation.regression[1].r2.value)


def test_property_with_few_labels_is_left_out_of_averages():
    n = 40
    labels = {"gap": np.linspace(0, 1, n), "hardness": np.where(np.arange(n) < 4, np.arange(n) + 1.0, np.nan)}
    values = {"gap": labels["gap"] + 0.1, "hardness": np.full(n, 2.0)}
    predictions = Predictions(
        (GAP, Property("hardness")), tuple(f"{number:02d}" for number in range(n)), labels, values
    )
    assert evaluate(predictions, resamples=10).averages["all"].properties == ("gap",)
    assert averaged_properties(predictions) == ("gap",)


@pytest.mark.parametrize("n_groups", [1, 4, 5])
def test_too_few_groups_give_no_interval(n_groups):
    n = 60
    labels = np.random.default_rng(0).normal(size=n)
    values = labels + np.random.default_rng(1).normal(size=n)
    groups = tuple(f"group {number % n_groups}" for number in range(n))
    ids = tuple(f"{number:02d}" for number in range(n))
    evaluation = evaluate(Predictions((GAP,), ids, {"gap": labels}, {"gap": values}, groups=groups), resamples=100)
    assert evaluation.n_groups == n_groups
    for metric in (evaluation.regression[0].r2, evaluation.regression[0].mae, evaluation.averages["all"].r2):
        assert math.isfinite(metric.value)
        assert math.isfinite(metric.lower) == (n_groups == 5)


def test_property_labelled_in_one_group_has_no_interval_beside_others_that_have():
    n = 60
    truth = np.random.default_rng(0).normal(size=n)
    items = (GAP, Property("hardness"))
    labels = {"gap": truth, "hardness": np.where(np.arange(n) < 20, truth, np.nan)}
    values = dict.fromkeys(labels, truth + np.random.default_rng(1).normal(size=n))
    groups = tuple(f"group {0 if number < 20 else number % 7}" for number in range(n))
    ids = tuple(f"{number:02d}" for number in range(n))
    gap, hardness = evaluate(Predictions(items, ids, labels, values, groups=groups), resamples=100).regression
    assert math.isfinite(gap.r2.lower)
    assert math.isfinite(hardness.r2.value)
    assert math.isnan(hardness.r2.lower)
    predictions = Predictions(items, ids, labels, values, groups=groups)
    scores = property_scores(predictions, resamples=100)
    assert math.isfinite(scores["hardness"][0])
    assert np.isnan(scores["hardness"][1:]).all()
    assert np.isfinite(scores["gap"]).all()
    assert averaged_properties(predictions) == ("gap",), "an average over both would have no interval"


def test_coverage_is_measured_where_labels_are_not_zero_too():
    labels = np.where(np.arange(40) < 30, 0.0, 2.0)
    predictions = single(GAP, labels, np.zeros(40))
    (scored,) = evaluate(with_intervals(predictions, 1.0), resamples=0).intervals
    assert scored.coverage.value == pytest.approx(0.75)
    assert scored.where_not_zero is not None
    assert (scored.where_not_zero.n, scored.where_not_zero.coverage.value) == (10, 0.0)
    (all_count,) = evaluate(with_intervals(single(GAP, labels + 1, np.zeros(40)), 1.0), resamples=0).intervals
    assert all_count.where_not_zero is None
