"""Answers as a text table, CSV and JSON."""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math

import numpy as np
import pytest

from rhonet.core.properties import PROPERTIES, Property
from rhonet.reports.wording import half_width_text
from rhonet.serving.answer import Answer
from rhonet.serving.answer_table import FileAnswer, csv_rows, format_rows, json_rows
from rhonet.serving.model_card import Card
from rhonet.uncertainty.calibration import Calibration, ConformalWidths

ITEMS = (PROPERTIES["band_gap"], PROPERTIES["is_metal"], Property("phase", kind="multiclass", classes=3))
HARDNESS = Property("hardness", unit="GPa", transform="log")
PLAIN = Card(ITEMS, {})


def answer_of(gap: float, metal: float, phase: list[float]) -> Answer:
    values = {"band_gap": np.array(gap), "is_metal": np.array(metal), "phase": np.array(phase)}
    return Answer(values, lower={}, upper={}, novelty=math.nan)


ROWS = [
    FileAnswer("a.cube", "NaCl", 8.0, answer_of(1.23456789, 0.25, [0.1, 0.7, 0.2]), warnings=("Odd.", "Very odd.")),
    FileAnswer("b,c.cube", error="b,c.cube:3: is cut"),
    FileAnswer("x/" * 30 + "d.cube", "", 4.5, answer_of(1e-7, 1.0, [1.0, 0.0, 0.0])),
]
CALIBRATION = Calibration(0.9, {name: ConformalWidths(30, 0.5) for name in ("band_gap", "is_metal", "phase")}, 1.0, 30)
CALIBRATED = Card(ITEMS, {"calibration": CALIBRATION.to_dict()})
BOUNDED = [
    dataclasses.replace(
        row,
        answer=row.answer
        and dataclasses.replace(row.answer, lower={"band_gap": 0.7}, upper={"band_gap": 1.7}, novelty=novelty),
    )
    for row, novelty in zip(ROWS, (0.42, 0.0, 1.3), strict=True)
]


def test_csv_can_be_read_back_with_units_and_errors():
    rows = list(csv.DictReader(io.StringIO(csv_rows(ROWS, PLAIN))))
    heads = ["file", "formula", "n_electrons", "band_gap [eV]", "is_metal", "phase_0", "phase_1", "phase_2"]
    assert list(rows[0]) == [*heads, "novelty", "warnings", "error"]
    assert rows[0]["band_gap [eV]"] == "1.234568"
    assert rows[0]["warnings"] == "Odd. Very odd."
    assert [row["file"] for row in rows] == [row.file for row in ROWS]
    assert (rows[1]["error"], rows[1]["n_electrons"], rows[1]["phase_2"]) == ("b,c.cube:3: is cut", "", "")
    assert float(rows[2]["band_gap [eV]"]) == pytest.approx(1e-7)


def test_csv_gives_the_ends_of_intervals():
    rows = list(csv.DictReader(io.StringIO(csv_rows(BOUNDED, CALIBRATED))))
    assert (rows[0]["band_gap_lower [eV]"], rows[0]["band_gap_upper [eV]"]) == ("0.7", "1.7")
    assert [row["novelty"] for row in rows] == ["0.42", "", "1.3"]
    assert rows[1]["error"] == "b,c.cube:3: is cut"


def test_json_says_units_once_and_probabilities_in_full():
    tree = json.loads(json_rows(ROWS, PLAIN))
    assert tree["properties"]["band_gap"] == {"unit": "eV", "kind": "regression", "test_mae": None}
    metrics = {"model": {"regression": {"band_gap": {"mae": {"value": 0.5}}}}}
    with_errors = json.loads(json_rows(ROWS, Card(ITEMS, {"metrics": metrics})))
    assert with_errors["properties"]["band_gap"]["test_mae"] == 0.5
    good, bad, nameless = tree["files"]
    assert good["properties"] == {"band_gap": 1.23456789, "is_metal": 0.25, "phase": [0.1, 0.7, 0.2]}
    assert (good["intervals"], good["novelty"]) == ({}, None)
    assert bad == {"file": "b,c.cube", "formula": None, "error": "b,c.cube:3: is cut"}
    assert nameless["formula"] is None


def test_json_gives_intervals_and_their_level():
    tree = json.loads(json_rows(BOUNDED, CALIBRATED))
    assert tree["interval_level"] == 0.9
    assert tree["files"][0]["intervals"] == {"band_gap": [0.7, 1.7]}
    assert tree["files"][2]["novelty"] == 1.3


def test_table_says_the_likeliest_class_and_ends_of_long_paths():
    lines = format_rows(ROWS, PLAIN).splitlines()
    assert len(lines) == 4
    assert "1.235" in lines[2]
    assert "0.25" in lines[2]
    assert "1 (0.70)" in lines[2]
    assert lines[3].startswith("…")
    assert "d.cube" in lines[3]
    assert max(map(len, lines)) < 100
    assert "novelty" not in lines[0]
    assert format_rows(ROWS[1:2], PLAIN) == ""


