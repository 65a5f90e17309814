"""Writes docs/results/: an index, one page and one figure per study, a page of superseded numbers, from kept JSON.

python tools/results_pages.py            # pages and figures
python tools/results_pages.py --no-figures

Numbers come from docs/results/data/STUDY.json alone, as the study printed them; the figures are drawn from the same
cells as the tables. To change a page, change its JSON and run the tool.
"""

from __future__ import annotations

import argparse
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULTS = Path(__file__).parent.parent / "docs" / "results"
# In the order of the index.
STUDIES = (
    "released",
    "learning-curve",
    "tasks",
    "views",
    "models",
    "baselines",
    "splits",
    "coverage",
    "leaks",
    "novelty",
)
# A table with more columns stands on its side: its first column becomes the heading.
MOST_COLUMNS = 11
_NUMBER = r"([+-]?\d+(?:\.\d+)?)( ?%)?"
_WRITTEN_BY = "This page is written by `python tools/results_pages.py` from [{0}]({0}).\n"


@dataclass(frozen=True)
class Measured:
    """A number with its interval, as a cell of a table holds it ("0.84 [0.81, 0.86]", "5 % [4 %, 6 %]")."""

    value: float
    lower: float
    upper: float


def read_study(name: str, *, folder: Path = RESULTS) -> dict[str, Any]:
    """Content of a kept file.

    Args:
        name: of the study.
        folder: where the pages are.
    """
    return json.loads((folder / "data" / f"{name}.json").read_text(encoding="utf-8"))


def written_pages() -> dict[str, str]:
    """Every page by its file name, as Markdown."""
    studies = {name: read_study(name) for name in STUDIES}
    pages = {f"{name}.md": _study_page(name, study) for name, study in studies.items()}
    return pages | {"README.md": _index(studies), "history.md": _history(read_study("history"))}


def markdown_table(columns: list[str], rows: list[list[str]]) -> str:
    """A table; one with many columns stands on its side.

    Args:
        columns: their names.
        rows: cells, as many in each row as there are columns.

    Raises:
        ValueError: a row has another number of cells.
    """
    for row in rows:
        if len(row) != len(columns):
            raise ValueError(f"row {row[0]!r} has {len(row)} cells for {len(columns)} columns: {', '.join(columns)}")
    lines = [columns, *rows]
    if len(columns) > MOST_COLUMNS:
        lines = [list(line) for line in zip(*lines, strict=True)]
    lines.insert(1, ["---"] * len(lines[0]))
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def measured(cell: str) -> Measured:
    """Number of a cell with its interval; the interval has no width where the cell holds none.

    Raises:
        ValueError: the cell holds no number.
    """
    found = re.fullmatch(rf"\**{_NUMBER}(?: \[{_NUMBER}, {_NUMBER}\])?\**", cell.strip())
    if found is None:
        raise ValueError(f"cell {cell!r} holds no number like '0.84 [0.81, 0.86]'")
    value, _, lower, _, upper, _ = found.groups()
    return Measured(float(value), float(lower or value), float(upper or value))


def _study_page(name: str, study: dict[str, Any]) -> str:
    figure, table = study["figure"], study["table"]
    parts = [
        f"# {study['title']}\n\n{study['question']}\n\n",
        f"![{figure['caption']}]({name}.png)\n\n*{figure['caption']}.*\n\n",
        _table(table),
        "".join(f"- {bullet}\n" for bullet in study["bullets"]),
    ]
    if study["details"]:
        parts.append("\n## Details\n")
        parts += [f"\n### {detail['title']}\n\n{_table(detail).rstrip()}\n" for detail in study["details"]]
    parts.append(
        f"\n---\n\n`{study['command']}`\n\n{study['commit']}; {study['data_version']}. "
        + _WRITTEN_BY.format(f"data/{name}.json")
    )
    return "".join(parts)


def _table(table: dict[str, Any]) -> str:
    """Text before the table, the table, text after it, each if there is one."""
    parts = [f"{paragraph}\n\n" for paragraph in table.get("before", [])]
    if "columns" in table:
        parts.append(markdown_table(table["columns"], table["rows"]) + "\n")
    return "".join(parts + [f"{paragraph}\n\n" for paragraph in table.get("after", [])])


def _index(studies: dict[str, dict[str, Any]]) -> str:
    about = read_study("index")
    parts = [f"# {about['title']}\n\n", *(f"{paragraph}\n\n" for paragraph in about["before"])]
    parts.append("| study | what came out |\n|---|---|\n")
    parts += [f"| [{study['title']}]({name}.md) | {study['summary']} |\n" for name, study in studies.items()]
    parts += ["\n", *(f"{paragraph}\n\n" for paragraph in about["after"])]
    return "".join(parts) + _WRITTEN_BY.format("data/index.json")


def _history(history: dict[str, Any]) -> str:
    parts = [f"# {history['title']}\n\n", *(f"{paragraph}\n\n" for paragraph in history["before"])]
    for section in history["sections"]:
        parts.append(f"## {section['title']}\n\n")
        parts += [_table(table) for table in section["tables"]]
    return "".join(parts) + _WRITTEN_BY.format("data/history.json")


