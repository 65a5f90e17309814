"""Computes the record and density of one crystal, and the reference energies of one element."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import ase
import numpy as np

from rhonet.core.density import ChargeDensity
from tools.dft.abinit_input import HARD_CUTOFF, SMEARING, SOFT_CUTOFF, Task, cutoff_for
from tools.dft.abinit_output import read_density
from tools.dft.abinit_run import Runner
from tools.dft.bands import find_bands
from tools.dft.candidates import Candidate
from tools.dft.elements import find_element
from tools.dft.errors import CalculationFailed
from tools.dft.first_guess import lattice_parameter
from tools.dft.kmesh import GAMMA, k_list, k_mesh, symmetry_points
from tools.dft.prototypes import PROTOTYPES, Structure
from tools.dft.records import CrystalRecord, ReferenceRecord
from tools.dft.references import Reference
from tools.dft.relaxation import Guess, Job, Relaxed, initial_moments, relax
from tools.dft.units import BOHR, GRAMS_PER_CM3

MOLECULE_SMEARING = 0.02  # eV
# Largest range, eV, of the energy shifts between the self-consistent mesh and the symmetry points.
ALIGNMENT_SPREAD = 0.05
ELECTRONS_TOLERANCE = 2e-3


@dataclass(frozen=True, eq=False)
class Computed:
    """A finished crystal.

    Attributes:
        record: its properties.
        density: at the first volume, or at the equilibrium if that is too far away.
    """

    record: CrystalRecord
    density: ChargeDensity


def compute_crystal(
    candidate: Candidate, run: Runner, *, scratch: Path, seconds: float, guess: Guess | None = None
) -> Computed:
    """Properties and density of a crystal at its equilibrium volume.

    Args:
        candidate: what to compute.
        run: computes the tasks.
        scratch: folder for the runs of this crystal only.
        seconds: time limit of all runs together.
        guess: start of the volume search.

    Raises:
        CalculationFailed: there is no trustworthy result.
        Interrupted: the command is being stopped.
    """
    started = time.monotonic()
    prototype = PROTOTYPES[candidate.prototype]
    structure = prototype.build(candidate.elements, lattice_parameter(candidate.prototype, candidate.elements))
    job = Job(structure, cutoff_for(structure.symbols), run, scratch, started + seconds)
    relaxed = relax(job, guess or Guess())
    further, band_path_error = _bands_on_symmetry_points(job, relaxed)
    point = relaxed.nearest.points[0]
    bands = find_bands(
        point.eigenvalues, point.occupations, point.k_weights, fermi_energy=point.fermi_energy, further=further
    )
    at_minimum = Structure(point.lattice, structure.symbols, structure.positions)
    density = _density(relaxed, at_minimum)
    first, compressed, stretched = relaxed.three.points
    softening = (stretched.pressure - compressed.pressure) / math.log(stretched.volume / compressed.volume)
    mass = sum(find_element(symbol).mass for symbol in structure.symbols)
    spin = relaxed.moments is not None
    return Computed(
        CrystalRecord(
            id=candidate.id,
            family=candidate.family,
            prototype=candidate.prototype,
            elements=candidate.elements,
            cutoff=job.cutoff,
            n_electrons=point.n_electrons,
            volume=relaxed.equilibrium.volume,
            energy=relaxed.equilibrium.energy / len(structure.symbols),
            mass_density=mass * GRAMS_PER_CM3 / relaxed.equilibrium.volume,
            bulk_modulus=relaxed.equilibrium.bulk_modulus,
            bulk_modulus_from_stress=-softening,
            fermi_energy=bands.fermi_energy,
            band_gap=bands.gap,
            band_width=bands.width,
            moment=abs(point.moment) if spin else 0.0,
            moments=(first.moment, compressed.moment, stretched.moment),
            sphere_overlap=sphere_overlap(at_minimum),
            log_volume_ratio=math.log(relaxed.equilibrium.volume / structure.volume),
            band_path_error=band_path_error,
            density_volume=point.volume,
            pressure=point.pressure,
            seconds=time.monotonic() - started,
        ),
        density,
    )


def compute_reference(reference: Reference, run: Runner, *, scratch: Path, seconds: float) -> ReferenceRecord:
    """Energies of an element at all cut-offs that its compounds can have.

    Args:
        reference: the element's structure.
        run: computes the tasks.
        scratch: folder for the runs of this element only.
        seconds: time limit of all runs together.

    Raises:
        CalculationFailed: there is no trustworthy result.
        Interrupted: the command is being stopped.
    """
    started = time.monotonic()
    structure = reference.structure
    job = Job(structure, cutoff_for(structure.symbols), run, scratch, started + seconds)
    energies = _fixed_energies(job, reference) if reference.fixed else _solid_energies(job)
    per_atom = {f"{cutoff:g}": energy / len(structure.symbols) for cutoff, energy in energies.items()}
    return ReferenceRecord(reference.id, reference.element, per_atom, time.monotonic() - started)


def sphere_overlap(structure: Structure) -> float:
    """Largest ratio of the sum of two atoms' PAW radii to their distance."""
    radii = np.array([find_element(symbol).sphere_radius * BOHR for symbol in structure.symbols])
    return float(((radii[:, None] + radii[None])[..., None] / structure.distances()).max())


