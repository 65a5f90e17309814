"""report.html is complete and self-contained, names what is missing, and escapes all names."""

from __future__ import annotations

import dataclasses
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.evaluation.metrics import evaluate
from rhonet.reports.html_report import ReportContent, report_page, write_report
from rhonet.reports.terminal import SplitSummary
from rhonet.uncertainty.calibration import Calibration, fit_calibration
from rhonet.uncertainty.prediction_sets import with_sets
from tests.evaluation.test_metrics import ALL, GAP, METAL, MODULUS, SYSTEM, simulate

VOID = {"meta", "img", "br", "hr", "link", "input"}
EPOCHS = [
    {"epoch": at, "loss": {"train": 1 / at, "validation": 1.2 / at}, "r2": {"gap": None if at == 1 else 1 - 1 / at}}
    for at in range(1, 6)
]


class Page(HTMLParser):
    """Parsed elements of a page; fails if opening and closing tags do not match."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def values(self, attribute: str) -> list[str]:
        return [value for name, value in self.attributes if name == attribute]

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def calibrated(predictions: Predictions) -> tuple[Predictions, Calibration]:
    """The same predictions with intervals and novelty of a model that was calibrated on 60 other crystals."""
    calibration = fit_calibration(simulate(60, seed=9), np.ones(60), np.random.default_rng(9).random(60))
    lower, upper = {}, {}
    for item in predictions.properties:
        if not item.is_class:
            width, value = calibration.widths[item.name].half_width, predictions.values[item.name]
            ends = (value - width, value + width)
            lower[item.name], upper[item.name] = (
                (value * np.exp(-width), value * np.exp(width)) if item.transform == "log" else ends
            )
    novelty = np.linspace(0.1, 1.4, len(predictions))
    return dataclasses.replace(predictions, lower=lower, upper=upper, novelty=novelty), calibration


def content_of(predictions: Predictions, **changes: Any) -> ReportContent:
    names = [item.name for item in predictions.properties]
    noisy = simulate(len(predictions), noise=2.0)
    dummy = dataclasses.replace(predictions, values={name: noisy.values[name] for name in names}, lower={}, upper={})
    content = ReportContent(
        model="base",
        facts={"Model": "runs/base", "Evaluated": "2026-11-22 20:00 UTC", "Training data": ""},
        split=SplitSummary("test", "chemical_system", 0, (0.8, 0.1, 0.1), {"train": 80, "validation": 10, "test": 10}),
        predictions=predictions,
        volumes=np.ones(len(predictions)),
        formulas={},
        baselines={"dummy": dummy},
        evaluation=evaluate(predictions, resamples=20),
        baseline_evaluations={"dummy": evaluate(dummy, resamples=20)},
        calibration=None,
        histories=(),
    )
    return dataclasses.replace(content, **changes)


def only(predictions: Predictions, *items: Property) -> Predictions:
    labels, values, lower, upper = (
        {item.name: arrays[item.name] for item in items if item.name in arrays}
        for arrays in (predictions.labels, predictions.values, predictions.lower, predictions.upper)
    )
    return Predictions(items, predictions.ids, labels, values, lower=lower, upper=upper, novelty=predictions.novelty)


@pytest.fixture(scope="module")
def whole() -> str:
    predictions, calibration = calibrated(simulate(30))
    return report_page(content_of(predictions, calibration=calibration, histories=[EPOCHS, EPOCHS[:3]]))


def test_the_page_is_whole_and_holds_every_property(whole):
    page = Page(whole)
    anchors = page.values("id")
    assert len(anchors) == len(set(anchors))
    assert {f"property-{item.name}" for item in ALL} <= set(anchors)
    assert {link.removeprefix("#") for link in page.values("href")} <= set(anchors)
    # Two per property, calibration, novelty, losses, R².
    assert page.tags.count("img") == 2 * len(ALL) + 4
    assert page.tags.count("figcaption") == page.tags.count("img") + page.tags.count("table")
    assert all(page.values("alt"))
    assert {"table", "thead", "nav", "main", "header", "dl"} <= set(page.tags)
    assert "over 2 networks" not in page.text
    assert "Losses of the 2 networks" in page.text


def test_the_page_needs_nothing_else(whole):
    page = Page(whole)
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert all(source.startswith("data:image/svg+xml;base64,") for source in page.values("src"))
    assert all(link.startswith("#") for link in page.values("href"))
    assert not re.search(r"url\(|@import", whole)


def test_scores_stand_beside_those_of_the_baselines(whole):
    text, scored = Page(whole).text, evaluate(simulate(30), resamples=20)
    gap = next(item for item in scored.regression if item.target.name == "gap")
    assert f"gap (eV) MAE {gap.mae.value:.3g} " in text
    assert f"AUC {scored.classes[0].auc.value:.2f} " in text
    assert "dummy: median" in text


def test_worst_cases_are_named_with_their_formulas():
    predictions, _ = calibrated(simulate(30))
    worst = np.argsort(-np.abs(predictions.values["gap"] - predictions.labels["gap"]))[:5]
    formulas = {predictions.ids[at]: f"Na{at}Cl" for at in worst}
    text = Page(report_page(content_of(only(predictions, GAP), formulas=formulas))).text
    places = [text.index(f"{predictions.ids[at]} Na{at}Cl") for at in worst]
    assert places == sorted(places)


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "$\\alpha & é\n\0"])
def test_hostile_names_are_shown_and_never_run(hostile, tmp_path):
    predictions, calibration = calibrated(simulate(12))
    named = dataclasses.replace(only(predictions, GAP), ids=tuple(f"{hostile}{at}\udcff" for at in range(12)))
    content = content_of(
        named,
        model=hostile,
        facts={hostile: hostile},
        formulas=dict.fromkeys(named.ids, hostile),
        calibration=calibration,
    )
    write_report(tmp_path / "report.html", content)
    page = Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.values("onerror") == []
    assert all(source.startswith("data:") for source in page.values("src"))
    assert hostile.split("\n")[0] in page.text


def test_without_calibration_the_page_says_so():
    text = Page(report_page(content_of(only(simulate(12), MODULUS, GAP)))).text
    assert "The model gives neither intervals nor novelty." in text
    assert "No prediction intervals: modulus, gap." in text
    assert "No novelty" in text
    assert "history does not lie beside the model" in text
    assert "Bars:" not in text


def test_a_property_without_labels_is_named_but_not_drawn():
    predictions, calibration = calibrated(simulate(12))
    predictions.labels["gap"][:] = np.nan
    page = Page(report_page(content_of(only(predictions, GAP, METAL), calibration=calibration)))
    assert "property-gap" in page.values("id")
    assert "No sample of the test split has a label and a prediction of this property." in page.text
    assert not [alt for alt in page.values("alt") if alt.startswith("Gap")]
    assert "n/a: gap" in page.text


def test_no_labels_at_all_still_make_a_page():
    predictions, calibration = calibrated(simulate(4))
    for labels in predictions.labels.values():
        labels[:] = np.nan
    page = Page(report_page(content_of(predictions, calibration=calibration)))
    assert "img" not in page.tags
    assert "No calibration curve" in page.text


@pytest.mark.parametrize("items", [(METAL, SYSTEM), (MODULUS,), (GAP,), (METAL,)], ids=lambda items: items[0].name)
@pytest.mark.parametrize("n", [1, 12])
def test_any_choice_of_properties_makes_a_page(items, n):
    predictions, calibration = calibrated(simulate(n))
    page = Page(report_page(content_of(only(predictions, *items), calibration=calibration)))
    assert [name for name in page.values("id") if name.startswith("property-")] == [
        f"property-{item.name}" for item in items
    ]
    assert ("Regression: scores" in page.text) == any(not item.is_class for item in items)
    assert ("Classes: scores" in page.text) == any(item.is_class for item in items)


def test_labels_and_predictions_without_a_logarithm_do_not_stop_the_page():
    predictions = simulate(12)
    predictions.labels["modulus"][0], predictions.values["modulus"][1] = -1.0, 0.0
    predictions.values["gap"][2] = np.nan
    text = Page(report_page(content_of(only(predictions, MODULUS, GAP)))).text
    assert "1 of 12 labels are not above 0" in text
    assert "1 of 12 predictions are not finite" in text


def test_scores_where_not_zero_stand_in_all_tables():
    predictions = only(simulate(30), GAP)
    predictions.labels["gap"][:12] = 0
    text = Page(report_page(content_of(predictions))).text
    part = evaluate(predictions, resamples=20).regression[0].where_not_zero
    assert part is not None
    score = f"{part.r2.value:.2f} [{part.r2.lower:.2f}, {part.r2.upper:.2f}]"
    assert text.count(score) == 3  # all properties; this one: the model and its twin
    assert f"gap where not zero (reference above {part.above:.5f} eV in size): 18 samples." in text
    assert "where not zero" not in Page(report_page(content_of(only(simulate(30), GAP)))).text


def test_classes_go_by_their_names():
    system = dataclasses.replace(SYSTEM, class_names=("close-packed", "<b>", "other"))
    predictions, calibration = calibrated(simulate(30))
    named = Predictions(
        (system,), predictions.ids, {"system": predictions.labels["system"]}, {"system": predictions.values["system"]}
    )
    page = Page(report_page(content_of(with_sets(named, calibration), calibration=calibration)))
    assert "close-packed" in page.text
    assert "close−packed" not in page.text
    assert "b" not in page.tags
    assert re.search(r"system set \d\.\d\d classes", page.text)
    assert "classes of system: close-packed" in page.text


def test_the_same_content_makes_the_same_page():
    predictions, calibration = calibrated(simulate(8))
    content = content_of(only(predictions, GAP, METAL), calibration=calibration, histories=[EPOCHS])
    assert report_page(content) == report_page(content)


def test_a_page_that_cannot_be_written_leaves_none(tmp_path: Path):
    with pytest.raises(OSError, match="nowhere"):
        write_report(tmp_path / "nowhere" / "report.html", content_of(only(simulate(3), METAL)))
    assert list(tmp_path.iterdir()) == []
