from __future__ import annotations

import math

import numpy as np

from rhonet.core.properties import Property
from rhonet.uncertainty.calibration import Calibration, ConformalWidths
from rhonet.uncertainty.prediction_sets import prediction_sets, with_sets
from tests.evaluation.test_metrics import simulate


def test_sets_contain_every_probable_class_and_are_never_empty():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.9, 0.1, 0.0], [0.4, 0.35, 0.25]])
    system = Property("system", kind="multiclass", classes=3)
    expected = [[True, True, False], [True, False, False], [True, True, False]]
    assert prediction_sets(system, probabilities, 0.7).tolist() == expected
    assert prediction_sets(system, probabilities, 0.05).tolist() == [[True, False, False]] * 3
    metal = Property("metal", kind="binary")
    assert prediction_sets(metal, np.array([0.9, 0.55, 0.1]), 0.6).tolist() == [
        [False, True],
        [True, True],
        [True, False],
    ]


def test_properties_with_a_finite_half_width_get_sets():
    predictions = simulate(5)
    widths = {
        "metal": ConformalWidths(30, 0.6),
        "system": ConformalWidths(3, math.inf),
        "gap": ConformalWidths(30, 0.5),
    }
    with_some = with_sets(predictions, Calibration(0.9, widths, None, 30))
    assert {name: members.shape for name, members in with_some.sets.items()} == {"metal": (5, 2)}
    assert with_sets(predictions, None).sets == {}
