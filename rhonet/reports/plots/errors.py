"""Figures of report.html: errors, calibration, novelty and training history; all are narrow enough for a phone."""

from __future__ import annotations

import io
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FixedFormatter, FixedLocator, MaxNLocator, PercentFormatter

from rhonet.core.predictions import NOVEL, Predictions
from rhonet.core.properties import Property
from rhonet.core.text import printable
from rhonet.reports.plots.history import draw_losses, draw_r2
from rhonet.reports.plots.parity import display_name, line_colors, plain_log_ticks
from rhonet.reports.plots.style import GUIDE, MAIN, OTHERS, STYLE, TEXT
from rhonet.uncertainty.calibration import CURVE_LEVELS
from rhonet.uncertainty.coverage import CoverageCurve, expected_coverage

_SIZE = 3.4, 3.5  # inches, as in rhonet.reports.plots.parity
_BASELINE_COLORS = ("#9A9A9A", "#E69F00", "#009E73", "#CC79A7", "#56B4E9")
_NAMED = 3
_MOST_OUTLINES = 2000
_RASTER_DPI = 250


@matplotlib.rc_context(STYLE)
def error_figure(predictions: Predictions, *, name: str, others: Mapping[str, Predictions]) -> Figure:
    """Distribution of the errors of one property.

    Regression: a histogram of signed errors and, below, the cumulative share of absolute errors of the model and of
    other predictors. Classes: a histogram of the predicted probability of the true class.

    Args:
        predictions: of the model; at least one sample has a label.
        name: of the property.
        others: predictions of other predictors for the same samples, by name.
    """
    item = next(item for item in predictions.properties if item.name == name)
    # Matplotlib's automatic layout would take most of the time.
    figure = Figure(figsize=_SIZE)
    figure.subplots_adjust(left=0.19, right=0.97, bottom=0.12, top=0.97, hspace=0.42)
    if item.is_class:
        _draw_true_class(figure.subplots(), predictions, item)
        return figure
    above, below = figure.subplots(2, 1, height_ratios=(2, 3))
    _draw_signed(above, predictions, item)
    lines = [("model", predictions, MAIN)]
    lines += [(label, other, color) for (label, other), color in zip(others.items(), itertools.cycle(_BASELINE_COLORS))]
    _draw_cumulative(below, lines, item)
    return figure


@matplotlib.rc_context(STYLE)
def calibration_figure(curves: Mapping[str, CoverageCurve]) -> Figure:
    """Measured against nominal coverage, per property and on average.

    The shaded band holds 95 % of the coverages that chance alone gives a calibrated model.
    """
    figure = Figure(figsize=(3.4, 3.15 + 0.15 * math.ceil((len(curves) + 2) / 2)), layout="constrained")
    axes = figure.subplots()
    axes.set_box_aspect(1)
    n, n_calibration = (
        int(np.median([getattr(curve, size) for curve in curves.values()])) for size in ("n", "n_calibration")
    )
    low, high = zip(*(expected_coverage(n, n_calibration, level) for level in CURVE_LEVELS), strict=True)
    axes.fill_between(CURVE_LEVELS, low, high, color=GUIDE, alpha=0.2, linewidth=0, label="95% range by chance")
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=0.8, linestyle=(0, (5, 3)))
    for (name, curve), color in zip(curves.items(), line_colors(len(curves)), strict=True):
        axes.plot(CURVE_LEVELS, curve.shares, color=color, linewidth=0.9, alpha=0.8, label=display_name(name))
    if len(curves) > 1:
        shares = np.array([curve.shares for curve in curves.values()])
        mean = [float(np.mean(column)) for column in shares.T if not np.isnan(column).any()]
        axes.plot(
            CURVE_LEVELS[: len(mean)], mean, "o-", color=TEXT, linewidth=1.6, markersize=3, label="mean of properties"
        )
    axes.set(xlim=(0, 1), ylim=(0, 1.02), xlabel="nominal coverage", ylabel="measured coverage")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(PercentFormatter(1, decimals=0))
    figure.legend(loc="outside lower center", ncols=2, fontsize=6.5, handlelength=1.4)
    return figure