def draw_figure(study: dict[str, Any], path: Path) -> None:
    """Figure of a study, drawn from the cells of one of its tables.

    Args:
        study: content of its file; `figure` names the table ("table", or the number of a detail), the columns and the
            kind: "points" (numbers with intervals), "curve" (a score over shares of the training crystals) or
            "quantiles" (columns from the smallest to the largest, the median among them).
        path: of the PNG.
    """
    import matplotlib

    matplotlib.use("agg")
    import matplotlib.pyplot as plt

    from rhonet.reports.plots.style import GUIDE, STYLE

    figure = study["figure"]
    table = study["table"] if figure["table"] == "table" else study["details"][figure["table"]]
    cells = [dict(zip(table["columns"], row, strict=True)) for row in table["rows"]]
    cells = [row for row in cells if row[figure["value"]] and row[figure["label"]] not in figure.get("skip", ())]
    labels = list(dict.fromkeys(row[figure["label"]].strip("*") for row in cells))
    height = 2.6 if figure["kind"] == "curve" else 0.75 + 0.24 * len(labels)
    with plt.rc_context(STYLE):
        drawing, axes = plt.subplots(figsize=(5.2, height), layout="constrained")
        if figure["kind"] == "curve":
            _draw_curve(axes, cells, figure)
        else:
            draw = _draw_points if figure["kind"] == "points" else _draw_quantiles
            draw(axes, cells, labels, figure)
            axes.set_yticks(range(len(labels)), labels)
            axes.set_ylim(len(labels) - 0.5, -0.5)
            axes.set_xlabel(figure["axis"])
            axes.tick_params(axis="y", length=0, pad=7)
            axes.locator_params(axis="x", nbins=8)
        if "guide" in figure:
            axes.axvline(figure["guide"], color=GUIDE, linewidth=0.8, linestyle="--", zorder=0)
        axes.spines[["top", "right"]].set_visible(False)
        drawing.savefig(path, dpi=150, metadata={"Software": None})
        plt.close(drawing)


def _draw_points(axes: Axes, cells: list[dict[str, str]], labels: list[str], figure: dict[str, Any]) -> None:
    """Numbers with intervals, one colour for each series; an arrow where an interval leaves the picture."""
    from rhonet.reports.plots.style import MAIN, OTHERS

    names = list(dict.fromkeys(row[figure["series"]] for row in cells)) if "series" in figure else [""]
    for i, (name, colour) in enumerate(zip(names, (MAIN, *OTHERS[1:]), strict=False)):
        rows = [row for row in cells if not name or row[figure["series"]] == name]
        places = [labels.index(row[figure["label"]].strip("*")) + 0.26 * (i - (len(names) - 1) / 2) for row in rows]
        numbers = [measured(row[figure["value"]]) for row in rows]
        values = [number.value for number in numbers]
        ends = [[n.value - n.lower for n in numbers], [n.upper - n.value for n in numbers]]
        axes.errorbar(values, places, xerr=ends, fmt="o", color=colour, markersize=4, linewidth=1.2, label=name)
        if "limits" in figure:
            left = figure["limits"][0]
            gone = [place for place, number in zip(places, numbers, strict=True) if number.lower < left]
            axes.plot([left] * len(gone), gone, "<", color=colour, markersize=5, clip_on=False)
    if "limits" in figure:
        axes.set_xlim(*figure["limits"])
    if len(names) > 1:
        axes.legend(loc=figure["legend"])


def _draw_quantiles(axes: Axes, cells: list[dict[str, str]], labels: list[str], figure: dict[str, Any]) -> None:
    """A thin line from the smallest to the largest, a thick one over the middle half, a point at the median."""
    from rhonet.reports.plots.style import MAIN, OTHERS

    for row in cells:
        place = labels.index(row[figure["label"]])
        lowest, low, high, highest = (float(row[column]) for column in figure["ends"])
        axes.plot([lowest, highest], [place, place], color=OTHERS[0], linewidth=1.2, zorder=1)
        axes.plot([low, high], [place, place], color=MAIN, linewidth=4, alpha=0.45, solid_capstyle="butt", zorder=2)
        axes.plot(float(row[figure["value"]]), place, "o", color=MAIN, markersize=4, zorder=3)


def _draw_curve(axes: Axes, cells: list[dict[str, str]], figure: dict[str, Any]) -> None:
    """A score over the share of the training crystals, which doubles from tick to tick."""
    from rhonet.reports.plots.style import MAIN

    shares = [float(row[figure["label"]].rstrip("%")) for row in cells]
    numbers = [measured(row[figure["value"]]) for row in cells]
    ends = [[n.value - n.lower for n in numbers], [n.upper - n.value for n in numbers]]
    axes.errorbar(shares, [n.value for n in numbers], yerr=ends, fmt="o-", color=MAIN, markersize=4)
    axes.set_xscale("log")
    axes.set_xticks(shares, [row[figure["label"]] for row in cells])
    axes.minorticks_off()
    axes.set_xlabel(figure["axis"])
    axes.set_ylabel(figure["value"])


def main() -> None:
    parser = argparse.ArgumentParser(description="Write docs/results/ from docs/results/data/.")
    parser.add_argument("--no-figures", action="store_true", help="write the pages only")
    options = parser.parse_args()
    for name, text in written_pages().items():
        (RESULTS / name).write_text(text, encoding="utf-8")
    if not options.no_figures:
        for name in STUDIES:
            draw_figure(read_study(name), RESULTS / f"{name}.png")


if __name__ == "__main__":
    main()
