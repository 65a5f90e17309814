"""The run folder: what was trained, on which data, with which settings, and with which results."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rhonet import __version__
from rhonet.core.config import Config, load_resolved_config
from rhonet.core.errors import RunError
from rhonet.core.files import explain_disk, plain_values, write_text
from rhonet.core.provenance import command_line, git_commit, package_versions
from rhonet.uncertainty.calibration import Calibration


@dataclass(frozen=True)
class Run:
    """A run folder: the paths inside it, and readers of its files.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def config_file(self) -> Path:
        return self.path / "config.toml"

    @property
    def record_file(self) -> Path:
        return self.path / "run.json"

    @property
    def history_file(self) -> Path:
        return self.path / "history.jsonl"

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.json"

    @property
    def calibration_file(self) -> Path:
        return self.path / "calibration.json"

    @property
    def trained_records_file(self) -> Path:
        return self.path / "records.csv"

    @property
    def training_peaks_file(self) -> Path:
        return self.path / "training_peaks.npz"

    @property
    def checkpoint(self) -> Path:
        return self.path / "checkpoint"

    @property
    def tensorboard(self) -> Path:
        return self.path / "tensorboard"

    @property
    def plots(self) -> Path:
        return self.path / "plots"

    @property
    def model(self) -> Path:
        return self.path / "model"

    def config(self) -> Config:
        return load_resolved_config(self.config_file)

    def calibration(self) -> Calibration | None:
        """Calibration of a finished training; None before it is finished.

        Raises:
            RunError: the file is damaged.
        """
        if not self.calibration_file.is_file():
            return None
        try:
            return Calibration.from_dict(json.loads(self.calibration_file.read_text(encoding="utf-8")))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.calibration_file}: cannot be read: {error}; start a new run") from error

    def history(self) -> list[dict[str, Any]]:
        """What `write_history` wrote: one entry per epoch; [] before the first epoch has ended.

        Raises:
            RunError: the file is damaged.
        """
        if not self.history_file.is_file():
            return []
        try:
            return [json.loads(line) for line in self.history_file.read_text(encoding="utf-8").splitlines()]
        except (OSError, ValueError) as error:
            raise RunError(f"{self.history_file}: cannot be read: {error}; start a new run") from error

    def record(self) -> dict[str, Any]:
        """What `write_record` wrote: versions, commit, data.

        Raises:
            RunError: the file is missing or damaged.
        """
        try:
            return json.loads(self.record_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.record_file}: cannot be read: {error}; start a new run") from error


def plan_run(path: Path | None) -> Run:
    """A run folder that does not exist yet; without a path, it is named after the time.

    Raises:
        RunError: the path exists already.
    """
    if path is None:
        path = Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
    if path.exists():
        raise RunError(f"{path}: exists already; give another --run-dir, or go on with it by --resume {path}")
    return Run(path)


def make_run(run: Run, config: Config) -> None:
    """Makes the planned folder and writes the resolved configuration to it.

    Raises:
        DiskError: the folder exists by now, or cannot be made.
    """
    with explain_disk(run.path, "give another --run-dir"):
        run.path.mkdir(parents=True)
        write_text(run.config_file, config.to_toml())


def open_run(path: Path) -> Run:
    """An existing run folder.

    Raises:
        RunError: there is no such folder, or it holds no configuration.
    """
    run = Run(path)
    if not run.config_file.is_file():
        raise RunError(f"{path}: not a run folder (no config.toml); runs are made by python -m rhonet.train")
    return run


def write_record(run: Run, *, data: dict[str, Any], scales: dict[str, Any], arithmetic: dict[str, Any]) -> None:
    """Writes run.json: time, command, versions, commit, data, and arithmetic of a training.

    Args:
        run: run folder.
        data: name, fingerprint and record counts of the data set.
        scales: the fitted `Standardizer` as plain values.
        arithmetic: number format and devices (`rhonet.training.devices`).

    Raises:
        DiskError: it cannot be written.
    """
    record = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": command_line(),
        "rhonet": __version__,
        "commit": git_commit(),
        "versions": package_versions(),
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform()},
        "arithmetic": arithmetic,
        "data": data,
        "standardizer": scales,
    }
    _replace_record(run, record)


def note_resumption(run: Run, *, arithmetic: dict[str, Any]) -> None:
    """Adds time, versions and arithmetic of a resumption to run.json.

    Raises:
        DiskError: it cannot be written.
    """
    record = run.record()
    now = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "commit": git_commit(),
        "versions": package_versions(),
        "arithmetic": arithmetic,
    }
    record["resumed"] = [*record.get("resumed", []), now]
    _replace_record(run, record)


def note_scales(run: Run, scales: dict[str, Any]) -> None:
    """Replaces the `Standardizer` in run.json.

    Raises:
        DiskError: it cannot be written.
    """
    _replace_record(run, run.record() | {"standardizer": scales})


def _replace_record(run: Run, record: dict[str, Any]) -> None:
    with explain_disk(run.record_file, "free some space"):
        write_text(run.record_file, json.dumps(record, indent=2) + "\n")


def write_history(run: Run, epochs: Sequence[dict[str, Any]]) -> None:
    """Writes history.jsonl: one line per epoch; null where a number is not defined.

    Raises:
        DiskError: it cannot be written.
    """
    with explain_disk(run.history_file, "free some space"):
        write_text(run.history_file, "".join(json.dumps(plain_values(epoch)) + "\n" for epoch in epochs))
