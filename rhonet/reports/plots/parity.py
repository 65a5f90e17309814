"""Figures of predictions against reference values, as matplotlib objects; no pyplot, no global state."""

from __future__ import annotations

import math
import re
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.core.text import printable
from rhonet.evaluation.bootstrap import Metric
from rhonet.evaluation.metrics import ClassMetrics, Evaluation, RegressionMetrics
from rhonet.reports.plots.style import GUIDE, MAIN, OTHERS, STYLE, TEXT
from rhonet.reports.wording import WHERE_NOT_ZERO, decimals, significant, with_interval

_PANEL = 2.4  # inches
_WORST_NAMED = 3


@matplotlib.rc_context(STYLE)
def property_figure(
    predictions: Predictions,
    evaluation: Evaluation,
    *,
    name: str,
    split: str = "test",
    others: Mapping[str, Predictions] | None = None,
) -> Figure:
    """One property: predicted against reference values, the ROC curve (binary) or the confusion matrix (multiclass).

    Axes are logarithmic if the network learns the logarithm of the property. Bars are prediction intervals; the
    largest errors are labelled with their ids.

    Args:
        predictions: of the scored split.
        evaluation: scores of `predictions`, with confidence intervals if it holds some.
        name: of the property.
        split: name of the scored split, for the legend.
        others: predictions of further splits by name, drawn behind; for regression only.

    Raises:
        ValueError: there is no property of this name.
    """
    items = {item.name: item for item in predictions.properties}
    if name not in items:
        raise ValueError(f"no predictions of {name!r}; there are {', '.join(items)}")
    figure = Figure(figsize=(3.4, 3.5), layout="constrained")
    axes = figure.subplots()
    layers = {**(others or {}), split: predictions}
    _draw_panel(axes, layers, split=split, item=items[name], evaluation=evaluation, detailed=True)
    if len(layers) > 1 and not items[name].is_class and axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower right", handletextpad=0.2)
    return figure


