"""Similar targets, which could train together: groups by the correlation of their labels.

The similarity is the correlation of labels, not transfer or gradient affinity: it needs no network, takes milliseconds,
is reproducible, and is known before any training. It does not say whether two targets help each other in a training;
`python -m rhonet.study tasks` measures that.
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

# Groups are merged as long as the mean correlation between their targets is at least one half.
CUT_DISTANCE = 0.5
# If fewer records have both labels, a correlation of one half is too often chance.
LEAST_SHARED = 20

_MOST_WITH_NUMBERS = 14


@dataclass(frozen=True, eq=False)
class TaskGroups:
    """Similarities of P targets, and groups of similar targets.

    Attributes:
        names: of the P targets, in the order of the properties.
        similarity: (P, P), from 0 to 1; 1 on the diagonal.
        linkage: (P-1, 4), average linkage at the distance 1 - similarity, in scipy's form.
        groups: names of the targets of each group; every target is in exactly one group.
    """

    names: tuple[str, ...]
    similarity: np.ndarray
    linkage: np.ndarray
    groups: tuple[tuple[str, ...], ...]

    @property
    def shared(self) -> tuple[tuple[str, ...], ...]:
        """Groups of more than one target but not all; each is trained together."""
        return tuple(group for group in self.groups if 1 < len(group) < len(self.names))

    def to_dict(self) -> dict[str, Any]:
        """Plain nested values, ready for JSON."""
        arrays = {"similarity": self.similarity.tolist(), "linkage": self.linkage.tolist()}
        return {**dataclasses.asdict(self), **arrays, "cut_distance": CUT_DISTANCE}


def find_groups(properties: Sequence[Property], labels: np.ndarray, volumes: np.ndarray) -> TaskGroups:
    """Groups of targets by average linkage, cut where the distance passes `CUT_DISTANCE`.

    The similarity of two targets is the absolute rank correlation (Spearman) of their labels on the learned scale,
    over the records that have both labels. Ranks keep a few extreme labels from deciding the groups. For a binary
    target, the formula uses its labels 0 and 1. The classes of a multiclass target have no order: it has one column per
    class, and its similarity is the largest correlation of any weighting of these columns (the correlation ratio). The
    similarity is 0 if fewer than `LEAST_SHARED` records have both labels, or if one of the targets is constant there.

    Args:
        properties: the P targets.
        labels: (n, P), physical units, NaN where missing; of records outside the test split.
        volumes: cell volumes (n,), Å³.

    Raises:
        DataError: fewer than two properties, or a label that the learned scale does not allow.
    """
    if len(properties) < 2:
        names = ", ".join(item.name for item in properties) or "none"
        raise DataError(f"grouping needs at least two targets, found {names}; name more in data.properties")
    columns = [learned_scale(item, labels[:, column], volumes) for column, item in enumerate(properties)]
    similarity = np.eye(len(properties))
    for i, j in itertools.combinations(range(len(properties)), 2):
        both = ~np.isnan(columns[i] + columns[j])
        value = _similarity(properties[i], columns[i][both], properties[j], columns[j][both])
        similarity[i, j] = similarity[j, i] = value
    tree = linkage(squareform(1 - similarity), "average", optimal_ordering=True)
    members: dict[int, list[str]] = {}
    for item, number in zip(properties, fcluster(tree, CUT_DISTANCE, "distance"), strict=True):
        members.setdefault(int(number), []).append(item.name)
    names = tuple(item.name for item in properties)
    return TaskGroups(names, similarity, tree, tuple(tuple(group) for group in members.values()))


def format_groups(groups: TaskGroups) -> str:
    """Markdown: the table of similarities, those within a group in bold, and the groups."""
    group_of = {name: number for number, group in enumerate(groups.groups) for name in group}
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
    """Figure: dendrogram of the targets with the cut, and their similarities in the same order, groups framed."""
    count = len(groups.names)
    drawn = dendrogram(groups.linkage, no_plot=True)
    order = drawn["leaves"]
    # At least four columns wide, so that the title fits.
    width = 0.3 * max(count, 4)
    figure = Figure(figsize=(4.0 + width, 1.7 + 0.27 * count), layout="constrained")
    tree, table = figure.subplots(1, 2, width_ratios=[2.2, width])
    _draw_tree(tree, drawn, count=count)
    table.imshow(groups.similarity[np.ix_(order, order)], cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in itertools.product(range(count), repeat=2) if count <= _MOST_WITH_NUMBERS else ():
        value = groups.similarity[order[row], order[column]]
        color = "white" if value > 0.5 else TEXT
        table.text(column, row, f"{value:.2f}", ha="center", va="center", color=color, fontsize=6)
    names = [display_name(groups.names[leaf]) for leaf in order]
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


def _similarity(first: Property, first_labels: np.ndarray, second: Property, second_labels: np.ndarray) -> float:
    """Largest correlation of two targets' labels (m,), none of them missing."""
    if len(first_labels) < LEAST_SHARED or min(len(np.unique(first_labels)), len(np.unique(second_labels))) < 2:
        return 0.0
    products = orth(_centred(first, first_labels)).T @ orth(_centred(second, second_labels))
    return float(min(np.linalg.norm(products, 2), 1.0))


def _centred(item: Property, labels: np.ndarray) -> np.ndarray:
    """Columns (m, k) to correlate, with mean 0: the ranks, or for a multiclass target one column per class."""
    nominal = item.kind == "multiclass"
    columns = labels[:, None] == np.unique(labels) if nominal else rankdata(labels)[:, None]
    return columns - columns.mean(axis=0)


def _draw_tree(axes: Axes, drawn: dict[str, Any], *, count: int) -> None:
    """Draws the dendrogram with its root on the left and its leaves on the right, the first leaf at the top."""
    for leaves, heights in zip(drawn["icoord"], drawn["dcoord"], strict=True):
        # scipy places leaf k at 5 + 10 k.
        within = max(heights) <= CUT_DISTANCE
        axes.plot(heights, (np.array(leaves) - 5) / 10, color=MAIN if within else GUIDE, solid_joinstyle="miter")
    axes.axvline(CUT_DISTANCE, color=TEXT, linewidth=0.8, linestyle=(0, (5, 3)))
    axes.set(xlim=(1.02, -0.02), ylim=(count - 0.5, -0.5), xlabel="1 − |rank correlation|", yticks=[])
    axes.spines[["left", "top", "right"]].set_visible(False)
    axes.set_title("Average linkage")
