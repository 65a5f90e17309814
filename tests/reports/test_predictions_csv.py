"""predictions.csv holds every sample with all its columns."""

from __future__ import annotations

import csv

import numpy as np

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property
from rhonet.reports.predictions_csv import predictions_csv

GROUP = Property("group")
GAP = Property("gap", unit="eV")
METAL = Property("metal", kind="binary")
PHASE = Property("phase", kind="multiclass", class_names=("dense", "open"), classes=2)


def test_every_sample_has_labels_predictions_interval_and_baselines():
    labels = {"gap": np.array([1.0, np.nan]), "metal": np.array([0.0, 1.0]), "phase": np.array([1.0, np.nan])}
    values = {"gap": np.array([1.25, 2.0]), "metal": np.array([0.125, 0.5]), "phase": np.array([[0.25, 0.75], [1, 0]])}
    predictions = Predictions(
        (GAP, METAL, PHASE),
        ("b", "a"),
        labels,
        values,
        lower={"gap": np.array([1.0, 1.5])},
        upper={"gap": np.array([1.5, 2.5])},
        novelty=np.array([0.5, 2.0]),
        groups=("Na", "Cl"),
    )
    other = Predictions((GAP, METAL, PHASE), ("a", "b"), {k: v[::-1] for k, v in labels.items()}, values)
    text = predictions_csv(predictions, baselines={"dummy": other}, formulas={"b": "Na2"})
    first, second = csv.DictReader(text.splitlines())
    assert (first["id"], second["id"]) == ("a", "b")
    assert second == {
        "id": "b",
        "formula": "Na2",
        "group": "Na",
        "gap [eV]": "1",
        "gap_predicted [eV]": "1.25",
        "gap_lower [eV]": "1",
        "gap_upper [eV]": "1.5",
        "gap_dummy [eV]": "2",
        "metal": "0",
        "metal_predicted": "0.125",
        "metal_dummy": "0.5",
        "phase": "open",
        "phase_predicted": "open",
        "phase_p_dense": "0.25",
        "phase_p_open": "0.75",
        "phase_dummy": "dense",
        "novelty": "0.5",
    }
    assert (first["gap [eV]"], first["phase"], first["formula"], first["phase_predicted"]) == ("", "", "", "dense")


def test_property_that_is_called_like_a_column_keeps_its_own():
    labels, values = {"group": np.array([3.0])}, {"group": np.array([4.0])}
    text = predictions_csv(Predictions((GROUP,), ("a",), labels, values, groups=("Na",)), baselines={}, formulas={})
    assert text == "id,formula,group,group (property),group_predicted\na,,Na,3,4\n"
