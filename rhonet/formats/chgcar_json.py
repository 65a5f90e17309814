"""pymatgen's Chgcar as JSON, plain or in the envelope in which the Materials Project delivers it.

`{"@class": "Chgcar", "poscar": {"structure": ...}, "data": {"total": [[[...]]], "diff": ...}, "data_aug": ...}`,
perhaps as the "data" of an outer object. Values are ρ times the cell volume, as in a CHGCAR, nested as [x][y][z].
"""

from __future__ import annotations

import re
from typing import Any

import ase
import numpy as np
from ase.data import atomic_numbers

from rhonet.core.density import ChargeDensity
from rhonet.formats.check import build_density, refuse_entry
from rhonet.formats.parsing.json_numbers import JsonNumbers
from rhonet.formats.parsing.numerals import shown
from rhonet.formats.parsing.source import Source
from rhonet.formats.structure import LONGEST_ANGSTROM, check_lattice
from rhonet.formats.units import times_volume

_OTHER_CLASSES = {"Locpot": "a potential", "Elfcar": "an electron localisation function"}
_NESTING = 3


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of a Chgcar in JSON.

    Raises:
        FormatError: the file is no JSON or holds no Chgcar, or a part of it is missing or of the wrong shape.
    """
    refuse_entry(source, entry, "a Chgcar in JSON")
    file = JsonNumbers(source)
    chgcar = _find_chgcar(source, file.content)
    poscar = _part(source, chgcar, "poscar", dict)
    structure = poscar if "lattice" in poscar else _part(source, poscar, "structure", dict)
    matrix = file.array(_part(source, structure, "lattice", dict).get("matrix"), "the lattice", ndim=2)
    lattice = check_lattice(source, matrix, what="the lattice")
    data = _part(source, chgcar, "data", dict)
    components = [name for name in ("diff_x", "diff_y", "diff_z") if name in data]
    if len(components) in (1, 2):
        raise source.error(f"holds only {', '.join(components)} of the magnetization's three components")
    names = ["total", *(components or (name for name in ("diff",) if name in data))]
    volume = abs(np.linalg.det(lattice))
    fields = []
    for name in names:
        fields.append(file.array(data.get(name), f"the values of {name!r}", ndim=3))
        fields[-1] /= volume
        if fields[-1].shape != fields[0].shape:
            raise source.error(f"the grids of {name!r} and 'total' differ: {fields[-1].shape} and {fields[0].shape}")
    atoms, warnings = _read_atoms(source, file, structure, lattice)
    return build_density(
        source,
        values=fields[0],
        lattice=lattice,
        magnetization=None if len(fields) == 1 else fields[1] if len(fields) == 2 else np.stack(fields[1:]),
        atoms=atoms,
        format="chgcar_json",
        convention=times_volume(volume),
        warnings=warnings,
    )


def _find_chgcar(source: Source, content: Any) -> dict[str, Any]:
    """The object of class Chgcar, which may be the "data" of others."""
    for _ in range(_NESTING):
        if not isinstance(content, dict) or "@class" in content:
            break
        content = content.get("data")
    name = content.get("@class") if isinstance(content, dict) else None
    if not isinstance(content, dict) or not isinstance(name, str):
        raise source.error("is JSON, but holds no Chgcar of pymatgen (an object of '@class' Chgcar)")
    if name in _OTHER_CLASSES:
        raise source.error(f"holds {_OTHER_CLASSES[name]} (pymatgen's {name}), not a density")
    if name != "Chgcar":
        raise source.error(f"holds a {shown(name)}, expected pymatgen's Chgcar")
    return content


def _part(source: Source, parent: dict[str, Any], name: str, kind: type) -> Any:
    """Member of a JSON object, which must be there and of that type."""
    member = parent.get(name)
    if not isinstance(member, kind):
        raise source.error(f"its Chgcar lacks {name!r}, or it is no {'object' if kind is dict else 'list'}")
    return member


def _read_atoms(
    source: Source, file: JsonNumbers, structure: dict[str, Any], lattice: np.ndarray
) -> tuple[ase.Atoms | None, tuple[str, ...]]:
    """Atoms, or None with a warning where a site holds no single element."""
    numbers, positions = [], []
    for i, site in enumerate(_part(source, structure, "sites", list)):
        if not isinstance(site, dict):
            raise source.error(f"site {i + 1} of its structure is no object")
        species = site.get("species")
        first = species[0] if isinstance(species, list) and len(species) == 1 else None
        name = first.get("element") if isinstance(first, dict) and first.get("occu") == 1 else None
        symbol = re.match("[A-Z][a-z]?", name) if isinstance(name, str) else None
        number = atomic_numbers.get(symbol[0], 0) if symbol else 0
        if number < 1:
            return None, (f"Site {i + 1} of the structure holds no single element, so the atoms are left out.",)
        position = file.array(site.get("abc"), f"the position of site {i + 1}", ndim=1)
        if position.shape != (3,) or np.abs(position).max() > LONGEST_ANGSTROM:
            raise source.error(f"the position of site {i + 1} should be three numbers, found {position[:4].tolist()}")
        numbers.append(number)
        positions.append(position)
    if not numbers:
        return None, ("The structure holds no atoms.",)
    return ase.Atoms(numbers=numbers, scaled_positions=positions, cell=lattice, pbc=True), ()
