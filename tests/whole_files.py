"""One small whole file of every format that can be written here: what fuzzing starts from."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from pathlib import Path

from tests.synthetic import castep_text, chgcar_json, chgcar_text, cube_text, random_density, write_archive, xsf_text
from tests.synthetic_binary import (
    write_abinit,
    write_pymatgen_hdf5,
    write_quantum_espresso,
    write_siesta,
    write_vaspout,
    write_vaspwave,
)

PLAIN = random_density((4, 3, 5))
SPIN = random_density((3, 4, 5), blocks=2)
# Plane waves at the edge of an even grid are their own negatives.
ODD = random_density((3, 5, 5), blocks=2)
NON_COLLINEAR = random_density((3, 3, 4), blocks=4)

TEXTS = {
    "CHGCAR": chgcar_text(PLAIN),
    "spin.CHGCAR": chgcar_text(SPIN, augmentation=True),
    "noncollinear.CHGCAR": chgcar_text(NON_COLLINEAR),
    "plain.cube": cube_text(PLAIN, origin=(1, 2, 3)),
    "fields.cube": cube_text(PLAIN, other_fields=[PLAIN.values**2]),
    "plain.xsf": xsf_text(PLAIN),
    "chgcar.json": json.dumps(chgcar_json(SPIN)),
    "plain.den_fmt": castep_text(PLAIN),
    "spin.den_fmt": castep_text(SPIN),
}
WRITERS: dict[str, Callable[[Path], object]] = {
    "CHGCAR.hdf5": lambda path: write_pymatgen_hdf5(path, SPIN),
    "vaspwave.h5": lambda path: write_vaspwave(path, NON_COLLINEAR),
    "vaspout.h5": lambda path: write_vaspout(path, PLAIN),
    "charge-density.hdf5": lambda path: write_quantum_espresso(path, ODD),
    "gamma-charge-density.hdf5": lambda path: write_quantum_espresso(path, random_density((3, 3, 5)), gamma_only=True),
    "plain_DEN.nc": lambda path: write_abinit(path, PLAIN),
    "netcdf4_DEN.nc": lambda path: write_abinit(path, SPIN, version=4),
    "Rho.grid.nc": lambda path: write_siesta(path, SPIN),
    "archive.h5": lambda path: write_archive(path, {"NaCl": PLAIN}),
}


def whole_files() -> dict[str, bytes]:
    """Content by file name."""
    contents = {name: text.encode() for name, text in TEXTS.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, write in WRITERS.items():
            write(Path(folder) / name)
            contents[name] = (Path(folder) / name).read_bytes()
    return contents