@matplotlib.rc_context(STYLE)
def novelty_figure(novelty: np.ndarray, errors: np.ndarray, ids: Sequence[str]) -> Figure:
    """Error against novelty of each sample; the most novel samples are labelled with their ids.

    Args:
        novelty: (n,), n > 0, finite.
        errors: (n,) relative to an average sample, finite.
        ids: of the n samples.
    """
    figure = Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    novel = novelty > NOVEL
    size = 14 if len(ids) <= 1000 else 4
    for rows, color in ((~novel, MAIN), (novel, OTHERS[1])):
        axes.scatter(novelty[rows], errors[rows], s=size, color=color, edgecolors="white", linewidths=0.4, zorder=2)
    axes.axvline(NOVEL, color=GUIDE, linewidth=0.8, linestyle=(0, (5, 3)))
    axes.axhline(1, color=GUIDE, linewidth=0.4)
    for values, axis in ((novelty, axes.xaxis), (errors, axes.yaxis)):
        positive = values[values > 0]
        if len(positive) == len(values) and positive.max() > 20 * positive.min():
            getattr(axes, f"set_{axis.axis_name}scale")("log")
            plain_log_ticks(axis)
    low, high = axes.get_xlim()
    for sample in np.argsort(-novelty, kind="stable")[:_NAMED]:
        note = axes.annotate(
            printable(ids[int(sample)]),
            (novelty[sample], errors[sample]),
            xytext=(0, 4),
            textcoords="offset points",
            ha="right" if novelty[sample] > (low + high) / 2 else "center",
            fontsize=5.5,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
            parse_math=False,
        )
        note.set_in_layout(False)
    axes.set(xlabel="novelty", ylabel="error relative to the average")
    return figure


@matplotlib.rc_context(STYLE)
def loss_figure(histories: Sequence[Sequence[Mapping[str, Any]]]) -> Figure:
    """Losses per epoch of each network of a run, with the lowest validation losses marked.

    Args:
        histories: epochs (as in history.jsonl) of each network.
    """
    figure = Figure(figsize=(3.4, 2.8), layout="constrained")
    axes = figure.subplots()
    for epochs in histories:
        losses = [[_number(epoch["loss"][split]) for epoch in epochs] for split in ("train", "validation")]
        draw_losses(axes, losses[0], losses[1])
    handles, labels = axes.get_legend_handles_labels()
    kept = dict(zip(labels, handles, strict=True))
    if len(histories) > 1:
        kept = {label: handle for label, handle in kept.items() if not label.startswith("lowest")}
    axes.legend(kept.values(), kept)
    return figure


@matplotlib.rc_context(STYLE)
def r2_figure(histories: Sequence[Sequence[Mapping[str, Any]]]) -> Figure | None:
    """Validation R² per epoch and property, averaged over the networks of a run; None without regression properties.

    Args:
        histories: epochs (as in history.jsonl) of each network.
    """
    names = list(histories[0][0]["r2"])
    if not names:
        return None
    longest = max(map(len, histories))
    means = {}
    for name in names:
        table = np.full((len(histories), longest), np.nan)
        for row, epochs in zip(table, histories, strict=True):
            row[: len(epochs)] = [_number(epoch["r2"][name]) for epoch in epochs]
        known = ~np.isnan(table)
        means[name] = np.where(known, table, 0).sum(axis=0) / np.where(known.any(axis=0), known.sum(axis=0), np.nan)
    figure = Figure(figsize=(3.4, 2.8 + 0.16 * math.ceil(len(names) / 2)), layout="constrained")
    axes = figure.subplots()
    draw_r2(axes, means)
    axes.set_ylabel("R² on the validation split")
    figure.legend(loc="outside lower center", ncols=2, fontsize=6.5, handlelength=1.4)
    return figure


def figure_to_svg(figure: Figure) -> bytes:
    """SVG of a figure, reproducible to the byte; text becomes outlines, and large sets of points become pixels."""
    target = io.BytesIO()
    for points in figure.findobj(Collection):
        points.set_rasterized(
            len(np.asarray(points.get_offsets())) > _MOST_OUTLINES or len(points.get_paths()) > _MOST_OUTLINES
        )
    with matplotlib.rc_context({"svg.hashsalt": "rhonet", "svg.fonttype": "path"}):
        figure.savefig(target, format="svg", dpi=_RASTER_DPI, metadata={"Date": None, "Creator": None})
    return target.getvalue()


