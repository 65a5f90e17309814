from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from rhonet.core.config import DataConfig
from rhonet.core.errors import ConfigError
from rhonet.core.properties import PROPERTIES, Property
from rhonet.data.folder import read_folder
from rhonet.data.index import Index, read_index, select_properties, shared_properties
from rhonet.data.splits import SPLITS
from tests.crystals import N_CRYSTALS

pytest_plugins = ("tests.fixtures",)

GAP, METAL, VOLUME = (PROPERTIES[name] for name in ("band_gap", "is_metal", "cell_volume"))
OWN = Property("hardness", unit="GPa")


def test_index_holds_the_labels_of_the_table(crystals, index):
    folder = read_folder(crystals.folder)
    samples = {sample.id: sample for sample in folder.samples}
    assert sorted(index.ids) == sorted(samples)
    assert [item.name for item in index.properties] == [item.name for item in folder.properties]
    for row, name in enumerate(index.ids):
        expected = [samples[name].labels[item.name] for item in index.properties]
        np.testing.assert_array_equal(index.labels[row].astype(np.float32), np.array(expected, np.float32))
    assert np.isnan(index.labels).any()


@pytest.mark.parametrize("split_by", ["chemical_system", "formula", "prototype", "id"])
def test_splits_are_disjoint_by_group_and_cover_everything(crystals, builder, index, split_by):
    data = dataclasses.replace(crystals.config().data, split_by=split_by)
    split_index = read_index(builder, data, index.properties)
    groups = {split: set(split_index.groups[split_index.rows(split)]) for split in SPLITS}
    assert all(groups.values()) or split_by == "prototype"  # all 24 crystals are of two types
    assert len(set.union(*groups.values())) == sum(map(len, groups.values()))
    rows = np.concatenate([split_index.rows(split) for split in SPLITS])
    assert sorted(rows) == list(range(N_CRYSTALS))


def test_held_out_elements_are_in_no_training_crystal(crystals, builder, index):
    data = dataclasses.replace(crystals.config().data, split_by="element", fractions=(0.4, 0.3, 0.3))
    split_index = read_index(builder, data, index.properties)
    elements = {
        split: {symbol for row in split_index.rows(split) for symbol in str(split_index.groups[row]).split("-")}
        for split in SPLITS
    }
    for split in ("validation", "test"):
        assert len(split_index.rows(split))
        assert all(set(str(split_index.groups[row]).split("-")) - elements["train"] for row in split_index.rows(split))


def test_folds_share_out_everything_but_the_test_split(crystals, builder, index):
    data = crystals.config().data
    folds = [read_index(builder, dataclasses.replace(data, folds=3, fold=fold), index.properties) for fold in range(3)]
    tested = [set(split_index.rows("test")) for split_index in folds]
    assert tested == [set(index.rows("test"))] * 3
    validated = [row for split_index in folds for row in split_index.rows("validation")]
    assert sorted(validated) == sorted({*index.rows("train"), *index.rows("validation")})


def test_volumes_are_those_of_the_cells(builder, index):
    from rhonet.data.index import as_records

    record: Any
    for row, record in enumerate(as_records(builder).as_numpy_iterator()):
        assert index.volumes[row] == pytest.approx(abs(np.linalg.det(record["lattice"].astype(float))))


def test_fingerprint_changes_with_labels_and_splits_and_with_nothing_else(crystals, builder, index):
    again = read_index(builder, crystals.config().data, index.properties)
    assert again.fingerprint() == index.fingerprint()
    labels = index.labels.copy()
    labels[3, 2] += 1
    changes: list[Index] = [
        dataclasses.replace(index, labels=labels),
        dataclasses.replace(index, splits=np.roll(index.splits, 1)),
        dataclasses.replace(index, ids=np.roll(index.ids, 1)),
        dataclasses.replace(index, volumes=index.volumes * 1.001),
    ]
    assert len({index.fingerprint(), *(changed.fingerprint() for changed in changes)}) == 5


def names(data: DataConfig, *stored: Property) -> list[str]:
    return [item.name for item in select_properties(data, stored)]


def test_own_data_set_gives_all_its_columns_but_the_volume():
    for data in (DataConfig(folder="mine"), DataConfig(name="mine"), DataConfig(properties=())):
        assert names(data, OWN, VOLUME, METAL) == ["hardness", "is_metal"]
    assert names(DataConfig(folder="mine", properties=("cell_volume",)), OWN, VOLUME) == ["cell_volume"]


def test_bundled_set_must_have_what_is_asked_for():
    with pytest.raises(ConfigError, match="the data set has no band_gap; it has is_metal"):
        names(DataConfig(properties=("band_gap", "is_metal")), METAL)
    with pytest.raises(ConfigError, match=r"no property column; add one to properties.csv"):
        names(DataConfig(folder="mine"))


def test_model_is_scored_on_what_the_data_set_has():
    assert shared_properties((GAP, METAL, OWN), (OWN, GAP)) == (GAP, OWN)
    # The model's own scale counts, not that of the table.
    assert shared_properties((OWN,), (dataclasses.replace(OWN, transform="log"),)) == (OWN,)


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        ((VOLUME,), "the model predicts band_gap, is_metal; the data set has cell_volume"),
        ((), "the data set has no property"),
        (
            (dataclasses.replace(GAP, unit="meV"),),
            "the model gives regression in eV, the data set has regression in meV",
        ),
        ((Property("is_metal", kind="multiclass", classes=3),), "binary without unit, the data set has multiclass3"),
    ],
)
def test_labels_that_mean_something_else_are_refused(stored, message):
    with pytest.raises(ConfigError, match=message):
        shared_properties((GAP, METAL), stored)


def test_networks_of_an_ensemble_trained_on_what_some_fold_of_theirs_holds(crystals, builder, index):
    n_test = len(index.rows("test"))
    for share in (0.5, 1.0):
        data = dataclasses.replace(crystals.config().data, train_share=share)
        seen = read_index(builder, data, index.properties).as_trained_by_ensemble(data)
        members = (
            read_index(builder, dataclasses.replace(data, folds=3, fold=at), index.properties).rows("train")
            for at in range(3)
        )
        assert set(seen.rows("train")) == set.union(*map(set, members))
        assert set(seen.rows("test")) == set(index.rows("test"))
        assert len(seen.rows("validation")) == (0 if share == 1 else len(seen.ids) - len(seen.rows("train")) - n_test)
