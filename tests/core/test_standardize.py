from __future__ import annotations

import json

import numpy as np
import pytest

from rhonet.core.errors import DataError
from rhonet.core.properties import Property
from rhonet.core.standardize import Scale, Standardizer, least_standardized

GAP = Property("gap", unit="eV")
MODULUS = Property("modulus", unit="GPa", transform="log")
MOMENT = Property("moment", unit="µB", intensive=False)
METAL = Property("metal", kind="binary")
PHASE = Property("phase", kind="multiclass", classes=3)

VOLUMES = np.array([10.0, 20.0, 40.0, 80.0])


def columns(*labels: list[float]) -> np.ndarray:
    return np.array(labels, dtype=float).T


def test_known_labels_get_mean_zero_and_deviation_one_and_missing_ones_stay_missing():
    labels = columns([1.0, np.nan, 3.0, 8.0], [np.nan, 10.0, 100.0, 1000.0])
    scaled = Standardizer.fit((GAP, MODULUS), labels, VOLUMES).forward(labels, VOLUMES)
    assert np.isnan(scaled).tolist() == np.isnan(labels).tolist()
    np.testing.assert_allclose(np.nanmean(scaled, axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(np.nanstd(scaled, axis=0), 1, atol=1e-6)
    assert scaled.dtype == np.float32


def test_logarithm_and_volume_are_taken_before_the_scale():
    fitted = Standardizer.fit((MODULUS, MOMENT), columns([1, 10, 100, 1000], [10, 40, 120, 320]), VOLUMES)
    assert fitted.scales[0].mean == pytest.approx(1.5 * np.log(10))
    assert fitted.scales[1].mean == pytest.approx(np.mean([1, 2, 3, 4]))
    assert fitted.scales[1].std == pytest.approx(np.std([1, 2, 3, 4]))


def test_an_extensive_label_per_volume_does_not_see_the_size_of_the_cell():
    labels = columns([10, 40, 120, 320])
    fitted = Standardizer.fit((MOMENT,), labels, VOLUMES)
    np.testing.assert_allclose(fitted.forward(8 * labels, 8 * VOLUMES), fitted.forward(labels, VOLUMES), rtol=1e-6)


def test_least_output_is_that_of_zero_where_nothing_lies_below():
    width = Property("width", unit="eV", nonnegative=True)
    mass = Property("mass", unit="u", transform="log", nonnegative=True)
    scales = (Scale(1.5, 2.0), Scale(1.5, 2.0), Scale(0, 1), Scale(3.0, 0.5))
    least = least_standardized(Standardizer((GAP, width, PHASE, mass), scales))
    assert least.tolist() == [lowest := np.finfo(np.float32).min, -0.75, *[lowest] * 4]


def test_classes_pass_unchanged():
    labels = columns([0, 1, np.nan, 1], [2, 0, 1, np.nan])
    fitted = Standardizer.fit((METAL, PHASE), labels, VOLUMES)
    assert fitted.scales == (Scale(0, 1), Scale(0, 1))
    np.testing.assert_array_equal(fitted.forward(labels, VOLUMES), labels)
    tempered = Standardizer(fitted.properties, (Scale(0, 0.5), Scale(0, 0.2)))
    np.testing.assert_array_equal(tempered.forward(labels, VOLUMES), labels)


def test_equal_labels_are_only_shifted():
    fitted = Standardizer.fit((GAP,), columns([3, 3, 3, 3]), VOLUMES)
    assert fitted.scales == (Scale(3.0, 1.0),)
    np.testing.assert_array_equal(fitted.forward(columns([3, 4, 3, 3]), VOLUMES), columns([0, 1, 0, 0]))


@pytest.mark.parametrize("unit", [1e-19, 1e-30, 1e25])
def test_scale_follows_the_labels_whatever_their_unit(unit):
    labels = [number * unit for number in (1.0, 2.0, 3.0, 6.0)]
    fitted = Standardizer.fit((GAP,), columns(labels), VOLUMES)
    np.testing.assert_allclose(fitted.forward(columns(labels), VOLUMES).std(), 1.0)
    equal = Standardizer.fit((GAP,), columns([unit] * 4), VOLUMES)
    assert equal.scales[0].std <= unit


def test_it_survives_json_without_a_change_of_any_bit():
    labels = columns([0.1, 0.7, 0.2, 0.9], [1 / 3, 2, 5, 7], [0, 1, 2, 0])
    fitted = Standardizer.fit((GAP, MODULUS, PHASE), labels, VOLUMES)
    assert Standardizer.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted


@pytest.mark.parametrize(
    ("item", "labels", "message"),
    [
        (GAP, [np.nan] * 4, "'gap' has no label in the training split; leave it out of data.properties or add data"),
        (MODULUS, [1, -2.5, 3, 4], r"'modulus' is learned as a logarithm but has the label -2.5; .*identity"),
        (METAL, [0, 1, 2, 0], r"'metal': label 2 is none of the classes 0 \.\.\. 1"),
        (PHASE, [0, 1, 0.5, 2], r"'phase': label 0.5 is none of the classes 0 \.\.\. 2"),
    ],
)
def test_labels_that_cannot_be_learned_are_named(item, labels, message):
    with pytest.raises(DataError, match=message):
        Standardizer.fit((item,), columns(labels), VOLUMES)
