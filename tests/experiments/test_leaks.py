from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from rhonet.core.density import ChargeDensity
from rhonet.core.errors import DataError
from rhonet.data.descriptors import strain_tolerant_descriptor
from rhonet.experiments.leaks import (
    STRAIN,
    LeakAudit,
    audit_leaks,
    format_audit,
    random_strain,
    read_audit,
    strain_density,
)
from tests.synthetic import density_of

pytest_plugins = ("tests.fixtures",)

CELL = np.array([[3.0, 0.2, 0.0], [0.0, 3.4, 0.3], [0.4, 0.0, 3.8]])


def crystal(seed: int = 0, shape: tuple[int, int, int] = (16, 18, 20)) -> ChargeDensity:
    """Positive density of a few plane waves."""
    generator = np.random.default_rng(seed)
    waves = np.zeros(shape, complex)
    waves[:3, :3, :3] = generator.normal(size=(3, 3, 3)) + 1j * generator.normal(size=(3, 3, 3))
    field = np.fft.ifftn(waves).real
    values = 1.1 + field / np.abs(field).max()
    return density_of(values, lattice=CELL, n_electrons=12.0)


def rotation(seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))[0]


def distance(one: ChargeDensity, other: ChargeDensity) -> float:
    """Distance of two descriptors relative to that of two different crystals."""
    scale = np.linalg.norm(strain_tolerant_descriptor(crystal()) - strain_tolerant_descriptor(crystal(1)))
    return float(np.linalg.norm(strain_tolerant_descriptor(one) - strain_tolerant_descriptor(other)) / scale)


def test_origin_orientation_and_choice_of_cell_do_not_matter():
    given = crystal()
    supercell = density_of(np.tile(given.values, (2, 1, 1)), lattice=CELL * [[2], [1], [1]])
    # b' = b + a: grid point (i, j, k) of the new cell is (i + j·nx/ny, j, k) of the old one, a point for nx = ny.
    square = crystal(shape=(18, 18, 20))
    skewed = square.values[(np.arange(18)[:, None] + np.arange(18)) % 18, np.arange(18)]
    others = [
        (given, dataclasses.replace(given, values=np.roll(given.values, (3, 7, 11), axis=(0, 1, 2)))),
        (given, dataclasses.replace(given, lattice=CELL @ rotation(2))),
        (given, supercell),
        (square, density_of(skewed, lattice=np.array([CELL[0], CELL[0] + CELL[1], CELL[2]]))),
    ]
    for one, other in others:
        assert distance(one, other) < 1e-6


def test_a_shift_between_grid_points_hardly_matters():
    fine = crystal(shape=(32, 36, 40))
    halves = [dataclasses.replace(fine, values=fine.values[at::2, at::2, at::2]) for at in (0, 1)]
    # Half a point of a 0.19 Å grid along each axis moves the histogram a little.
    assert distance(*halves) < 0.01


def test_distance_grows_with_the_strain_and_stays_below_that_of_other_crystals():
    strain = random_strain(np.random.default_rng(0))
    near, far = (distance(crystal(), strain_density(crystal(), factor * strain)) for factor in (1, 3))
    assert 0 < near < far < 0.5


def test_strain_keeps_the_electrons_and_has_the_size_it_says():
    strain = random_strain(np.random.default_rng(0))
    np.testing.assert_allclose(strain, strain.T)
    assert np.linalg.norm(strain) == pytest.approx(np.linalg.norm(STRAIN * np.eye(3)))
    assert strain_density(crystal(), strain).n_electrons == pytest.approx(12)


def audit(descriptors: np.ndarray, splits: str, *, groups: str, strained: float = 0.1) -> LeakAudit:
    """Audit of records "a", "b", ... in splits and groups given by letters, with copies `strained` away."""
    names = {"t": "train", "v": "validation", "e": "test"}
    ids = np.array([chr(ord("a") + at) for at in range(len(splits))])
    where = np.array([names[letter] for letter in splits])
    copies = {at: descriptors[at] + strained for at in np.flatnonzero(where == "train").tolist()}
    return audit_leaks(ids, where, np.array(list(groups)), descriptors=descriptors, strained_copies=copies)


def test_a_duplicate_across_splits_is_the_first_of_the_pairs():
    descriptors = np.random.default_rng(0).normal(size=(12, 62))
    descriptors[10] = descriptors[3] + 1e-6
    leaks = audit(descriptors, "ttttttttvvee", groups="abcdefghijkl")
    first = leaks.pairs[0]
    assert (first.split, first.id, first.train_id) == ("test", "k", "d")
    assert first.distance < 1e-5
    assert len(leaks.pairs) == 4
    assert {spread.name: spread.duplicates for spread in leaks.distances}["test to train"] == 1
    assert "| test | k | d |" in format_audit(leaks)
    assert json.loads(json.dumps(leaks.to_dict()))["pairs"][0]["id"] == "k"


def test_one_is_the_root_mean_square_distance_of_training_records():
    descriptors = np.random.default_rng(0).normal(size=(40, 62)) * np.geomspace(1, 1e3, 62)
    leaks = audit(np.concatenate([descriptors, descriptors]), "t" * 40 + "e" * 40, groups="a" * 80)
    largest = {spread.name: spread for spread in leaks.distances}["train to train"].quantiles[-1]
    assert 0.2 < largest < 1.5
    # Every test record is a copy of a training record: nothing is between them.
    assert max(pair.distance for pair in leaks.pairs) == 0


def test_relatives_within_a_group_do_not_count_for_the_yardstick_of_other_groups():
    descriptors = np.random.default_rng(0).normal(size=(6, 62))
    descriptors[1] = descriptors[0] + 1e-6
    spreads = {spread.name: spread for spread in audit(descriptors, "ttttee", groups="aabcde").distances}
    assert spreads["train to train"].quantiles[0] < 1e-5
    assert spreads["train to train, other groups"].quantiles[0] > 0.1


def test_an_empty_split_and_a_lonely_group_leave_a_gap_in_the_table():
    descriptors = np.random.default_rng(0).normal(size=(4, 62))
    leaks = audit(descriptors, "ttte", groups="aaab")
    spreads = {spread.name: spread for spread in leaks.distances}
    assert spreads["validation to train"].n == spreads["train to train, other groups"].n == 0
    assert "| validation to train | 0 |  |" in format_audit(leaks)


def test_too_few_training_records_are_refused():
    with pytest.raises(DataError, match="at least two training records, found 1"):
        audit(np.zeros((2, 62)), "te", groups="ab")


@pytest.mark.filterwarnings("ignore::DeprecationWarning:tensorflow_datasets")
def test_audit_of_a_built_data_set_covers_all_records(builder, index):
    leaks = read_audit(builder, index)
    sizes = {spread.name: spread.n for spread in leaks.distances}
    for split in ("validation", "test"):
        assert sizes[f"{split} to train"] == len(index.rows(split))
    assert sizes["train to train"] == len(index.rows("train"))
    assert 0 < leaks.duplicate < 0.5
