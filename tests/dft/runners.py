"""Runs the fake ABINIT inside the test, or as a program."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

from tests.conftest import REPOSITORY
from tests.dft import fake_abinit
from tools.dft.abinit_run import Abinit


class FakeRunner(Abinit):
    """Answers tasks with the solid of fake_abinit; keeps the inputs, with our folders' names.

    Args:
        before: called with each run's folder before the answer, to interfere.
    """

    def __init__(self, before: Callable[[Path], None] = lambda folder: None) -> None:
        super().__init__(sys.executable, Path("PAW"))
        self.inputs: list[str] = []
        self._before = before

    def _run(self, folder: Path, seconds: float) -> None:
        text = (folder / "r.abi").read_text()
        paths = {str(folder.parent): "SCRATCH", str(Path("PAW").absolute()): "PAW"}
        for path, name in paths.items():
            text = text.replace(f"{path}/", f"{name}/")
        self.inputs.append(f"--- {folder.name}\n{text}")
        self._before(folder)
        fake_abinit.answer(folder)

    def version(self) -> str:
        return "9.6.2"


def script(path: Path, text: str) -> Path:
    """An executable shell script."""
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def fake_program(path: Path) -> Path:
    """The fake ABINIT as a program like ABINIT."""
    return script(path, f'PYTHONPATH={REPOSITORY} exec {sys.executable} -m tests.dft.fake_abinit "$@"')