def test_table_of_a_calibrated_model_says_how_far_off_it_is_and_marks_what_is_novel():
    heads, _, usual, within, novel, within_far = format_rows(BOUNDED, CALIBRATED).splitlines()
    assert heads.endswith("novelty")
    assert usual.endswith("0.42")
    assert novel.endswith("1.30 !")
    assert within.startswith("  90% within ")
    # Each file has its own half width: 1.7 - 1.23456789, and 1.7 - 1e-7.
    assert within.split()[-4:] == ["±0.47", "one", "of", "these"]
    assert within_far.split()[-4:] == ["±1.7", "one", "of", "these"]


def test_logarithms_are_off_by_a_factor():
    widths = {"hardness": ConformalWidths(30, math.log(1.25))}
    card = Card((HARDNESS,), {"calibration": Calibration(0.9, widths, 1.0, 30).to_dict()})
    answer = Answer({"hardness": np.array(10.0)}, {"hardness": 8.0}, {"hardness": 12.5}, 0.1)
    assert "×÷1.25" in format_rows([FileAnswer("a", answer=answer)], card)


@pytest.mark.parametrize(("value", "upper"), [(0.0, 0.0), (3e38, math.inf)])
def test_numbers_that_overflowed_have_no_width_and_cost_no_other_answer(value, upper):
    widths = {"hardness": ConformalWidths(30, math.log(1.25))}
    card = Card((HARDNESS,), {"calibration": Calibration(0.9, widths, 1.0, 30).to_dict()})
    numbers = ((value, upper), (8.0, 10.0))
    answers = [Answer({"hardness": np.array(v)}, {"hardness": 0.0}, {"hardness": u}, 9.0) for v, u in numbers]
    rows = [FileAnswer(f"{at}.cube", "", 8.0, answer, total_moment=None) for at, answer in enumerate(answers)]
    _, _, broken, whole, within = format_rows(rows, card).splitlines()
    assert (broken.split()[0], whole.split()[0]) == ("0.cube", "1.cube")
    assert within.split() == ["90%", "within", "×÷1.25"]
    ends = json.loads(json_rows(rows, card))["files"][0]["intervals"]["hardness"]
    assert ends == [0.0, None if math.isinf(upper) else upper]


def test_classes_are_answered_by_name_with_the_set_that_they_belong_to():
    phase = Property("phase", kind="multiclass", classes=3, class_names=("cubic", "layered", "amorphous"))
    items = (PROPERTIES["is_metal"], phase)
    calibration = Calibration(0.9, {"is_metal": ConformalWidths(30, 0.6), "phase": ConformalWidths(30, 0.75)}, None, 30)
    card = Card(items, {"calibration": calibration.to_dict()})
    values = [(0.45, [0.3, 0.1, 0.6]), (0.95, [0.0, 1.0, 0.0])]
    rows = [
        FileAnswer(f"{at}.cube", "NaCl", 8.0, Answer({"is_metal": np.array(p), "phase": np.array(q)}, {}, {}, math.nan))
        for at, (p, q) in enumerate(values)
    ]
    heads, units, *lines = format_rows(rows, card).splitlines()
    assert heads.split() == ["file", "formula", "electrons", "metal", "phase"]
    assert units.split() == ["p(yes)", "class", "(p)"]
    assert lines[0].endswith("0.45  amorphous (0.60) | cubic")
    assert lines[2].endswith(" 0.95            layered (1.00)")
    assert lines[1] == lines[3]
    assert lines[1].endswith("one of these")
    tree = json.loads(json_rows(rows, card))
    assert tree["properties"]["phase"]["classes"] == ["cubic", "layered", "amorphous"]
    assert [file["sets"] for file in tree["files"]] == [
        {"is_metal": ["no", "yes"], "phase": ["amorphous", "cubic"]},
        {"is_metal": ["yes"], "phase": ["layered"]},
    ]
    table = list(csv.DictReader(io.StringIO(csv_rows(rows, card))))
    assert [row["phase_set"] for row in table] == ["amorphous|cubic", "layered"]
    assert [row["is_metal_set"] for row in table] == ["no|yes", "yes"]
    assert (table[0]["phase_cubic"], table[0]["phase_amorphous"]) == ("0.3", "0.6")
    # Without a calibration there are no sets: only the most probable class is shown.
    assert format_rows(rows[:1], Card(items, {})).splitlines()[-1].endswith("amorphous (0.60)")
    assert "phase_set" not in csv_rows(rows, Card(items, {}))
    assert json.loads(json_rows(rows, Card(items, {})))["files"][0]["sets"] == {}


@pytest.mark.parametrize(("width", "shown"), [(512.3, "±510"), (0.04567, "±0.046"), (1.0, "±1"), (math.inf, "")])
def test_half_widths_are_plain_numbers(width, shown):
    assert half_width_text(PROPERTIES["band_gap"], width) == shown


def test_too_few_calibration_crystals_leave_the_errors_of_the_test():
    widths = {name: ConformalWidths(5, math.inf) for name in CALIBRATION.widths}
    metrics = {"model": {"regression": {"band_gap": {"mae": {"value": 0.5}}}}}
    content = {
        "calibration": dataclasses.replace(CALIBRATION, widths=widths).to_dict(),
        "metrics": metrics,
    }
    assert format_rows(ROWS, Card(ITEMS, content)).splitlines()[2].startswith("mean error on test crystals")
