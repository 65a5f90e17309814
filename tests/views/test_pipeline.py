from __future__ import annotations

import dataclasses
from collections import Counter
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from rhonet.core.errors import ConfigError
from rhonet.core.standardize import Standardizer
from rhonet.data.index import Index, as_records
from rhonet.data.records import decode_record
from rhonet.training.inference import average_views
from rhonet.views import pipeline, render
from rhonet.views.pipeline import KeptViews, TrainingData, fixed_views

pytest_plugins = ("tests.fixtures",)


@pytest.fixture(scope="module")
def targets(index) -> np.ndarray:
    train = index.rows("train")
    return Standardizer.fit(index.properties, index.labels[train], index.volumes[train]).forward(
        index.labels, index.volumes
    )


def epoch_of(data: TrainingData, number: int) -> list[tuple[dict[str, np.ndarray], np.ndarray]]:
    batches: Any = data.epoch(number).as_numpy_iterator()
    return list(batches)


def equal(first: Any, second: Any) -> bool:
    return all(
        np.array_equal(a[0]["cube"], b[0]["cube"]) and np.array_equal(a[1], b[1], equal_nan=True)
        for a, b in zip(first, second, strict=True)
    )


def test_order_and_views_depend_on_seed_and_epoch_alone(builder, index, targets, crystals):
    data = TrainingData(builder, index, targets, crystals.config())
    first, second = epoch_of(data, 0), epoch_of(data, 1)
    assert not equal(first, second)
    # Another object that starts later, as a resumed training does in a process of its own.
    resumed = TrainingData(builder, index, targets, crystals.config())
    assert equal(epoch_of(resumed, 1), second)
    assert equal(epoch_of(resumed, 0), first)
    other = TrainingData(builder, index, targets, crystals.config("train.seed=1"))
    assert not equal(epoch_of(other, 0), first)


@pytest.mark.slow
def test_batches_without_a_cache_are_those_with_one(builder, index, targets, crystals):
    cached, streamed = (
        TrainingData(builder, index, targets, crystals.config(f"data.cache_mb={size}")) for size in (1000, 0)
    )
    for number in range(2):
        assert equal(epoch_of(cached, number), epoch_of(streamed, number))


@pytest.mark.slow
@pytest.mark.parametrize(("cache_mb", "passes"), [(1000, 1), (0, 8)])
def test_cached_records_are_read_once(builder, index, targets, crystals, monkeypatch, cache_mb, passes):
    reads: list[int] = []
    decode = pipeline.decode

    def counting(record: dict[str, tf.Tensor]) -> Any:
        count = tf.numpy_function(lambda: reads.append(1) or np.int64(0), [], tf.int64)
        with tf.control_dependencies([count]):
            return decode({name: tf.identity(item) for name, item in record.items() if isinstance(item, tf.Tensor)})

    monkeypatch.setattr(pipeline, "decode", counting)
    data = TrainingData(builder, index, targets, crystals.config(f"data.cache_mb={cache_mb}"))
    strategy = tf.distribute.MirroredStrategy(["/CPU:0"])
    for number in range(2):
        for _ in strategy.experimental_distribute_dataset(data.epoch(number)):
            pass
    assert len(reads) == passes * len(index.rows("train"))


def test_an_epoch_shows_every_training_crystal_as_often_as_any_other(builder, index, targets, crystals):
    # Labels that name the record.
    numbered = np.repeat(np.arange(len(index.ids), dtype=np.float32)[:, None], targets.shape[1], axis=1)
    data = TrainingData(builder, index, numbered, crystals.config("train.batch_size=8"))
    batches = epoch_of(data, 0)
    shown = Counter(int(row) for _, labels in batches for row in labels[:, 0])
    assert set(shown) == set(index.rows("train"))
    assert set(shown.values()) == {4}
    assert len(batches) == data.steps_per_epoch == 7
    assert {labels.shape for _, labels in batches} == {(8, 5)}
    cubes = np.concatenate([inputs["cube"] for inputs, _ in batches])
    assert len(np.unique(cubes.reshape(len(cubes), -1), axis=0)) == len(cubes)


@pytest.mark.slow
@pytest.mark.parametrize("cache_mb", [1000, 0])
def test_views_come_again_after_as_many_as_are_to_differ(builder, index, targets, crystals, cache_mb):
    def cubes(different, epoch):
        asked = [f"train.different_views={different}", "train.views_per_epoch=2", "train.batch_size=1"]
        data = TrainingData(builder, index, targets, crystals.config(*asked, f"data.cache_mb={cache_mb}"))
        return {inputs["cube"].tobytes() for inputs, _ in epoch_of(data, epoch)}

    first = cubes(2, 0)
    assert len(first) == 2 * len(index.rows("train"))
    assert cubes(2, 1) == first
    # Four differ: the third and fourth are new, the fifth and sixth are the first two.
    assert not cubes(4, 1) & first
    assert cubes(4, 2) == first
    assert not cubes(0, 1) & first


