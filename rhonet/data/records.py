"""A density and its labels as one stored record: float16 on the storage grid, and back."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypedDict

import numpy as np
from ase.formula import Formula

from rhonet.core.density import ChargeDensity
from rhonet.core.properties import Property
from rhonet.core.regrid import storage_grid
from rhonet.data.folder import Sample
from rhonet.data.groups import chemical_system, reduced_formula, structure_type

RECORD_VERSION = 2
"""Raised whenever a field of `Record` changes its meaning: data sets of another version are not read."""

MAX_ELECTRON_ERROR = 1e-3
"""Relative change of the electron count that rounding to float16 may cause.

The 161 bundled crystals: 2e-5 in the median, 1.1e-4 at most. `n_electrons` is kept beside the values.
"""


class Groups(TypedDict):
    """Names that the sample's splits are made on; the id where the species are not known."""

    chemical_system: str
    formula: str
    prototype: str


class Record(TypedDict):
    """What a TFRecord holds for one sample.

    id: name of the sample.
    formula: reduced formula, "" where the species are not known.
    groups: names that splits are made on.
    density: (nx, ny, nz) float16, e/Å³ divided by density_scale.
    magnetization: (nx, ny, nz) float16, µB/Å³ divided by magnetization_scale; (0, 0, 0) without spin.
    lattice: rows a, b, c, (3, 3) float32, Å.
    n_electrons: integral of the density before it was resampled and rounded.
    total_moment: integral of the magnetization likewise, µB; NaN without spin.
    labels: (properties,) float32 in the order of the data set's properties; NaN where missing.
    """

    id: str
    formula: str
    groups: Groups
    density: np.ndarray
    density_scale: np.float32
    magnetization: np.ndarray
    magnetization_scale: np.float32
    lattice: np.ndarray
    n_electrons: np.float32
    total_moment: np.float32
    labels: np.ndarray


def to_float16(values: np.ndarray) -> tuple[np.ndarray, float]:
    """Values as float16 and the power of two to multiply them with.

    The largest magnitude lands in [2¹⁴, 2¹⁵): values down to 4e-9 of it are rounded by at most 2⁻¹¹ of
    themselves, smaller ones by at most 2e-12 of it. Packing what was unpacked changes no bit. A field
    without any value above 1e-30 becomes zero.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if largest <= 1e-30:
        return np.zeros(values.shape, np.float16), 1.0
    scale = 2.0 ** (math.frexp(largest)[1] - 15)
    return (values / scale).astype(np.float16), scale


def from_float16(values: np.ndarray, scale: float | np.float32) -> np.ndarray:
    """Values (any shape) as float32."""
    return values.astype(np.float32) * np.float32(scale)


def make_record(density: ChargeDensity, *, sample: Sample, properties: Sequence[Property], spacing: float) -> Record:
    """Record of a density with the labels of its sample.

    Args:
        density: as read; resampled here to the storage grid of `spacing` Å.
        sample: names and labels.
        properties: order of the label vector.
        spacing: largest distance of neighbouring grid points, Å.

    Raises:
        ValueError: the density has no electrons, is not kept by float16, or its species are not those of
            the sample's formula or chemical system.
    """
    if not density.n_electrons > 0:
        raise ValueError(f"the density integrates to {density.n_electrons:g} electrons; expected more than none")
    symbols = _species(density, sample)
    stored = storage_grid(density, spacing)
    values, scale = to_float16(stored.values)
    magnetization = stored.collinear_magnetization()
    moments, moment_scale = to_float16(np.zeros((0, 0, 0)) if magnetization is None else magnetization)
    n_stored = float(values.mean(dtype=np.float64)) * scale * density.volume
    if not abs(n_stored / density.n_electrons - 1) <= MAX_ELECTRON_ERROR:
        raise ValueError(
            f"the record holds {n_stored:.6g} of {density.n_electrons:.6g} electrons: positive and negative parts "
            "nearly cancel; check that the file is an electron density"
        )
    return Record(
        id=sample.id,
        formula=reduced_formula(symbols),
        groups=_groups(density, sample, symbols),
        density=values,
        density_scale=np.float32(scale),
        magnetization=moments,
        magnetization_scale=np.float32(moment_scale),
        lattice=np.asarray(density.lattice, np.float32),
        n_electrons=np.float32(density.n_electrons),
        total_moment=np.float32(np.nan if density.total_moment is None else density.total_moment),
        labels=np.array([sample.labels[wanted.name] for wanted in properties], np.float32),
    )


def decode_record(record: Record) -> ChargeDensity:
    """Density of a record as stored: float32 values whose integral is `n_electrons` up to rounding."""
    spin = record["magnetization"]
    return ChargeDensity(
        from_float16(record["density"], record["density_scale"]),
        np.asarray(record["lattice"], np.float64),
        magnetization=from_float16(spin, record["magnetization_scale"]) if spin.size else None,
        format="record",
    )


def _species(density: ChargeDensity, sample: Sample) -> list[str]:
    """Chemical symbols from the file, else from the table's formula; empty where neither knows them."""
    named = list(Formula(sample.formula)) if sample.formula else []
    if density.atoms is None:
        found = named
    else:
        found = density.atoms.get_chemical_symbols()
        if named and reduced_formula(named) != reduced_formula(found):
            raise ValueError(f"the file holds {reduced_formula(found)}, but properties.csv says {sample.formula}")
    if found and sample.chemical_system and chemical_system(found) != sample.chemical_system:
        raise ValueError(f"the species are {chemical_system(found)}, but properties.csv says {sample.chemical_system}")
    return found


def _groups(density: ChargeDensity, sample: Sample, symbols: Sequence[str]) -> Groups:
    system = chemical_system(symbols) if symbols else sample.chemical_system
    return Groups(
        chemical_system=system or sample.id,
        formula=reduced_formula(symbols) if symbols else sample.id,
        prototype=sample.bookkeeping.get("prototype") or structure_type(density.atoms) or sample.id,
    )


# The one TFDS split of our data sets; train, validation and test are made on groups when it is read.
SPLIT = "records"
