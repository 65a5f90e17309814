"""Base of our builders: writes a folder of density files as TFRecord shards with Apache Beam."""

from __future__ import annotations

import abc
import dataclasses
import hashlib
import json
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import apache_beam as beam
import numpy as np
import tensorflow_datasets as tfds
from apache_beam.metrics.metric import Metrics, MetricsFilter
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
from apache_beam.runners.runner import PipelineResult

from rhonet.core.config import DEFAULT_SPACING
from rhonet.core.errors import BuildError
from rhonet.core.properties import Property, parse_declaration
from rhonet.data.folder import Folder, Sample, read_folder
from rhonet.data.records import RECORD_VERSION, SPLIT, Groups, Record, make_record
from rhonet.formats import read_density
from tfds_builders.card import CARD_NAME, Skipped, card_text

log = logging.getLogger(__name__)

METRICS = "rhonet"
COUNTS = ("without_species", "with_magnetization", "with_warnings", "grid_points")
LOG_EVERY_SECONDS = 30.0


@dataclasses.dataclass(eq=False)
class DensityConfig(tfds.core.BuilderConfig):
    """Settings of a build; on the command line `tfds build --config '{"name": ..., ...}'`.

    Attributes:
        spacing: largest spacing of the storage grid, Å.
        max_failures: number of unreadable density files that may be skipped.
        declared: properties of the user's own as `name:unit:kind`, besides those of dataset.toml.
    """

    spacing: float = DEFAULT_SPACING
    max_failures: int = 0
    declared: Sequence[str] = ()


class DensityBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """Writes a folder as one split, `records`, of `rhonet.data.records.Record`s; subclasses name the folder.

    `info.metadata` holds: record_version, spacing (Å), fingerprint (of the folder), about (dict from
    dataset.toml), properties (list of declarations, in the order of the label vector), rows, read, counts
    (dict), skipped (list of id, file, reason).
    """

    BUILDER_CONFIGS: ClassVar[list[DensityConfig]] = [
        DensityConfig(name=f"spacing_{DEFAULT_SPACING:g}", description="Storage grid of 0.25 Å.")
    ]
    builder_config: DensityConfig

    @abc.abstractmethod
    def _source(self, dl_manager: tfds.download.DownloadManager) -> Path:
        """Folder with properties.csv."""

    def _info(self) -> tfds.core.DatasetInfo:
        grid = tfds.features.Tensor(shape=(None, None, None), dtype=np.float16, encoding="bytes")
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict(
                {
                    "id": tfds.features.Text(),
                    "formula": tfds.features.Text(),
                    "groups": {name: tfds.features.Text() for name in Groups.__annotations__},
                    "density": grid,
                    "density_scale": np.float32,
                    "magnetization": grid,
                    "magnetization_scale": np.float32,
                    "lattice": tfds.features.Tensor(shape=(3, 3), dtype=np.float32),
                    "n_electrons": np.float32,
                    "total_moment": np.float32,
                    "labels": tfds.features.Tensor(shape=(None,), dtype=np.float32),
                }
            ),
            metadata=tfds.core.MetadataDict(),
        )

    def _split_generators(self, dl_manager: tfds.download.DownloadManager) -> dict[str, beam.PTransform]:
        declared = tuple(parse_declaration(text) for text in self.builder_config.declared)
        self._folder = read_folder(self._source(dl_manager), declared=declared)
        self._skipped_dir.mkdir()
        log.info(
            "%s: %d densities (%.0f MB) to read, %d properties",
            self._folder.path,
            len(self._folder.samples),
            self._folder.n_bytes / 1e6,
            len(self._folder.properties),
        )
        return {SPLIT: self._generate_examples(self._folder)}

    def _generate_examples(self, folder: Folder) -> beam.PTransform:
        reader = _ReadRecords(folder.properties, self.builder_config.spacing, str(self._skipped_dir))
        return beam.Create(folder.samples) | beam.ParDo(reader)

    def _download_and_prepare(
        self, dl_manager: tfds.download.DownloadManager, download_config: tfds.download.DownloadConfig
    ) -> None:
        started = time.monotonic()
        self._folder: Folder | None = None
        self._counts: dict[str, int] = {}
        try:
            super()._download_and_prepare(dl_manager, _with_runner(download_config))
        except Exception as error:
            # The writers fail on a data set without any record; the reasons of the skipped files say more.
            if self._folder is not None:
                self._check_failures(self._read_skipped(), error)
            raise
        if self._folder is None:
            return
        skipped = self._read_skipped()
        self._check_failures(skipped)
        for path in self._skipped_dir.iterdir():
            path.unlink()
        self._skipped_dir.rmdir()
        self._describe(self._folder, skipped)
        log.info(
            "%d of %d densities read, %d skipped, %d with warnings (log level DEBUG), in %.0f s",
            len(self._folder.samples) - len(skipped),
            len(self._folder.samples),
            len(skipped),
            self._counts.get("with_warnings", 0),
            time.monotonic() - started,
        )

    def _process_pipeline_result(self, pipeline_result: PipelineResult) -> None:
        counters = pipeline_result.metrics().query(MetricsFilter().with_namespace(METRICS))["counters"]
        self._counts = {counter.key.metric.name: counter.result for counter in counters}

    def _example_writer(self) -> tfds.core.ExampleWriter:
        assert self.info.file_format is not None
        return _SortedFieldsWriter(file_format=self.info.file_format)

    @property
    def _skipped_dir(self) -> Path:
        """Folder for the reason of each skipped file, written by the workers, inside the unfinished data set."""
        return Path(self.data_path) / "skipped"

    def _read_skipped(self) -> list[Skipped]:
        reasons = [Skipped(**json.loads(path.read_text())) for path in self._skipped_dir.glob("*.json")]
        return sorted(reasons, key=lambda row: row.id)

    def _check_failures(self, skipped: Sequence[Skipped], cause: Exception | None = None) -> None:
        folder = self._folder
        assert folder is not None
        allowed = self.builder_config.max_failures
        reasons = "".join(f"\n  {row.id}: {row.reason}" for row in skipped)
        if len(skipped) > allowed:
            raise BuildError(
                f"{folder.path}: {len(skipped)} of {len(folder.samples)} density files cannot be used, {allowed} may "
                f"be skipped (max_failures); mend or remove them, or raise that number:{reasons}"
            ) from cause
        if len(skipped) == len(folder.samples):
            raise BuildError(f"{folder.path}: none of the density files can be used:{reasons}") from cause

    def _describe(self, folder: Folder, skipped: Sequence[Skipped]) -> None:
        """Fills `info.metadata` and writes the card beside the shards."""
        metadata = {
            "record_version": RECORD_VERSION,
            "spacing": self.builder_config.spacing,
            "fingerprint": folder.fingerprint(),
            "about": folder.about,
            "properties": [dataclasses.asdict(declared) for declared in folder.properties],
            "rows": len(folder.samples),
            "read": len(folder.samples) - len(skipped),
            "counts": {name: self._counts.get(name, 0) for name in COUNTS},
            "skipped": [dataclasses.asdict(row) for row in skipped],
        }
        assert self.info.metadata is not None
        self.info.metadata.update(metadata)
        card = card_text(folder, skipped, spacing=self.builder_config.spacing, counts=metadata["counts"])
        (Path(self.data_path) / CARD_NAME).write_text(card, encoding="utf-8")


