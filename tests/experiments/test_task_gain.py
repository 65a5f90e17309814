from __future__ import annotations

import dataclasses
import functools
import json
import math
from pathlib import Path

import numpy as np
import pytest

from rhonet.core.config import load_config
from rhonet.core.errors import DataError
from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.evaluation.bootstrap import Metric
from rhonet.evaluation.metrics import property_scores
from rhonet.experiments.studies import ALL, GROUPED, SINGLE_TASK, task_variants
from rhonet.experiments.task_gain import BETTER, NOT_CLEAR, WORSE, Gain, format_gains, measure_gains, verdict_on
from rhonet.experiments.task_groups import TaskGroups, find_groups
from rhonet.experiments.trials import Result, Trial

BASE = load_config("base")
MODULUS = Property("modulus", unit="GPa", transform="log")
VOLUME = Property("volume", unit="Å³", volume_like=True)
GAP = Property("gap", unit="eV")
METAL = Property("is_metal", kind="binary")
TARGETS = (MODULUS, VOLUME, GAP, METAL)
N, SEEDS = 60, 3


def truth(item: Property, *, seed: int) -> np.ndarray:
    """Signal (N,) of a property; modulus and volume, gap and metal have it in common."""
    at = 0 if item in (MODULUS, VOLUME) else 1
    return np.random.default_rng(seed).normal(size=(2, N))[at]


def predicted(items: tuple[Property, ...], errors: dict[str, float], *, seed: int) -> Predictions:
    """Predictions for the crystals of one fold, each property off by noise of the given size."""
    labels, values = {}, {}
    for item in items:
        signal = truth(item, seed=seed)
        noise = np.random.default_rng((seed, 1 + TARGETS.index(item))).normal(size=N)
        guess = signal + errors[item.name] * noise
        if item is METAL:
            labels[item.name], values[item.name] = (signal > 0).astype(float), 1 / (1 + np.exp(-guess))
        elif item is MODULUS:
            labels[item.name], values[item.name] = np.exp(signal), np.exp(guess)
        else:
            labels[item.name], values[item.name] = signal, guess
    return Predictions(items, tuple(f"{seed}-{at:02d}" for at in range(N)), labels, values)


@functools.cache
def groups_of(items: tuple[Property, ...] = TARGETS) -> TaskGroups:
    parts = [predicted(items, dict.fromkeys((item.name for item in items), 0.0), seed=seed) for seed in range(SEEDS)]
    labels = np.stack([np.concatenate([part.labels[item.name] for part in parts]) for item in items], axis=1)
    return find_groups(items, labels, np.ones(len(labels)))


def study(
    alone: dict[str, float], grouped: dict[str, float], together: dict[str, float], *, groups: TaskGroups | None = None
) -> dict[str, list[Result]]:
    """Results of every variant of a study of tasks, with errors of the given size per property and way."""
    groups = groups or groups_of()
    by_name = {item.name: item for item in TARGETS}
    results = {}
    for variant in task_variants(BASE, groups):
        names = variant.changes.get("data", {}).get("properties", groups.names)
        errors = together if variant.name == ALL else grouped if len(names) > 1 else alone
        items = tuple(by_name[name] for name in names)
        results[variant.name] = [
            Result(Trial(Path("none"), variant.name, seed, BASE), predicted(items, errors, seed=seed), 60.0)
            for seed in range(SEEDS)
        ]
    return results


def errors(modulus: float, volume: float, gap: float, metal: float) -> dict[str, float]:
    return {"modulus": modulus, "volume": volume, "gap": gap, "is_metal": metal}


ALONE, IN_GROUPS, TOGETHER = errors(0.6, 0.3, 0.3, 0.4), errors(0.5, 0.3, 0.4, 0.4), errors(0.3, 0.3, 0.5, 0.4)


def gains_by_pair(results: dict[str, list[Result]], groups: TaskGroups | None = None) -> dict[tuple[str, str], Gain]:
    return {(gain.way, gain.over): gain for gain in measure_gains(results, groups or groups_of())}


@functools.cache
def usual_gains() -> tuple[Gain, ...]:
    return measure_gains(study(ALONE, IN_GROUPS, TOGETHER), groups_of())


