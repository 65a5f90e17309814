"""VASP's text files of densities: CHGCAR, CHG, AECCAR, PARCHG.

Layout (https://www.vasp.at/wiki/index.php/CHGCAR): a POSCAR, a blank line, the grid, then values with x running
fastest: ρ times the cell volume. PAW augmentation occupancies may follow each block, and with spin the moments of the
atoms (one number each, or three); neither is a field, so both are skipped. The second block is the magnetization; a
non-collinear calculation has four blocks: ρ, m_x, m_y, m_z.
"""

from __future__ import annotations

import re

import numpy as np

from rhonet.core.density import ChargeDensity
from rhonet.formats.check import build_density, refuse_entry
from rhonet.formats.companion_files import vasp_electrons
from rhonet.formats.parsing.numerals import parse_floats, parse_integers, shown
from rhonet.formats.parsing.source import Source
from rhonet.formats.parsing.text import TextScanner
from rhonet.formats.poscar import read_poscar
from rhonet.formats.units import times_volume

_PARTIAL = {
    r"AECCAR0": "AECCAR0 holds the core electrons only.",
    r"AECCAR1": "AECCAR1 holds overlapping atomic densities, not the self-consistent one.",
    r"PARCHG": "PARCHG holds the density of selected bands only.",
}

# VASP's names of files that hold only a part of the electrons.
_PARTS = r"AECCAR0|PARCHG"

_BLOCKS = "1 (ρ), 2 (ρ, m) or 4 (ρ, mx, my, mz)"


def read(source: Source, *, entry: str | None) -> ChargeDensity:
    """Density of a VASP text file.

    Values are not copied into C order: `values` is an (nx, ny, nz) view of the file's order. The OUTCAR or
    vasprun.xml beside the file gives the expected number of electrons.

    Raises:
        FormatError: a line does not fit; its number is in the message.
    """
    refuse_entry(source, entry, "a VASP file")
    with source.open() as stream:
        text = TextScanner(stream, source)
        header = read_poscar(text)
        shape = _read_grid(text, n_atoms=header.n_atoms)
        volume = abs(np.linalg.det(header.lattice))
        warnings = [*header.warnings, *(note for name, note in _PARTIAL.items() if re.search(name, source.name))]
        density = _read_block(text, shape)
        _refuse_localisation_function(source, density)
        density /= volume
        components, moments_given = [], False
        while True:
            another, moments = _skip_trailer(text, shape, n_atoms=header.n_atoms)
            moments_given |= moments
            if not another:
                break
            if len(components) == 3:
                raise text.error(f"a fifth block of grid values, expected {_BLOCKS}")
            components.append(_read_block(text, shape))
            components[-1] /= volume
    if len(components) == 2:
        raise text.error(f"3 blocks of grid values, expected {_BLOCKS}; the file looks truncated")
    if moments_given and not components:
        warnings.append("Moments of atoms but no second block: the magnetization was cut off or taken out.")
    expected, doubts = vasp_electrons(source)
    return build_density(
        source,
        values=density,
        lattice=header.lattice,
        magnetization=None if not components else components[0] if len(components) == 1 else np.stack(components),
        atoms=header.atoms,
        format="vasp",
        expected_electrons=expected,
        convention=times_volume(volume),
        is_partial=re.search(_PARTS, source.name) is not None,
        warnings=(*warnings, *doubts),
    )


def _read_grid(text: TextScanner, *, n_atoms: int) -> tuple[int, int, int]:
    """Grid, from the line behind the blank line and, in some files, a block of velocities."""
    line = text.next_filled_line()
    if line is not None and not any(parse_integers(line) or ()):  # Velocities may be 0 0 0.
        if line.strip()[:1].lower() in ("d", "c"):
            line = text.next_filled_line()
        for atom in range(1, n_atoms + 1):
            if line is None or len(parse_floats(line) or ()) != 3:
                raise text.error(
                    f"expected the grid or the velocity of atom {atom} of {n_atoms}, found {shown(line or '')}"
                )
            line = text.next_filled_line()
    if line is None:
        raise text.error("the file ends where the grid should come; it looks truncated")
    shape = _as_grid(line)
    if shape is None:
        raise text.error(f"expected the grid, three numbers above 0, found {shown(line)}")
    return shape


def _as_grid(line: str) -> tuple[int, int, int] | None:
    numbers = parse_integers(line)
    if numbers is None or len(numbers) != 3 or min(numbers) < 1:
        return None
    nx, ny, nz = numbers
    return nx, ny, nz


def _read_block(text: TextScanner, shape: tuple[int, int, int]) -> np.ndarray:
    """One field, (nx, ny, nz); the last row may be padded with zeros."""
    nx, ny, nz = shape
    values = text.read_values(nx * ny * nz)
    rest = text.readline() or ""
    if rest.strip() and any(parse_floats(rest) or (1,)):
        raise text.error(f"more than the {nx * ny * nz} values of the {nx}x{ny}x{nz} grid: {shown(rest)}")
    return values.reshape(nz, ny, nx).transpose(2, 1, 0)


def _skip_trailer(text: TextScanner, shape: tuple[int, int, int], *, n_atoms: int) -> tuple[bool, bool]:
    """Skips what stands between two blocks: does another block follow, and were there moments of the atoms?"""
    n_numbers = 0
    all_counted = True
    first_number_line = 0
    while (line := text.next_filled_line()) is not None:
        if parse_integers(line) == list(shape):
            break
        if line.lstrip().startswith("augment"):
            header = re.search(r"(\d+)\s+(\d+)\s*$", line)
            if header:
                text.read_values(int(header[2]), "augmentation occupancies")
                rest = text.readline() or ""
                if rest.strip():
                    raise text.error(f"more than {header[2]} augmentation occupancies: {shown(rest)}")
            all_counted = all_counted and header is not None
        elif (numbers := parse_floats(line)) is not None:
            first_number_line = first_number_line or text.line
            n_numbers += len(numbers)
        else:
            raise text.error(f"expected augmentation occupancies, another grid or the end, found {shown(line)}")
    if all_counted and n_numbers not in (0, n_atoms, 3 * n_atoms):
        text.line = first_number_line
        raise text.error(f"{n_numbers} more numbers than the {'x'.join(map(str, shape))} grid holds")
    return line is not None, all_counted and n_numbers > 0


def _refuse_localisation_function(source: Source, values: np.ndarray) -> None:
    """Refuses values that all lie within 0 and 1, as an ELF's do: ρ times volume averages to the electron count."""
    if values.min() >= 0 and values.max() <= 1:
        raise source.error(
            "all values lie between 0 and 1, as those of an ELFCAR or of a density that was already divided by the "
            "cell volume; in a density file they are ρ times the cell volume and average to the number of electrons"
        )
