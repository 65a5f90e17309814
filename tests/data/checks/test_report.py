"""The report on a folder: what stands in it, and what it may replace."""

import json

import pytest

from rhonet.core.errors import FolderError
from rhonet.data.checks.facts import gather_facts
from rhonet.data.checks.finding import Finding, some_of
from rhonet.data.checks.report import FolderReport, check_report_path, report_on_table
from rhonet.data.checks.search import Search
from rhonet.data.folder import check_folder
from tests.synthetic import cube_text, random_density


@pytest.fixture
def report(tmp_path):
    for at in range(3):
        (tmp_path / f"{at}.cube").write_text(cube_text(random_density(seed=at, symbols="NaCl")))
    (tmp_path / "cut.cube").write_text("x\n")
    (tmp_path / "twin.cube").write_text(cube_text(random_density(seed=2, symbols="NaCl")))
    rows = ("0,0.cube,1.5,12,x,", "1,1.cube,,13,y,", "2,2.cube,2.5,1,z,", "c,cut.cube,9,,,", "t,twin.cube,2.5,,,")
    (tmp_path / "properties.csv").write_text("\n".join(["id,file,band_gap,hardness,note,is_metal", *rows, ""]))
    (tmp_path / "dataset.toml").write_text('bookkeeping = ["batch"]\n')
    checked = check_folder(tmp_path)
    return report_on_table(checked, list(gather_facts(checked.folder.samples)), Search(checked.folder.samples[:1], ()))


def test_text_shows_labels_errors_first_and_what_to_declare(report):
    text = report.to_text()
    assert text.startswith(
        f"{report.path}: 4 of 5 densities can be used (4 cube)\ndefault split, by chemical system (1 of"
    )
    (row,) = (line.split() for line in text.splitlines() if line.startswith("band_gap"))
    assert row[:7] == ["band_gap", "eV", "3", "1", "1.5", "2.5", "2.5"]
    headings = ["errors: training stops", "warnings: this looks wrong", "notes", "suggested for"]
    places = [text.find(f"\n{heading}") for heading in headings]
    assert places == sorted(places)
    assert "no label in is_metal: left out of training" in text
    assert "1 density file in the folder is not in properties.csv: 0.cube" in text
    assert 'bookkeeping = ["batch", "note"]' in text
    assert "[properties.hardness]" in text
    assert "No problem found" not in text


def test_json_holds_the_sheets_and_no_nan(report):
    tree = json.loads(report.to_json())
    assert tree["made_by"] == "python -m rhonet.prepare"
    assert tree["has_problems"] is True
    assert [file["error"] is None for file in tree["files"]] == [True, True, True, False, True]
    assert tree["files"][0]["summary"]["n_electrons"] == pytest.approx(8)
    assert [(item["name"], item["known"], item["missing"]) for item in tree["properties"]] == [("band_gap", 3, 1)]
    assert sum(tree["splits"].values()) == 4
    levels = [finding["level"] for finding in tree["findings"]]
    assert levels == sorted(levels, key=("error", "warning", "note").index)


def test_long_lists_are_cut_in_the_text_only(tmp_path):
    found = tuple(Finding("note", "x", f"number {at}") for at in range(50))
    report = FolderReport(tmp_path, True, (), (), found, "")
    assert "number 19\n  ... and 30 more in the report" in report.to_text()
    assert "number 20" not in report.to_text()
    assert len(json.loads(report.to_json())["findings"]) == 50
    assert not report.has_problems
    assert some_of([str(at) for at in range(7)]) == "0, 1, 2, 3, 4 and 2 more"


@pytest.mark.parametrize("content", ["", "[]", '{"made_by": "someone"}', "not JSON"])
def test_report_replaces_nothing_but_a_report(tmp_path, report, content):
    path = tmp_path / "other.json"
    check_report_path(path)
    path.write_text(report.to_json())
    check_report_path(path)
    path.write_text(content)
    with pytest.raises(FolderError, match=r"other.json: exists and is no report .*give another --report"):
        check_report_path(path)
    with pytest.raises(FolderError, match="there is no folder"):
        check_report_path(tmp_path / "gone" / "report.json")
