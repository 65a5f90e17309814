"""The report of an evaluation: a table for the terminal, and metrics.json."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhonet.metrics import LEVEL, Average, ClassMetrics, Evaluation, Metric, RegressionMetrics
from rhonet.runs import write_text

# Short names, for columns and rows of a table of 100 characters, and what they stand for.
_SHORT = {
    "grid_gb": "grid-GB",
    "histogram_gb": "hist-GB",
    "composition_rf": "comp-RF",
    "autoencoder_gb": "AE-GB",
}
_MEANINGS = {
    "dummy": "median, or class shares, of the training split",
    "grid_gb": "gradient boosting on shape and scale of the stored grid",
    "histogram_gb": "gradient boosting on the histogram of the density",
    "composition_rf": "random forest on Magpie-like features of the composition",
    "autoencoder_gb": "gradient boosting on the latent vector of an autoencoder of the density",
}
_NAME_WIDTH = 30
_INTERVAL = f"[{LEVEL:.0%}]"
_HEADINGS = 2


@dataclass(frozen=True)
class SplitSummary:
    """Which samples were scored, and what they were split by.

    Args:
        name: split that was scored, e.g. "test".
        split_by: group key, e.g. "chemical_system": groups never fall on both sides.
        seed: seed of the assignment.
        fractions: shares of train, validation, test.
        counts: samples per split.
    """

    name: str
    split_by: str
    seed: int
    fractions: tuple[float, float, float]
    counts: Mapping[str, int]


def format_report(
    evaluation: Evaluation, *, baselines: Mapping[str, Evaluation], split: SplitSummary, model: str = "model"
) -> str:
    """Tables of all scores as plain text of at most 100 columns, ending in a newline.

    A block for regression, one for classes, one that sets all predictors side by side, one for averages over
    regression properties; then notes on what is not available and on intervals that rest on fewer resamples.

    Args:
        evaluation: scores of the model.
        baselines: scores of other predictors on the same samples, by name.
        model: name of the model in the averages.
    """
    counts = ", ".join(f"{count} {name}" for name, count in split.counts.items())
    lines = [
        f"{split.name} split: {evaluation.n} samples; {counts}; split by {split.split_by}, seed {split.seed}",
        f"{_INTERVAL} intervals: {evaluation.resamples} bootstrap resamples of these samples, the training fixed",
    ]
    blocks = (
        (_regression_rows(evaluation), 1),
        (_class_rows(evaluation), 1),
        (_comparison_rows({model: evaluation, **baselines}), 2),
        (_average_rows({model: evaluation, **baselines}), 2),
    )
    for rows, names in blocks:
        if len(rows) > _HEADINGS:
            lines += ["", *_align(rows, names=names)]
    notes = [f"{_SHORT.get(name, name)}: {_MEANINGS[name]}" for name in baselines if name in _MEANINGS]
    notes += _notes(evaluation)
    return "\n".join([*lines, *([""] if notes else []), *notes, ""])


def write_metrics(
    path: Path, evaluation: Evaluation, *, baselines: Mapping[str, Evaluation], split: SplitSummary
) -> None:
    """Write metrics.json: the split, the model's scores and the baselines', NaN as null.

    The file appears at once and whole: on an error an earlier one stays as it was.

    Raises:
        OSError: the file cannot be written.
    """
    tree = {
        "split": dataclasses.asdict(split),
        "model": evaluation.to_dict(),
        "baselines": {name: baseline.to_dict() for name, baseline in baselines.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _regression_rows(evaluation: Evaluation) -> list[list[str]]:
    """Two rows of headings and one per regression property."""
    rows = [
        ["", "R²", "R²", "", "", "MAE/", ""],
        ["regression", _INTERVAL, "of log", "MAE", "RMSE", "MAD", "n"],
    ]
    for item in evaluation.regression:
        rows.append(
            [
                _label(item),
                _with_interval(item.r2),
                "" if item.r2_log is None else _decimals(item.r2_log.value),
                _significant(item.mae.value),
                _significant(item.rmse.value),
                _decimals(item.mae_over_mad.value),
                str(item.n),
            ]
        )
    return rows


def _class_rows(evaluation: Evaluation) -> list[list[str]]:
    """Two rows of headings and one per class property."""
    rows = [
        ["", "AUC", "balanced acc.", "", ""],
        ["classes", _INTERVAL, _INTERVAL, "per class", "n"],
    ]
    for item in evaluation.classes:
        per_class = "/".join(str(count) for count in item.counts)
        rows.append(
            [
                _label(item),
                _with_interval(item.auc),
                _with_interval(item.balanced_accuracy),
                per_class if len(per_class) <= 12 else f"{len(item.counts)} classes",
                str(item.n),
            ]
        )
    return rows


def _comparison_rows(evaluations: Mapping[str, Evaluation]) -> list[list[str]]:
    """Two rows of headings, then for each property the MAE, or the AUC, of every predictor; none for one predictor."""
    if len(evaluations) < 2:
        return []
    rows = [["beside the", *[""] * (1 + len(evaluations))]]
    rows.append(["baselines", "score", *(_SHORT.get(name, name) for name in evaluations)])
    found = [{item.target.name: item for item in (*one.regression, *one.classes)} for one in evaluations.values()]
    for name, first in found[0].items():
        if isinstance(first, RegressionMetrics):
            scores = [_significant(item.mae.value) for one in found if isinstance(item := one[name], RegressionMetrics)]
            rows.append([_label(first), "MAE", *scores])
        else:
            scores = [_decimals(item.auc.value) for one in found if isinstance(item := one[name], ClassMetrics)]
            rows.append([_label(first), "AUC", *scores])
    return rows


def _average_rows(evaluations: Mapping[str, Evaluation]) -> list[list[str]]:
    """Two rows of headings, then for each average one row per predictor."""
    rows = [["average over", "", "R² (learned scale)", "MAE/MAD"], ["properties", "predictor", _INTERVAL, _INTERVAL]]
    model = next(iter(evaluations.values()))
    for key, title in (("all", "all"), ("without_volume_like", "without volume-like")):
        names = model.averages[key].properties
        # Without a volume-like property both averages are the same.
        if not names or (key != "all" and names == model.averages["all"].properties):
            continue
        for at, (name, evaluation) in enumerate(evaluations.items()):
            average = evaluation.averages[key]
            rows.append(
                [
                    f"{title} ({len(names)})" if at == 0 else "",
                    _SHORT.get(name, name) + ("" if average.properties == names else f" ({len(average.properties)})"),
                    _with_interval(average.r2),
                    _with_interval(average.mae_over_mad),
                ]
            )
    return rows


def _align(rows: Sequence[Sequence[str]], *, names: int) -> Iterator[str]:
    """Lines of a table with a rule below the headings; the first `names` columns are left-aligned, others right."""
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    widths[0] = max(len(name) for name in columns[0] if len(name) <= _NAME_WIDTH)
    for at, cells in enumerate(rows):
        if at == _HEADINGS:
            yield "-" * (sum(widths) + len(widths) - 1)
        if len(cells[0]) > widths[0]:
            # A name too long for its column has a line of its own.
            yield cells[0]
            cells = ["", *cells[1:]]
        aligned = [
            f"{cell:<{width}}" if column < names else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        yield " ".join(aligned).rstrip()


def _notes(evaluation: Evaluation) -> list[str]:
    """What is not available and why, what the averages leave out, and which intervals rest on fewer resamples."""
    lines, thinned = [], []
    for item in (*evaluation.regression, *evaluation.classes):
        undefined: dict[str, list[str]] = {}
        for title, metric in _metrics(item).items():
            if math.isnan(metric.value):
                undefined.setdefault(metric.reason, []).append(title)
        lines += [f"n/a: {item.target.name}, {', '.join(titles)}: {reason}" for reason, titles in undefined.items()]
    counted = evaluation.averages["all"].properties
    missing = [item.target.name for item in evaluation.regression if item.target.name not in counted]
    if missing:
        lines.append(f"not in the averages: {', '.join(missing)}")
    groups = [(item.target.name, item) for item in (*evaluation.regression, *evaluation.classes)]
    for name, group in (*groups, ("averages", evaluation.averages["all"])):
        most = max(metric.left_out for metric in _metrics(group).values())
        thinned += [f"{name} {most}"] if most else []
    if thinned:
        lines.append(f"resamples left out, as a score is undefined there: {', '.join(thinned)}")
    return lines


def _metrics(group: RegressionMetrics | ClassMetrics | Average) -> dict[str, Metric]:
    """Metrics of a group by the title of their column."""
    titles = {"r2": "R²", "r2_log": "R² of log", "mae": "MAE", "rmse": "RMSE", "mae_over_mad": "MAE/MAD"}
    titles |= {"auc": "AUC", "balanced_accuracy": "balanced acc."}
    values = {title: getattr(group, name, None) for name, title in titles.items()}
    return {title: value for title, value in values.items() if isinstance(value, Metric)}


def _label(item: RegressionMetrics | ClassMetrics) -> str:
    return f"{item.target.name} ({item.target.unit})" if item.target.unit else item.target.name


def _with_interval(metric: Metric) -> str:
    if math.isnan(metric.value):
        return "n/a"
    bounds = "n/a" if math.isnan(metric.lower) else f"{_decimals(metric.lower)}, {_decimals(metric.upper)}"
    return f"{_decimals(metric.value)} [{bounds}]"


def _decimals(value: float) -> str:
    """Two decimals; beyond -10 and 100, where a score is only bad, the bound."""
    if math.isnan(value):
        return "n/a"
    if not -10 < value < 100:
        return "<-10" if value < 0 else ">100"
    return f"{value:.2f}"


def _significant(value: float) -> str:
    """Three significant digits, with all digits before the point, and no exponent from 0.0001 to a million."""
    if math.isnan(value):
        return "n/a"
    if value == 0 or not 1e-4 <= abs(value) < 1e6:
        return f"{value:.2g}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(abs(value))))}f}"
