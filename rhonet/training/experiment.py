"""Everything that one training needs, in one object that is made once and handed down."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from rhonet.core.config import Config
from rhonet.data.index import Index, read_index
from rhonet.data.splits import SPLITS
from rhonet.training.devices import arithmetic_of
from rhonet.training.ensemble import members_of
from rhonet.training.runs import Run, write_record


@dataclass(frozen=True, eq=False)
class Experiment:
    """A run with its settings, data and devices.

    Attributes:
        run: run folder.
        config: resolved configuration.
        builder: built TFDS data set.
        index: labels and splits of its records.
        strategy: from `rhonet.training.devices.prepare_devices`.
    """

    run: Run
    config: Config
    builder: Any
    index: Index
    strategy: Any

    def members(self) -> tuple[Experiment, ...]:
        """The experiment itself, or one experiment per network of its ensemble, each with its own folder and fold."""
        return tuple(
            dataclasses.replace(
                self,
                run=member.run,
                config=member.config,
                index=read_index(self.builder, member.config.data, self.index.properties)
                if member.config.data.folds
                else self.index,
            )
            for member in members_of(self.run, self.config)
        )

    @property
    def index_as_trained(self) -> Index:
        """The index with the splits of the whole run: an ensemble trains on everything but the test split."""
        return self.index if self.config.train.ensemble == 1 else self.index.as_trained_by_ensemble(self.config.data)

    def describe_data(self) -> dict[str, Any]:
        """Name, source, fingerprint and record counts of the data set, for run.json and the model card."""
        metadata = self.builder.info.metadata
        trained = self.index_as_trained
        return {
            "name": self.builder.info.full_name,
            "source": metadata["fingerprint"],
            "about": dict(metadata["about"]),
            "fingerprint": self.index.fingerprint(),
            "records": {split: len(trained.rows(split)) for split in SPLITS},
        }

    def write_record(self, scales: dict[str, Any]) -> None:
        """Writes run.json.

        Args:
            scales: the fitted `Standardizer` as plain values.

        Raises:
            DiskError: it cannot be written.
        """
        write_record(self.run, data=self.describe_data(), scales=scales, arithmetic=arithmetic_of(self.strategy))
