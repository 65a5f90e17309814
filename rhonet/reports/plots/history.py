"""Figures of a training run: losses and R² by epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from rhonet.reports.plots.parity import display_name, line_colors, plain_log_ticks
from rhonet.reports.plots.style import GUIDE, MAIN, STYLE


@matplotlib.rc_context(STYLE)
def history_figure(
    training_loss: Sequence[float],
    validation_loss: Sequence[float],
    *,
    validation_r2: Mapping[str, Sequence[float]] | None = None,
) -> Figure:
    """Losses per epoch with the lowest validation loss marked and, if given, validation R² per property.

    Args:
        training_loss: one value per epoch; NaN where it is undefined.
        validation_loss: likewise.
        validation_r2: one value per epoch, by property name.
    """
    figure = Figure(figsize=(6.8 if validation_r2 else 3.6, 2.8), layout="constrained")
    panels = figure.subplots(1, 2 if validation_r2 else 1, squeeze=False)[0]
    draw_losses(panels[0], training_loss, validation_loss)
    panels[0].set_title("Loss")
    panels[0].legend()
    if validation_r2:
        draw_r2(panels[1], validation_r2)
        panels[1].set_title("Validation R²")
        panels[1].legend(loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def draw_losses(axes: Axes, training_loss: Sequence[float], validation_loss: Sequence[float]) -> None:
    """Draws losses per epoch with the lowest validation loss marked; several networks may share the axes.

    Args:
        axes: where to draw.
        training_loss: one value per epoch; NaN where it is undefined.
        validation_loss: likewise.
    """
    axes.plot(range(1, len(training_loss) + 1), training_loss, color=GUIDE, label="training")
    axes.plot(range(1, len(validation_loss) + 1), validation_loss, color=MAIN, label="validation")
    finite = [loss for loss in (*training_loss, *validation_loss) if math.isfinite(loss)]
    if finite and 0 < 5 * min(finite) < max(finite):
        axes.set_yscale("log")
        plain_log_ticks(axes.yaxis)
    if np.isfinite(validation_loss).any():
        lowest = int(np.nanargmin(validation_loss))
        label = f"lowest: epoch {lowest + 1}"
        axes.plot([lowest + 1], [validation_loss[lowest]], "o", color=MAIN, markersize=4, label=label)
    axes.set(xlabel="epoch", ylabel="loss")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def draw_r2(axes: Axes, validation_r2: Mapping[str, Sequence[float]]) -> None:
    """Draws R² per epoch, one line per property."""
    for (name, values), color in zip(validation_r2.items(), line_colors(len(validation_r2)), strict=True):
        axes.plot(range(1, len(values) + 1), values, color=color, linewidth=1, label=display_name(name))
    axes.axhline(0, color=GUIDE, linewidth=0.6)
    # In the first epochs R² can be in the minus hundreds; the range from about 0 (predicting the mean) to 1 matters.
    axes.set(xlabel="epoch", ylabel="R²", ylim=(-0.5, 1.02))
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
