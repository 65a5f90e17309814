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
"""To be increased whenever a field of `Record` changes its meaning; data sets of another version are not read."""

MAX_ELECTRON_ERROR = 1e-3
"""Largest allowed relative change of the electron count by rounding to float16.

Typical changes are 2e-5, and 1e-4 at most in the bundled crystals. `n_electrons` keeps the exact count.
"""
SPLIT = "records"
"""The only TFDS split of our data sets; train, validation and test are made on groups when it is read."""


class Groups(TypedDict):
    """Names of a sample's groups, on which splits are made.

    Attributes:
        chemical_system: elements, e.g. "Cl-Na"; the id where they are not known.
        formula: reduced formula; the id where the species are not known.
        prototype: as named in the table, else the structure type; the id where neither is known.
    """

    chemical_system: str
    formula: str
    prototype: str


class Record(TypedDict):
    """Content of the TFRecord of one sample.

    Attributes:
        id: name of the sample.
        formula: reduced formula, "" where the species are not known.
        groups: names of the groups on which splits are made.
        density: (nx, ny, nz) float16, e/Å³ divided by density_scale.
        density_scale: factor that gives e/Å³.
        magnetization: (nx, ny, nz) float16, µB/Å³ divided by magnetization_scale; (0, 0, 0) without spin.
        magnetization_scale: factor that gives µB/Å³.
        lattice: rows a, b, c, (3, 3) float32, Å.
        n_electrons: integral of the density before resampling and rounding.
        total_moment: integral of the magnetization before resampling and rounding, µB; NaN without spin.
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
    """Scaled values as float16, and the scale: a power of two by which they are to be multiplied.

    The largest magnitude is scaled into [2¹⁴, 2¹⁵). Values down to 4e-9 of it are rounded by at most 2⁻¹¹ of
    themselves, smaller ones by at most 2e-12 of the largest. Packing unpacked values again changes no bit. A field
    without any magnitude above 1e-30 becomes zero.
    """
    largest = float(np.abs(values).max(initial=0.0))
    if largest <= 1e-30:
        return np.zeros(values.shape, np.float16), 1.0
    scale = 2.0 ** (math.frexp(largest)[1] - 15)
    return (values / scale).astype(np.float16), scale


def from_float16(values: np.ndarray, scale: float | np.float32) -> np.ndarray:
    """Unpacked values as float32, in the shape of `values`."""
    return values.astype(np.float32) * np.float32(scale)


def make_record(density: ChargeDensity, *, sample: Sample, properties: Sequence[Property], spacing: float) -> Record:
    """Record of a density with the labels of its sample.

    Args:
        density: as read; resampled here to the storage grid of `spacing` Å.
        sample: names and labels.
        properties: order of the label vector.
        spacing: largest distance of neighbouring grid points, Å.

    Raises:
        ValueError: the density has no electrons, float16 does not keep its electron count, or its species are not
            those of the sample's formula or chemical system.
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
    """Stored density of a record: float32 values whose integral is `n_electrons` up to rounding."""
    spin = record["magnetization"]
    return ChargeDensity(
        from_float16(record["density"], record["density_scale"]),
        np.asarray(record["lattice"], np.float64),
        magnetization=from_float16(spin, record["magnetization_scale"]) if spin.size else None,
        format="record",
    )


def _species(density: ChargeDensity, sample: Sample) -> list[str]:
    """Chemical symbols from the file, or else from the table's formula; empty where neither names them."""
    named = list(Formula(sample.formula)) if sample.formula else []
    if density.atoms is None:
        symbols = named
    else:
        symbols = density.atoms.get_chemical_symbols()
        if named and reduced_formula(named) != reduced_formula(symbols):
            raise ValueError(f"the file holds {reduced_formula(symbols)}, but properties.csv says {sample.formula}")
    if symbols and sample.chemical_system and chemical_system(symbols) != sample.chemical_system:
        system = chemical_system(symbols)
        raise ValueError(f"the species are {system}, but properties.csv says {sample.chemical_system}")
    return symbols


def _groups(density: ChargeDensity, sample: Sample, symbols: Sequence[str]) -> Groups:
    system = chemical_system(symbols) if symbols else sample.chemical_system
    return Groups(
        chemical_system=system or sample.id,
        formula=reduced_formula(symbols) if symbols else sample.id,
        prototype=sample.bookkeeping.get("prototype") or structure_type(density.atoms) or sample.id,
    )