def test_each_pair_of_ways_is_compared():
    gains = {(gain.way, gain.over): gain for gain in usual_gains()}
    assert list(gains) == [(ALL, SINGLE_TASK), (GROUPED, SINGLE_TASK), (ALL, GROUPED)]
    assert {gain.n for gain in gains.values()} == {N * SEEDS}
    for gain in gains.values():
        assert [one.name for one in gain.properties] == [item.name for item in TARGETS]
    # What is gained over groups and by groups is gained over single tasks.
    total, first, rest = (gains[pair].average.value for pair in gains)
    assert total == pytest.approx(first + rest)


def test_verdicts_follow_what_was_made_better_and_worse():
    gain = usual_gains()[0]
    assert gain.named(BETTER) == ["modulus"]
    assert gain.named(WORSE) == ["gap"]
    assert gain.named(NOT_CLEAR) == ["volume", "is_metal"]
    assert verdict_on(gain.average) == BETTER


def test_scores_are_those_of_the_pooled_predictions():
    results, gain = study(ALONE, IN_GROUPS, TOGETHER), usual_gains()[0]
    for one in gain.properties:
        parts = [[result.predictions for result in results[name]] for name in (f"only-{one.name}", ALL)]
        for score, predictions in zip((one.before, one.after), parts, strict=True):
            pooled = Predictions(
                (item := next(item for item in TARGETS if item.name == one.name),),
                tuple(name for part in predictions for name in part.ids),
                {item.name: np.concatenate([part.labels[item.name] for part in predictions])},
                {item.name: np.concatenate([part.values[item.name] for part in predictions])},
            )
            assert score == pytest.approx(property_scores(pooled, resamples=0)[one.name][0])
        assert one.gain.value == pytest.approx(one.after - one.before)


def test_mean_is_over_regression_properties_only():
    worse_metal = {**TOGETHER, "is_metal": 3.0}
    gain = gains_by_pair(study(ALONE, IN_GROUPS, worse_metal))[ALL, SINGLE_TASK]
    assert gain.averaged == ("modulus", "volume", "gap")
    assert gain.average.value == pytest.approx(np.mean([one.gain.value for one in gain.properties[:3]]))
    assert gain.without_volume_like.value == pytest.approx(np.mean([gain.properties[at].gain.value for at in (0, 2)]))
    assert "is_metal" in gain.named(WORSE)
    assert gain.average == usual_gains()[0].average


def test_mean_gain_is_paired():
    # Both ways err alike where crystals are hard: the difference is known far better than either score.
    barely = {name: size * 0.95 for name, size in ALONE.items()}
    gain = gains_by_pair(study(ALONE, ALONE, barely))[ALL, SINGLE_TASK]
    assert verdict_on(gain.average) == BETTER
    assert gain.average.upper - gain.average.lower < 0.02
    same = gains_by_pair(study(ALONE, ALONE, ALONE))[ALL, SINGLE_TASK]
    assert (same.average.lower, same.average.value, same.average.upper) == (0, 0, 0)
    assert same.named(NOT_CLEAR) == [item.name for item in TARGETS]


def test_gain_of_each_seed_is_that_of_its_own_predictions():
    results, gain = study(ALONE, IN_GROUPS, TOGETHER), usual_gains()[0]
    assert len(gain.by_seed) == SEEDS
    for seed in range(SEEDS):
        alone = {name: [one for one in trials if one.trial.seed == seed] for name, trials in results.items()}
        assert gains_by_pair(alone)[ALL, SINGLE_TASK].average.value == pytest.approx(gain.by_seed[seed])


def test_seeds_without_an_r2_are_left_out_of_their_mean():
    results = study(ALONE, IN_GROUPS, TOGETHER)
    for trials in results.values():
        first = trials[0].predictions
        if "gap" in first.labels:
            labels = {**first.labels, "gap": np.zeros(N)}
            trials[0] = dataclasses.replace(trials[0], predictions=dataclasses.replace(first, labels=labels))
    gain = gains_by_pair(results)[ALL, SINGLE_TASK]
    assert all(math.isfinite(value) for value in gain.by_seed)


def test_property_without_a_score_is_not_clear_and_not_in_the_mean():
    results = study(ALONE, IN_GROUPS, TOGETHER)
    for trials in results.values():
        for at, trial in enumerate(trials):
            if "gap" in trial.predictions.labels:
                labels = {**trial.predictions.labels, "gap": np.full(N, np.nan)}
                trials[at] = dataclasses.replace(
                    trial, predictions=dataclasses.replace(trial.predictions, labels=labels)
                )
    gain = gains_by_pair(results)[ALL, SINGLE_TASK]
    assert "gap" in gain.named(NOT_CLEAR)
    assert gain.averaged == ("modulus", "volume")
    assert "| gap | nan | nan | n/a |" in format_gains([gain])


