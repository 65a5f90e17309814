"""report.html: a whole evaluation, with figures, on one self-contained page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from rhonet.core.files import write_text
from rhonet.core.predictions import NOVEL, Predictions
from rhonet.core.properties import Property
from rhonet.core.text import counted
from rhonet.data.splits import ALL
from rhonet.evaluation.bootstrap import CONFIDENCE_LEVEL
from rhonet.evaluation.metrics import Evaluation
from rhonet.reports import html_markup as html
from rhonet.reports.html_markup import Html
from rhonet.reports.plots.errors import (
    calibration_figure,
    error_figure,
    figure_to_svg,
    loss_figure,
    novelty_figure,
    r2_figure,
)
from rhonet.reports.plots.parity import display_name, property_figure
from rhonet.reports.tables import (
    average_table,
    class_table,
    comparison_table,
    interval_table,
    regression_table,
    scores_of_property,
    scores_where_not_zero,
    worst_table,
)
from rhonet.reports.terminal import SplitSummary
from rhonet.reports.wording import MEANINGS, SHORT_NAMES, decimals, half_width_text, notes_on, with_interval
from rhonet.uncertainty.calibration import Calibration
from rhonet.uncertainty.coverage import CoverageCurve, coverage_curves, relative_errors

REPORT = "report.html"


@dataclass(frozen=True, eq=False)
class ReportContent:
    """Everything that a report shows.

    Attributes:
        model: name of the evaluated model.
        facts: further facts about model, data and evaluation, by name.
        split: which samples were scored.
        predictions: of the model for the n scored samples.
        volumes: (n,) cell volumes of the samples, Å³.
        formulas: chemical formula by sample id, where it is known.
        baselines: predictions of each baseline for the same samples, by name.
        evaluation: scores of the model.
        baseline_evaluations: scores of each baseline, by name.
        calibration: of the model's prediction intervals; None for a model without them.
        histories: epochs (as in history.jsonl) of each network of the run; () where they are not available.
    """

    model: str
    facts: Mapping[str, str]
    split: SplitSummary
    predictions: Predictions
    volumes: np.ndarray
    formulas: Mapping[str, str]
    baselines: Mapping[str, Predictions]
    evaluation: Evaluation
    baseline_evaluations: Mapping[str, Evaluation]
    calibration: Calibration | None
    histories: Sequence[Sequence[Mapping[str, Any]]]

    @property
    def evaluations(self) -> dict[str, Evaluation]:
        """Scores by the short name of the predictor, the model first."""
        baselines = {SHORT_NAMES.get(name, name): scores for name, scores in self.baseline_evaluations.items()}
        return {"model": self.evaluation, **baselines}


def write_report(path: Path, content: ReportContent) -> None:
    """Writes the page, whole or not at all.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(path, report_page(content))


def report_page(content: ReportContent) -> str:
    """The page as HTML; the same content always gives the same text."""
    curves: dict[str, CoverageCurve] = {}
    if content.calibration is not None:
        curves = coverage_curves(content.calibration, content.predictions, content.volumes)
    sections = {
        "evaluated": ("What was evaluated", _facts(content)),
        "scores": ("Scores", _scores(content)),
        "properties": ("Property by property", _properties(content)),
        "trust": ("Intervals and novelty", _intervals_and_novelty(content, curves)),
        "learning": ("Learning curves", _learning(content)),
        "notes": ("Notes", [html.items(_notes(content, curves))]),
    }
    title = f"Evaluation of {content.model}: {content.split.title}"
    return html.page(
        title,
        html.heading(title, subtitle=_summary(content)),
        html.contents({anchor: name for anchor, (name, _) in sections.items()}),
        *(html.section(name, *parts, anchor=anchor) for anchor, (name, parts) in sections.items()),
    )


