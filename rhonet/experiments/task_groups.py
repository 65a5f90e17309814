"""Which targets are alike, and which of them could train together: groups by the correlation of their labels.

Label correlation, not transfer or gradient affinity: it needs no network, takes milliseconds, comes out the same every
time, and can be read before anything is trained. It says what two targets share in the crystals, not what one training
does to the other: that is what `python -m rhonet.study tasks` measures.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from scipy.cluster.hierarchy import dendrogram, fcluster, linkage
from scipy.linalg import orth
from scipy.spatial.distance import squareform
from scipy.stats import rankdata

from rhonet.core.errors import DataError
from rhonet.core.properties import Property
from rhonet.core.standardize import learned_scale
from rhonet.core.text import markdown_table, spaced
from rhonet.reports.plots.parity import display_name
from rhonet.reports.plots.style import GUIDE, MAIN, STYLE, TEXT

# A group keeps together what correlates, on average over its pairs, by at least one half.
CUT_DISTANCE = 0.5
# With fewer records that have both labels, a correlation of one half is too often chance.
LEAST_SHARED = 20

_MOST_WITH_NUMBERS = 14


@dataclass(frozen=True, eq=False)
class TaskGroups:
    """How alike P targets are, and the groups that follow.

    names: P of them, in the order of the properties.
    similarity: (P, P), from 0 to 1; 1 on the diagonal.
    linkage: (P-1, 4), average linkage at the distance 1 - similarity, as scipy gives it.
    groups: every target in exactly one, by the order of the properties.
    """

    names: tuple[str, ...]
    similarity: np.ndarray
    linkage: np.ndarray
    groups: tuple[tuple[str, ...], ...]

    @property
    def shared(self) -> tuple[tuple[str, ...], ...]:
        """Groups worth a training of their own: more than one target, but not all."""
        return tuple(group for group in self.groups if 1 < len(group) < len(self.names))

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        arrays = {"similarity": self.similarity.tolist(), "linkage": self.linkage.tolist()}
        return {**dataclasses.asdict(self), **arrays, "cut_distance": CUT_DISTANCE}


def find_groups(properties: Sequence[Property], labels: np.ndarray, volumes: np.ndarray) -> TaskGroups:
    """Groups of targets by average linkage, cut where the distance passes `CUT_DISTANCE`.

    The similarity of two targets is the absolute rank correlation (Spearman) of their labels on the learned scale,
    over the records that have both: ranks, so that a few extreme labels do not make the groups. A binary target takes
    part by the same formula with its 0 and 1. A multiclass one has no order and takes part with one column per class;
    its similarity is the largest correlation of any weighting of them (the correlation ratio). It is 0 where fewer
    than `LEAST_SHARED` records have both labels or either is constant there.

    Args:
        properties: P of them.
        labels: (n, P), physical units, NaN where missing; of records that may be trained on.
        volumes: cell volumes (n,), Å³.

    Raises:
        DataError: fewer than two properties, or a label that the learned scale cannot have.
    """
    if len(properties) < 2:
        found = ", ".join(item.name for item in properties) or "none"
        raise DataError(f"targets are grouped from two on, found {found}; name more in data.properties")
    columns = [learned_scale(item, labels[:, at], volumes) for at, item in enumerate(properties)]
    similarity = np.eye(len(properties))
    for one, other in itertools.combinations(range(len(properties)), 2):
        both = ~np.isnan(columns[one] + columns[other])
        value = _similarity(properties[one], columns[one][both], properties[other], columns[other][both])
        similarity[one, other] = similarity[other, one] = value
    tree = linkage(squareform(1 - similarity), "average", optimal_ordering=True)
    members: dict[int, list[str]] = {}
    for item, number in zip(properties, fcluster(tree, CUT_DISTANCE, "distance"), strict=True):
        members.setdefault(int(number), []).append(item.name)
    names = tuple(item.name for item in properties)
    return TaskGroups(names, similarity, tree, tuple(tuple(group) for group in members.values()))


def format_groups(groups: TaskGroups) -> str:
    """Markdown: the table of similarities, those within a group in bold, and the groups."""
    group_of = {name: at for at, group in enumerate(groups.groups) for name in group}
    head, rows = ["", *(spaced(name) for name in groups.names)], []
    for row, name in enumerate(groups.names):
        cells = []
        for column, other in enumerate(groups.names[:row]):
            shown = f"{groups.similarity[row, column]:.2f}"
            cells.append(f"**{shown}**" if group_of[name] == group_of[other] else shown)
        rows.append([spaced(name), *cells, "1", *[""] * (len(groups.names) - row - 1)])
    table = markdown_table(head, rows)
    together = "; ".join(", ".join(map(spaced, group)) for group in groups.groups if len(group) > 1) or "none"
    alone = ", ".join(spaced(group[0]) for group in groups.groups if len(group) == 1) or "none"
    return (
        "Absolute rank correlation of the labels (learned scale) outside the test split. Groups by average linkage, "
        f"cut at the distance {CUT_DISTANCE:g} (1 - correlation):\n\n{table}\nTogether: {together}. Alone: {alone}.\n"
    )


@matplotlib.rc_context(STYLE)
def groups_figure(groups: TaskGroups) -> Figure:
    """Dendrogram of the targets with the cut, beside their similarities in the same order; groups are framed."""
    count = len(groups.names)
    drawn = dendrogram(groups.linkage, no_plot=True)
    order = drawn["leaves"]
    # Room for the title of a table of few columns.
    width = 0.3 * max(count, 4)
    figure = Figure(figsize=(4.0 + width, 1.7 + 0.27 * count), layout="constrained")
    tree, table = figure.subplots(1, 2, width_ratios=[2.2, width])
    _draw_tree(tree, drawn, count=count)
    table.imshow(groups.similarity[np.ix_(order, order)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in itertools.product(range(count), repeat=2) if count <= _MOST_WITH_NUMBERS else ():
        value = groups.similarity[order[row], order[column]]
        color = "white" if value > 0.5 else TEXT
        table.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize=6)
    names = [display_name(groups.names[at]) for at in order]
    table.set_yticks(range(count), names)
    table.set_xticks(range(count), names, rotation=45, ha="right", rotation_mode="anchor")
    table.tick_params(length=0)
    table.set_title("|rank correlation|")
    for group in groups.groups:
        first = min(order.index(groups.names.index(name)) for name in group)
        if len(group) > 1:
            corner, size = (first - 0.5, first - 0.5), len(group)
            table.add_patch(Rectangle(corner, size, size, fill=False, edgecolor=TEXT, linewidth=1.2, clip_on=False))
    return figure


def _similarity(one: Property, ours: np.ndarray, other: Property, theirs: np.ndarray) -> float:
    """Largest correlation of two targets' labels (m,), none of them missing."""
    if len(ours) < LEAST_SHARED or min(len(np.unique(ours)), len(np.unique(theirs))) < 2:
        return 0.0
    products = orth(_centred(one, ours)).T @ orth(_centred(other, theirs))
    return float(min(np.linalg.norm(products, 2), 1.0))


def _centred(item: Property, labels: np.ndarray) -> np.ndarray:
    """What is correlated, (m, k) with mean 0: the ranks, or membership in each class where classes have no order."""
    nominal = item.kind == "multiclass"
    columns = labels[:, None] == np.unique(labels) if nominal else rankdata(labels)[:, None]
    return columns - columns.mean(axis=0)


def _draw_tree(axes: Axes, drawn: dict[str, Any], *, count: int) -> None:
    """The tree from its root on the left to its leaves on the right, the first leaf above."""
    for leaves, heights in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        # scipy puts leaf number k at 5 + 10 k.
        within = max(heights) <= CUT_DISTANCE
        axes.plot(heights, (np.array(leaves) - 5) / 10, color=MAIN if within else GUIDE, solid_joinstyle="miter")
    axes.axvline(CUT_DISTANCE, color=TEXT, linewidth=0.8, linestyle=(0, (5, 3)))
    axes.set(xlim=(1.02, -0.02), ylim=(count - 0.5, -0.5), xlabel="1 − |rank correlation|", yticks=[])
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.set_title("Average linkage")
