from __future__ import annotations

import numpy as np
import pytest

from rhonet.core.predictions import Predictions
from rhonet.core.properties import Property

GAP = Property("gap", unit="eV")
METAL = Property("metal", kind="binary")
SYSTEM = Property("system", kind="multiclass", classes=3)


def predictions_of(item: Property, labels: list[float], values: object, ids: str = "abc") -> Predictions:
    return Predictions((item,), tuple(ids), {item.name: np.array(labels)}, {item.name: np.array(values)})


def test_sorting_by_id_moves_labels_and_values_together():
    once = predictions_of(SYSTEM, [0, 1, 2], [[1, 0, 0], [0, 1, 0], [0, 0, 1]], ids="cab").sorted_by_id()
    assert once.ids == ("a", "b", "c")
    assert once.labels["system"].tolist() == [1, 2, 0]
    assert once.values["system"].argmax(axis=1).tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("item", "labels", "values", "message"),
    [
        (GAP, [1.0, 2.0], [1.0, 2.0, 3.0], r"gap: labels must have shape \(3,\), got \(2,\)"),
        (GAP, [1.0, 2.0, 3.0], [[1.0], [2.0], [3.0]], r"gap: predictions must have shape \(3,\), got \(3, 1\)"),
        (GAP, [1.0, np.inf, 3.0], [1.0, 2.0, 3.0], "gap: the label of b is infinite"),
        (METAL, [0.0, np.nan, 0.5], [0.0, 0.5, 1.0], "metal: the label of c is 0.5, expected a class from 0 to 1"),
        (METAL, [0.0, 1.0, 1.0], [-2.0, 0.5, 3.0], "metal: predictions must be probabilities"),
        (SYSTEM, [0.0, 1.0, 3.0], np.full((3, 3), 1 / 3), "system: the label of c is 3, expected a class from 0 to 2"),
        (
            SYSTEM,
            [0.0, 1.0, 2.0],
            np.full((3, 2), 1 / 2),
            r"system: predictions must have shape \(3, 3\), got \(3, 2\)",
        ),
    ],
)
def test_what_does_not_fit_is_refused(item, labels, values, message):
    with pytest.raises(ValueError, match=message):
        predictions_of(item, labels, values)


def test_missing_arrays_and_repeated_names_are_refused():
    with pytest.raises(ValueError, match="sample id a is named 2 times"):
        predictions_of(GAP, [1.0, 2.0, 3.0], [1.0, 2.0, 3.0], ids="aba")
    with pytest.raises(ValueError, match="gap: labels or predicted values are not given"):
        Predictions((GAP,), ("a",), {}, {"gap": np.zeros(1)})
    with pytest.raises(ValueError, match="property gap is named 2 times"):
        Predictions((GAP, GAP), ("a",), {"gap": np.zeros(1)}, {"gap": np.zeros(1)})


def bounded(lower: dict[str, np.ndarray], upper: dict[str, np.ndarray], novelty: np.ndarray | None = None):
    labels = {"gap": np.zeros(3), "metal": np.zeros(3)}
    return Predictions((GAP, METAL), tuple("cab"), labels, labels, lower=lower, upper=upper, novelty=novelty)


def test_intervals_and_novelty_move_with_their_samples():
    once = bounded({"gap": np.array([0.0, 1.0, 2.0])}, {"gap": np.array([5.0, 6.0, 7.0])}, np.array([0.1, 0.2, 0.3]))
    there = once.sorted_by_id()
    assert there.ids == ("a", "b", "c")
    assert there.lower["gap"].tolist() == [1, 2, 0]
    assert there.upper["gap"].tolist() == [6, 7, 5]
    assert there.novelty is not None
    assert there.novelty.tolist() == [0.2, 0.3, 0.1]


@pytest.mark.parametrize(
    ("lower", "upper", "message"),
    [
        ({"gap": np.zeros(3)}, {}, "gap: only one end"),
        ({"metal": np.zeros(3)}, {"metal": np.ones(3)}, "metal: has an interval, but is no regression property"),
        ({"gap": np.zeros(2)}, {"gap": np.ones(2)}, r"gap: interval ends must have shape \(3,\), got \(2,\)"),
        ({"gap": np.array([0.0, 2.0, 0.0])}, {"gap": np.ones(3)}, "gap: the interval of a has swapped ends"),
    ],
)
def test_wrong_intervals_are_refused(lower, upper, message):
    with pytest.raises(ValueError, match=message):
        bounded(lower, upper)


def test_sets_move_with_their_samples_and_must_fit():
    phase = Property("phase", kind="multiclass", classes=3)
    members = np.array([[True, False, False], [False, True, True]])
    labels, values = {"phase": np.array([0.0, 2.0])}, {"phase": np.full((2, 3), 1 / 3)}
    both = Predictions((phase,), ("b", "a"), labels, values, sets={"phase": members})
    np.testing.assert_array_equal(both.sorted_by_id().sets["phase"], members[::-1])
    for name, wrong in (("phase", members[:, :2]), ("phase", members[:1]), ("gap", members)):
        with pytest.raises(ValueError, match="but is no class property of that size"):
            Predictions((phase,), ("b", "a"), labels, values, sets={name: wrong})


def test_novelty_of_another_number_of_samples_is_refused():
    with pytest.raises(ValueError, match=r"novelty must have shape \(3,\), got \(4,\)"):
        bounded({}, {}, np.zeros(4))
