"""Model cards survive being written and read; damaged cards are refused with one clear line."""

from __future__ import annotations

import dataclasses
import json

import pytest
import tomli_w

from rhonet.core.config import load_config
from rhonet.core.errors import ModelError
from rhonet.core.properties import PROPERTIES, Property
from rhonet.serving.model_card import CARD_VERSION, Card, read_card, write_card
from rhonet.training.runs import Run

ITEMS = (PROPERTIES["bulk_modulus"], Property("phase", kind="multiclass", classes=3))


@pytest.fixture
def run(tmp_path) -> Run:
    record = {
        "started": "2026-11-22T12:00:00+00:00",
        "command": "python -m rhonet.train",
        "rhonet": "0.1",
        "commit": "abc",
        "versions": {"keras": "3.15"},
        "data": {"name": "toy", "fingerprint": "1234", "about": {}},
        "standardizer": {"properties": [dataclasses.asdict(item) for item in ITEMS], "scales": [[0, 1], [0, 1]]},
    }
    (tmp_path / "run.json").write_text(json.dumps(record))
    (tmp_path / "config.toml").write_text(load_config("tiny", ["view.views=3", "view.blurs=0.2,0.4"]).to_toml())
    return Run(tmp_path)


def test_card_comes_back_with_its_properties(run):
    write_card(run, run.path)
    card = read_card(run.path)
    assert card.properties == ITEMS
    assert card.content["data"]["fingerprint"] == "1234"
    assert card.content["model"]["commit"] == "abc"
    assert "e/Å³" in card.content["model"]["input"]
    assert "metrics" not in card.content
    assert card.view == load_config("tiny", ["view.views=3", "view.blurs=0.2,0.4"]).view


def test_card_names_the_commits_at_which_the_run_went_on(run):
    write_card(run, run.path)
    assert "resumed_at_commits" not in read_card(run.path).content["model"]
    record = json.loads(run.record_file.read_text()) | {"resumed": [{"commit": "def"}, {"commit": "fed"}]}
    run.record_file.write_text(json.dumps(record))
    write_card(run, run.path)
    assert read_card(run.path).content["model"]["resumed_at_commits"] == ["def", "fed"]


def test_view_of_a_fine_grid_is_read_and_that_of_another_rhonet_is_not_known():
    view = load_config("tiny", ["data.spacing=0.15", "view.finest=0.15"]).to_dict()["view"]
    read = Card(ITEMS, {"view": view}).view
    assert read is not None
    assert read.finest == 0.15
    lacking = {key: value for key, value in view.items() if key != "views"}
    for other in (lacking, view | {"of_tomorrow": 1}, view | {"kind": "sphere"}):
        assert Card(ITEMS, {"view": other}).view is None
    assert Card(ITEMS, {}).view is None


def test_card_holds_the_metrics_without_what_is_undefined(run):
    metrics = {"model": {"r2": {"value": 0.5, "lower": None}, "counts": [1, 2]}}
    run.metrics_file.write_text(json.dumps(metrics))
    write_card(run, run.path)
    assert read_card(run.path).content["metrics"] == {"model": {"r2": {"value": 0.5}, "counts": [1, 2]}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("card_version = ", "card.toml: cannot be read as a model card: .*; export the model again"),
        ("", "cannot be read as a model card: 'card_version'"),
        (f"card_version = {CARD_VERSION}", "cannot be read as a model card: 'properties'"),
        (
            tomli_w.dumps({"card_version": CARD_VERSION, "properties": [{"name": "gap", "kind": "odd"}]}),
            "cannot be read as a model card: property gap: kind 'odd' is none of",
        ),
        (
            tomli_w.dumps({"card_version": CARD_VERSION, "properties": [{"title": "gap"}]}),
            "cannot be read as a model card: .* unexpected keyword argument 'title'",
        ),
        ("card_version = 99", "card of version 99, this rhonet reads 1; export the model again, or use the rhonet"),
    ],
)
def test_card_that_cannot_be_used_is_one_clear_line(tmp_path, text, message):
    (tmp_path / "card.toml").write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        read_card(tmp_path)
    assert "\n" not in str(caught.value)


def test_folder_or_file_without_a_card_is_no_model(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "nothing", tmp_path / "file"):
        with pytest.raises(
            ModelError, match=r"not a model folder \(no card.toml\); models are made by python -m rhonet"
        ):
            read_card(path)
