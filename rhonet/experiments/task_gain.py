"""Gains of training more targets together: by property and on average, as tables and sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rhonet.core.predictions import Predictions
from rhonet.core.text import markdown_table, spaced
from rhonet.evaluation.bootstrap import CONFIDENCE_LEVEL, Metric, metric_of
from rhonet.evaluation.metrics import averaged_properties, property_scores
from rhonet.experiments.comparison import RESAMPLES, require_same_samples
from rhonet.experiments.studies import ALL, GROUPED, SINGLE_TASK, task_ways
from rhonet.experiments.task_groups import TaskGroups
from rhonet.experiments.trials import Result, pool_results
from rhonet.reports.wording import signed, with_interval

BETTER, WORSE, NOT_CLEAR = "clearly better", "clearly worse", "not clear"

_MEANING = {
    BETTER: "the interval lies above 0",
    WORSE: "the interval lies below 0",
    NOT_CLEAR: "the interval holds 0 or is undefined",
}
_CLAIM = {
    BETTER: "holds on average",
    WORSE: "does not hold: on average a training of its own is clearly better",
    NOT_CLEAR: "is not decided on average",
}


@dataclass(frozen=True)
class PropertyGain:
    """Score of one property with two ways to train, and the difference.

    Attributes:
        name: of the property.
        is_class: the score is AUC; otherwise R² on the learned scale.
        before: score with `Gain.over`.
        after: score with `Gain.way`.
        gain: after - before.
    """

    name: str
    is_class: bool
    before: float
    after: float
    gain: Metric


@dataclass(frozen=True)
class Gain:
    """Gain of one way to train over another, on the same samples; positive where `way` is better.

    Attributes:
        way: a way of `rhonet.experiments.studies.task_ways`.
        over: the way that it is compared to.
        n: predictions per property.
        properties: gains of the properties that both ways predict.
        average: gain of the mean R² over the regression properties that have enough labels and a defined R² both ways.
        without_volume_like: `average` without the volume-like properties.
        averaged: names of the properties in `average`.
        by_seed: `average` over each seed's predictions alone, by ascending seed.
    """

    way: str
    over: str
    n: int
    properties: tuple[PropertyGain, ...]
    average: Metric
    without_volume_like: Metric
    averaged: tuple[str, ...]
    by_seed: tuple[float, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        return asdict(self)

    def named(self, verdict: str) -> list[str]:
        """Names of the properties with that verdict."""
        return [item.name for item in self.properties if verdict_on(item.gain) == verdict]


def measure_gains(results: Mapping[str, Sequence[Result]], groups: TaskGroups) -> tuple[Gain, ...]:
    """Gains of one training for all properties over single tasks, of groups over single tasks, and of all over groups.

    Predictions of variants that train some of the properties are merged. Intervals come from resampling groups of
    samples, with the same draws for both ways. A way without any variant in `results` is left out.

    Args:
        results: finished trials of `rhonet.experiments.studies.task_variants`, by variant.
        groups: of the targets.

    Raises:
        DataError: the variants predicted different samples.
    """
    require_same_samples({name: pool_results(trials) for name, trials in results.items()})
    ways = {
        way: {name: results[name] for name in variants if name in results}
        for way, variants in task_ways(groups).items()
    }
    if ways[GROUPED].keys() <= ways[SINGLE_TASK].keys():
        # Without any group, this way is the same as "single-task".
        ways[GROUPED] = {}
    gains = [
        _gain(ways[way], ways[over], way=way, over=over, order=groups.names)
        for way, over in ((ALL, SINGLE_TASK), (GROUPED, SINGLE_TASK), (ALL, GROUPED))
        if ways[way] and ways[over]
    ]
    return tuple(gain for gain in gains if gain.properties)


def verdict_on(gain: Metric) -> str:
    """`BETTER`, `WORSE` or `NOT_CLEAR`, by the interval; `NOT_CLEAR` if it is undefined."""
    if gain.lower > 0:
        return BETTER
    return WORSE if gain.upper < 0 else NOT_CLEAR


def format_gains(gains: Sequence[Gain]) -> str:
    """Markdown: for each pair of ways a table, whether the claim holds, and a sentence for each outcome."""
    if not gains:
        return "Not to be said: that takes the variant `all` and those that train fewer properties.\n"
    parts = [
        f"Gains are differences of R² (learned scale) or AUC on the same {gains[0].n} predictions, with "
        f"{CONFIDENCE_LEVEL:.0%} intervals from resampling groups in pairs; they are not widened for the number of "
        "properties. Classes have no share in the mean.\n"
    ]
    for gain in gains:
        title = f"### `{gain.way}` over `{gain.over}`\n"
        parts += [title, _format_table(gain), _conclude(gain)]
    return "\n".join(parts)


def _gain(
    after: Mapping[str, Sequence[Result]],
    before: Mapping[str, Sequence[Result]],
    *,
    way: str,
    over: str,
    order: Sequence[str],
) -> Gain:
    """Gain of the variants `after` over those of `before`; properties in the given order."""
    ours, theirs = _merge_variants(after, order), _merge_variants(before, order)
    scores, reference = (property_scores(part, resamples=RESAMPLES) for part in (ours, theirs))
    shared = [item for item in ours.properties if item.name in reference]
    drawn = {item.name: scores[item.name] - reference[item.name] for item in shared}
    enough = averaged_properties(theirs)
    averaged = [item for item in shared if item.name in enough and not np.isnan(drawn[item.name][0])]
    seeds = sorted({trial.trial.seed for trials in after.values() for trial in trials})
    return Gain(
        way=way,
        over=over,
        n=len(ours),
        properties=tuple(
            PropertyGain(
                item.name,
                item.is_class,
                before=float(reference[item.name][0]),
                after=float(scores[item.name][0]),
                gain=metric_of(drawn[item.name], "undefined score"),
            )
            for item in shared
        ),
        average=_mean_gain([drawn[item.name] for item in averaged]),
        without_volume_like=_mean_gain([drawn[item.name] for item in averaged if not item.volume_like]),
        averaged=tuple(item.name for item in averaged),
        by_seed=tuple(_gain_of_seed(after, before, seed, order=[item.name for item in averaged]) for seed in seeds),
    )


def _merge_variants(variants: Mapping[str, Sequence[Result]], order: Sequence[str]) -> Predictions:
    """Predictions of all variants and seeds for the same samples, merged; properties in the given order."""
    parts = [pool_results(trials).sorted_by_id() for trials in variants.values()]
    items = {item.name: (item, part) for part in parts for item in part.properties}
    chosen = [items[name] for name in order if name in items]
    return Predictions(
        tuple(item for item, _ in chosen),
        parts[0].ids,
        {item.name: part.labels[item.name] for item, part in chosen},
        {item.name: part.values[item.name] for item, part in chosen},
        groups=parts[0].groups,
    )


def _mean_gain(drawn: Sequence[np.ndarray]) -> Metric:
    """Mean over properties of differences (1 + b,): of the samples, then of b resamples."""
    if not drawn:
        return Metric(np.nan, reason="no property has an R² both ways")
    return metric_of(np.mean(drawn, axis=0), "")


def _gain_of_seed(
    after: Mapping[str, Sequence[Result]], before: Mapping[str, Sequence[Result]], seed: int, *, order: Sequence[str]
) -> float:
    """Mean gain on the predictions of one seed over the named properties whose gain is defined there."""
    scores = []
    for variants in (after, before):
        ours = {name: [result for result in trials if result.trial.seed == seed] for name, trials in variants.items()}
        scores.append(property_scores(_merge_variants(ours, order), resamples=0))
    differences = np.array([scores[0][name][0] - scores[1][name][0] for name in order])
    known = differences[~np.isnan(differences)]
    return float(known.mean()) if len(known) else float("nan")


def _format_table(gain: Gain) -> str:
    head, rows = ["property", gain.over, gain.way, "gain"], []
    for item in gain.properties:
        title = f"{spaced(item.name)} (AUC)" if item.is_class else spaced(item.name)
        rows.append([title, f"{item.before:.2f}", f"{item.after:.2f}", with_interval(item.gain, signed)])
    averaged = [(item.before, item.after) for item in gain.properties if item.name in gain.averaged]
    if averaged:
        before, after = np.mean(averaged, axis=0)
        rows.append(["**mean R²**", f"{before:.2f}", f"{after:.2f}", f"**{with_interval(gain.average, signed)}**"])
        rows.append(["without volume-like", "", "", with_interval(gain.without_volume_like, signed)])
    return markdown_table(head, rows)


def _conclude(gain: Gain) -> str:
    """Sentences: the verdict on average, then the properties with each verdict."""
    verdict, count = verdict_on(gain.average), len(gain.properties)
    mean = (
        f"mean R² of {len(gain.averaged)} regression properties {with_interval(gain.average, signed)}, "
        f"seed by seed {', '.join(f'{value:+.3f}' for value in gain.by_seed)}"
    )
    if (gain.way, gain.over) == (ALL, SINGLE_TASK):
        head = f"The claim that more targets in one training make each better {_CLAIM[verdict]}: {mean}.\n"
    else:
        head = f"On average {verdict}: {mean}.\n"
    lines = []
    for outcome, meaning in _MEANING.items():
        names = gain.named(outcome)
        listed = f": {', '.join(map(spaced, names))}" if names else ""
        lines.append(
            f"- {outcome[:1].upper()}{outcome[1:]} ({meaning}) for {len(names)} of {count} properties{listed}."
        )
    return head + "\n" + "\n".join(lines) + "\n"
