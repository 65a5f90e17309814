"""The space of the training crystals' peaks, and distances in it."""

from __future__ import annotations

import numpy as np
import pytest

from rhonet.uncertainty.novelty import distances_of
from rhonet.uncertainty.training_peaks import WIDTHS, TrainingPeaks

N_ELEMENTS = 8


def crystals_of(elements: np.ndarray, n: int, *, seed: int = 0) -> list[np.ndarray]:
    """Crystals of two peaks, fingerprints of elements that vary most where elements differ least."""
    rng = np.random.default_rng(seed)
    deviations = np.array([0.01, 0.02, 0.05, 0.2])
    chosen = [rng.choice(len(elements), 2, replace=False) for _ in range(n)]
    return [elements[one] + deviations * rng.normal(size=(2, len(WIDTHS))) for one in chosen]


@pytest.fixture(scope="module")
def elements() -> np.ndarray:
    return np.random.default_rng(1).normal(4, 1, (N_ELEMENTS + 1, len(WIDTHS)))


def test_a_direction_counts_the_more_the_less_an_element_varies_in_it(elements):
    training_peaks = TrainingPeaks.fit(crystals_of(elements[:-1], 100))
    steps = [elements[:1] + 0.5 * direction for direction in np.eye(len(WIDTHS))]
    distances = distances_of(training_peaks, steps)
    assert (np.diff(distances) < 0).all()


def test_known_elements_are_near_and_a_new_one_is_far(elements):
    training_peaks = TrainingPeaks.fit(crystals_of(elements[:-1], 100))
    seen = distances_of(training_peaks, crystals_of(elements[:-1], 100, seed=2))
    mixed = [np.stack([elements[-1], one[0]]) for one in crystals_of(elements[:-1], 20, seed=3)]
    assert distances_of(training_peaks, mixed).min() > 2 * np.quantile(seen, 0.95)


def test_one_strange_site_counts_and_many_count_more(elements):
    training_peaks = TrainingPeaks.fit(crystals_of(elements[:-1], 100))
    known = elements[:4].copy()
    one, all_of_them = known.copy(), known + 3
    one[0] += 3
    at_home, partly, wholly = distances_of(training_peaks, [known, one, all_of_them])
    assert at_home < partly < wholly


@pytest.mark.parametrize("peaks", [[np.ones((1, 4))], [np.ones((3, 4))], [np.ones((1, 4)), np.ones((1, 4))]])
def test_crystals_without_relatives_still_make_a_space(peaks):
    training_peaks = TrainingPeaks.fit(peaks)
    assert np.isfinite(training_peaks.whitening).all()
    there, away = distances_of(training_peaks, [np.ones((1, 4)), np.zeros((1, 4))])
    assert there == 0 < away


def test_surroundings_come_back_as_they_were_saved(elements, tmp_path):
    saved = TrainingPeaks.fit(crystals_of(elements, 20))
    saved.save(tmp_path / "training_peaks.npz")
    loaded = TrainingPeaks.load(tmp_path / "training_peaks.npz")
    np.testing.assert_array_equal(loaded.whitening, saved.whitening)
    np.testing.assert_array_equal(loaded.points, saved.points)
    assert [path.name for path in tmp_path.iterdir()] == ["training_peaks.npz"]