def _summary(content: ReportContent) -> str:
    """Subtitle of the page: the evaluation in a few sentences."""
    evaluation = content.evaluation
    key = "without_volume_like" if evaluation.averages["without_volume_like"].properties else "all"
    average = evaluation.averages[key]
    n_properties = counted(len(content.predictions.properties), "property", "properties")
    sentences = [f"{counted(evaluation.n, 'sample')}, {n_properties}."]
    if average.properties:
        kind = "regression properties that the cell alone does not give" if key != "all" else "regression properties"
        sentences.append(f"Mean R² over {len(average.properties)} {kind}: {with_interval(average.r2)}.")
    defined = [item.auc.value for item in evaluation.classes if not math.isnan(item.auc.value)]
    if defined:
        sentences.append(f"AUC of classes: {', '.join(map(decimals, defined))}.")
    shares = [item.coverage.value for item in (*evaluation.intervals, *evaluation.sets) if item.n]
    if shares and content.calibration is not None:
        held = f"{min(shares):.0%}" if min(shares) == max(shares) else f"{min(shares):.0%} to {max(shares):.0%}"
        sentences.append(f"Intervals meant to hold {content.calibration.level:.0%} of the labels hold {held}.")
    return " ".join(sentences)


def _facts(content: ReportContent) -> list[Html]:
    split = content.split
    scored = f"{split.title}, {counted(content.evaluation.n, 'sample')}"
    if split.name == ALL:
        return [html.terms({**content.facts, "Scored": scored, "Groups": split.split_by})]
    counts = ", ".join(f"{count} {name}" for name, count in split.counts.items())
    shares = " / ".join(f"{share:g}" for share in split.fractions)
    by = f"{split.split_by}, seed {split.seed}, shares {shares}"
    return [html.terms({**content.facts, "Scored": f"{scored} ({counts})", "Split by": by})]


def _scores(content: ReportContent) -> list[Html]:
    evaluations = content.evaluations
    tables = [
        regression_table(content.evaluation),
        class_table(content.evaluation),
        comparison_table(evaluations),
        average_table(evaluations),
    ]
    meanings = [f"{SHORT_NAMES.get(name, name)}: {MEANINGS[name]}." for name in content.baselines if name in MEANINGS]
    return [table for table in tables if table] + ([html.items(meanings)] if meanings else [])


def _properties(content: ReportContent) -> list[Html]:
    return [
        html.section(display_name(item.name), *_property(content, item), anchor=f"property-{item.name}", level=3)
        for item in content.predictions.properties
    ]


def _property(content: ReportContent, item: Property) -> list[Html]:
    """Scores, figures and largest errors of one property."""
    predictions, split = content.predictions, content.split.name
    labels, values = predictions.labels[item.name], predictions.values[item.name]
    n = int((np.isfinite(labels) & np.isfinite(values.reshape(len(labels), -1)).all(axis=1)).sum())
    if not n:
        return [
            html.paragraph(f"No sample of the {content.split.title} has a label and a prediction of this property.")
        ]
    baselines = {SHORT_NAMES.get(name, name): other for name, other in content.baselines.items()}
    parity = property_figure(predictions, content.evaluation, name=item.name, split=split)
    errors = error_figure(predictions, name=item.name, others=baselines)
    name = display_name(item.name)
    figures = html.gallery(
        html.figure(figure_to_svg(parity), alt=_parity_alt(name, item, n), caption=_parity_caption(predictions, item)),
        html.figure(figure_to_svg(errors), alt=f"{name}: distribution of the errors", caption=_error_caption(item)),
    )
    worst = worst_table(predictions, item, volumes=content.volumes, formulas=content.formulas)
    tables = [scores_of_property(content.evaluations, item), scores_where_not_zero(content.evaluations, item)]
    return [*(table for table in tables if table), figures, worst]


def _parity_alt(name: str, item: Property, n: int) -> str:
    kind = {"regression": "predicted against reference values", "binary": "ROC curve", "multiclass": "confusion matrix"}
    return f"{name}: {kind[item.kind]} of {n} samples"


def _parity_caption(predictions: Predictions, item: Property) -> str:
    if item.kind == "binary":
        return "True against false positive rate at every threshold; the dashed line is chance."
    if item.kind == "multiclass":
        return "Samples by reference and predicted class; colour: share of the reference class."
    bars = (
        " Bars: prediction intervals, orange where they miss the reference." if item.name in predictions.lower else ""
    )
    return f"Predicted against reference values; the largest errors are named.{bars}"


def _error_caption(item: Property) -> str:
    if item.is_class:
        return "Probability that the true class got; at 1 the model is certain and right."
    return "Signed errors (outer bins: all beyond), and the share of samples below an absolute error, with baselines."