@pytest.mark.slow
def test_trainings_that_see_the_same_views_share_them(builder, index, targets, crystals):
    shared = KeptViews()

    def cubes(*asked: str, known: Index = index) -> tf.Variable:
        data = TrainingData(builder, known, targets, crystals.config(*asked), kept_views=shared)
        data.prepare()
        assert data._kept is not None
        return data._kept[0]

    first = cubes()
    assert cubes("train.learning_rate=0.01") is first
    assert cubes(f"view.views={crystals.config().view.views + 1}") is first
    for change in ("train.seed=1", "view.size=4", "train.different_views=3"):
        assert not np.array_equal(cubes(change).numpy(), first.numpy()), change
    splits = index.splits.copy()
    splits[index.rows("train")[0]] = "unused"
    assert len(cubes(known=dataclasses.replace(index, splits=splits)).numpy()) < len(first.numpy())


def test_labels_and_lattices_stay_with_their_cubes(builder, index, targets, crystals):
    config = crystals.config("view.augment=false", "train.views_per_epoch=1", "train.batch_size=1")
    data = TrainingData(builder, index, targets, config)
    view = dataclasses.replace(config.view, views=1)
    expected = {}
    record: Any
    for row, record in enumerate(as_records(builder).as_numpy_iterator()):
        expected[row] = render.render_fixed(render.spectrum(*pipeline.decode(record), view), view)[0].numpy()
    for inputs, labels in epoch_of(data, 0):
        (row,) = [row for row in index.rows("train") if np.allclose(expected[row], inputs["cube"][0], atol=1e-5)]
        np.testing.assert_array_equal(labels[0], targets[row])
        assert abs(np.linalg.det(inputs["lattice"][0].astype(float))) == pytest.approx(index.volumes[row], rel=1e-5)


def test_missing_labels_stay_missing(builder, index, targets, crystals):
    labels = np.concatenate(
        [batch[1] for batch in epoch_of(TrainingData(builder, index, targets, crystals.config()), 0)]
    )
    share = np.isnan(labels).mean(axis=0)
    np.testing.assert_allclose(share, np.isnan(targets[index.rows("train")]).mean(axis=0), atol=1e-6)
    assert share.max() > 0.5


def test_stored_density_is_decoded_as_numpy_decodes_it(builder):
    record: Any
    for record in as_records(builder).as_numpy_iterator():
        values, magnetization, lattice = pipeline.decode(record)
        density = decode_record(record)
        np.testing.assert_array_equal(values, density.values)
        np.testing.assert_array_equal(lattice, density.lattice)
        if density.magnetization is None:
            assert magnetization.shape == (0, 0, 0)
        else:
            np.testing.assert_array_equal(magnetization, density.magnetization)


@pytest.mark.parametrize("cache_mb", [0, 100])
def test_fixed_views_come_in_order_however_they_are_batched(builder, index, crystals, cache_mb):
    view, rows = crystals.config().view, index.rows("validation")
    whole = fixed_views(builder, rows, view, batch_size=1000)
    (numbers, inputs), *rest = whole.as_numpy_iterator()
    assert not rest
    assert numbers.tolist() == np.repeat(rows, view.views).tolist()
    parts = fixed_views(builder, rows, view, batch_size=3, cache_mb=cache_mb)
    for _ in range(2):
        batches = list(parts.as_numpy_iterator())
        np.testing.assert_array_equal(np.concatenate([batch[0] for batch in batches]), numbers)
        np.testing.assert_array_equal(np.concatenate([batch[1]["cube"] for batch in batches]), inputs["cube"])


def test_no_records_give_no_views(builder, crystals):
    assert list(fixed_views(builder, np.array([], int), crystals.config().view, batch_size=4)) == []


@pytest.mark.slow
def test_average_over_views_does_not_see_the_batches(builder, index, crystals):
    import keras

    from rhonet.models.network import build_network

    config = crystals.config("view.views=3", "model.name=plain3dcnn")
    keras.utils.set_random_seed(0)
    train, rows = index.rows("train"), index.rows("validation")
    scales = Standardizer.fit(index.properties, index.labels[train], index.volumes[train])
    network = build_network(config.view, config.model, scales)
    whole, parts = (
        average_views(network, fixed_views(builder, rows, config.view, batch_size=size), rows) for size in (1000, 2)
    )
    np.testing.assert_allclose(whole, parts, atol=1e-5)
    (_, inputs), *_ = fixed_views(builder, rows[:1], config.view, batch_size=3)
    one = np.asarray(network.standardized(inputs)).mean(axis=0)
    np.testing.assert_allclose(whole[0], one, atol=1e-5)


def test_more_training_views_than_a_batch_are_needed(builder, index, targets, crystals):
    with pytest.raises(
        ConfigError, match=r"14 training records x 4 views give no batch of 100; lower train.batch_size"
    ):
        TrainingData(builder, index, targets, crystals.config("train.batch_size=100"))


@pytest.mark.parametrize("kind", ["cartesian", "cell"])
def test_estimate_of_the_cache_is_near_what_it_holds(builder, index, crystals, kind):
    config = crystals.config(f"view.kind={kind}", "view.size=16", "data.cache_mb=1000")
    rows = np.arange(len(index.ids))
    held = [
        sum(array.numpy().nbytes for array in waves[:2]) for _, waves in pipeline.spectra(builder, rows, config.view)
    ]
    # Small grids hold fewer waves than the sphere has room for.
    assert 0.3 < sum(held) / 2**20 / pipeline._memory_mb(index, rows, config.view) < 1.2
