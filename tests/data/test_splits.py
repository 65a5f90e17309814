from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhonet.data.groups import chemical_system, reduced_formula
from rhonet.data.splits import SPLITS, assign_by_element, assign_fold, assign_split, position

SYMBOLS = st.lists(st.sampled_from(["H", "C", "Cl", "Na", "Fe", "O"]), min_size=1, max_size=12)


def test_shares_are_those_asked_for():
    # 10,000 draws: the standard deviation of a share is at most 0.4 %.
    counts = Counter(assign_split(f"group {number}") for number in range(10_000))
    for split, share in zip(SPLITS, (0.8, 0.1, 0.1), strict=True):
        assert counts[split] / 10_000 == pytest.approx(share, abs=0.015)


def test_assignment_is_written_in_stone():
    # Released models were tested on these: another hash would leak their training data into the test split.
    assert position("Si") == 0.49960706453849724
    assert assign_split("Cl-Na") == assign_split("Mg-O") == "test"
    assert assign_split("K-Br") == "train"


def test_another_seed_is_another_assignment():
    first, second = ([assign_split(str(at), seed=seed) == "test" for at in range(2000)] for seed in (0, 1))
    both = sum(a and b for a, b in zip(first, second, strict=True))
    assert both < 60  # 20 expected of independent draws


@pytest.mark.parametrize("fractions", [(0.8, 0.1), (0.8, 0.1, 0.2), (1.2, -0.1, -0.1)])
def test_shares_that_do_not_sum_to_one_are_refused(fractions):
    with pytest.raises(ValueError, match="must be three numbers >= 0 with sum 1"):
        assign_split("Si", fractions=fractions)


def test_an_empty_share_is_empty():
    assert {assign_split(str(at), fractions=(0.5, 0.0, 0.5)) for at in range(500)} == {"train", "test"}


@given(SYMBOLS, st.randoms(), st.integers(1, 4))
def test_names_of_groups_know_neither_order_nor_size_of_the_cell(symbols, random, repeats):
    shuffled = symbols * repeats
    random.shuffle(shuffled)
    assert chemical_system(shuffled) == chemical_system(symbols)
    assert reduced_formula(shuffled) == reduced_formula(symbols)


def test_names_of_groups_are_readable():
    assert chemical_system(["Na", "Cl", "Na"]) == "Cl-Na"
    assert reduced_formula(["Ti", "O", "Ti", "O", "O", "Ti", "Ti", "O", "O", "O"]) == "O3Ti2"
    assert reduced_formula(["Si", "Si"]) == "Si"


def test_held_out_elements_never_train():
    symbols = [f"X{at}" for at in range(60)]
    pairs = [(a, b) for a in symbols for b in symbols]
    splits = {pair: assign_by_element(pair) for pair in pairs}
    alone = {symbol: assign_by_element([symbol]) for symbol in symbols}
    trained = {symbol for pair, split in splits.items() if split == "train" for symbol in pair}
    assert trained == {symbol for symbol, split in alone.items() if split == "train"}
    assert all((split == "test") == ("test" in (alone[pair[0]], alone[pair[1]])) for pair, split in splits.items())
    assert set(splits.values()) == set(SPLITS)


def test_folds_are_even_and_independent_of_the_split():
    groups = [f"group {number}" for number in range(10_000)]
    for chosen in (groups, [group for group in groups if assign_split(group) == "train"]):
        counts = Counter(assign_fold(group, folds=5) for group in chosen)
        assert sorted(counts) == [0, 1, 2, 3, 4]
        assert all(count / len(chosen) == pytest.approx(0.2, abs=0.02) for count in counts.values())
    assert [assign_fold(group, folds=5, seed=1) for group in groups] != [
        assign_fold(group, folds=5) for group in groups
    ]
