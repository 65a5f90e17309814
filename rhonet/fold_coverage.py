"""How often 90 % intervals hold the truth, measured on all folds: each is judged by intervals that the others gave."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from rhonet.bootstrap import Metric, share_of
from rhonet.calibration import LEVEL, conformal_quantile
from rhonet.config import ConfigError
from rhonet.coverage import learned_errors
from rhonet.predictions import Predictions, merge_predictions
from rhonet.properties import Property
from rhonet.study_report import with_interval


@dataclass(frozen=True)
class FoldCoverage:
    """Intervals of one property over all folds.

    coverage: share of the n labelled samples inside, with Wilson's interval. half_width: of the median fold, on the
        learned scale; for a class, what its probability may miss to 1 and the class still belongs to the set.
    """

    item: Property
    n: int
    coverage: Metric
    half_width: float

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        return {"property": self.item.name, "level": LEVEL, **{k: v for k, v in asdict(self).items() if k != "item"}}


def measure_fold_coverage(folds: Sequence[Predictions], volumes: Mapping[str, float]) -> tuple[FoldCoverage, ...]:
    """Coverage of every property that enough samples are labelled with.

    Args:
        folds: predictions of each fold, by a network that has not trained on it.
        volumes: cell volumes by sample, Å³.

    Raises:
        ConfigError: fewer than two folds, or a sample in several of them.
    """
    ids = [name for fold in folds for name in fold.ids]
    if len(folds) < 2 or len(set(ids)) < len(ids):
        raise ConfigError(f"{len(folds)} folds with {len(ids)} samples, {len(set(ids))} different: each belongs to one")
    units = merge_predictions(folds).units
    found = []
    for item in folds[0].properties:
        errors = [learned_errors(item, fold, np.array([volumes[name] for name in fold.ids])) for fold in folds]
        known = ~np.isnan(np.concatenate(errors))
        errors = [one[~np.isnan(one)] for one in errors]
        widths = [
            conformal_quantile(np.concatenate(errors[:at] + errors[at + 1 :]), LEVEL) for at in range(len(errors))
        ]
        hits = np.concatenate([one <= width for one, width in zip(errors, widths, strict=True)])
        if len(hits) and np.isfinite(widths).all():
            found.append(
                FoldCoverage(item, len(hits), share_of(hits, "no labels", units[known]), float(np.median(widths)))
            )
    return tuple(found)


def format_fold_coverage(found: Sequence[FoldCoverage]) -> str:
    """Markdown: the table, and how it was measured."""
    if not found:
        return f"Too few labelled samples for {LEVEL:.0%} intervals.\n"
    lines = [["property", "coverage", "n", "half width"], ["---"] * 4]
    lines += [
        [one.item.name.replace("_", " "), with_interval(one.coverage), str(one.n), _shown(one.item, one.half_width)]
        for one in found
    ]
    mean = np.mean([one.coverage.value for one in found])
    table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
    return (
        f"{LEVEL:.0%} intervals of each fold come from the errors on the others, and are the same for all its samples; "
        "sets of classes likewise. Share of the labels inside, with Wilson's 95 % interval of as many as there "
        f"are groups; {mean:.1%} on average:\n\n{table}"
    )


def _shown(item: Property, width: float) -> str:
    if item.is_class:
        return f"probability {1 - width:.2f}"
    if item.transform == "log":
        return f"×÷ {math.exp(width):.2f}"
    unit = item.unit if item.intensive else f"{item.unit} per Å³"
    return f"± {float(f'{width:.2g}'):g} {unit}".rstrip()