def _with_runner(settings: tfds.download.DownloadConfig) -> tfds.download.DownloadConfig:
    """The settings, with the in-process runner if they name none.

    Beam's DirectRunner uses the same engine in the end, but first tries to download and start another one (Prism,
    from GitHub).
    """
    options = settings.beam_options or PipelineOptions(flags=[])
    standard = options.view_as(StandardOptions)
    if settings.beam_runner is None and standard.runner is None:
        standard.runner = "FnApiRunner"
    return dataclasses.replace(settings, beam_options=options)


class _SortedFieldsWriter(tfds.core.ExampleWriter):
    """Writes each example with sorted fields, as protobuf orders them differently in every process."""

    def write(self, path: PathLike[str], examples: Iterable[tuple[Any, bytes]]) -> None:
        import tensorflow as tf

        def sort_fields(serialized: bytes) -> bytes:
            return tf.train.Example.FromString(serialized).SerializeToString(deterministic=True)

        super().write(path, ((key, sort_fields(serialized)) for key, serialized in examples))


class _ReadRecords(beam.DoFn):
    """Reads one density and yields (id, record), or writes the reason of a failure."""

    def __init__(self, properties: Sequence[Property], spacing: float, skipped_dir: str) -> None:
        self._properties = properties
        self._spacing = spacing
        self._skipped_dir = skipped_dir
        self._done = 0
        self._logged = 0.0

    def process(self, sample: Sample) -> Iterator[tuple[str, Record]]:
        self._log_progress()
        try:
            density = read_density(sample.path, entry=sample.entry, structure=sample.structure)
            record = make_record(density, sample=sample, properties=self._properties, spacing=self._spacing)
        except (ValueError, OSError, MemoryError) as error:
            self._write_reason(Skipped(sample.id, sample.file, _reason(sample, error)))
            return
        for warning in density.warnings:
            log.debug("%s (%s): %s", sample.file, sample.id, warning)
        self._count("without_species", not record["formula"])
        self._count("with_magnetization", record["magnetization"].size > 0)
        self._count("with_warnings", bool(density.warnings))
        self._count("grid_points", record["density"].size)
        yield sample.id, record

    def _write_reason(self, skipped: Skipped) -> None:
        log.warning("skipped %s: %s", skipped.id, skipped.reason)
        name = hashlib.sha256(skipped.id.encode()).hexdigest()
        (Path(self._skipped_dir) / f"{name}.json").write_text(json.dumps(dataclasses.asdict(skipped)))

    def _count(self, name: str, amount: int) -> None:
        Metrics.counter(METRICS, name).inc(int(amount))

    def _log_progress(self) -> None:
        self._done += 1
        now = time.monotonic()
        self._logged = self._logged or now
        if now - self._logged > LOG_EVERY_SECONDS:
            self._logged = now
            log.info("reading the %d. density", self._done)


def _reason(sample: Sample, error: Exception) -> str:
    """Message that starts with the file as the table names it."""
    message = str(error) or type(error).__name__
    path = str(sample.path)
    return sample.file + message[len(path) :] if message.startswith(path) else f"{sample.file}: {message}"
