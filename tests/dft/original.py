"""Runs shared/dft/generate.py, which made the bundled data set, with the fake ABINIT.

    python -m tests.dft.original

writes the inputs that it makes for `GOLDEN_CRYSTALS` to inputs_of_settings_b.txt, which our own inputs must equal.
"""

from __future__ import annotations

import functools
import importlib.util
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from tests.conftest import REPOSITORY
from tests.dft import fake_abinit
from tools.dft.candidates import named_candidate
from tools.dft.elements import ELEMENTS
from tools.dft.units import BOHR

SCRIPT = REPOSITORY.parent / "shared" / "dft" / "generate.py"
GOLDEN_FILE = Path(__file__).with_name("inputs_of_settings_b.txt")
GOLDEN_CRYSTALS = ("bcc_Na", "CsCl_Li_Co", "wurtzite_Zn_O", "reference_Zn")
# Its folders of runs, and ours.
STEPS = {"s0": "search0", "s1": "search1", "a": "volumes", "b": "minimum", "n": "bands", "b2": "harder"}


@functools.cache
def load_original() -> ModuleType:
    """The original as a module, with the PAW data sets' numbers of our table."""
    spec = importlib.util.spec_from_file_location("original_generator", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for element in ELEMENTS.values():
        module._nv[element.symbol] = (element.valence_electrons, element.sphere_radius * BOHR)
    for symbol in module.SKIP:  # left out there as here, but after a look at their sets
        module._nv[symbol] = (0.0, 0.0)
    return module


def run_original(name: str, folder: Path) -> tuple[dict[str, Any], list[str]]:
    """The original's record of a crystal or reference_X, and the inputs that it wrote, in order."""
    module: Any = load_original()
    module.XML = "PAW"
    inputs: list[str] = []

    class Popen:
        """Takes the place of subprocess.Popen."""

        pid = 0

        def __init__(self, command: Sequence[str], *, cwd: str, **options: object) -> None:
            step = Path(cwd)
            text = (step / "r.abi").read_text()
            inputs.append(f"--- {'fixed' if is_fixed else STEPS[step.name]}\n{renamed(text, step.parent)}")
            log = Path(cwd, "r.log")
            fake_abinit.answer(step)
            self.log = log.read_text()
            self.path = log

        def wait(self, seconds: float) -> None:
            # The original's own handle on the log empties nothing that is written from now on.
            self.path.write_text(self.log)

    if name.startswith("reference_"):
        crystal = next(one for one in module.refs_list() if one["els"] == [name.removeprefix("reference_")])
    else:
        known = named_candidate(name)
        crystal = {"id": name, "proto": known.prototype, "els": list(known.elements), "cls": ""}
    is_fixed = bool(crystal.get("ref")) and module.build(crystal)[3]
    real = module.subprocess.Popen
    module.subprocess.Popen = Popen
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # it leaves files to be closed by chance
            record, _ = module.process(crystal, str(folder), str(folder / "scratch"))
    finally:
        module.subprocess.Popen = real
        shutil.rmtree(folder / "scratch", ignore_errors=True)
    return record, inputs


def renamed(text: str, scratch: Path) -> str:
    """An input whose paths start with SCRATCH/ and name our folders."""
    for theirs, ours in STEPS.items():
        text = text.replace(f"{scratch}/{theirs}/", f"SCRATCH/{ours}/")
    return text


def write_golden_file() -> None:
    with tempfile.TemporaryDirectory() as place:
        parts = []
        for name in GOLDEN_CRYSTALS:
            parts.append(f"=== {name}\n" + "".join(run_original(name, Path(place))[1]))
    GOLDEN_FILE.write_text("".join(parts))
    print(f"{GOLDEN_FILE}: {GOLDEN_FILE.stat().st_size} bytes", file=sys.stderr)


if __name__ == "__main__":
    write_golden_file()
