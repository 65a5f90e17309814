"""Numbers, names and notes as the reports print them."""

from __future__ import annotations

import math
from collections.abc import Callable

from rhonet.core.predictions import NOVEL
from rhonet.core.properties import Property
from rhonet.core.text import counted
from rhonet.evaluation.bootstrap import CONFIDENCE_LEVEL, Metric
from rhonet.evaluation.metrics import (
    FEWEST_GROUPS,
    Average,
    ClassMetrics,
    Evaluation,
    IntervalMetrics,
    NonZeroMetrics,
    RegressionMetrics,
    SetMetrics,
)
from rhonet.evaluation.scores import ZERO

WHERE_NOT_ZERO = "where not zero"

# Short names of the baselines, for tables of at most 100 characters, and what each baseline is.
SHORT_NAMES = {
    "grid_gb": "grid-GB",
    "histogram_gb": "hist-GB",
    "composition_rf": "comp-RF",
    "autoencoder_gb": "AE-GB",
}
MEANINGS = {
    "dummy": "median, or class shares, of the training split",
    "grid_gb": "gradient boosting on shape and scale of the stored grid",
    "histogram_gb": "gradient boosting on the histogram of the density",
    "composition_rf": "random forest on Magpie-like features of the composition",
    "autoencoder_gb": "gradient boosting on the latent vector of an autoencoder of the density",
}


def notes_on(evaluation: Evaluation) -> list[str]:
    """Notes on an evaluation: undefined scores and why, properties left out of averages, resamples left out."""
    lines, left_out = [], []
    groups: list[tuple[str, RegressionMetrics | NonZeroMetrics | ClassMetrics]] = []
    for item in (*evaluation.regression, *evaluation.classes):
        groups.append((item.target.name, item))
        if isinstance(item, RegressionMetrics) and item.where_not_zero is not None:
            groups.append((f"{item.target.name} {WHERE_NOT_ZERO}", item.where_not_zero))
    if any(isinstance(group, NonZeroMetrics) for _, group in groups):
        lines.append(f"{WHERE_NOT_ZERO}: samples whose label is, in size, above {ZERO:g} of the largest one")
    if evaluation.n_groups < FEWEST_GROUPS:
        lines.append(f"no intervals of scores: the samples are of {counted(evaluation.n_groups, 'group')} of the split")
    for name, group in groups:
        undefined: dict[str, list[str]] = {}
        for title, metric in _metrics(group).items():
            if math.isnan(metric.value):
                undefined.setdefault(metric.reason, []).append(title)
        lines += [f"n/a: {name}, {', '.join(titles)}: {reason}" for reason, titles in undefined.items()]
    averaged = evaluation.averages["all"].properties
    missing = [item.target.name for item in evaluation.regression if item.target.name not in averaged]
    if missing:
        lines.append(f"not in the averages: {', '.join(missing)}")
    for name, group in (*groups, ("averages", evaluation.averages["all"])):
        most = max(metric.left_out for metric in _metrics(group).values())
        left_out += [f"{name} {most}"] if most else []
    if left_out:
        lines.append(f"resamples left out, as a score is undefined there: {', '.join(left_out)}")
    for item in evaluation.classes:
        if item.target.class_names:
            counts = (f"{name} {count}" for name, count in zip(item.target.class_names, item.counts, strict=True))
            lines.append(f"classes of {item.target.name}: {', '.join(counts)}")
    if evaluation.intervals or evaluation.sets or evaluation.novel is not None:
        lines.append(
            f"[{CONFIDENCE_LEVEL:.0%}] of a share of the samples: Wilson's interval of as many as there are groups"
        )
    if evaluation.novel is not None:
        lines.append(f"novelty above {NOVEL:g}: {with_interval(evaluation.novel)} of the samples")
    return lines


def label_of(item: RegressionMetrics | ClassMetrics | IntervalMetrics | SetMetrics) -> str:
    """Name of the property with its unit."""
    return f"{item.target.name} ({item.target.unit})" if item.target.unit else item.target.name


def with_interval(metric: Metric, show: Callable[[float], str] | None = None) -> str:
    """Score with its confidence interval, such as "0.81 [0.79, 0.83]"; the score alone without an interval.

    Args:
        metric: the score.
        show: formats a number; two decimals by default.
    """
    show = show or decimals
    if math.isnan(metric.value) or math.isnan(metric.lower):
        return show(metric.value)
    return f"{show(metric.value)} [{show(metric.lower)}, {show(metric.upper)}]"


def three_decimals(value: float) -> str:
    """Three decimals; "n/a" for NaN."""
    return "n/a" if math.isnan(value) else f"{value:.3f}"


def signed(value: float) -> str:
    """Three decimals with a sign, for differences; "n/a" for NaN."""
    return "n/a" if math.isnan(value) else f"{value:+.3f}"


def set_size(item: SetMetrics) -> str:
    """Mean number of classes in a prediction set."""
    return "n/a" if math.isnan(item.mean_size) else f"{item.mean_size:.2f} classes"


def decimals(value: float) -> str:
    """Two decimals; "<-10" or ">100" beyond these bounds, "n/a" for NaN."""
    if math.isnan(value):
        return "n/a"
    if not -10 < value < 100:
        return "<-10" if value < 0 else ">100"
    return f"{value:z.2f}"


def significant(value: float) -> str:
    """Three significant digits, and all digits before the point; an exponent only below 0.0001 and from a million."""
    if math.isnan(value):
        return "n/a"
    if value == 0 or not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"


def _metrics(group: RegressionMetrics | NonZeroMetrics | ClassMetrics | Average) -> dict[str, Metric]:
    """Metrics of a group by the title of their column."""
    titles = {"r2": "R²", "r2_log": "R² of log", "mae": "MAE", "rmse": "RMSE", "mae_over_mad": "MAE/MAD"}
    titles |= {"auc": "AUC", "balanced_accuracy": "balanced acc."}
    values = {title: getattr(group, name, None) for name, title in titles.items()}
    return {title: value for title, value in values.items() if isinstance(value, Metric)}


def half_width_text(item: Property, width: float) -> str:
    """Half width of a prediction interval as text: "±0.4", or "×÷1.3" for a logarithmic property.

    Args:
        item: the property; an extensive one gets "/Å³".
        width: half width in the unit of the property, of its logarithm, or per Å³; not finite without an interval.

    Returns:
        The text; "" for a class or without an interval.
    """
    if item.is_class or not math.isfinite(width):
        return ""
    if item.transform == "log":
        return f"×÷{math.exp(width):.2f}"
    # Two digits without an exponent: 510, not 5.1e+02.
    return f"±{float(f'{width:.2g}'):g}{'' if item.intensive else '/Å³'}"
