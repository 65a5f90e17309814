"""Densities and density files made in code, for the tests of every module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ase
import h5py
import numpy as np
from ase.units import Bohr

from rhonet.core.density import ChargeDensity

CUBIC = np.diag([4.0, 4.0, 4.0])
SKEWED = np.array([[3.1, 0.2, -0.4], [1.4, 4.2, 0.3], [-0.9, 1.1, 5.3]])
LEFT_HANDED = SKEWED[[1, 0, 2]]


def density_of(
    values: np.ndarray,
    *,
    lattice: np.ndarray = SKEWED,
    magnetization: np.ndarray | None = None,
    symbols: str | None = None,
    n_electrons: float | None = None,
) -> ChargeDensity:
    """Density from an array, scaled to that number of electrons if one is given; atoms at random places."""
    values = np.asarray(values, dtype=np.float64)
    if n_electrons is not None:
        values = values * (n_electrons / (values.mean() * abs(np.linalg.det(lattice))))
    atoms = None
    if symbols:
        atoms = ase.Atoms(symbols, pbc=True, cell=lattice)
        atoms.set_scaled_positions(np.random.default_rng(len(atoms)).random((len(atoms), 3)))
    return ChargeDensity(values=values, lattice=lattice, magnetization=magnetization, atoms=atoms)


def atoms_of(density: ChargeDensity) -> ase.Atoms:
    """The atoms, which must be there."""
    assert density.atoms is not None
    return density.atoms


def spin_of(density: ChargeDensity) -> np.ndarray:
    """The magnetization, which must be there."""
    assert density.magnetization is not None
    return density.magnetization


def random_density(
    shape: tuple[int, int, int] = (5, 4, 6),
    *,
    seed: int = 0,
    blocks: int = 1,
    lattice: np.ndarray = SKEWED,
    symbols: str = "NaCl",
    n_electrons: float = 8.0,
) -> ChargeDensity:
    """Positive noise with a whole number of electrons; with 2 blocks collinear spin, with 4 non-collinear."""
    rng = np.random.default_rng(seed)
    density = density_of(0.5 + rng.random(shape), lattice=lattice, symbols=symbols, n_electrons=n_electrons)
    spin = {1: None, 2: shape, 4: (3, *shape)}[blocks]
    if spin is None:
        return density
    return density_of(
        density.values,
        lattice=lattice,
        symbols=symbols,
        magnetization=density.values * rng.uniform(-0.3, 0.5, spin),
    )


def fortran(value: float, digits: int = 11) -> str:
    """Number as Fortran's E format prints it: 0.12345678901E+02, and 0.12345678901-101 for large exponents."""
    mantissa, exponent = f"{abs(value):.{digits - 1}E}".split("E")
    power = int(exponent) + 1 if value else 0
    sign = "-" if value < 0 else ""
    letter = "E" if abs(power) < 100 else ""
    return f"{sign}{'' if sign else '0'}.{mantissa.replace('.', '')}{letter}{power:+0{4 if abs(power) > 99 else 3}d}"


def rows(values: Sequence[float] | np.ndarray, *, columns: int = 5, digits: int = 11) -> str:
    """Numbers in Fortran's E format, so many to the line."""
    fields = [" " + fortran(value, digits) for value in values]
    return "".join("".join(fields[i : i + columns]) + "\n" for i in range(0, len(fields), columns))


def chgcar_blocks(density: ChargeDensity) -> list[np.ndarray]:
    """What a CHGCAR of the density stores, block by block: the fields times the volume, x running fastest."""
    fields = [density.values]
    if density.magnetization is not None:
        fields += [*density.magnetization] if density.magnetization.ndim == 4 else [density.magnetization]
    return [(field * density.volume).ravel(order="F") for field in fields]


def poscar_text(
    density: ChargeDensity, *, scale: str = "1.0", rows_of: np.ndarray | None = None, vasp4: bool = False
) -> str:
    """Header of a VASP file; `rows_of` replaces the lattice rows as written, for scale factors other than 1."""
    atoms = atoms_of(density)
    symbols = atoms.get_chemical_symbols()
    runs = [i for i in range(len(symbols)) if i == 0 or symbols[i] != symbols[i - 1]]
    counts = [end - start for start, end in zip(runs, [*runs[1:], len(symbols)], strict=True)]
    lattice = density.lattice if rows_of is None else rows_of
    lines = ["made by tests/synthetic.py", scale, *(" ".join(f"{x:.16f}" for x in row) for row in lattice)]
    if not vasp4:
        lines.append("  ".join(symbols[start] for start in runs))
    lines += [" ".join(map(str, counts)), "Direct"]
    lines += [" ".join(f"{x:.16f}" for x in row) for row in atoms.get_scaled_positions()]
    return "\n".join(lines) + "\n"


