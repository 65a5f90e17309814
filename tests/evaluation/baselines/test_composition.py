from __future__ import annotations

import numpy as np
import pytest

from rhonet.evaluation.baselines.composition import N_FEATURES, composition_features, element_table


def test_a_multiple_of_a_formula_and_another_order_are_the_same_composition():
    expected = composition_features("Fe2O3")
    assert expected.shape == (N_FEATURES,)
    np.testing.assert_allclose(composition_features("Fe4O6"), expected, rtol=1e-12)
    np.testing.assert_allclose(composition_features("O3Fe2"), expected, rtol=1e-12)
    assert not np.allclose(composition_features("FeO"), expected)


def test_statistics_are_weighted_by_atomic_fraction():
    features = composition_features("NaCl3")
    n = element_table().shape[1]
    mean, deviation, smallest, largest, span = features[: 5 * n].reshape(5, n)[:, 0]
    # Atomic numbers 11 and 17: the mean is 15.5, the deviations 4.5 and 1.5.
    assert (mean, deviation, smallest, largest, span) == (15.5, 0.25 * 4.5 + 0.75 * 1.5, 11, 17, 6)


def test_an_element_is_its_row_of_the_table():
    table, features = element_table(), composition_features("Si")
    n = table.shape[1]
    mean, deviation, smallest, largest, span = features[: 5 * n].reshape(5, n)
    for statistic in (mean, smallest, largest):
        np.testing.assert_array_equal(statistic, table[14])
    assert not deviation.any()
    assert not span.any()
    # One element: all norms are 1, the valence electrons are two of s and two of p, and nothing is ionic.
    np.testing.assert_allclose(features[5 * n :], [1, 1, 1, 1, 0.5, 0.5, 0, 0, 0, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("number", "electrons", "holes"),
    [
        (1, (1, 0, 0, 0, 1), (1, 0, 0, 0, 1)),
        (8, (2, 4, 0, 0, 6), (0, 2, 0, 0, 2)),
        (26, (2, 0, 6, 0, 8), (0, 0, 4, 0, 4)),
        (31, (2, 1, 10, 0, 13), (0, 5, 0, 0, 5)),
        (64, (2, 0, 1, 7, 10), (0, 0, 9, 7, 16)),
        (54, (2, 6, 10, 0, 18), (0, 0, 0, 0, 0)),
    ],
)
def test_valence_electrons_are_those_outside_of_the_noble_gas_core(number, electrons, holes):
    row = element_table()[number]
    assert tuple(row[-10:-5]) == electrons
    assert tuple(row[-5:]) == holes


def test_the_table_has_no_gap_and_known_values():
    table = element_table()
    assert np.isfinite(table[1:]).all()
    assert np.isnan(table[0]).all()
    # Iron: group 8, row 4, Pauling electronegativity 1.83, melting point 1811 K.
    assert table[26, [3, 4, 5, 6]].tolist() == [8, 4, 1.83, 1811]
    # Helium has no electronegativity: it gets the median.
    assert 1 < table[2, 5] < 2


def test_rock_salt_is_more_ionic_than_galena():
    assert composition_features("NaCl")[-2] > composition_features("PbS")[-2] > 0


@pytest.mark.parametrize("formula", ["", "X", "X2O"])
def test_formula_without_elements_has_no_features(formula):
    features = composition_features(formula)
    assert features.shape == (N_FEATURES,)
    assert np.isnan(features).all()
