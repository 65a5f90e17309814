"""docs/results/ is what tools/results_pages.py writes, and what it tells people to follow or type exists."""

from __future__ import annotations

import importlib
import re
import shlex

import pytest

from tests.conftest import REPOSITORY
from tools.results_pages import RESULTS, STUDIES, draw_figure, markdown_table, measured, read_study, written_pages

PAGES = written_pages()
LINKS = sorted({(page, link) for page, text in PAGES.items() for link in re.findall(r"\]\(([^)\s]+)\)", text)})
COMMANDS = sorted(
    {one for text in PAGES.values() for one in re.findall(r"`([^`\n]+)`", text) if one.startswith("python -m rhonet.")}
)


def test_pages_are_those_of_the_kept_numbers():
    assert {path.name for path in RESULTS.glob("*.md")} == set(PAGES)
    for name, text in PAGES.items():
        assert (RESULTS / name).read_text(encoding="utf-8") == text, "python tools/results_pages.py"


def test_every_kept_file_and_figure_belongs_to_a_page():
    assert {path.stem for path in (RESULTS / "data").iterdir()} == {*STUDIES, "index", "history"}
    assert {path.name for path in RESULTS.glob("*.png")} == {f"{name}.png" for name in STUDIES}
    assert all(path.stat().st_size < 60_000 for path in RESULTS.glob("*.png"))


@pytest.mark.parametrize("name", STUDIES)
def test_study_has_a_question_a_command_and_three_findings(name):
    study = read_study(name)
    assert study["question"].endswith("?")
    assert study["command"].startswith("python ")
    assert re.search(r"\b[0-9a-f]{7,12}\b", study["commit"])
    assert len(study["bullets"]) == 3


@pytest.mark.parametrize(("page", "link"), LINKS)
def test_link_leads_to_a_file_and_a_heading(page, link):
    target, _, heading = link.partition("#")
    path = RESULTS / page if not target else RESULTS / target
    assert path.exists()
    headings = re.findall(r"^#+ (.*)$", path.read_text(encoding="utf-8"), re.MULTILINE) if heading else []
    assert not heading or heading in {text.lower().replace(" ", "-") for text in headings}


@pytest.mark.parametrize("command", COMMANDS)
def test_command_is_understood(command):
    _, _, module, *arguments = shlex.split(command)
    importlib.import_module(module).build_parser().parse_args(arguments)


def test_figures_are_drawn_from_the_tables(tmp_path):
    for name in ("splits", "learning-curve", "leaks"):  # one of each kind
        draw_figure(read_study(name), tmp_path / f"{name}.png")
        assert (tmp_path / f"{name}.png").stat().st_size > 5_000


def test_wide_table_stands_on_its_side():
    columns = ["variant", *(f"score {i}" for i in range(20))]
    table = markdown_table(columns, [["plain", *map(str, range(20))]])
    assert table.startswith("| variant | plain |\n| --- | --- |\n| score 0 | 0 |\n")


def test_row_of_another_length_is_refused():
    with pytest.raises(ValueError, match="row 'plain' has 1 cells for 2 columns"):
        markdown_table(["variant", "score"], [["plain"]])


@pytest.mark.parametrize(
    ("cell", "numbers"),
    [
        ("**-0.004 [-0.016, +0.005]**", (-0.004, -0.016, 0.005)),
        ("88 % [66 %, 97 %]", (88, 66, 97)),
        ("0.91", (0.91, 0.91, 0.91)),
    ],
)
def test_cell_is_read_as_number_with_interval(cell, numbers):
    found = measured(cell)
    assert (found.value, found.lower, found.upper) == numbers


def test_cell_without_a_number_is_refused():
    with pytest.raises(ValueError, match="cell 'n/a' holds no number"):
        measured("n/a")


def test_no_page_links_to_the_old_one():
    for path in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md")):
        assert "results.md" not in path.read_text(encoding="utf-8"), path


def test_readme_has_the_scores_of_the_released_model():
    readme = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    for row in read_study("released")["table"]["rows"]:
        cells = [
            cell.strip() for line in readme.splitlines() if line.startswith(f"| {row[0]} |") for cell in line.split("|")
        ]
        assert cells[1:-1] == row