@matplotlib.rc_context(STYLE)
def overview_figure(
    predictions: Predictions,
    evaluation: Evaluation,
    *,
    split: str = "test",
    others: Mapping[str, Predictions] | None = None,
) -> Figure:
    """All properties side by side, one panel each as in `property_figure`.

    Args:
        predictions: of the scored split.
        evaluation: scores of `predictions`.
        split: name of the scored split, for the legend.
        others: predictions of further splits by name, drawn behind; for regression only.
    """
    items = predictions.properties
    columns = min(4, max(1, math.ceil(math.sqrt(len(items)))))
    rows = max(1, math.ceil(len(items) / columns))
    figure = Figure(figsize=(columns * _PANEL, rows * _PANEL * 1.05 + 0.3), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    layers = {**(others or {}), split: predictions}
    for axes, item in zip(panels, items, strict=False):
        _draw_panel(axes, layers, split=split, item=item, evaluation=evaluation, detailed=False)
    for axes in panels[len(items) :]:
        axes.set_axis_off()
    handles = {}
    for axes in panels:
        handles |= {label: handle for handle, label in zip(*axes.get_legend_handles_labels(), strict=True)}
    if len(layers) > 1 and handles:
        figure.legend(handles.values(), handles, loc="outside lower center", ncols=len(handles), markerscale=1.5)
    return figure


def plain_log_ticks(axis: Axis, *, subs: Sequence[float] = (1.0, 2.0, 5.0)) -> None:
    """Sets the ticks of a logarithmic axis to plain numbers: each power of ten times each of `subs`."""
    axis.set_major_locator(LogLocator(subs=subs, numticks=8))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def line_colors(count: int) -> list[str]:
    """Distinct colours for lines: ten strong ones, then ten pale ones, then these again."""
    colors = matplotlib.colormaps["tab20"](np.arange(20))
    return [to_hex(colors[(2 * line + line // 10) % 20]) for line in range(count)]


def figure_to_image(figure: Figure, *, dpi: int = 110) -> np.ndarray:
    """Pixels of a figure, (height, width, 3) uint8, e.g. for `tf.summary.image`."""
    before = figure.dpi
    figure.set_dpi(dpi)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[..., :3].copy()
    figure.set_dpi(before)
    return pixels


def save_figure(figure: Figure, path: Path, *, dpi: int = 200) -> None:
    """Writes a figure in the format of the file's suffix (png, pdf, svg); missing folders are made.

    Args:
        figure: to be written.
        path: of the file.
        dpi: dots per inch, for pixels.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=dpi)


def save_figures(
    folder: Path,
    predictions: Predictions,
    evaluation: Evaluation,
    *,
    split: str = "test",
    others: Mapping[str, Predictions] | None = None,
) -> list[Path]:
    """Writes overview.png and <property>.png of each property; returns their paths.

    Args:
        folder: to write into; made if it is missing.
        predictions: of the scored split.
        evaluation: scores of `predictions`.
        split: name of the scored split, for the legend.
        others: predictions of further splits by name, drawn behind; for regression only.
    """
    figures = {"overview": overview_figure(predictions, evaluation, split=split, others=others)}
    for item in predictions.properties:
        figures[item.name] = property_figure(predictions, evaluation, name=item.name, split=split, others=others)
    paths = [folder / f"{name}.png" for name in figures]
    for path, figure in zip(paths, figures.values(), strict=True):
        save_figure(figure, path)
    return paths


def _draw_panel(
    axes: Axes,
    layers: Mapping[str, Predictions],
    *,
    split: str,
    item: Property,
    evaluation: Evaluation,
    detailed: bool,
) -> None:
    """Draws one property; `layers` are predictions by split, from back to front, and `split` is the scored one."""
    axes.set_title(display_name(item.name))
    axes.set_box_aspect(1)
    if item.is_class:
        scores = next(scores for scores in evaluation.classes if scores.target.name == item.name)
        labels, values = _pairs(layers[split], item)
        if math.isnan(scores.auc.value):
            _draw_nothing(axes, scores.auc.reason)
        elif item.kind == "binary":
            _draw_roc(axes, labels, values, scores=scores)
        else:
            _draw_confusion(axes, labels, values, scores=scores)
        return
    scores = next(scores for scores in evaluation.regression if scores.target.name == item.name)
    pairs = {name: _pairs(layer, item) for name, layer in layers.items() if item in layer.properties}
    if not any(len(labels) for labels, _ in pairs.values()):
        _draw_nothing(axes, scores.mae.reason)
        return
    everything = np.concatenate([np.concatenate(pair) for pair in pairs.values()])
    logarithmic = item.transform == "log" and bool((everything > 0).all())
    if item.name in layers[split].lower:
        _draw_intervals(axes, layers[split], item)
    _draw_parity(axes, pairs, split=split, item=item, logarithmic=logarithmic)
    text = _regression_text(scores, logarithmic=logarithmic, detailed=detailed)
    _write_scores(axes, text, *pairs[split])
    if detailed:
        _name_worst(axes, layers[split], item=item, logarithmic=logarithmic)


def _write_scores(axes: Axes, text: str, labels: np.ndarray, values: np.ndarray) -> None:
    """Writes the text into the upper left or lower right corner, whichever holds fewer points."""
    x, y = axes.transAxes.inverted().transform(axes.transData.transform(np.stack([labels, values], axis=1))).T
    above = np.count_nonzero((x < 0.6) & (y > 0.7)) <= np.count_nonzero((x > 0.4) & (y < 0.3))
    place: dict[str, typing.Any] = (
        {"x": 0.04, "y": 0.96, "va": "top"} if above else {"x": 0.97, "y": 0.04, "ha": "right", "va": "bottom"}
    )
    # A white outline keeps text above points readable, and hides less of the points than a box.
    outline = [withStroke(linewidth=1.5, foreground="white")]
    axes.text(**place, s=text, transform=axes.transAxes, fontsize=7, path_effects=outline, zorder=5)


def _draw_intervals(axes: Axes, predictions: Predictions, item: Property) -> None:
    """Draws a vertical bar per labelled sample; bars that miss the reference value have another colour."""
    labels = predictions.labels[item.name]
    lower, upper = predictions.lower[item.name], predictions.upper[item.name]
    inside, outside = (lower <= labels) & (labels <= upper), (labels < lower) | (labels > upper)
    width = 0.9 if len(labels) <= 1000 else 0.3
    for rows, color, alpha in ((inside, MAIN, 0.3), (outside, OTHERS[1], 0.8)):
        axes.vlines(labels[rows], lower[rows], upper[rows], color=color, alpha=alpha, linewidth=width, zorder=1.5)


def _pairs(predictions: Predictions, item: Property) -> tuple[np.ndarray, np.ndarray]:
    """Labels (m,) and values (m, ...) of the samples that have both."""
    labels, values = predictions.labels[item.name], predictions.values[item.name]
    both = _has_both(labels, values)
    return labels[both], values[both]


def _has_both(labels: np.ndarray, values: np.ndarray) -> np.ndarray:
    return np.isfinite(labels) & np.isfinite(values.reshape(len(labels), math.prod(values.shape[1:]))).all(axis=1)


def _draw_parity(
    axes: Axes,
    pairs: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    split: str,
    item: Property,
    logarithmic: bool,
) -> None:
    everything = np.concatenate([np.concatenate(pair) for pair in pairs.values()])
    low, high = float(everything.min()), float(everything.max())
    if logarithmic:
        margin = max((high / low) ** 0.06, 1.02)
        limits = low / margin, high * margin
        axes.set(xscale="log", yscale="log")
        for axis in (axes.xaxis, axes.yaxis):
            plain_log_ticks(axis, subs=(1.0, 2.0, 5.0) if high < 30 * low else (1.0,))
    else:
        margin = 0.06 * (high - low) or 0.5
        limits = low - margin, high + margin
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(4, steps=[1, 2, 2.5, 4, 5, 10]))
    axes.plot(limits, limits, color=GUIDE, linewidth=0.8, linestyle=(0, (5, 3)), zorder=1)
    behind = [name for name in pairs if name != split]
    for name, (labels, values) in pairs.items():
        # Thousands of points stay readable if they are small and transparent.
        dense = len(labels) > 1000
        style = {"s": 4 if dense else 14, "alpha": 0.4 if dense else 0.85, "linewidths": 0 if dense else 0.4}
        if name != split:
            style |= {"s": 4 if dense else 8, "alpha": 0.6}
        color = MAIN if name == split else OTHERS[behind.index(name) % len(OTHERS)]
        edge = "white" if name == split else "none"
        axes.scatter(labels, values, color=color, edgecolors=edge, label=name, zorder=2 + (name == split), **style)
    axes.set_xlim(limits)
    axes.set_ylim(limits)
    axes.set(xlabel=f"reference {_axis_label(item)}", ylabel=f"predicted {_axis_label(item)}")


def _name_worst(axes: Axes, predictions: Predictions, *, item: Property, logarithmic: bool) -> None:
    """Labels the largest errors, measured on the scale of the axes, with their ids, away from the diagonal."""
    both = np.flatnonzero(_has_both(predictions.labels[item.name], predictions.values[item.name]))
    labels, values = predictions.labels[item.name][both], predictions.values[item.name][both]
    scale = np.log if logarithmic else np.asarray
    error = np.abs(scale(values) - scale(labels))
    low, high = scale(axes.get_xlim())
    for sample in np.argsort(-error, kind="stable")[:_WORST_NAMED]:
        above = values[sample] > labels[sample]
        outwards, inwards = ("right", "left") if above else ("left", "right")
        room = (scale(labels[sample]) - low) / (high - low) if above else (high - scale(labels[sample])) / (high - low)
        note = axes.annotate(
            printable(predictions.ids[both[sample]]),
            (labels[sample], values[sample]),
            xytext=(0, 4 if above else -4),
            textcoords="offset points",
            ha=outwards if room > 0.25 else "center" if room > 0.1 else inwards,
            va="bottom" if above else "top",
            fontsize=5.5,
            color=TEXT,
            path_effects=[withStroke(linewidth=1.5, foreground="white")],
            parse_math=False,
            zorder=4,
        )
        # A long id must not shrink the panel.
        note.set_in_layout(False)


def _draw_roc(axes: Axes, labels: np.ndarray, values: np.ndarray, *, scores: ClassMetrics) -> None:
    order = np.argsort(-values, kind="stable")
    # One point per distinct probability: tied samples pass a threshold together.
    last = np.append(np.flatnonzero(np.diff(values[order])), len(values) - 1)
    true = np.append(0, np.cumsum(labels[order] == 1)[last]) / scores.n_positive
    false = np.append(0, np.cumsum(labels[order] == 0)[last]) / (scores.n - scores.n_positive)
    axes.plot([0, 1], [0, 1], color=GUIDE, linewidth=0.8, linestyle=(0, (5, 3)))
    axes.fill_between(false, true, color=MAIN, alpha=0.12, linewidth=0)
    axes.plot(false, true, color=MAIN)
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), xlabel="false positive rate", ylabel="true positive rate")
    text = f"{_class_text(scores)}\nn = {scores.n} ({scores.n_positive} positive)"
    axes.text(0.97, 0.04, text, transform=axes.transAxes, ha="right", fontsize=7)


def _draw_confusion(axes: Axes, labels: np.ndarray, values: np.ndarray, *, scores: ClassMetrics) -> None:
    classes = len(scores.counts)
    counts = np.zeros((classes, classes), dtype=int)
    np.add.at(counts, (labels.astype(int), values.argmax(axis=1)), 1)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    # The cells of many classes are too small for numbers.
    for (row, column), count in np.ndenumerate(counts) if classes <= 12 else ():
        color = "white" if shares[row, column] > 0.5 else TEXT
        axes.text(column, row, str(count), ha="center", va="center", color=color, fontsize=7)
    if classes <= 12:
        names = [printable(name) for name in scores.target.class_labels]
        slant = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if max(map(len, names)) > 3 else {}
        axes.set_xticks(range(classes), names, parse_math=False, **slant)
        axes.set_yticks(range(classes), names, parse_math=False)
    else:
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_locator(MaxNLocator(12, integer=True))
    axes.set(xlabel=f"predicted class\n{_class_text(scores)}", ylabel="reference class")


def _draw_nothing(axes: Axes, reason: str) -> None:
    axes.text(0.5, 0.5, reason, transform=axes.transAxes, ha="center", va="center", color=GUIDE)
    axes.set(xticks=[], yticks=[])


def _regression_text(scores: RegressionMetrics, *, logarithmic: bool, detailed: bool) -> str:
    unit = f" {scores.target.unit}" if scores.target.unit else ""
    mae = with_interval(scores.mae, significant) if detailed else significant(scores.mae.value)
    lines = [f"R² = {_r2_text(scores.r2)}"]
    if logarithmic and scores.r2_log is not None:
        in_log = f"R² (log) = {_r2_text(scores.r2_log)}"
        lines = [*lines, in_log] if detailed else [in_log]
    lines += [f"MAE = {mae}{unit}", f"n = {scores.n}"]
    part = scores.where_not_zero
    if detailed and part is not None and part.n:
        lines.append(f"{WHERE_NOT_ZERO}: R² = {_r2_text(part.r2)}")
        lines.append(f"MAE = {with_interval(part.mae, significant)}{unit}, n = {part.n}")
    return _with_minus(lines)


def _class_text(scores: ClassMetrics) -> str:
    balanced = f"balanced accuracy = {decimals(scores.balanced_accuracy.value)}"
    return _with_minus([f"AUC = {with_interval(scores.auc)}", balanced])


def _r2_text(metric: Metric) -> str:
    return f"n/a ({metric.reason})" if math.isnan(metric.value) else with_interval(metric)


def _with_minus(lines: Sequence[str]) -> str:
    """Lines joined to one text, with minus signs instead of hyphens before digits."""
    return re.sub(r"-(?=\d)", "−", "\n".join(lines))


def display_name(name: str) -> str:
    """Name of a property as a title: "Band gap"."""
    return name[:1].upper() + name[1:].replace("_", " ")


def _axis_label(item: Property) -> str:
    """Symbol (else name) and unit of a property; single letters are italic, with their subscripts."""
    unit = f" ({item.unit})" if item.unit else ""
    plain = (item.symbol or item.name.replace("_", " ")).replace("$", r"\$")
    if item.symbol:
        plain = re.sub(r"(?<![A-Za-z])(Δ?)([A-Za-z])(?:_(\w+))?(?![A-Za-z])", _italic, plain)
    return plain + unit.replace("$", r"\$")


def _italic(letter: re.Match[str]) -> str:
    prefix, symbol, below = letter.groups()
    return f"${prefix}{symbol}" + (rf"_\mathrm{{{below}}}$" if below else "$")
