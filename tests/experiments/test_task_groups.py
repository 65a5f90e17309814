from __future__ import annotations

import json

import numpy as np
import pytest
from matplotlib.patches import Rectangle
from scipy.stats import rankdata

from rhonet.core.errors import DataError
from rhonet.core.properties import Property
from rhonet.experiments.task_groups import (
    CUT_DISTANCE,
    LEAST_SHARED,
    TaskGroups,
    find_groups,
    format_groups,
    groups_figure,
)

GAP = Property("gap", unit="eV")
METAL = Property("is_metal", kind="binary")
MODULUS = Property("modulus", unit="GPa", transform="log")
WIDTH = Property("width", unit="eV")
MOMENT = Property("moment", unit="µB", intensive=False)
PHASE = Property("phase", kind="multiclass", classes=3)
PROTOTYPE = Property("prototype", kind="multiclass", classes=3)
ALL = (GAP, MODULUS, METAL, WIDTH, MOMENT)


def labels_of(n: int = 300, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels (n, 5) of `ALL` and volumes: gap and metal share a cause, modulus and width another."""
    gap, modulus, width, moment = np.random.default_rng(seed).normal(size=(4, n))
    volumes = np.random.default_rng(seed + 1).uniform(10, 1000, n)
    columns = [np.maximum(gap, 0), np.exp(modulus), gap < 0, -modulus + 0.3 * width, moment * volumes]
    return np.stack(columns, axis=1).astype(float), volumes


def grouped(*, seed: int = 0) -> TaskGroups:
    return find_groups(ALL, *labels_of(seed=seed))


def similarity(one: Property, ours: np.ndarray, other: Property, theirs: np.ndarray) -> float:
    labels = np.stack([ours, theirs], axis=1).astype(float)
    return find_groups((one, other), labels, np.ones(len(labels))).similarity[0, 1]


@pytest.mark.parametrize("seed", range(3))
def test_groups_are_the_targets_with_a_common_cause(seed):
    groups = grouped(seed=seed)
    assert groups.groups == (("gap", "is_metal"), ("modulus", "width"), ("moment",))
    assert groups.shared == groups.groups[:2]
    assert groups.names == tuple(item.name for item in ALL)


def test_similarity_is_the_absolute_rank_correlation():
    labels, _ = labels_of()
    gap, width = labels[:, 0], labels[:, 3]
    assert similarity(GAP, gap, WIDTH, width) == pytest.approx(abs(np.corrcoef(rankdata(gap), rankdata(width))[0, 1]))
    # Whatever order-keeping scale is learned, and whichever way the target points.
    assert similarity(GAP, gap, MODULUS, np.exp(-width)) == pytest.approx(similarity(GAP, gap, WIDTH, width))
    matrix = grouped().similarity
    np.testing.assert_array_equal(matrix, matrix.T)
    np.testing.assert_array_equal(np.diag(matrix), 1)


def test_binary_target_takes_part_by_the_point_biserial_formula():
    labels, _ = labels_of()
    metal, width = labels[:, 2], labels[:, 3] - labels[:, 2]
    ranks, share = rankdata(width), metal.mean()
    apart = ranks[metal == 1].mean() - ranks[metal == 0].mean()
    expected = abs(apart) / ranks.std() * np.sqrt(share * (1 - share))
    assert similarity(METAL, metal, WIDTH, width) == pytest.approx(expected)


def test_multiclass_target_takes_part_whatever_its_classes_are_called():
    rng = np.random.default_rng(0)
    phase = rng.integers(0, 3, 200)
    value = np.array([0.0, 3.0, 0.2])[phase] + 0.3 * rng.normal(size=200)
    ranks = rankdata(value)
    between = sum((phase == at).sum() * (ranks[phase == at].mean() - ranks.mean()) ** 2 for at in range(3))
    expected = np.sqrt(between / ((ranks - ranks.mean()) ** 2).sum())
    assert similarity(PHASE, phase, GAP, value) == pytest.approx(expected)
    renamed = np.array([1, 0, 2])[phase]
    assert similarity(PHASE, renamed, GAP, value) == pytest.approx(expected)
    assert similarity(PHASE, phase, PROTOTYPE, renamed) == pytest.approx(1)


def test_extensive_target_is_compared_per_volume():
    labels, volumes = labels_of()
    per_volume = find_groups((WIDTH, MOMENT), np.stack([labels[:, 4] / volumes, labels[:, 4]], axis=1), volumes)
    assert per_volume.similarity[0, 1] == pytest.approx(1)


def test_only_records_with_both_labels_count_and_few_of_them_say_nothing():
    value = np.arange(100.0)
    holes, more_holes = value.copy(), value.copy()
    holes[LEAST_SHARED:] = np.nan
    more_holes[LEAST_SHARED - 1 :] = np.nan
    assert similarity(GAP, value, WIDTH, holes) == pytest.approx(1)
    assert similarity(GAP, value, WIDTH, more_holes) == 0
    assert similarity(GAP, value, WIDTH, np.full(100, np.nan)) == 0


def test_constant_target_is_like_nothing():
    # 0.1 has no exact binary form: sums of it are not exactly equal.
    assert similarity(GAP, np.full(50, 0.1), WIDTH, np.arange(50.0)) == 0
    assert similarity(METAL, np.ones(50), WIDTH, np.arange(50.0)) == 0


def test_a_group_of_all_or_of_one_is_no_training_of_its_own():
    value = np.arange(50.0)
    together = find_groups((GAP, WIDTH), np.stack([value, value**3], axis=1), np.ones(50))
    assert (together.groups, together.shared) == ((("gap", "width"),), ())
    apart = find_groups((GAP, WIDTH), np.stack([value, value % 2], axis=1), np.ones(50))
    assert (apart.groups, apart.shared) == ((("gap",), ("width",)), ())


def test_cut_keeps_together_what_correlates_by_a_half_on_average():
    groups = grouped()
    distances = 1 - groups.similarity
    for group in groups.shared:
        rows = [groups.names.index(name) for name in group]
        within = distances[np.ix_(rows, rows)][np.triu_indices(len(rows), 1)]
        assert within.mean() <= CUT_DISTANCE
    assert groups.linkage.shape == (4, 4)
    assert (groups.linkage[:, 2] <= CUT_DISTANCE).sum() == 2


@pytest.mark.parametrize(("properties", "named"), [((GAP,), "gap"), ((), "none")])
def test_fewer_than_two_targets_are_refused(properties, named):
    with pytest.raises(DataError, match=f"at least two targets, found {named}; name more in data.properties"):
        find_groups(properties, np.ones((30, len(properties))), np.ones(30))


def test_label_without_a_logarithm_is_refused():
    with pytest.raises(DataError, match="'modulus' is learned as a logarithm but has the label 0"):
        find_groups((GAP, MODULUS), np.zeros((30, 2)), np.ones(30))


def test_table_shows_each_pair_once_and_groups_in_bold():
    groups = grouped()
    text = format_groups(groups)
    rows = [line.split("|")[1:-1] for line in text.splitlines() if line.startswith("|")]
    assert [len(row) for row in rows] == [6] * 7
    assert rows[4][0].strip() == "is metal"
    assert rows[4][1].strip() == f"**{groups.similarity[2, 0]:.2f}**"
    assert rows[4][2].strip() == f"{groups.similarity[2, 1]:.2f}"
    assert [cell.strip() for cell in rows[4][3:]] == ["1", "", ""]
    assert "Together: gap, is metal; modulus, width. Alone: moment." in text
    assert json.loads(json.dumps(groups.to_dict()))["groups"] == [["gap", "is_metal"], ["modulus", "width"], ["moment"]]


def test_figure_frames_the_groups_and_draws_every_merger():
    groups = grouped()
    tree, table = groups_figure(groups).axes
    names = [label.get_text() for label in table.get_yticklabels()]
    assert sorted(names) == ["Gap", "Is metal", "Modulus", "Moment", "Width"]
    assert names == [label.get_text() for label in table.get_xticklabels()]
    frames = [patch for patch in table.patches if isinstance(patch, Rectangle)]
    framed = []
    for frame in frames:
        first = round(frame.get_y() + 0.5)
        framed.append(set(names[first : first + round(frame.get_height())]))
    assert framed == [{"Gap", "Is metal"}, {"Modulus", "Width"}]
    heights = sorted(max(np.asarray(line.get_xdata())) for line in tree.lines if len(np.asarray(line.get_xdata())) == 4)
    np.testing.assert_allclose(heights, groups.linkage[:, 2])
    assert table.texts[0].get_text() == "1.00"


def test_numbers_are_left_out_of_a_large_table():
    n = 20
    properties = [Property(f"p{at}") for at in range(n)]
    groups = find_groups(properties, np.random.default_rng(0).normal(size=(60, n)), np.ones(60))
    assert not groups_figure(groups).axes[1].texts
