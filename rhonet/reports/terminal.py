"""Scores of an evaluation as text for the terminal, and metrics.json."""

from __future__ import annotations

import dataclasses
import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rhonet.core.files import write_text
from rhonet.core.text import counted
from rhonet.data.splits import ALL
from rhonet.evaluation.bootstrap import CONFIDENCE_LEVEL
from rhonet.evaluation.metrics import ClassMetrics, Evaluation, IntervalMetrics, NonZeroMetrics, RegressionMetrics
from rhonet.reports.wording import (
    MEANINGS,
    SHORT_NAMES,
    WHERE_NOT_ZERO,
    decimals,
    label_of,
    notes_on,
    set_size,
    significant,
    with_interval,
)
from rhonet.uncertainty.calibration import PREDICTION_LEVEL

WIDTH = 100
_NAME_WIDTH = 30
_INTERVAL = f"[{CONFIDENCE_LEVEL:.0%}]"
_HEADINGS = 2
_INDENTED = f"  {WHERE_NOT_ZERO}"


@dataclass(frozen=True)
class SplitSummary:
    """Which samples were scored, and how the data were split.

    Attributes:
        name: of the scored split, e.g. "test".
        split_by: group key, e.g. "chemical_system"; the split never separates samples of one group.
        seed: of the assignment of groups to splits.
        fractions: shares of train, validation, test.
        counts: number of samples of each split that is not empty.
    """

    name: str
    split_by: str
    seed: int
    fractions: tuple[float, float, float]
    counts: Mapping[str, int]

    @property
    def title(self) -> str:
        """Name of what was scored: "test split", or "all records"."""
        return "all records" if self.name == ALL else f"{self.name} split"


def format_report(
    evaluation: Evaluation, *, baselines: Mapping[str, Evaluation], split: SplitSummary, model: str = "model"
) -> str:
    """Tables of all scores as plain text of at most 100 columns, ending in a newline.

    There is one block each for regression properties, classes, the comparison with the baselines, averages over
    regression properties and prediction intervals; empty blocks are left out. Notes follow (`notes_on`).

    Args:
        evaluation: scores of the model.
        baselines: scores of each baseline on the same samples, by name.
        split: which samples were scored.
        model: name of the model in the averages.
    """
    counts = ", ".join(f"{count} {name}" for name, count in split.counts.items())
    made = f"{counts}; split by {split.split_by}, seed {split.seed}"
    resamples = f"{evaluation.resamples} bootstrap resamples of {counted(evaluation.n_groups, 'group')}"
    lines = [
        f"{split.title}: {evaluation.n} samples; {f'groups by {split.split_by}' if split.name == ALL else made}",
    ]
    if evaluation.resamples:
        lines.append(f"{_INTERVAL} intervals: {resamples}, the training fixed")
    blocks = (
        (_regression_rows(evaluation), 1),
        (_class_rows(evaluation), 1),
        (_comparison_rows({model: evaluation, **baselines}), 2),
        (_average_rows({model: evaluation, **baselines}), 2),
        (_interval_rows(evaluation), 1),
    )
    for rows, names in blocks:
        if len(rows) > _HEADINGS:
            lines += ["", *_align(rows, names=names)]
    notes = [f"{SHORT_NAMES.get(name, name)}: {MEANINGS[name]}" for name in baselines if name in MEANINGS]
    notes += notes_on(evaluation)
    wrapped = [line for note in notes for line in textwrap.wrap(note, WIDTH, subsequent_indent="  ")]
    return "\n".join([*lines, *([""] if notes else []), *wrapped, ""])


