"""report.html: an evaluation as one page, with figures, to be read, printed and passed on."""

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
    """All that a report shows.

    model: name of what was evaluated. facts: what else is known about model, data and evaluation, by name.
    predictions: of n samples of one split; volumes: (n,) of their cells, Å³; formulas: by id, where known.
    baselines: predictions for the same samples by name, with their scores in `baseline_evaluations`.
    calibration: what the model's intervals rest on; None without.
    histories: epochs (as in history.jsonl) of each network of the run; () where they are not at hand.
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
        others = {SHORT_NAMES.get(name, name): one for name, one in self.baseline_evaluations.items()}
        return {"model": self.evaluation, **others}


def write_report(path: Path, findings: ReportContent) -> None:
    """Writes the page; whole or not at all.

    Raises:
        OSError: it cannot be written.
    """
    write_text(path, report_page(findings))


def report_page(findings: ReportContent) -> str:
    """The page; the same text for the same findings."""
    curves = {} if findings.calibration is None else _curves(findings, findings.calibration)
    sections = {
        "evaluated": ("What was evaluated", _facts(findings)),
        "scores": ("Scores", _scores(findings)),
        "properties": ("Property by property", _properties(findings)),
        "trust": ("Intervals and novelty", _trust(findings, curves)),
        "learning": ("Learning curves", _learning(findings)),
        "notes": ("Notes", [html.items(_notes(findings, curves))]),
    }
    title = f"Evaluation of {findings.model}: {findings.split.title}"
    return html.page(
        title,
        html.heading(title, subtitle=_summary(findings)),
        html.contents({anchor: name for anchor, (name, _) in sections.items()}),
        *(html.section(name, *parts, anchor=anchor) for anchor, (name, parts) in sections.items()),
    )


def _summary(findings: ReportContent) -> str:
    """The evaluation in a few sentences."""
    evaluation = findings.evaluation
    key = "without_volume_like" if evaluation.averages["without_volume_like"].properties else "all"
    average = evaluation.averages[key]
    n_properties = counted(len(findings.predictions.properties), "property", "properties")
    sentences = [f"{counted(evaluation.n, 'sample')}, {n_properties}."]
    if average.properties:
        kind = "regression properties that the cell alone does not give" if key != "all" else "regression properties"
        sentences.append(f"Mean R² over {len(average.properties)} {kind}: {with_interval(average.r2)}.")
    defined = [item.auc.value for item in evaluation.classes if not math.isnan(item.auc.value)]
    if defined:
        sentences.append(f"AUC of classes: {', '.join(map(decimals, defined))}.")
    shares = [item.coverage.value for item in (*evaluation.intervals, *evaluation.sets) if item.n]
    if shares and findings.calibration is not None:
        widths = f"{min(shares):.0%}" if min(shares) == max(shares) else f"{min(shares):.0%} to {max(shares):.0%}"
        sentences.append(f"Intervals meant to hold {findings.calibration.level:.0%} of the labels hold {widths}.")
    return " ".join(sentences)


def _facts(findings: ReportContent) -> list[Html]:
    split = findings.split
    scored = f"{split.title}, {counted(findings.evaluation.n, 'sample')}"
    if split.name == ALL:
        return [html.terms({**findings.facts, "Scored": scored, "Groups": split.split_by})]
    counts = ", ".join(f"{count} {name}" for name, count in split.counts.items())
    shares = " / ".join(f"{share:g}" for share in split.fractions)
    by = f"{split.split_by}, seed {split.seed}, shares {shares}"
    return [html.terms({**findings.facts, "Scored": f"{scored} ({counts})", "Split by": by})]


def _scores(findings: ReportContent) -> list[Html]:
    evaluations = findings.evaluations
    tables = [
        regression_table(findings.evaluation),
        class_table(findings.evaluation),
        comparison_table(evaluations),
        average_table(evaluations),
    ]
    meanings = [f"{SHORT_NAMES.get(name, name)}: {MEANINGS[name]}." for name in findings.baselines if name in MEANINGS]
    return [one for one in tables if one] + ([html.items(meanings)] if meanings else [])


def _properties(findings: ReportContent) -> list[Html]:
    return [
        html.section(display_name(item.name), *_property(findings, item), anchor=f"property-{item.name}", level=3)
        for item in findings.predictions.properties
    ]


def _property(findings: ReportContent, item: Property) -> list[Html]:
    """Scores, figures and worst cases of one property."""
    predictions, split = findings.predictions, findings.split.name
    labels, values = predictions.labels[item.name], predictions.values[item.name]
    n = int((np.isfinite(labels) & np.isfinite(values.reshape(len(labels), -1)).all(axis=1)).sum())
    if not n:
        return [
            html.paragraph(f"No sample of the {findings.split.title} has a label and a prediction of this property.")
        ]
    others = {SHORT_NAMES.get(name, name): one for name, one in findings.baselines.items()}
    parity = property_figure(predictions, findings.evaluation, name=item.name, split=split)
    errors = error_figure(predictions, name=item.name, others=others)
    name = display_name(item.name)
    figures = html.gallery(
        html.figure(figure_to_svg(parity), alt=_parity_alt(name, item, n), caption=_parity_caption(predictions, item)),
        html.figure(figure_to_svg(errors), alt=f"{name}: distribution of the errors", caption=_error_caption(item)),
    )
    worst = worst_table(predictions, item, volumes=findings.volumes, formulas=findings.formulas)
    tables = [scores_of_property(findings.evaluations, item), scores_where_not_zero(findings.evaluations, item)]
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


def _trust(findings: ReportContent, curves: Mapping[str, CoverageCurve]) -> list[Html]:
    parts, figures = [], []
    if findings.evaluation.intervals or findings.evaluation.sets:
        widths = {item.target.name: _half_width(findings, item.target) for item in findings.evaluation.intervals}
        parts.append(interval_table(findings.evaluation, widths))
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
    if findings.predictions.novelty is not None:
        errors = relative_errors(findings.predictions, findings.volumes)
        known = np.isfinite(errors)
        if known.any():
            ids = [name for name, keep in zip(findings.predictions.ids, known, strict=True) if keep]
            novelty, errors = findings.predictions.novelty[known], errors[known]
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
    """How errors of novel samples compare with those of the others."""
    novel = novelty > NOVEL
    if not novel.any() or novel.all():
        return f"{int(novel.sum())} of {len(novel)} samples are novel."
    return (
        f"Mean error of {counted(int(novel.sum()), 'novel sample')}: {errors[novel].mean():.2f}, "
        f"of {counted(int((~novel).sum()), 'other')}: {errors[~novel].mean():.2f}."
    )


def _learning(findings: ReportContent) -> list[Html]:
    histories = [epochs for epochs in findings.histories if epochs]
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


def _notes(findings: ReportContent, curves: Mapping[str, CoverageCurve]) -> list[str]:
    """How intervals of scores are made, and what is not available."""
    evaluation = findings.evaluation
    notes = []
    if evaluation.resamples:
        notes.append(
            f"[{CONFIDENCE_LEVEL:.0%}] intervals of scores: {evaluation.resamples} bootstrap resamples of the "
            f"{evaluation.n_groups} groups of the split, the training fixed; they say nothing about another training "
            "or other crystals."
        )
    regression = [item.name for item in findings.predictions.properties if not item.is_class]
    without = [name for name in regression if name not in findings.predictions.lower]
    if without:
        notes.append(f"No prediction intervals: {', '.join(without)}.")
    if findings.predictions.novelty is None:
        notes.append("No novelty: the model was not calibrated, or on too few crystals.")
    if findings.calibration is not None and not curves:
        notes.append("No calibration curve: the model kept half widths at one level only, or no sample has a label.")
    return notes + notes_on(evaluation)


def _half_width(findings: ReportContent, item: Property) -> str:
    """What is added to the prediction for the median crystal: "±0.4 eV", "×÷1.3"; "" where it is not known."""
    widths = None if findings.calibration is None else findings.calibration.widths.get(item.name)
    width = "" if widths is None else half_width_text(item, widths.half_width)
    if not item.unit or not width.startswith("±"):
        return width
    number, per, volume = width.partition("/")
    return f"{number} {item.unit}{per}{volume}"


def _curves(findings: ReportContent, calibration: Calibration) -> dict[str, CoverageCurve]:
    return coverage_curves(calibration, findings.predictions, findings.volumes)
