"""Provenance of a result: command, package versions, commit."""

from __future__ import annotations

import importlib.metadata
import platform
import shlex
import subprocess
import sys
from pathlib import Path

PACKAGES = ("tensorflow", "tensorflow-cpu", "keras", "tensorflow-datasets", "numpy", "scipy", "ase", "pymatgen-core")


def command_line() -> str:
    """The running command, as one would type it."""
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
    """Commit of the rhonet checkout, with "+changes" if it has uncommitted changes; "" outside a checkout."""
    try:
        # Where rhonet is installed inside another repository, that repository's commit is not rhonet's.
        _git("ls-files", "--error-unmatch", Path(__file__).name)
        commit, changes = _git("rev-parse", "--short=12", "HEAD"), _git("status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return commit + ("+changes" if changes else "")


def _git(*arguments: str) -> str:
    here = str(Path(__file__).parent)
    return subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=True).stdout.strip()