def chgcar_text(
    density: ChargeDensity,
    *,
    header: str | None = None,
    augmentation: bool = False,
    columns: int = 5,
    digits: int = 11,
) -> str:
    """Text of a CHGCAR; with augmentation also the blocks of occupancies and, with spin, the moments of the atoms."""
    n_atoms = len(atoms_of(density))
    grid = "  ".join(map(str, density.shape)) + "\n"
    blocks = chgcar_blocks(density)
    text = (header or poscar_text(density)) + " \n"
    for number, block in enumerate(blocks):
        text += grid + rows(block, columns=columns, digits=digits)
        if augmentation:
            for atom in range(1, n_atoms + 1):
                text += f"augmentation occupancies {atom:3d} {7:3d}\n" + rows(np.linspace(-1, 9, 7), digits=7)
            if number < len(blocks) - 1:
                text += rows(np.ones(n_atoms), digits=12)
    return text


def cube_text(
    density: ChargeDensity,
    *,
    angstrom: bool = False,
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    other_fields: Sequence[np.ndarray] = (),
    title: str = "density\nmade by tests/synthetic.py",
    charges: Sequence[float] | None = None,
) -> str:
    """Text of a cube file; values in e/bohr³, lengths in bohr or Å, the origin in Å; more fields after the first."""
    unit = 1.0 if angstrom else Bohr
    sign = -1 if angstrom else 1
    atoms = density.atoms if density.atoms is not None else ase.Atoms()

    def line(first: int, *numbers: float) -> str:
        return f"{first:5d}" + "".join(f" {number:19.14f}" for number in numbers) + "\n"

    text = title + "\n" + line(len(atoms), *(np.array(origin) / unit))
    if other_fields:
        text = text.rstrip("\n") + f" {1 + len(other_fields)}\n"
    for count, row in zip(density.shape, density.lattice, strict=True):
        text += line(sign * count, *(row / count / unit))
    given = charges or [0.0] * len(atoms)
    for number, charge, position in zip(atoms.numbers, given, atoms.positions + np.array(origin), strict=True):
        text += line(number, charge, *(position / unit))
    fields = np.stack([density.values, *other_fields], axis=-1) * Bohr**3
    nx, ny, _ = density.shape
    return text + "".join(rows(row, columns=6) for row in fields.reshape(nx * ny, -1))


def xsf_text(
    density: ChargeDensity,
    *,
    repeats: bool = True,
    per_cubic_bohr: bool = True,
    kind: str = "CRYSTAL",
    origin: Sequence[float] = (0.0, 0.0, 0.0),
    comment: str = "made by tests/synthetic.py",
    grids: Mapping[str, np.ndarray] | None = None,
) -> str:
    """Text of an XSF file; a grid that repeats its first planes at the end, or one that ends a step short of a period.

    `grids` replaces the density by fields (e/Å³) with names.
    """

    def lines(numbers: np.ndarray) -> str:
        return "".join(" ".join(f"{x:.12f}" for x in row) + "\n" for row in numbers)

    atoms = atoms_of(density)
    text = f"# {comment}\n{kind}\nPRIMVEC\n{lines(density.lattice)}PRIMCOORD\n{len(atoms)} 1\n"
    if kind == "MOLECULE":
        text = f"# {comment}\nATOMS\n"
    for number, position in zip(atoms.numbers, atoms.positions + np.array(origin), strict=True):
        text += f"{number} " + lines(position[None])
    text += "BEGIN_BLOCK_DATAGRID_3D\nmy_grids\n"
    for name, field in (grids or {"rho": density.values}).items():
        shape = np.array(field.shape)
        values = np.pad(field, (0, 1), mode="wrap") if repeats else field
        span = density.lattice if repeats else density.lattice * ((shape - 1) / shape)[:, None]
        text += f"DATAGRID_3D_{name}\n{'  '.join(map(str, values.shape))}\n{lines(np.vstack([origin, span]))}"
        text += rows(values.ravel(order="F") * (Bohr**3 if per_cubic_bohr else 1.0), columns=6) + "END_DATAGRID_3D\n"
    return text + "END_BLOCK_DATAGRID_3D\n"


