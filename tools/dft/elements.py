"""Data of the elements: their PAW data sets, and sizes for first guesses."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.dft.errors import GenerateError

TABLE = Path(__file__).with_name("elements.csv")


@dataclass(frozen=True)
class Element:
    """One row of elements.csv. Volumes, ionic and covalent radii are used only to start the volume search.

    Attributes:
        symbol: of the element.
        number: atomic number.
        mass: atomic mass units.
        paw_set: name in gpaw-data 1.2.1; a variant without semicore states if one exists and is accurate.
        valence_electrons: of the PAW data set.
        sphere_radius: largest radius of the PAW data set's partial waves, bohr.
        atomic_volume: in the element, Å³.
        compound_volume: in compounds with non-metals, Å³.
        ionic_radius: for six neighbours, as defined by Shannon, Å; None if not needed.
        covalent_radius: tetrahedral, Å; None if not needed.
        initial_moment: of the ferromagnetic start, µB; 0 for elements that are computed without spin.
    """

    symbol: str
    number: int
    mass: float
    paw_set: str
    valence_electrons: float
    sphere_radius: float
    atomic_volume: float
    compound_volume: float
    ionic_radius: float | None
    covalent_radius: float | None
    initial_moment: float


def find_element(symbol: str) -> Element:
    """Data of the element.

    Raises:
        GenerateError: there are no data for it.
    """
    try:
        return ELEMENTS[symbol]
    except KeyError:
        raise GenerateError(f"no data for the element {symbol!r}; there are: {', '.join(ELEMENTS)}") from None


def valence_electrons(symbols: Sequence[str]) -> float:
    """Number of valence electrons of the atoms, one symbol per atom."""
    return sum(find_element(symbol).valence_electrons for symbol in symbols)


def symbols_in(text: str) -> tuple[str, ...]:
    """Symbols in a text like "Li Na K"."""
    return tuple(text.split())


def _read_table() -> Mapping[str, Element]:
    with TABLE.open(newline="", encoding="utf-8") as file:
        return {row["symbol"]: _element(row) for row in csv.DictReader(file)}


def _element(row: Mapping[str, str]) -> Element:
    known = {key: float(text) for key, text in row.items() if key not in ("symbol", "paw_set") and text}
    return Element(
        symbol=row["symbol"],
        number=int(known["number"]),
        mass=known["mass"],
        paw_set=row["paw_set"],
        valence_electrons=known["valence_electrons"],
        sphere_radius=known["sphere_radius"],
        atomic_volume=known["atomic_volume"],
        compound_volume=known.get("compound_volume", known["atomic_volume"]),
        ionic_radius=known.get("ionic_radius"),
        covalent_radius=known.get("covalent_radius"),
        initial_moment=known.get("initial_moment", 0.0),
    )


ELEMENTS = _read_table()