def _intervals_and_novelty(content: ReportContent, curves: Mapping[str, CoverageCurve]) -> list[Html]:
    parts, figures = [], []
    if content.evaluation.intervals or content.evaluation.sets:
        widths = {item.target.name: _half_width(content, item.target) for item in content.evaluation.intervals}
        parts.append(interval_table(content.evaluation, widths))
    if curves:
        figures.append(
            html.figure(
                figure_to_svg(calibration_figure(curves)),
                alt="Measured against nominal coverage of the intervals, per property",
                caption="Calibration: share of labels within intervals (for classes: sets) of each nominal coverage. "
                "Grey: where 95% of such measurements would lie by chance, from the numbers of groups of "
                "calibration and scored samples, were both drawn alike.",
            )
        )
    if content.predictions.novelty is not None:
        errors = relative_errors(content.predictions, content.volumes)
        known = np.isfinite(errors)
        if known.any():
            ids = [name for name, keep in zip(content.predictions.ids, known, strict=True) if keep]
            novelty, errors = content.predictions.novelty[known], errors[known]
            figures.append(
                html.figure(
                    figure_to_svg(novelty_figure(novelty, errors, ids)),
                    alt="Error against novelty of each sample",
                    caption=f"Error of each sample, averaged over its properties (1: the average sample), against its "
                    f"novelty; above {NOVEL:g} it is unlike the training crystals. {_novel_errors(novelty, errors)}",
                )
            )
    if figures:
        parts.append(html.gallery(*figures))
    return parts or [html.paragraph("The model gives neither intervals nor novelty.")]


def _novel_errors(novelty: np.ndarray, errors: np.ndarray) -> str:
    """Sentence that compares the mean error of novel samples with that of the others."""
    novel = novelty > NOVEL
    if not novel.any() or novel.all():
        return f"{int(novel.sum())} of {len(novel)} samples are novel."
    return (
        f"Mean error of {counted(int(novel.sum()), 'novel sample')}: {errors[novel].mean():.2f}, "
        f"of {counted(int((~novel).sum()), 'other')}: {errors[~novel].mean():.2f}."
    )


def _learning(content: ReportContent) -> list[Html]:
    histories = [epochs for epochs in content.histories if epochs]
    if not histories:
        return [html.paragraph("The training's history does not lie beside the model.")]
    several = f" of the {len(histories)} networks" if len(histories) > 1 else ""
    figures = [
        html.figure(
            figure_to_svg(loss_figure(histories)),
            alt="Loss per epoch on the training and the validation split",
            caption=f"Losses{several}; the dot marks the epoch whose weights were kept.",
        )
    ]
    r2 = r2_figure(histories)
    if r2 is not None:
        mean = " Means over the networks." if several else ""
        figures.append(
            html.figure(
                figure_to_svg(r2),
                alt="R² per epoch and property on the validation split",
                caption=f"R² on the learned scale, validation split.{mean}",
            )
        )
    return [html.gallery(*figures)]


def _notes(content: ReportContent, curves: Mapping[str, CoverageCurve]) -> list[str]:
    """How the intervals of scores are made, and which parts of the report are missing."""
    evaluation = content.evaluation
    notes = []
    if evaluation.resamples:
        notes.append(
            f"[{CONFIDENCE_LEVEL:.0%}] intervals of scores: {evaluation.resamples} bootstrap resamples of the "
            f"{evaluation.n_groups} groups of the split, the training fixed; they say nothing about another training "
            "or other crystals."
        )
    regression = [item.name for item in content.predictions.properties if not item.is_class]
    without = [name for name in regression if name not in content.predictions.lower]
    if without:
        notes.append(f"No prediction intervals: {', '.join(without)}.")
    if content.predictions.novelty is None:
        notes.append("No novelty: the model was not calibrated, or on too few crystals.")
    if content.calibration is not None and not curves:
        notes.append("No calibration curve: no sample has a label, or the model has half widths at one level only.")
    return notes + notes_on(evaluation)


def _half_width(content: ReportContent, item: Property) -> str:
    """Half width of the interval of the median crystal: "±0.4 eV", "×÷1.3"; "" where it is not known."""
    widths = None if content.calibration is None else content.calibration.widths.get(item.name)
    width = "" if widths is None else half_width_text(item, widths.half_width)
    if not item.unit or not width.startswith("±"):
        return width
    number, per, volume = width.partition("/")
    return f"{number} {item.unit}{per}{volume}"
