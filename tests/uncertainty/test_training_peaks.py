"""The space of the training crystals' peaks, and distances in it."""

from __future__ import annotations

import numpy as np
import pytest

from rhonet.uncertainty.novelty import distances_of
from rhonet.uncertainty.training_peaks import WIDTHS, TrainingPeaks

N_ELEMENTS = 8


def crystals_of(elements: np.ndarray, n: int, *, seed: int = 0) -> list[np.ndarray]:
    """Crystals with two peaks each: fingerprints of two elements with noise, largest for the largest width."""
    rng = np.random.default_rng(seed)
    deviations = np.array([0.01, 0.02, 0.05, 0.2])
    chosen = [rng.choice(len(elements), 2, replace=False) for _ in range(n)]
    return [elements[pair] + deviations * rng.normal(size=(2, len(WIDTHS))) for pair in chosen]


@pytest.fixture(scope="module")
def elements() -> np.ndarray:
    return np.random.default_rng(1).normal(4, 1, (N_ELEMENTS + 1, len(WIDTHS)))


def test_directions_in_which_elements_vary_less_count_more(elements):
    training_peaks = TrainingPeaks.fit(crystals_of(elements[:-1], 100))
    steps = [elements[:1] + 0.5 * direction for direction in np.eye(len(WIDTHS))]
    distances = distances_of(training_peaks, steps)
    assert (np.diff(distances) < 0).all()


def test_known_elements_are_near_and_a_new_one_is_far(elements):
    training_peaks = TrainingPeaks.fit(crystals_of(elements[:-1], 100))
    seen = distances_of(training_peaks, crystals_of(elements[:-1], 100, seed=2))
    mixed = [np.stack([elements[-1], crystal[0]]) for crystal in crystals_of(elements[:-1], 20, seed=3)]
    assert distances_of(training_peaks, mixed).min() > 2 * np.quantile(seen, 0.95)


def test_one_unusual_peak_counts_and_many_count_more(elements):
    training_peaks = TrainingPeaks.fit(crystals_of(elements[:-1], 100))
    known = elements[:4].copy()
    one_shifted, all_shifted = known.copy(), known + 3
    one_shifted[0] += 3
    near, farther, farthest = distances_of(training_peaks, [known, one_shifted, all_shifted])
    assert near < farther < farthest


@pytest.mark.parametrize("peaks", [[np.ones((1, 4))], [np.ones((3, 4))], [np.ones((1, 4)), np.ones((1, 4))]])
def test_crystals_without_similar_peaks_still_make_a_space(peaks):
    training_peaks = TrainingPeaks.fit(peaks)
    assert np.isfinite(training_peaks.whitening).all()
    same, different = distances_of(training_peaks, [np.ones((1, 4)), np.zeros((1, 4))])
    assert same == 0 < different


def test_training_peaks_come_back_as_they_were_saved(elements, tmp_path):
    saved = TrainingPeaks.fit(crystals_of(elements, 20))
    saved.save(tmp_path / "training_peaks.npz")
    loaded = TrainingPeaks.load(tmp_path / "training_peaks.npz")
    np.testing.assert_array_equal(loaded.whitening, saved.whitening)
    np.testing.assert_array_equal(loaded.points, saved.points)
    assert [path.name for path in tmp_path.iterdir()] == ["training_peaks.npz"]
