"""tf.data pipelines from records to plane waves, views and batches; bounded memory, seeded order."""

from __future__ import annotations

import dataclasses
import logging
import math
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds

from rhonet.core.config import Config, ViewConfig
from rhonet.core.errors import ConfigError
from rhonet.data.index import Index, as_records
from rhonet.views import render

log = logging.getLogger(__name__)

SHUFFLE_MB = 512
MOST_SAMPLES = 512
# Per crystal. It keeps the seeds of two crystals' views apart.
MOST_VIEWS = 1_000_000
# Of a plane wave in a Spectrum: three indices in float64; density and magnetization as complex numbers in float32.
WAVE_BYTES = 3 * 8 + 2 * 2 * 4


def decode(record: dict[str, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Density (nx, ny, nz) e/Å³, magnetization (nx, ny, nz) µB/Å³ and lattice (3, 3) Å of a stored record.

    Without spin, the magnetization is empty: (0, 0, 0).
    """
    values = tf.cast(record["density"], tf.float32) * record["density_scale"]
    magnetization = tf.cast(record["magnetization"], tf.float32) * record["magnetization_scale"]
    return values, magnetization, tf.cast(record["lattice"], tf.float64)


def spectra(builder: tfds.core.DatasetBuilder, rows: np.ndarray, view: ViewConfig) -> tf.data.Dataset:
    """Data set of (record number, Spectrum) of the given records, in stored order.

    Args:
        builder: built TFDS data set.
        rows: record numbers (n,).
        view: its kind and resolution select the plane waves.
    """
    wanted = np.zeros(builder.info.splits.total_num_examples, bool)
    wanted[rows] = True
    is_wanted = tf.constant(wanted)
    records: Any = as_records(builder).enumerate()  # typed as if its elements came as one argument
    records = records.filter(lambda row, _: is_wanted[row])
    return records.map(
        lambda row, record: (row, render.spectrum(*decode(record), view)),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


@dataclasses.dataclass
class KeptViews:
    """Rendered views of one training, for the next training in the same process.

    Attributes:
        key: everything that the views depend on: records, view settings, seed.
        views: cubes (views · N, n, n, n, channels) and lattices (N, 3, 3) Å; None before they are rendered.
    """

    key: tuple[Any, ...] = ()
    views: tuple[tf.Variable, tf.Tensor] | None = None


class TrainingData:
    """Augmented batches of the training split; their order and every view depend only on seed and epoch.

    Element of an epoch: {"cube": (B, n, n, n, channels), "lattice": (B, 3, 3)}, targets (B, P) standardized,
    NaN where missing. Rendered views are kept in memory if they fit in `data.cache_mb`, and so are the plane waves.
    Otherwise they are computed again in every epoch, with the same result.

    Args:
        builder: built TFDS data set.
        index: labels and splits of its records.
        targets: (n, P) standardized labels of all records.
        config: resolved configuration.
        kept_views: of an earlier training. They are used if this training has the same views, and are replaced
            otherwise.

    Raises:
        ConfigError: an epoch has fewer views than a batch.
    """

    def __init__(
        self,
        builder: tfds.core.DatasetBuilder,
        index: Index,
        targets: np.ndarray,
        config: Config,
        *,
        kept_views: KeptViews | None = None,
    ) -> None:
        train, view, rows = config.train, config.view, index.rows("train")
        self._config, self._rows = config, rows
        self.steps_per_epoch = len(rows) * train.views_per_epoch // train.batch_size
        if not self.steps_per_epoch:
            raise ConfigError(
                f"{len(rows)} training records x {train.views_per_epoch} views give no batch of {train.batch_size}; "
                "lower train.batch_size or add data"
            )
        memory = _memory_mb(index, rows, view)
        self._source = spectra(builder, rows, view)
        if memory <= config.data.cache_mb:
            self._source = self._source.cache()
        everything = len(rows) * train.views_per_epoch
        self._buffer = max(train.batch_size, min(everything, int(SHUFFLE_MB / memory * len(rows))))
        self._n_different = min(train.different_views, train.epochs * train.views_per_epoch)
        self._labels = tf.constant(targets, tf.float32)
        self._kept: tuple[tf.Variable, tf.Tensor] | None = None
        self._earlier = KeptViews() if kept_views is None else kept_views
        self._told = False
        crystals = (str(builder.data_path), rows.tobytes(), index.volumes[rows].tobytes())
        one_view = dataclasses.replace(view, views=1)  # the number of views of a prediction changes no training view
        self._key = (*crystals, one_view, train.seed, self._n_different)

        @tf.function(reduce_retracing=True)
        def show(row: tf.Tensor, waves: render.Spectrum, number: tf.Tensor) -> dict[str, tf.Tensor]:
            seed = tf.stack([tf.constant(train.seed, tf.int64), 2 * (row * MOST_VIEWS + number)])
            cube = (
                render.render(waves, render.random_frame(seed, view.motion), view)
                if view.augment
                else render.render_fixed(waves, one_view)[0]
            )
            return {"cube": cube, "lattice": tf.cast(waves.lattice, tf.float32)}

        self._show = show

    def sample(self) -> np.ndarray:
        """Cubes (N, n, n, n, channels) of the first view of at most `MOST_SAMPLES` training crystals."""
        self.prepare()
        if self._kept is not None:
            return tf.gather(self._kept[0], tf.range(min(len(self._rows), MOST_SAMPLES))).numpy()
        number = tf.constant(0, tf.int64)
        shown = self._source.take(MOST_SAMPLES).map(
            lambda row, waves: self._show(row, waves, number), num_parallel_calls=tf.data.AUTOTUNE, deterministic=True
        )
        return np.stack([example["cube"].numpy() for example in shown])

    def prepare(self) -> None:
        """Renders the views that fit in memory, or takes them from an earlier training that has the same views."""
        if self._kept is None and self._fits_in_memory():
            if self._earlier.key != self._key:
                self._earlier.key, self._earlier.views = self._key, None  # frees memory before rendering
            self._kept = self._earlier.views = self._earlier.views or self._render_all()
        elif self._kept is None and self._n_different and not self._told:
            self._told = True
            log.info(
                "the views of %d crystals take %.0f MB and are rendered anew in every epoch, which is slower; --set "
                "data.cache_mb=%d keeps them (and takes three times as much for a moment)",
                len(self._rows),
                self._size_mb(),
                100 * math.ceil(self._size_mb() / 100),
            )

    def epoch(self, number: int) -> tf.data.Dataset:
        """Batches of one epoch, `steps_per_epoch` of them."""
        self.prepare()
        train = self._config.train
        # A pass shows one view of every crystal; an epoch makes `views_per_epoch` passes.
        passes = np.arange(train.views_per_epoch) + number * train.views_per_epoch
        shown = tf.constant(passes % self._n_different if self._n_different else passes, tf.int64)
        seed = train.seed * 1_000_003 + number
        examples = (
            self._rendered(shown, seed)
            if self._kept is None
            else self._from_memory(*self._kept, shown=shown, seed=seed)
        )
        return examples.batch(train.batch_size, drop_remainder=True).prefetch(4)

    def _fits_in_memory(self) -> bool:
        return 0 < self._size_mb() <= self._config.data.cache_mb

    def _size_mb(self) -> float:
        """Size of all different views."""
        view = self._config.view
        return len(self._rows) * self._n_different * view.size**3 * len(view.fields) * 4 / 2**20

    def _from_memory(self, cubes: tf.Variable, lattices: tf.Tensor, *, shown: tf.Tensor, seed: int) -> tf.data.Dataset:
        """Shuffled examples from views in memory."""
        count, rows = len(self._rows), tf.constant(self._rows)

        def example(number: tf.Tensor) -> tuple[dict[str, tf.Tensor], tf.Tensor]:
            turn, crystal = tf.math.floordiv(number, count), tf.math.floormod(number, count)
            cube = tf.gather(cubes, shown[turn] * count + crystal)
            return {"cube": cube, "lattice": lattices[crystal]}, self._labels[rows[crystal]]

        order = tf.data.Dataset.range(len(shown) * count)
        return order.shuffle(len(shown) * count, seed=seed, reshuffle_each_iteration=False).map(example)

    def _render_all(self) -> tuple[tf.Variable, tf.Tensor]:
        """Cubes (views · N, n, n, n, channels), view by view, and lattices (N, 3, 3)."""
        view, count = self._config.view, len(self._rows)
        log.info("rendering %d views of each of %d crystals", self._n_different, count)
        cubes: Any = np.empty((self._n_different * count, *(view.size,) * 3, len(view.fields)), np.float32)
        lattices = np.empty((count, 3, 3), np.float32)
        shown = self._all_views(tf.range(self._n_different, dtype=tf.int64))
        for number, (_, example) in enumerate(shown):
            cubes[number], lattices[number % count] = example["cube"].numpy(), example["lattice"].numpy()
        with tf.device("CPU:0"):
            # A variable, not a tensor: a dataset that is distributed over devices copies tensors into its graph.
            return tf.Variable(cubes, trainable=False), tf.convert_to_tensor(lattices)

    def _all_views(self, shown: tf.Tensor, *, shuffle_seed: int | None = None) -> tf.data.Dataset:
        """(record number, view) for every training crystal and each of the numbered views."""
        count = len(self._rows)
        order = self._source.repeat(len(shown)).enumerate()
        if shuffle_seed is not None:
            order = order.shuffle(self._buffer, seed=shuffle_seed, reshuffle_each_iteration=False)
        return order.map(
            lambda number, item: (item[0], self._show(item[0], item[1], shown[number // count])),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )

    def _rendered(self, shown: tf.Tensor, seed: int) -> tf.data.Dataset:
        """Shuffled examples, each rendered when it is needed."""
        return self._all_views(shown, shuffle_seed=seed).map(lambda row, view: (view, self._labels[row]))


def fixed_views(
    builder: tfds.core.DatasetBuilder, rows: np.ndarray, view: ViewConfig, *, batch_size: int, cache_mb: float = 0
) -> tf.data.Dataset:
    """Batches of the views that predictions are averaged over; the `view.views` views of a record follow each other.

    Element: record numbers (B,), {"cube": (B, n, n, n, channels), "lattice": (B, 3, 3)}.

    Args:
        builder: built TFDS data set.
        rows: record numbers (n,).
        view: how densities are rendered.
        batch_size: views per batch.
        cache_mb: the views are kept in memory for the next pass if they fit in this many MB.
    """

    def all_views(row: tf.Tensor, waves: render.Spectrum) -> tuple[tf.Tensor, dict[str, tf.Tensor]]:
        lattices = tf.repeat(tf.cast(waves.lattice, tf.float32)[None], view.views, axis=0)
        return tf.repeat(row[None], view.views), {"cube": render.render_fixed(waves, view), "lattice": lattices}

    examples = spectra(builder, rows, view).map(all_views, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    batches = examples.unbatch().batch(batch_size)
    size_mb = len(rows) * view.views * view.size**3 * len(view.fields) * 4 / 2**20
    return (batches.cache() if size_mb <= cache_mb else batches).prefetch(2)


def _memory_mb(index: Index, rows: np.ndarray, view: ViewConfig) -> float:
    """Size of the cached spectra in MB if all crystals have spin; without spin a wave takes 32 of `WAVE_BYTES`.

    A spectrum holds half of the waves in a sphere of radius π/finest, and both halves of the plane through its
    centre. The number of waves in that plane is that of a cubic cell of the same volume.
    """
    volumes, reach = index.volumes[rows], np.pi / view.finest
    waves = volumes * reach**3 / (12 * np.pi**2) + volumes ** (2 / 3) * reach**2 / (8 * np.pi)
    if view.kind != "cartesian":
        waves = np.minimum(waves, view.size**3 / 2)
    return float(waves.sum()) * WAVE_BYTES / 2**20