def test_order_of_the_samples_does_not_matter():
    results = study(ALONE, IN_GROUPS, TOGETHER)
    for at, trial in enumerate(results[ALL]):
        part = trial.predictions
        backwards = Predictions(
            part.properties,
            part.ids[::-1],
            {name: labels[::-1] for name, labels in part.labels.items()},
            {name: values[::-1] for name, values in part.values.items()},
        )
        results[ALL][at] = dataclasses.replace(trial, predictions=backwards)
    assert measure_gains(results, groups_of()) == usual_gains()


def test_other_samples_are_refused():
    results = study(ALONE, IN_GROUPS, TOGETHER)
    part = results["only-gap"][1].predictions
    renamed = dataclasses.replace(part, ids=("new", *part.ids[1:]))
    results["only-gap"][1] = dataclasses.replace(results["only-gap"][1], predictions=renamed)
    with pytest.raises(DataError, match=r"all and only-gap did not predict the same samples .*data set has changed"):
        measure_gains(results, groups_of())


@pytest.mark.parametrize(
    ("kept", "pairs", "properties"),
    [
        ((ALL, "only-gap", "only-is_metal"), [(ALL, SINGLE_TASK)], 2),
        ((ALL, "group-gap"), [(ALL, GROUPED)], 2),
        (("group-gap", "only-gap"), [(GROUPED, SINGLE_TASK)], 1),
        ((ALL,), [], 0),
        (("only-gap", "only-volume"), [], 0),
        (("group-gap", "only-volume"), [], 0),
    ],
)
def test_part_of_the_variants_is_compared_as_far_as_it_goes(kept, pairs, properties):
    results = {name: trials for name, trials in study(ALONE, IN_GROUPS, TOGETHER).items() if name in kept}
    gains = gains_by_pair(results)
    assert list(gains) == pairs
    assert all(len(gain.properties) == properties for gain in gains.values())


def test_without_groups_there_is_one_pair():
    apart = groups_of((MODULUS, GAP))
    assert apart.shared == ()
    gains = gains_by_pair(study(ALONE, IN_GROUPS, TOGETHER, groups=apart), apart)
    assert list(gains) == [(ALL, SINGLE_TASK)]


@pytest.mark.parametrize(
    ("metric", "verdict"),
    [
        (Metric(0.1, 0.01, 0.2), BETTER),
        (Metric(-0.1, -0.2, -0.01), WORSE),
        (Metric(0.1, -0.01, 0.2), NOT_CLEAR),
        (Metric(0.1, 0.0, 0.2), NOT_CLEAR),
        (Metric(math.nan), NOT_CLEAR),
    ],
)
def test_verdict_is_read_off_the_interval(metric, verdict):
    assert verdict_on(metric) == verdict


def test_text_states_the_claim_and_how_many_properties_each_way():
    text = format_gains(usual_gains())
    assert "The claim that more targets in one training make each better holds on average: mean R² of 3" in text
    assert "- Clearly better (the interval lies above 0) for 1 of 4 properties: modulus.\n" in text
    assert "- Clearly worse (the interval lies below 0) for 1 of 4 properties: gap.\n" in text
    assert "- Not clear (the interval holds 0 or is undefined) for 2 of 4 properties: volume, is metal.\n" in text
    assert "| is metal (AUC) | " in text
    assert text.count("\n### ") == 3


@pytest.mark.parametrize(
    ("together", "sentence"),
    [
        (TOGETHER, "holds on average: "),
        (errors(0.9, 0.9, 0.9, 0.4), "does not hold: on average a training of its own is clearly better: "),
        (ALONE, "is not decided on average: "),
    ],
)
def test_claim_is_judged_by_the_mean(together, sentence):
    gains = measure_gains(study(ALONE, IN_GROUPS, together), groups_of())
    assert f"make each better {sentence}mean R²" in format_gains(gains)


def test_text_says_when_nothing_can_be_said():
    assert format_gains(()).startswith("Not to be said")


def test_gains_go_into_a_json_file():
    gain = usual_gains()[0]
    values = json.loads(json.dumps(gain.to_dict()))
    assert (values["way"], values["over"]) == (ALL, SINGLE_TASK)
    assert values["average"]["value"] == gain.average.value