def _bands_on_symmetry_points(job: Job, relaxed: Relaxed) -> tuple[np.ndarray | None, str]:
    """Eigenvalues at the symmetry points, (n_spins, n, n_bands), eV, and ""; or None, and the reason of the failure.

    The first point also belongs to the self-consistent mesh: its eigenvalues give the shift to the mesh's energy zero.
    """
    point = relaxed.nearest.points[0]
    first = tuple(float(component) for component in point.k_points[0])
    points = [first, *symmetry_points(job.structure.lattice)]
    enough = math.ceil(point.n_electrons / 2 + abs(point.moment) / 2) + 5
    task = Task(
        job.structure,
        (point.volume / job.structure.volume,),
        k_list(points),
        job.cutoff,
        relaxed.moments,
        n_bands=min(relaxed.three.n_bands, enough),
        grids=relaxed.three.grids,
        bands_of=relaxed.nearest.density_file,
    )
    try:
        eigenvalues = job.compute("bands", task).points[0].eigenvalues
        n_compared = max(1, int(point.n_electrons / 2) - 1)
        shifts = point.eigenvalues[:, 0, :n_compared] - eigenvalues[:, 0, :n_compared]
        if np.ptp(shifts) > ALIGNMENT_SPREAD:
            raise CalculationFailed(f"energies at the common k point scatter by {np.ptp(shifts):.3f} eV")
    except CalculationFailed as error:
        return None, str(error)
    return eigenvalues + np.median(shifts), ""


def _density(relaxed: Relaxed, structure: Structure) -> ChargeDensity:
    nearest = relaxed.nearest
    n_spins = 1 if relaxed.moments is None else 2
    values, magnetization = read_density(nearest.density_file, nearest.grids.density, n_spins=n_spins)
    atoms = ase.Atoms(structure.symbols, scaled_positions=structure.positions, cell=structure.lattice, pbc=True)
    density = ChargeDensity(values, structure.lattice, magnetization, atoms)
    expected = nearest.points[0].n_electrons
    if abs(density.n_electrons - expected) > ELECTRONS_TOLERANCE * max(1, expected**0.5):
        raise CalculationFailed(f"the density holds {density.n_electrons:.4f} electrons instead of {expected:.4f}")
    return density


def _fixed_energies(job: Job, reference: Reference) -> dict[float, float]:
    """Energies of a molecule in a box or of graphite, eV per cell, by cut-off."""
    is_molecule = reference.kind == "molecule"
    cutoffs = [HARD_CUTOFF] if job.cutoff == HARD_CUTOFF else [SOFT_CUTOFF, HARD_CUTOFF]
    energies = {}
    for cutoff in cutoffs:
        task = Task(
            job.structure,
            (1.0,),
            GAMMA if is_molecule else k_mesh(job.structure.lattice, "metal"),
            cutoff,
            reference.moments or initial_moments(job.structure.symbols),
            smearing=MOLECULE_SMEARING if is_molecule else SMEARING,
        )
        energies[cutoff] = job.compute("fixed", task).points[0].energy
    return energies


def _solid_energies(job: Job) -> dict[float, float]:
    """Energies at equilibrium, eV per cell, by cut-off.

    The energy at the higher cut-off is that at the lower one plus their difference at one volume.
    """
    relaxed = relax(job, Guess())
    energies = {job.cutoff: relaxed.equilibrium.energy}
    if job.cutoff == SOFT_CUTOFF:
        point = relaxed.nearest.points[0]
        task = Task(
            job.structure,
            (point.volume / job.structure.volume,),
            relaxed.k_points,
            HARD_CUTOFF,
            relaxed.moments,
            energy_tolerance=2e-6,
            start=relaxed.three.waves,
        )
        harder = job.compute("harder", task).points[0].energy
        energies[HARD_CUTOFF] = relaxed.equilibrium.energy + harder - point.energy
    return energies