def write_metrics(
    path: Path, evaluation: Evaluation, *, baselines: Mapping[str, Evaluation], split: SplitSummary
) -> None:
    """Writes metrics.json: the split, the scores of the model and those of the baselines, NaN as null.

    The write is atomic: after an error an existing file is unchanged.

    Args:
        path: file to write; its folder is made.
        evaluation: scores of the model.
        baselines: scores of each baseline on the same samples, by name.
        split: which samples were scored.

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
    """Two rows of headings; per regression property a row of all samples and, if scored, one of those not zero."""
    rows = [
        ["", "R²", "R²", "", "", "MAE/", ""],
        ["regression", _INTERVAL, "of log", "MAE", "RMSE", "MAD", "n"],
    ]
    for item in evaluation.regression:
        log = "" if item.r2_log is None else decimals(item.r2_log.value)
        parts: list[tuple[str, str, RegressionMetrics | NonZeroMetrics]] = [(label_of(item), log, item)]
        if item.where_not_zero is not None:
            parts.append((_INDENTED, "", item.where_not_zero))
        for name, in_log, part in parts:
            errors = significant(part.mae.value), significant(part.rmse.value), decimals(part.mae_over_mad.value)
            rows.append([name, with_interval(part.r2), in_log, *errors, str(part.n)])
    return rows


def _class_rows(evaluation: Evaluation) -> list[list[str]]:
    """Two rows of headings, then one per class property."""
    rows = [
        ["", "AUC", "balanced acc.", "", ""],
        ["classes", _INTERVAL, _INTERVAL, "per class", "n"],
    ]
    for item in evaluation.classes:
        per_class = "/".join(str(count) for count in item.counts)
        rows.append(
            [
                label_of(item),
                with_interval(item.auc),
                with_interval(item.balanced_accuracy),
                per_class if len(per_class) <= 12 else f"{len(item.counts)} classes",
                str(item.n),
            ]
        )
    return rows


def _comparison_rows(evaluations: Mapping[str, Evaluation]) -> list[list[str]]:
    """Two rows of headings, then per property the MAE or AUC of each predictor; no rows without baselines."""
    if len(evaluations) < 2:
        return []
    rows = [["beside the", *[""] * (1 + len(evaluations))]]
    rows.append(["baselines", "score", *(SHORT_NAMES.get(name, name) for name in evaluations)])
    by_predictor = [
        {item.target.name: item for item in (*evaluation.regression, *evaluation.classes)}
        for evaluation in evaluations.values()
    ]
    for name, first in by_predictor[0].items():
        if isinstance(first, RegressionMetrics):
            items = [item for metrics in by_predictor if isinstance(item := metrics[name], RegressionMetrics)]
            rows.append([label_of(first), "MAE", *(significant(item.mae.value) for item in items)])
            parts = [part for item in items if (part := item.where_not_zero) is not None and part.n]
            if parts:
                rows.append([_INDENTED, "MAE", *(significant(part.mae.value) for part in parts)])
        else:
            classes = [item for metrics in by_predictor if isinstance(item := metrics[name], ClassMetrics)]
            rows.append([label_of(first), "AUC", *(decimals(item.auc.value) for item in classes)])
    return rows


def _average_rows(evaluations: Mapping[str, Evaluation]) -> list[list[str]]:
    """Two rows of headings, then for each average one row per predictor."""
    rows = [["average over", "", "R² (learned scale)", "MAE/MAD"], ["properties", "predictor", _INTERVAL, _INTERVAL]]
    model = next(iter(evaluations.values()))
    for key, title in (("all", "all"), ("without_volume_like", "without volume-like")):
        names = model.averages[key].properties
        # Both averages are the same if no property is volume-like.
        if not names or (key != "all" and names == model.averages["all"].properties):
            continue
        for position, (name, evaluation) in enumerate(evaluations.items()):
            average = evaluation.averages[key]
            rows.append(
                [
                    f"{title} ({len(names)})" if position == 0 else "",
                    SHORT_NAMES.get(name, name)
                    + ("" if average.properties == names else f" ({len(average.properties)})"),
                    with_interval(average.r2),
                    with_interval(average.mae_over_mad),
                ]
            )
    return rows


def _interval_rows(evaluation: Evaluation) -> list[list[str]]:
    """Two rows of headings, then one per property with prediction intervals or sets."""
    rows = [["", "median", "coverage", ""], [f"{PREDICTION_LEVEL:.0%} intervals", "width", _INTERVAL, "n"]]
    widths = [(item, significant(item.median_width)) for item in evaluation.intervals]
    for item, width in [*widths, *((item, set_size(item)) for item in evaluation.sets)]:
        rows.append([label_of(item), width, with_interval(item.coverage), str(item.n)])
        part = item.where_not_zero if isinstance(item, IntervalMetrics) else None
        if part is not None and part.n:
            rows.append([_INDENTED, significant(part.median_width), with_interval(part.coverage), str(part.n)])
    return rows


def _align(rows: Sequence[Sequence[str]], *, names: int) -> Iterator[str]:
    """Lines of a table with a rule below its headings.

    The first `names` columns are left-aligned, all others right-aligned.
    """
    columns = list(zip(*rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    widths[0] = max(len(name) for name in columns[0] if len(name) <= _NAME_WIDTH)
    for row, cells in enumerate(rows):
        if row == _HEADINGS:
            yield "-" * (sum(widths) + len(widths) - 1)
        if len(cells[0]) > widths[0]:
            # A name that is too long for its column gets its own line.
            yield cells[0]
            cells = ["", *cells[1:]]
        aligned = [
            f"{cell:<{width}}" if column < names else f"{cell:>{width}}"
            for column, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        yield " ".join(aligned).rstrip()
