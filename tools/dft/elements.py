"""What the generator knows of each element: its PAW data set, and sizes for first guesses."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tools.dft.errors import GenerateError

TABLE = Path(__file__).with_name("elements.csv")


@dataclass(frozen=True)
class Element:
    """One row of elements.csv; radii and volumes other than the PAW set's only start the volume search.

    symbol, number, mass: the mass in atomic mass units.
    paw_set: name in gpaw-data 1.2.1, a variant without semicore states where one exists and tests well.
    valence_electrons, sphere_radius: of that set; the largest radius of its partial waves, bohr.
    atomic_volume: Å³, in the element; compound_volume: Å³, beside non-metals.
    ionic_radius: Å, six-fold, in the manner of Shannon; covalent_radius: Å, tetrahedral; None where not needed.
    initial_moment: µB, of the ferromagnetic start; 0 for elements that are computed without spin.
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
    """The element of that symbol.

    Raises:
        GenerateError: the generator has no data for it.
    """
    try:
        return ELEMENTS[symbol]
    except KeyError:
        raise GenerateError(f"no data for the element {symbol!r}; there are: {', '.join(ELEMENTS)}") from None


def valence_electrons(symbols: Sequence[str]) -> float:
    """Valence electrons of these atoms, one symbol per atom."""
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
