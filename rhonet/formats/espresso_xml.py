"""Cell, atoms, grid and number of electrons from the data-file-schema.xml beside a Quantum ESPRESSO density."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ase
import numpy as np
from ase.units import Bohr

from rhonet.core.density import ElectronCount
from rhonet.formats.parsing.numerals import parse_floats, parse_integers
from rhonet.formats.parsing.source import Source, open_source
from rhonet.formats.structure import atomic_number, build_atoms, check_lattice

_SCHEMA = "data-file-schema.xml"
# Reading stops behind this element: the band energies follow, which are most of the file.
_LAST_ELEMENT = "nelec"
_READ_BYTES = 1 << 16
_MAX_BYTES = 256 << 20


@dataclass(frozen=True)
class Calculation:
    """What the XML file says about the calculation of a density.

    Attributes:
        file: name of the XML file, "" where there is none.
        lattice: rows a, b, c, (3, 3), Å; None where it is not known, as for the next three.
        atoms: its structure.
        grid: FFT grid of the density.
        electrons: number of valence electrons.
        warnings: what was odd, one sentence each.
    """

    file: str = ""
    lattice: np.ndarray | None = None
    atoms: ase.Atoms | None = None
    grid: tuple[int, int, int] | None = None
    electrons: ElectronCount | None = None
    warnings: tuple[str, ...] = ()


def find_xml(path: Path) -> Path | None:
    """XML file of a density file: beside it, or as PREFIX.xml beside the folder PREFIX.save that holds it."""
    candidates = [path.with_name(_SCHEMA)]
    if path.parent.suffix == ".save":
        candidates.append(path.parent.with_suffix(".xml"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def read_calculation(source: Source) -> Calculation:
    """Content of the XML file of a density file; an empty `Calculation` where there is no such file.

    Raises:
        FormatError: the XML file is damaged or contradicts itself; the message names it.
    """
    path = find_xml(source.path)
    if path is None:
        return Calculation()
    xml = open_source(path)
    output = _read_output(xml)
    structure = output.find("atomic_structure")
    if structure is None:
        raise xml.error("holds no output of a calculation (output/atomic_structure); it looks truncated")
    rows = [_floats(xml, structure, f"cell/{name}", 3) for name in ("a1", "a2", "a3")]
    lattice = check_lattice(xml, np.array(rows) * Bohr, what="cell")
    atoms, warnings = _read_atoms(xml, structure, lattice)
    nelec = output.find("band_structure/nelec")
    electrons = parse_floats(nelec.text or "") if nelec is not None else None
    return Calculation(
        file=path.name,
        lattice=lattice,
        atoms=atoms,
        grid=_read_grid(output),
        electrons=ElectronCount(electrons[0], path.name) if electrons else None,
        warnings=warnings,
    )


def _read_output(xml: Source) -> ElementTree.Element:
    """The element `output` up to `_LAST_ELEMENT`; the element `input` has children of the same names and is skipped."""
    parser: Any = ElementTree.XMLPullParser(["start", "end"])
    output, depth, n_bytes = None, 0, 0
    try:
        with xml.open() as content:
            while n_bytes < _MAX_BYTES and (piece := content.read(_READ_BYTES)):
                n_bytes += len(piece)
                parser.feed(piece)
                for event, element in parser.read_events():
                    depth += 1 if event == "start" else -1
                    if event == "start" and element.tag == "output":
                        output = element
                    elif event == "end" and output is None and depth == 1:
                        element.clear()
                    elif event == "end" and output is not None and element.tag in (_LAST_ELEMENT, "output"):
                        return output
    except ElementTree.ParseError as error:
        raise xml.error(f"is damaged: {error}") from error
    raise xml.error(f"holds no output of a calculation up to {_LAST_ELEMENT}; it looks truncated")


def _floats(xml: Source, parent: ElementTree.Element, path: str, count: int) -> list[float]:
    element = parent.find(path)
    numbers = parse_floats(element.text or "") if element is not None else None
    if numbers is None or len(numbers) != count or not np.isfinite(numbers).all():
        raise xml.error(f"{path} holds no {count} numbers")
    return numbers


def _read_atoms(
    xml: Source, structure: ElementTree.Element, lattice: np.ndarray
) -> tuple[ase.Atoms | None, tuple[str, ...]]:
    """Atoms, or none and a warning where a species is not named after an element."""
    numbers, positions = [], []
    for atom in structure.iterfind("atomic_positions/atom"):
        species = atom.get("name", "")
        number = atomic_number(species)
        if number is None:
            return None, (f"The species {species[:20]!r} of {xml.path.name} is no element; the atoms stay unknown.",)
        place = parse_floats(atom.text or "")
        if place is None or len(place) != 3:
            raise xml.error(f"atom {len(numbers) + 1} has no three coordinates")
        numbers.append(number)
        positions.append(place)
    if not numbers:
        return None, ()
    places = np.array(positions) * Bohr
    return build_atoms(xml, np.array(numbers), places, lattice=lattice, scaled=False), ()


def _read_grid(output: ElementTree.Element) -> tuple[int, int, int] | None:
    element = output.find("basis_set/fft_grid")
    if element is None:
        return None
    numbers = parse_integers(" ".join(element.get(name, "?") for name in ("nr1", "nr2", "nr3")))
    if numbers is None or len(numbers) != 3 or min(numbers) < 1:
        return None
    return numbers[0], numbers[1], numbers[2]