def castep_text(density: ChargeDensity, *, a_runs_fastest: bool = True) -> str:
    """Text of a CASTEP den_fmt file, whose lines may come in either order."""
    fields = [density.values] if density.magnetization is None else [density.values, density.magnetization]
    text = " BEGIN header\n\n           Real Lattice(A)               Lattice parameters(A)    Cell Angles\n"
    for axis, row in zip("abc", density.lattice, strict=True):
        text += "".join(f"{x:14.7f}" for x in row) + f"     {axis} = {np.linalg.norm(row):11.6f}  angle =   90.000000\n"
    text += f"\n   {len(fields)}                            ! nspins\n"
    text += "".join(f"{n:6d}" for n in density.shape) + "                ! fine FFT grid along <a,b,c>\n"
    text += ' END header: data is "<a b c> charge" in units of electrons/grid_point * number \n of grid_points\n\n'
    for index in np.ndindex(density.shape[::-1] if a_runs_fastest else density.shape):
        point = index[::-1] if a_runs_fastest else index
        text += "".join(f"{i + 1:6d}" for i in point)
        text += "".join(f"{field[point] * density.volume:20.9f}" for field in fields) + "\n"
    return text


def castep_cell_text(density: ChargeDensity, *, fractional: bool = True, lengths_and_angles: bool = False) -> str:
    """Text of the .cell file of a density."""
    atoms = atoms_of(density)
    lattice = "".join(" ".join(f"{x:.9f}" for x in row) + "\n" for row in density.lattice)
    if lengths_and_angles:
        a, b, c, *angles = atoms.cell.cellpar()
        lattice = f"ang\n{a} {b} {c}\n" + " ".join(map(str, angles)) + "\n"
    positions = atoms.get_scaled_positions() if fractional else atoms.positions / Bohr
    lines = [
        f"{symbol} " + " ".join(f"{x:.9f}" for x in position) + " SPIN= 1.0 ! first\n"
        for symbol, position in zip(atoms.get_chemical_symbols(), positions, strict=True)
    ]
    kind, unit = ("FRAC", "") if fractional else ("ABS", "bohr\n")
    name = f"LATTICE_{'ABC' if lengths_and_angles else 'CART'}"
    block = f"%BLOCK {name}\n{lattice}%ENDBLOCK {name}\n\n# made by tests/synthetic.py\n"
    return block + f"%block positions_{kind}\n{unit}{''.join(lines)}%endblock positions_{kind}\nFIX_ALL_CELL : true\n"


def chgcar_json(density: ChargeDensity) -> dict[str, Any]:
    """What pymatgen's Chgcar of the density is as JSON."""
    atoms = atoms_of(density)
    sites = [
        {"species": [{"element": symbol, "occu": 1}], "abc": position.tolist(), "label": symbol}
        for symbol, position in zip(atoms.get_chemical_symbols(), atoms.get_scaled_positions(), strict=True)
    ]
    names = ["total", "diff"] if density.magnetization is None or density.magnetization.ndim == 3 else None
    fields = [block.reshape(density.shape, order="F") for block in chgcar_blocks(density)]
    arrays = {
        name: {"@module": "numpy", "@class": "array", "dtype": "float64", "data": field.tolist()}
        for name, field in zip(names or ["total", "diff_x", "diff_y", "diff_z"], fields, strict=False)
    }
    structure = {"@class": "Structure", "lattice": {"matrix": density.lattice.tolist()}, "sites": sites}
    return {
        "@module": "pymatgen.io.vasp.outputs",
        "@class": "Chgcar",
        "poscar": {"@class": "Poscar", "structure": structure, "comment": "made by tests/synthetic.py"},
        "data": arrays,
        "data_aug": {"total": ["augmentation occupancies   1 138\n", "  0.1 -0.2E-01\n"]},
    }


def write_archive(path: Path, densities: Mapping[str, ChargeDensity]) -> Path:
    """HDF5 archive with one group per density, in the layout of the bundled data set."""
    with h5py.File(path, "w") as file:
        for name, density in densities.items():
            group = file.create_group(name)
            fields = {"density": density.values, "magnetization": density.magnetization}
            for field, values in fields.items():
                if values is not None:
                    scale = float(np.abs(values).max())
                    dataset = group.create_dataset(field, data=(values / scale).astype(np.float16), compression="gzip")
                    dataset.attrs["scale"] = scale
            group["lattice"] = density.lattice
            group.attrs["n_electrons"] = density.n_electrons
            if density.atoms is not None:
                group["numbers"] = density.atoms.numbers
                group["scaled_positions"] = density.atoms.get_scaled_positions()
    return path
