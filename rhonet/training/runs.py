"""The run folder: everything that is needed to say later what was trained, on what, and how it went."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import os
import platform
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rhonet import __version__
from rhonet.core.config import Config, load_resolved_config
from rhonet.uncertainty.calibration import Calibration

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "tensorflow-datasets", "numpy", "scipy", "ase", "pymatgen-core")


class RunError(ValueError):
    """A run folder that exists, is missing, or does not fit."""


@dataclass(frozen=True)
class Run:
    """Paths inside one run folder."""

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
    def surroundings_file(self) -> Path:
        return self.path / "surroundings.npz"

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
        """Error bars of a finished training, None before it is finished.

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
        """What `write_history` wrote: one entry per epoch; [] before the first one is over.

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
            RunError: it is not there or damaged.
        """
        try:
            return json.loads(self.record_file.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.record_file}: cannot be read: {error}; start a new run") from error


def plan_run(path: Path | None) -> Run:
    """A run folder that can be made; named after the time where no path is given.

    Raises:
        RunError: something lies there already.
    """
    if path is None:
        path = Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
    if path.exists():
        raise RunError(f"{path}: exists already; give another --run-dir, or go on with it by --resume {path}")
    return Run(path)


def make_run(run: Run, config: Config) -> None:
    """Makes the planned folder with the resolved configuration.

    Raises:
        RunError: it exists by now, or cannot be made.
    """
    with explain_disk(run.path, "give another --run-dir"):
        run.path.mkdir(parents=True)
        write_text(run.config_file, config.to_toml())


def open_run(path: Path) -> Run:
    """An existing run folder.

    Raises:
        RunError: there is none, or it holds no configuration.
    """
    run = Run(path)
    if not run.config_file.is_file():
        raise RunError(f"{path}: not a run folder (no config.toml); runs are made by python -m rhonet.train")
    return run


def write_record(run: Run, *, data: dict[str, Any], scales: dict[str, Any], arithmetic: dict[str, Any]) -> None:
    """Writes run.json: when, by which command, with which versions and commit, on which data, in which arithmetic.

    Args:
        data: name, fingerprint and record counts of the data set.
        scales: the fitted `Standardizer` as plain values.
        arithmetic: number format and devices (`rhonet.training.devices`).

    Raises:
        RunError: it cannot be written.
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
    """Adds to run.json who goes on with the run.

    Raises:
        RunError: it cannot be written.
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
        RunError: it cannot be written.
    """
    _replace_record(run, run.record() | {"standardizer": scales})


def _replace_record(run: Run, record: dict[str, Any]) -> None:
    with explain_disk(run.record_file, "free some space"):
        write_text(run.record_file, json.dumps(record, indent=2) + "\n")


def write_history(run: Run, epochs: Sequence[dict[str, Any]]) -> None:
    """Writes history.jsonl: one line per epoch; null where a number is not defined.

    Raises:
        RunError: it cannot be written.
    """
    with explain_disk(run.history_file, "free some space"):
        write_text(run.history_file, "".join(json.dumps(_without_nan(epoch)) + "\n" for epoch in epochs))


def command_line() -> str:
    """The command that runs, as one would type it."""
    return shlex.join(["python", "-m", f"rhonet.{Path(sys.argv[0]).stem}", *sys.argv[1:]])


def package_versions() -> dict[str, str]:
    """Versions of Python and of the packages that matter for a result."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return versions


def git_commit() -> str:
    """Commit of the rhonet checkout, with "+changes" when it is not clean; "" outside of a checkout."""
    try:
        # Installed into an environment inside of somebody's repository, rhonet is not what that repository tracks.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        commit, changes = _git("rev-parse", "--short=12", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+changes" if changes else "")


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all.

    Raises:
        OSError: it cannot be written; an earlier one is as it was.
    """
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextlib.contextmanager
def explain_disk(path: Path, remedy: str) -> Iterator[None]:
    """Errors of the file system inside of it as a RunError: where, what, and the remedy."""
    try:
        yield
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror or error}; {remedy}") from error


def _git(*arguments: str) -> str:
    here = str(Path(__file__).parent)
    return subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=True).stdout.strip()


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
