"""Tables of report.html."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from rhonet.core.predictions import NOVEL, Predictions
from rhonet.core.properties import Property
from rhonet.core.text import counted
from rhonet.evaluation.bootstrap import CONFIDENCE_LEVEL, Metric
from rhonet.evaluation.metrics import (
    ClassMetrics,
    Evaluation,
    IntervalMetrics,
    NonZeroCoverage,
    NonZeroMetrics,
    RegressionMetrics,
)
from rhonet.reports import html_markup as html
from rhonet.reports.html_markup import Html
from rhonet.reports.wording import (
    WHERE_NOT_ZERO,
    decimals,
    label_of,
    set_size,
    significant,
    with_interval,
)
from rhonet.uncertainty.calibration import PREDICTION_LEVEL, learned_errors

_INTERVAL = f"[{CONFIDENCE_LEVEL:.0%}]"
_WORST = 5


def regression_table(evaluation: Evaluation) -> Html | None:
    """Scores of regression properties; None without any."""
    if not evaluation.regression:
        return None
    rows = []
    for item in evaluation.regression:
        rows.append(_regression_row(label_of(item), item))
        if item.where_not_zero is not None:
            rows.append(_regression_row(f"{item.target.name} {WHERE_NOT_ZERO}", item.where_not_zero))
    return html.table(
        "Regression: scores of the model. MAE/MAD: error relative to that of always answering the mean.",
        heads=[
            "property",
            f"R² {_INTERVAL}",
            f"R² of log {_INTERVAL}",
            f"MAE {_INTERVAL}",
            "RMSE",
            "MAE/MAD",
            "n",
        ],
        rows=rows,
    )


def _regression_row(name: str, scores: RegressionMetrics | NonZeroMetrics) -> list[str]:
    r2_log = scores.r2_log if isinstance(scores, RegressionMetrics) else None
    return [
        name,
        with_interval(scores.r2),
        "" if r2_log is None else with_interval(r2_log),
        with_interval(scores.mae, significant),
        significant(scores.rmse.value),
        decimals(scores.mae_over_mad.value),
        str(scores.n),
    ]


def class_table(evaluation: Evaluation) -> Html | None:
    """Scores of class properties; None without any."""
    if not evaluation.classes:
        return None
    rows = [
        [
            label_of(item),
            with_interval(item.auc),
            with_interval(item.balanced_accuracy),
            " / ".join(map(str, item.counts)) if len(item.counts) <= 8 else f"{len(item.counts)} classes",
            str(item.n),
        ]
        for item in evaluation.classes
    ]
    return html.table(
        "Classes: scores of the model.",
        heads=["property", f"AUC {_INTERVAL}", f"balanced accuracy {_INTERVAL}", "per class", "n"],
        rows=rows,
    )


def comparison_table(evaluations: Mapping[str, Evaluation]) -> Html | None:
    """MAE or AUC of the model and each baseline, the best in bold; None without baselines."""
    if len(evaluations) < 2:
        return None
    by_predictor = [_by_name(evaluation) for evaluation in evaluations.values()]
    rows, strong = [], set()
    for name, first in by_predictor[0].items():
        is_class = isinstance(first, ClassMetrics)
        lines = [(label_of(first), [_main_score(metrics[name]) for metrics in by_predictor])]
        parts = [part for metrics in by_predictor if (part := _not_zero(metrics[name])) is not None and part.n]
        if parts:
            lines.append((f"{name} {WHERE_NOT_ZERO}", [part.mae for part in parts]))
        for label, metrics in lines:
            scores = [metric.value for metric in metrics]
            strong |= {(len(rows), 2 + column) for column in _best(scores, largest=is_class)}
            rows.append([label, "AUC" if is_class else "MAE", *map(decimals if is_class else significant, scores)])
    return html.table(
        "Beside the baselines, fitted on the records that trained and scored on the same samples; best in bold.",
        heads=["property", "score", *evaluations],
        rows=rows,
        names=2,
        strong=strong,
    )


def average_table(evaluations: Mapping[str, Evaluation]) -> Html | None:
    """Averages over regression properties of each predictor; None where there is nothing to average."""
    model = next(iter(evaluations.values()))
    titles = {"all": "all", "without_volume_like": "without volume-like"}
    rows: list[list[str]] = []
    for key, title in titles.items():
        names = model.averages[key].properties
        # Both averages are the same if no property is volume-like.
        if not names or (key != "all" and names == model.averages["all"].properties):
            continue
        for predictor, evaluation in evaluations.items():
            average = evaluation.averages[key]
            label = f"{title} ({len(average.properties)})"
            rows.append([label, predictor, with_interval(average.r2), with_interval(average.mae_over_mad)])
    if not rows:
        return None
    return html.table(
        "Averages over regression properties; R² on the scale that was learned. Volume-like properties can nearly be "
        "read off the cell.",
        heads=["properties", "predictor", f"R² {_INTERVAL}", f"MAE/MAD {_INTERVAL}"],
        rows=rows,
        names=2,
    )


def interval_table(evaluation: Evaluation, half_widths: Mapping[str, str]) -> Html:
    """Coverage and width of the prediction intervals and sets.

    Args:
        evaluation: scores of the model.
        half_widths: half width of the median crystal's interval, as text, by property.
    """
    rows = []
    for item in evaluation.intervals:
        parts: list[tuple[str, str, IntervalMetrics | NonZeroCoverage]] = [
            (label_of(item), half_widths[item.target.name], item)
        ]
        if item.where_not_zero is not None and item.where_not_zero.n:
            parts.append((f"{item.target.name} {WHERE_NOT_ZERO}", "", item.where_not_zero))
        for name, width, part in parts:
            rows.append([name, width, significant(part.median_width), with_interval(part.coverage), str(part.n)])
    rows += [
        [label_of(item), "set", set_size(item), with_interval(item.coverage), str(item.n)] for item in evaluation.sets
    ]
    return html.table(
        f"{PREDICTION_LEVEL:.0%} prediction intervals: what they add to the prediction for the median calibration "
        "crystal (harder ones get more, easier ones less), their median width from end to end, and the share of "
        "reference values that they hold. For classes: sets, and how many classes are in one.",
        heads=["property", "interval", "median width", f"coverage {_INTERVAL}", "n"],
        rows=rows,
    )


def scores_of_property(evaluations: Mapping[str, Evaluation], item: Property) -> Html:
    """Scores of one property for each predictor."""
    scores_by_predictor = {name: _by_name(evaluation)[item.name] for name, evaluation in evaluations.items()}
    rows = []
    for predictor, scores in scores_by_predictor.items():
        if isinstance(scores, ClassMetrics):
            rows.append([predictor, with_interval(scores.auc), with_interval(scores.balanced_accuracy)])
        else:
            logarithm = [] if scores.r2_log is None else [with_interval(scores.r2_log)]
            errors = [with_interval(scores.mae, significant), significant(scores.rmse.value)]
            rows.append([predictor, with_interval(scores.r2), *logarithm, *errors])
    unit = f" ({item.unit})" if item.unit else ""
    heads = ["predictor", f"AUC {_INTERVAL}", f"balanced accuracy {_INTERVAL}"]
    if not item.is_class:
        logarithm = [f"R² of log {_INTERVAL}"] if item.transform == "log" else []
        heads = ["predictor", f"R² {_INTERVAL}", *logarithm, f"MAE{unit} {_INTERVAL}", f"RMSE{unit}"]
    n = next(iter(scores_by_predictor.values())).n
    return html.table(f"{item.name}: model and baselines on {n} samples.", heads=heads, rows=rows)


def scores_where_not_zero(evaluations: Mapping[str, Evaluation], item: Property) -> Html | None:
    """Scores of one property on the samples where it is not zero, for each predictor.

    None for a property that is scored on all samples only.
    """
    parts = {
        predictor: part
        for predictor, evaluation in evaluations.items()
        if (part := _not_zero(_by_name(evaluation)[item.name])) is not None and part.n
    }
    if not parts:
        return None
    rows = [
        [predictor, with_interval(part.r2), with_interval(part.mae, significant), significant(part.rmse.value)]
        for predictor, part in parts.items()
    ]
    unit = f" ({item.unit})" if item.unit else ""
    part = next(iter(parts.values()))
    least = f"above {significant(part.above)}{f' {item.unit}' if item.unit else ''} in size"
    return html.table(
        f"{item.name} {WHERE_NOT_ZERO} (reference {least}): {counted(part.n, 'sample')}.",
        heads=["predictor", f"R² {_INTERVAL}", f"MAE{unit} {_INTERVAL}", f"RMSE{unit}"],
        rows=rows,
    )


def worst_table(predictions: Predictions, item: Property, *, volumes: np.ndarray, formulas: Mapping[str, str]) -> Html:
    """The samples with the largest errors of one property, on the learned scale.

    Args:
        predictions: of the model, n samples.
        item: the property.
        volumes: (n,) cell volumes, Å³.
        formulas: chemical formula by sample id, where it is known.
    """
    errors = learned_errors(item, predictions, volumes)
    order = np.argsort(-np.nan_to_num(errors, nan=-np.inf), kind="stable")[
        : min(_WORST, int((~np.isnan(errors)).sum()))
    ]
    with_formula = any(formulas.get(predictions.ids[sample]) for sample in order)
    describe = _class_cells if item.is_class else _regression_cells
    rows, strong = [], set()
    for row, sample in enumerate(map(int, order)):
        cells, outside = describe(predictions, item, sample)
        name = predictions.ids[sample]
        head = [name, formulas.get(name, "")] if with_formula else [name]
        novelty = [] if predictions.novelty is None else [_novelty(float(predictions.novelty[sample]))]
        rows.append([*head, *cells, *novelty])
        strong |= {(row, len(head) + column) for column in outside}
    unit = f" ({item.unit})" if item.unit else ""
    heads = ["id", *(["formula"] if with_formula else [])]
    if item.is_class:
        heads += ["class", "predicted", "probability of the class"]
    else:
        bounded = [f"{PREDICTION_LEVEL:.0%} interval"] if item.name in predictions.lower else []
        heads += [f"reference{unit}", f"predicted{unit}", *bounded, "error"]
    caption = f"{item.name}: the largest errors{'' if item.intensive else ' per volume of the cell'}"
    caption += "" if item.is_class or item.name not in predictions.lower else "; bold: outside of the interval"
    return html.table(
        f"{caption}.",
        heads=heads + ([] if predictions.novelty is None else ["novelty"]),
        rows=rows,
        names=1 + with_formula + (2 if item.is_class else 0),
        strong=strong,
    )


def _regression_cells(predictions: Predictions, item: Property, sample: int) -> tuple[list[str], list[int]]:
    """Cells of one sample (reference, prediction, interval, error), and which of them are bold."""
    label, value = float(predictions.labels[item.name][sample]), float(predictions.values[item.name][sample])
    error = f"{100 * (value / label - 1):+.0f}%" if item.transform == "log" else _signed(value - label)
    if item.name not in predictions.lower:
        return [significant(label), significant(value), error], []
    lower, upper = float(predictions.lower[item.name][sample]), float(predictions.upper[item.name][sample])
    cells = [significant(label), significant(value), f"{significant(lower)} to {significant(upper)}", error]
    return cells, [] if lower <= label <= upper else [0]


def _class_cells(predictions: Predictions, item: Property, sample: int) -> tuple[list[str], list[int]]:
    """Cells of one sample: class, predicted class and predicted probability of the class; none is bold."""
    label, value = int(predictions.labels[item.name][sample]), predictions.values[item.name][sample]
    probabilities = np.array([1 - value, value]) if item.kind == "binary" else value
    names = item.class_labels
    return [names[label], names[int(probabilities.argmax())], decimals(float(probabilities[label]))], []


def _by_name(evaluation: Evaluation) -> dict[str, RegressionMetrics | ClassMetrics]:
    return {item.target.name: item for item in (*evaluation.regression, *evaluation.classes)}


def _main_score(item: RegressionMetrics | ClassMetrics) -> Metric:
    return item.auc if isinstance(item, ClassMetrics) else item.mae


def _not_zero(item: RegressionMetrics | ClassMetrics) -> NonZeroMetrics | None:
    return item.where_not_zero if isinstance(item, RegressionMetrics) else None


def _best(scores: Sequence[float], *, largest: bool) -> list[int]:
    """Positions of the best score, several for a tie; none where all scores are undefined."""
    known = [score for score in scores if not math.isnan(score)]
    best = (max if largest else min)(known, default=math.nan)
    return [position for position, score in enumerate(scores) if score == best]


def _signed(value: float) -> str:
    return f"{'+' if value >= 0 else ''}{significant(value)}"


def _novelty(value: float) -> str:
    return f"{value:.2f}{' !' if value > NOVEL else ''}"
