"""GPAW's .gpw files, read by GPAW itself, which the user installs.

GPAW offers several densities. rhonet takes the pseudo-density with compensation charges: it integrates to the number of
valence electrons, and other PAW codes store the same (VASP in its CHGCAR). The all-electron density has cores that no
grid resolves.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from rhonet.core.density import ChargeDensity, ElectronCount
from rhonet.formats.check import build_density, refuse_entry
from rhonet.formats.parsing.source import Source

ELECTRONS_TOLERANCE = 1e-3
_CUBE = "write a cube file with GPAW: ase.io.write('rho.cube', atoms, data=calc.get_pseudo_density() * Bohr**3)"


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Pseudo-density with compensation charges, on GPAW's fine grid, which resolves these charges.

    Raises:
        FormatError: GPAW is not installed or cannot read the file, or the density does not integrate to the number of
            valence electrons, as this version of GPAW leaves the compensation charges out.
    """
    refuse_entry(source, entry, "a .gpw file")
    if source.packer:
        raise source.error(f"a .gpw file inside {source.packer} cannot be read; unpack it first")
    try:
        from gpaw import GPAW  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise source.error(f"is read by GPAW, which is not installed: pip install gpaw, or {_CUBE}") from error
    try:
        calculator = GPAW(str(source.path), txt=None)
        atoms = calculator.atoms.copy()
        n_electrons = float(calculator.get_number_of_electrons())
        fields = _densities(calculator)
    except Exception as error:  # GPAW raises whatever it meets: KeyError, ValueError, AssertionError, ...
        reason = str(error) or type(error).__name__
        raise source.error(f"GPAW cannot give its density: {reason}. Alternatively, {_CUBE}") from error
    lattice = np.array(atoms.cell)
    integral = sum(float(field.mean()) for field in fields) * abs(np.linalg.det(lattice))
    if not abs(integral - n_electrons) <= ELECTRONS_TOLERANCE * max(n_electrons, 1.0):
        raise source.error(
            f"its pseudo-density integrates to {integral:.6g} of {n_electrons:.6g} valence electrons: this GPAW leaves "
            f"compensation charges out (26.7 does not), or the calculation is non-collinear; {_CUBE}"
        )
    return build_density(
        source,
        values=fields[0] if len(fields) == 1 else fields[0] + fields[1],
        lattice=lattice,
        magnetization=None if len(fields) == 1 else fields[0] - fields[1],
        atoms=atoms,
        expected_electrons=ElectronCount(n_electrons, "GPAW"),
        format="gpaw",
    )


def _densities(calculator: Any) -> list[np.ndarray]:
    """ρ, or ρ_up and ρ_down, (nx, ny, nz), e/Å³."""
    if int(calculator.get_number_of_spins()) == 1:
        return [np.asarray(calculator.get_pseudo_density(gridrefinement=2))]
    return [np.asarray(calculator.get_pseudo_density(spin=spin, gridrefinement=2)) for spin in (0, 1)]
