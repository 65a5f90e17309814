"""Checks that every density passes, whichever file it came from."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rhonet.core.density import ChargeDensity, ElectronCount
from rhonet.formats.parsing.source import Source

if TYPE_CHECKING:
    import ase

    from rhonet.formats.units import Convention

WHOLE_ELECTRONS_TOLERANCE = 0.02
EXPECTED_ELECTRONS_TOLERANCE = 1e-3
NEGATIVE_SHARE_TO_REPORT = 0.05
NEGATIVE_CHARGE_TO_REPORT = 0.02
NEGATIVE_CHARGE_TO_REFUSE = 0.5
# In a vacuum, noise makes half of the points negative, but with next to no charge. Replaced cores give negative charge,
# but at few points. Many points with much charge mean a spin density or a difference.
NEGATIVE_SHARE_TO_REFUSE = 0.25
NEGATIVE_CHARGE_OF_MANY_TO_REFUSE = 0.02


def build_density(
    source: Source,
    *,
    values: np.ndarray,
    lattice: np.ndarray,
    format: str,
    magnetization: np.ndarray | None = None,
    atoms: ase.Atoms | None = None,
    expected_electrons: ElectronCount | None = None,
    convention: Convention | None = None,
    is_partial: bool = False,
    warnings: tuple[str, ...] = (),
) -> ChargeDensity:
    """Density with a plausible number of electrons; what is odd but possible becomes a warning of it.

    Args:
        source: the file, for the error messages.
        values: (nx, ny, nz) e/Å³.
        lattice: rows a, b, c, Å.
        format: name of the format.
        magnetization: (nx, ny, nz) or (3, nx, ny, nz) µB/Å³.
        atoms: structure, where the file names one.
        expected_electrons: number of electrons, where the file or a companion file states it.
        convention: unit of the format's values, where files are known to break it.
        is_partial: the field is meant to hold only a part of the electrons (core, bands, a box within the crystal).
        warnings: what the reader itself found odd.

    Raises:
        FormatError: values are not finite, there are no electrons at all, there is so much negative charge that this
            must be another field (potential, spin density, difference), or the atoms cannot have so many electrons
            (`check_electron_count`).
    """
    try:
        density = ChargeDensity(
            values=values,
            lattice=lattice,
            magnetization=magnetization,
            atoms=atoms,
            format=format,
            expected_electrons=expected_electrons,
        )
    except ValueError as error:
        raise source.error(str(error)) from error
    negative = values < 0
    negative_charge = -float(np.sum(values, where=negative, dtype=np.float64)) / values.size * density.volume
    electrons = density.n_electrons
    if not electrons > 0 or negative_charge > NEGATIVE_CHARGE_TO_REFUSE * (electrons + negative_charge):
        raise source.error(
            f"integrates to {electrons:.6g} electrons, {negative_charge:.6g} less than its positive part alone; "
            f"this is no electron density (a potential, spin density or difference?)"
        )
    share = np.count_nonzero(negative) / values.size
    if share > NEGATIVE_SHARE_TO_REFUSE and negative_charge > NEGATIVE_CHARGE_OF_MANY_TO_REFUSE * electrons:
        raise source.error(
            f"{share:.1%} of the grid points are negative, and hold {-negative_charge:.3g} e of {electrons:.6g}; this "
            f"is no electron density (a spin density or difference?)"
        )
    whole = max(1, round(electrons))
    is_whole = abs(electrons - whole) <= max(WHOLE_ELECTRONS_TOLERANCE, 1e-4 * whole)
    doubts = []
    if atoms is not None:
        # Not at the top: it imports ASE, which `import rhonet.formats` does not take along.
        from rhonet.formats.units import check_electron_count

        doubts += check_electron_count(
            source,
            electrons=electrons,
            is_whole=is_whole,
            atoms=atoms,
            convention=convention,
            is_partial=is_partial,
        )
    doubts += warnings
    if share > NEGATIVE_SHARE_TO_REPORT or negative_charge > NEGATIVE_CHARGE_TO_REPORT * electrons:
        doubts.append(f"{share:.1%} of the grid points are negative ({-negative_charge:.3g} e of {electrons:.6g}).")
    if expected_electrons is not None:
        expected = expected_electrons.count
        if abs(electrons - expected) > max(WHOLE_ELECTRONS_TOLERANCE, EXPECTED_ELECTRONS_TOLERANCE * expected):
            stated = f"{expected:.6g} according to {expected_electrons.source}"
            doubts.append(f"Integrates to {electrons:.6g} electrons, but there are {stated}.")
    elif not is_whole:
        doubts.append(f"Integrates to {electrons:.6g} electrons, which is no whole number.")
    if atoms is not None and electrons > 10.5 and abs(electrons - atoms.numbers.sum()) < 0.01 * electrons:
        doubts.append(
            f"Integrates to {electrons:.6g} electrons, as many as the cell's nuclei have protons: an all-electron "
            "density? A model that was trained on valence densities has never seen such cores."
        )
    moment = density.total_moment
    if moment is not None and abs(moment) > electrons * (1 + 1e-6):
        doubts.append(f"The moment of {moment:.6g} µB is larger than the number of electrons, {electrons:.6g}.")
    return replace(density, warnings=tuple(doubts))


def refuse_entry(source: Source, entry: str | None, what: str) -> None:
    """Checks that no entry was asked for, in a format of one density per file.

    Args:
        source: the file.
        entry: what the caller asked for.
        what: the format with its article, to begin a sentence with: "a VASP file".

    Raises:
        FormatError: an entry was asked for.
    """
    if entry is not None:
        raise source.error(f"{what} holds one density, so there is no entry {entry!r}; leave the entry out")
