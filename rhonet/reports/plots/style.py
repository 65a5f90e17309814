"""Colours and matplotlib settings of all figures."""

from __future__ import annotations

import typing

# Okabe-Ito colours: readers with any colour vision can tell them apart.
MAIN, TEXT, GUIDE = "#0072B2", "#222222", "#8C8C8C"
OTHERS = ("#BDBDBD", "#E69F00", "#009E73")
STYLE: dict[typing.Any, typing.Any] = {
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.linewidth": 0.6,
    "axes.edgecolor": TEXT,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "lines.linewidth": 1.2,
}