def _draw_signed(axes: Axes, predictions: Predictions, item: Property) -> None:
    errors, unit = _errors(predictions, item)
    # A few very large errors would squeeze all others into one bin, so the outer bins count them.
    edge = max(min(float(np.abs(errors).max()), 2 * float(np.quantile(np.abs(errors), 0.9))), 1e-12)
    bins = np.linspace(-edge, edge, 2 * round(np.clip(len(errors) ** 0.5, 4, 20)) + 2)
    axes.hist(np.clip(errors, -edge, edge), bins=list(bins), color=MAIN, alpha=0.75, edgecolor="white", linewidth=0.5)
    axes.axvline(0, color=TEXT, linewidth=0.6)
    axes.axvline(float(errors.mean()), color=TEXT, linewidth=1.2, linestyle=(0, (1, 1)), label="mean")
    axes.legend(loc="upper right", handlelength=1)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.set(xlabel=f"predicted − reference ({unit})" if unit else "predicted − reference", ylabel="crystals")


def _draw_cumulative(axes: Axes, lines: Sequence[tuple[str, Predictions, str]], item: Property) -> None:
    curves = [(name, np.sort(np.abs(_errors(predictions, item)[0])), color) for name, predictions, color in lines]
    curves = [curve for curve in curves if len(curve[1])]
    largest = max(float(np.quantile(errors, 0.98)) for _, errors, _ in curves) or 1.0
    least = min(max(float(np.quantile(curves[0][1], 0.05)), largest / 1000), largest / 10)
    # The model, the first line, is drawn last: above the others.
    for name, errors, color in reversed(curves):
        shares = np.arange(1, len(errors) + 1) / len(errors)
        steps = np.append(np.maximum(errors, least), max(errors[-1], largest))
        width = 1.8 if color == MAIN else 1.0
        axes.step(steps, np.append(shares, 1.0), where="post", color=color, label=name, linewidth=width)
    axes.set_xscale("log")
    plain_log_ticks(axes.xaxis, subs=(1.0, 3.0))
    axes.set(xlim=(least, largest), ylim=(0, 1.03))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))
    unit = _errors(lines[0][1], item)[1]
    axes.set(xlabel=f"absolute error ({unit})" if unit else "absolute error", ylabel="crystals below")
    handles, names = axes.get_legend_handles_labels()
    axes.legend(handles[::-1], names[::-1], loc="lower right", fontsize=6.5, handlelength=1.2)


def _draw_true_class(axes: Axes, predictions: Predictions, item: Property) -> None:
    labels, values = predictions.labels[item.name], predictions.values[item.name]
    known = ~np.isnan(labels)
    labels, values = labels[known].astype(int), values[known]
    if item.kind == "binary":
        values = np.stack([1 - values, values], axis=1)
    probabilities = np.clip(values[np.arange(len(labels)), labels], 0, 1)
    classes = range(max(item.classes, 2))
    axes.hist(
        [probabilities[labels == number] for number in classes],
        bins=list(np.linspace(0, 1, 11)),
        stacked=True,
        color=line_colors(len(classes)),
        label=[printable(name) for name in item.class_labels],
        edgecolor="white",
        linewidth=0.5,
    )
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.xaxis.set_major_locator(FixedLocator([0, 0.25, 0.5, 0.75, 1]))
    axes.xaxis.set_major_formatter(FixedFormatter(["0", "0.25", "0.5", "0.75", "1"]))
    axes.set(xlim=(0, 1), xlabel="predicted probability of the true class", ylabel="crystals")
    if len(classes) <= 10:
        # Leave room for the legend above the bars.
        axes.margins(y=0.05 + 0.07 * math.ceil(len(classes) / 2))
        axes.legend(loc="upper center", ncols=2)


def _errors(predictions: Predictions, item: Property) -> tuple[np.ndarray, str]:
    """Signed errors of the labelled samples and their unit; percent of the labels for a logarithmic property."""
    labels, values = predictions.labels[item.name], predictions.values[item.name]
    known = np.isfinite(labels) & np.isfinite(values)
    labels, values = labels[known], values[known]
    if item.transform == "log" and (labels > 0).all():
        return 100 * (values / labels - 1), "%"
    return values - labels, item.unit


def _number(value: float | None) -> float:
    """NaN for the null that history files hold where a number is undefined."""
    return math.nan if value is None else value
