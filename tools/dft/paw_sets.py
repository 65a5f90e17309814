"""PAW data sets for ABINIT: those of gpaw-data from PyPI, with rewritten radial grids."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

from tools.dft.abinit_input import paw_path
from tools.dft.elements import ELEMENTS, find_element
from tools.dft.errors import GenerateError

PACKAGE = "gpaw-data==1.2.1"
SET_UP_HINT = "python tools/generate_dft.py OUT --set-up gets it"
# Characters at the start of a data set that hold its valence electrons and radii; tables follow.
HEAD = 30_000


def download_paw_sets(folder: Path) -> int:
    """Downloads the data sets of all elements from PyPI to `folder`; returns their number.

    Raises:
        GenerateError: the package cannot be downloaded, or its content is not the expected one.
    """
    with tempfile.TemporaryDirectory() as place:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", place, PACKAGE]
        done = subprocess.run(command, capture_output=True, text=True)
        wheels = list(Path(place).glob("*.whl"))
        if done.returncode or len(wheels) != 1:
            reason = done.stderr.strip().splitlines()[-1:] or ["no wheel came"]
            raise GenerateError(f"{PACKAGE} cannot be downloaded: {reason[0]}; is there a connection to PyPI?")
        return unpack_paw_sets(wheels[0], folder)


def unpack_paw_sets(wheel: Path, folder: Path) -> int:
    """Unpacks the data sets of all elements from the wheel to `folder`; returns their number.

    Raises:
        GenerateError: a data set is missing, or has not the expected form.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(wheel) as package:
        members = {Path(name).name: name for name in package.namelist()}
        for symbol in ELEMENTS:
            path = paw_path(folder, symbol)
            member = members.get(f"{path.stem}.gz")
            if member is None:
                raise GenerateError(f"{wheel}: holds no {path.stem}.gz; {PACKAGE} is needed")
            text = gzip.decompress(package.read(member)).decode()
            path.write_text(with_abinit_grid(text, str(path)), encoding="utf-8")
    return len(ELEMENTS)


def with_abinit_grid(text: str, name: str) -> str:
    """PAW data set with its radial grid written in a formula that ABINIT knows.

    GPAW's r = a i / (1 - b i) equals r = (a/b) i / (1/b - i).

    Args:
        text: of the data set.
        name: for error messages.

    Raises:
        GenerateError: 1/b is not a whole number, which ABINIT's formula needs.
    """

    def rewrite(grid: re.Match[str]) -> str:
        a, b = float(grid[1]), float(grid[2])
        n = 1 / b
        if abs(n - round(n)) > 1e-6:
            raise GenerateError(f"{name}: the radial grid has 1/b = {n}, not a whole number; ABINIT cannot read it")
        return f'eq="r=a*i/(n-i)" a="{a / b:.17g}" n="{round(n)}" istart="0"'

    return re.sub(r'eq="r=a\*i/\(1-b\*i\)" a="([^"]+)" b="([^"]+)" n="\d+" istart="0"', rewrite, text)


def check_paw_sets(folder: Path, symbols: Iterable[str]) -> None:
    """Checks that the folder has the expected data sets of these elements.

    Raises:
        GenerateError: a data set is missing, or is not the expected one.
    """
    for symbol in sorted(set(symbols)):
        path = paw_path(folder, symbol)
        if not path.is_file():
            raise GenerateError(f"{path}: there is no such PAW data set; {SET_UP_HINT}, or name its folder with --paw")
        with path.open(encoding="utf-8") as file:
            head = file.read(HEAD)
        valence = re.search(r'<atom [^>]*valence="\s*([\d.]+)', head)
        radii = [float(radius) for radius in re.findall(r'<state [^>]*rc="\s*([\d.]+)"', head)]
        known = find_element(symbol)
        expected = (known.valence_electrons, known.sphere_radius)
        if not valence or not radii or (float(valence[1]), max(radii)) != expected:
            raise GenerateError(
                f"{path}: not the set of {PACKAGE} ({expected[0]:g} valence electrons, largest radius "
                f"{expected[1]:g} bohr); {SET_UP_HINT}"
            )
