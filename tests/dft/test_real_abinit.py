"""One run of the real ABINIT, if it is installed with its PAW data sets: its files are read like the fake ones."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tools.dft.abinit_input import SOFT_CUTOFF, Task, paw_path
from tools.dft.abinit_output import read_density
from tools.dft.abinit_run import Abinit
from tools.dft.kmesh import k_list, k_mesh, symmetry_points
from tools.dft.prototypes import PROTOTYPES

# Made by `generate_dft.py --set-up`.
PAW = Path(os.environ.get("RHONET_PAW", REPOSITORY.parent / "dft-work" / "xml"))

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("abinit") is None, reason="abinit is not installed"),
    pytest.mark.skipif(not paw_path(PAW, "Si").exists(), reason=f"no PAW data sets in {PAW}; name them in RHONET_PAW"),
]


def test_silicon_is_a_semiconductor_with_eight_electrons(tmp_path):
    structure = PROTOTYPES["diamond"].build(["Si"], 5.47)
    task = Task(
        structure,
        (1.0, 0.9),
        k_mesh(structure.lattice, "coarse"),
        SOFT_CUTOFF,
        energy_tolerance=2e-5,
        density_spacing=0.2,
        keep_density=True,
    )
    abinit = Abinit("abinit", PAW)
    done = abinit(task, tmp_path / "run", seconds=300)
    ideal, squeezed = done.points
    # PBE: 20.5 Å³ per atom, 89 GPa; the coarse mesh and grid cost a few GPa of pressure.
    assert ideal.volume / 2 == pytest.approx(5.47**3 / 8, rel=1e-6)
    assert abs(ideal.pressure) < 4
    assert 8 < squeezed.pressure - ideal.pressure < 16
    assert squeezed.energy > ideal.energy
    further = Task(
        structure,
        (1.0,),
        k_list(symmetry_points(structure.lattice)),
        SOFT_CUTOFF,
        grids=done.grids,
        bands_of=done.density_file,
    )
    levels = abinit(further, tmp_path / "bands", seconds=300).points[0].eigenvalues
    valence, conduction = levels[0, :, :4], levels[0, :, 4:]
    assert conduction.min() - valence.max() == pytest.approx(0.6, abs=0.15)
    assert valence.max() - valence.min() == pytest.approx(12, abs=0.5)
    assert valence.max() == valence[0].max(), "not at the center of the zone"
    density, magnetization = read_density(done.density_file, done.grids.density, n_spins=1)
    assert magnetization is None
    assert density.mean() * ideal.volume == pytest.approx(8, abs=2e-3)
    # Bonds: the density is highest between neighbours, not in the empty sites of the diamond lattice.
    n = done.grids.density[0]
    assert density[n // 8, n // 8, n // 8] > 5 * density[n // 2, n // 2, n // 2]
    assert np.isfinite(density).all()
