"""How far class probabilities can be believed, on all folds: each with the temperature that the others gave."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rhonet.core.predictions import Predictions, merge_predictions
from rhonet.core.properties import Property
from rhonet.evaluation.bootstrap import Metric, metric_of, resamples_of
from rhonet.experiments.comparison import with_interval
from rhonet.uncertainty.temperature import fit_temperature, log_losses, logits_of

RESAMPLES = 1000


@dataclass(frozen=True)
class FoldProbabilities:
    """Mean log loss of one class property over all folds.

    before, after: of the n labelled samples' probabilities as trained, and toned down. gain: before - after, groups
        resampled. temperature: of the median fold.
    """

    item: Property
    n: int
    before: float
    after: float
    gain: Metric
    temperature: float

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        return {"property": self.item.name, **{k: v for k, v in asdict(self).items() if k != "item"}}


def measure_fold_probabilities(folds: Sequence[Predictions]) -> tuple[FoldProbabilities, ...]:
    """Log losses of every class property with labels.

    Args:
        folds: predictions of each fold, by a network that has not trained on it.
    """
    units = merge_predictions(folds).units
    found = []
    for item in folds[0].properties:
        if not item.is_class or not any((~np.isnan(fold.labels[item.name])).any() for fold in folds):
            continue
        labels = [fold.labels[item.name] for fold in folds]
        logits = [logits_of(item, fold.values[item.name]) for fold in folds]
        temperatures = [
            fit_temperature(
                item, np.concatenate(logits[:at] + logits[at + 1 :]), np.concatenate(labels[:at] + labels[at + 1 :])
            )
            for at in range(len(folds))
        ]
        known = ~np.isnan(truth := np.concatenate(labels))
        tempered = np.concatenate([one / t for one, t in zip(logits, temperatures, strict=True)])
        before, after = (log_losses(item, z[known], truth[known]) for z in (np.concatenate(logits), tempered))
        gain = _mean(before - after, np.unique(units[known], return_inverse=True)[1])
        median = float(np.median(temperatures))
        found.append(FoldProbabilities(item, len(before), float(before.mean()), float(after.mean()), gain, median))
    return tuple(found)


def format_fold_probabilities(found: Sequence[FoldProbabilities]) -> str:
    """Markdown: the table, and how it was measured."""
    lines = [["property", "log loss", "toned down", "gain", "temperature", "n"], ["---"] * 6]
    for one in found:
        losses = [f"{one.before:.3f}", f"{one.after:.3f}", with_interval(one.gain, sign="+")]
        lines.append([one.item.name.replace("_", " "), *losses, f"{one.temperature:.1f}", str(one.n)])
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return (
        "Mean of minus the logarithm of the true class's probability, as trained and with logits divided by the "
        f"temperature that the other folds gave:\n\n{table}"
    )


def _mean(values: np.ndarray, units: np.ndarray) -> Metric:
    """Mean of the samples, resampled by their units."""
    blocks = resamples_of(units, RESAMPLES, seed=0)
    resampled = np.concatenate([(counts @ values) / counts.sum(axis=1) for counts in blocks])
    return metric_of(np.concatenate([[values.mean()], resampled]), "no labels")
