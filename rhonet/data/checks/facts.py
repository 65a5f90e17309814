"""Facts of each density of a folder: small enough to be kept for all densities, and sufficient to compare them."""

from __future__ import annotations

import logging
import math
import multiprocessing
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field

import numpy as np

from rhonet.core.config import DEFAULT_SPACING
from rhonet.core.errors import FolderError
from rhonet.data.checks.summary import DensitySummary, summarize_density
from rhonet.data.descriptors import radial_spectrum
from rhonet.data.folder import Sample
from rhonet.data.records import decode_record, make_record
from rhonet.formats import read_density


@dataclass(frozen=True)
class DensityFacts:
    """Facts of one density of a folder.

    Attributes:
        id: as in the table.
        file: as in the table.
        error: why the density cannot be used, "" if it can.
        summary: content of the file, None where the density cannot be used.
        formula: reduced formula, "" if the species are unknown.
        chemical_system: group for splits by chemical system; the id if the elements are unknown.
        elements: number of atoms in the cell by element; {} if neither the file nor its structure file names atoms.
        spectrum: result of `radial_spectrum`, () where the density cannot be used.
    """

    id: str
    file: str
    error: str = ""
    summary: DensitySummary | None = None
    formula: str = ""
    chemical_system: str = ""
    elements: Mapping[str, int] = field(default_factory=dict)
    spectrum: tuple[float, ...] = ()

    @property
    def n_electrons(self) -> float:
        """Integral of ρ, NaN where the density cannot be used."""
        return self.summary.n_electrons if self.summary else np.nan

    @property
    def volume(self) -> float:
        """Volume of the cell, Å³; NaN where the density cannot be used."""
        return self.summary.volume if self.summary else np.nan

    @property
    def moment(self) -> float:
        """Integral of the magnetization, µB; NaN without spin."""
        moment = self.summary.total_moment if self.summary else None
        return np.nan if moment is None else moment

    @property
    def n_atoms(self) -> int:
        """Atoms in the cell, 0 where they are unknown."""
        return sum(self.elements.values())

    @property
    def n_formula_units(self) -> int:
        """Reduced formula units in the cell, 0 where the atoms are unknown."""
        return math.gcd(*self.elements.values())


def read_facts(sample: Sample) -> DensityFacts:
    """Facts of one density, which is read and converted as in a build; the reason of a failure is in `error`."""
    try:
        density = read_density(sample.path, entry=sample.entry, structure=sample.structure)
        record = make_record(density, sample=sample, properties=(), spacing=DEFAULT_SPACING)
    except (ValueError, OSError, MemoryError) as error:
        message = str(error) or type(error).__name__
        named = message if str(sample.path.parent) in message else f"{sample.path}: {message}"
        return DensityFacts(sample.id, sample.file, error=named)
    return DensityFacts(
        sample.id,
        sample.file,
        summary=summarize_density(sample.file, density),
        formula=record["formula"],
        chemical_system=record["groups"]["chemical_system"],
        elements=Counter(density.atoms.get_chemical_symbols()) if density.atoms is not None else {},
        spectrum=tuple(radial_spectrum(decode_record(record)).tolist()),
    )


def gather_facts(samples: Sequence[Sample], *, workers: int = 1) -> Iterator[DensityFacts]:
    """Facts of each sample, in order; each worker holds one density at a time.

    Args:
        samples: rows of a table.
        workers: number of processes; with 1 this process reads.

    Raises:
        FolderError: a worker was killed, most likely because memory ran out.
    """
    if workers == 1:
        yield from map(read_facts, samples)
        return
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"), initializer=_be_quiet) as pool:
        try:
            yield from pool.map(read_facts, samples, chunksize=1)
        except BrokenProcessPool as error:
            raise FolderError(
                f"a process that read densities was killed, perhaps because memory ran out; take fewer than {workers} "
                "--workers"
            ) from error


def _be_quiet() -> None:
    logging.getLogger().setLevel(logging.ERROR)
