"""The run folder: everything that is needed to say later what was trained, on what, and how it went."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rhonet import __version__
from rhonet.config import Config, load_config

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
        return load_config(self.config_file)

    def record(self) -> dict[str, Any]:
        """What `write_record` wrote: versions, commit, data."""
        return json.loads(self.record_file.read_text(encoding="utf-8"))


def check_free(path: Path) -> None:
    """Raises RunError where something lies at the path of a new run already."""
    if path.exists():
        raise RunError(f"{path}: exists already; give another --run-dir, or go on with it by --resume {path}")


def new_run(path: Path | None, config: Config) -> Run:
    """Fresh run folder with the resolved configuration; named after the time where no path is given.

    Raises:
        RunError: the folder exists, or cannot be made.
    """
    if path is None:
        path = Path("runs") / datetime.now().strftime("%Y%m%d-%H%M%S")
    check_free(path)
    run = Run(path)
    try:
        path.mkdir(parents=True)
        write_text(run.config_file, config.to_toml())
    except OSError as error:
        raise RunError(f"{path}: cannot be written: {error.strerror}; give another --run-dir") from error
    return run


def open_run(path: Path) -> Run:
    """An existing run folder.

    Raises:
        RunError: there is none, or it holds no configuration.
    """
    run = Run(path)
    if not run.config_file.is_file():
        raise RunError(f"{path}: not a run folder (no config.toml); runs are made by python -m rhonet.train")
    return run


def write_record(run: Run, *, data: dict[str, Any], scales: dict[str, Any]) -> None:
    """Writes run.json: when, by which command, with which versions and commit, on which data.

    Args:
        data: name, fingerprint and record counts of the data set.
        scales: the fitted `Standardizer` as plain values.
    """
    record = {
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": " ".join(["python -m rhonet." + Path(sys.argv[0]).stem, *sys.argv[1:]]),
        "rhonet": __version__,
        "commit": git_commit(),
        "versions": package_versions(),
        "machine": {"cpus": os.cpu_count(), "platform": platform.platform()},
        "data": data,
        "standardizer": scales,
    }
    write_text(run.record_file, json.dumps(record, indent=2) + "\n")


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
    here = Path(__file__).parent
    try:
        commit = subprocess.run(
            ["git", "-C", str(here), "rev-parse", "--short=12", "HEAD"], capture_output=True, text=True, check=True
        )
        changes = subprocess.run(
            ["git", "-C", str(here), "status", "--porcelain", "--untracked-files=no"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


def write_text(path: Path, text: str) -> None:
    """Writes a file whole or not at all."""
    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
