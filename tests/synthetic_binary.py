"""Binary density files made in code: the HDF5 and netCDF layouts of several codes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import h5py
import numpy as np
from ase.units import Bohr
from scipy.io import netcdf_file

from rhonet.core.density import ChargeDensity
from tests.synthetic import atoms_of


def fields_of(density: ChargeDensity) -> list[np.ndarray]:
    """ρ, then the components of the magnetization, each (nx, ny, nz)."""
    if density.magnetization is None:
        return [density.values]
    spin = density.magnetization
    return [density.values, *(spin if spin.ndim == 4 else [spin])]


def replace_dataset(path: Path, name: str, values: object) -> None:
    """Put another dataset in the place of one in an HDF5 file; None takes it out."""
    with h5py.File(path, "r+") as file:
        if name in file:
            del file[name]
        if values is not None:
            file[name] = values


def write_pymatgen_hdf5(path: Path, density: ChargeDensity) -> Path:
    """What pymatgen's Chgcar.to_hdf5 writes."""
    fields = fields_of(density)
    names = ["total", "diff"] if len(fields) < 3 else ["total", "diff_x", "diff_y", "diff_z"]
    with h5py.File(path, "w") as file:
        file["lattice"] = density.lattice
        file["Z"] = atoms_of(density).numbers.astype("i")
        file["fcoords"] = atoms_of(density).get_scaled_positions()
        for name, field in zip(names, fields, strict=False):
            file[f"vdata/{name}"] = field * density.volume
        file.attrs["name"] = "made by tests/synthetic_binary.py"
    return path


def write_vasp_structure(group: h5py.Group, density: ChargeDensity, *, scale: float = 1.0, direct: bool = True) -> None:
    """Group like results/positions; a negative scale is the volume."""
    atoms = atoms_of(density)
    factor = scale if scale > 0 else 1.0
    group["scale"] = scale
    group["lattice_vectors"] = density.lattice / factor
    group["ion_types"] = np.array([f"{symbol}_pv" for symbol in atoms.get_chemical_symbols()], dtype="S20")
    group["number_ion_types"] = np.ones(len(atoms), dtype="i")
    group["position_ions"] = atoms.get_scaled_positions() if direct else atoms.positions / factor
    group["direct_coordinates"] = int(direct)


def write_vaspwave(path: Path, density: ChargeDensity, *, structure: str | None = "structure/positions") -> Path:
    """VASP's vaspwave.h5 with a charge density."""
    fields = np.stack(fields_of(density)) * density.volume
    with h5py.File(path, "w") as file:
        for name, number in zip(("major", "minor", "patch"), (6, 5, 1), strict=True):
            file[f"version/{name}"] = number
        file["charge/grid"] = np.array(density.shape, dtype="i")
        file["charge/charge"] = fields.transpose(0, 3, 2, 1)
        if structure:
            write_vasp_structure(file.create_group(structure), density)
    return path


def write_vaspout(path: Path, density: ChargeDensity, *, n_electrons: float = 8.0) -> Path:
    """VASP's vaspout.h5 without a charge density, with the text of a pseudopotential that must stay where it is."""
    with h5py.File(path, "w") as file:
        write_vasp_structure(file.create_group("results/positions"), density)
        file["results/electron_eigenvalues/nelectrons"] = n_electrons
        file["input/potcar/content"] = b"PAW_PBE licensed text"
    return path


def write_quantum_espresso(path: Path, density: ChargeDensity, *, gamma_only: bool = False, cell: bool = True) -> Path:
    """Quantum ESPRESSO's charge-density.hdf5 of a density on an odd grid, whose plane waves it holds exactly."""
    fields = fields_of(density)
    names = ["rhotot_g", "rhodiff_g"] if len(fields) < 3 else ["rhotot_g", "m_x", "m_y", "m_z"]
    axes = [np.fft.fftfreq(n, 1 / n).round().astype("i") for n in density.shape]
    miller = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    kept = np.ones(len(miller), dtype=bool)
    if gamma_only:
        first = np.where(miller[:, 0] != 0, miller[:, 0], np.where(miller[:, 1] != 0, miller[:, 1], miller[:, 2]))
        kept = first >= 0
    reciprocal = 2 * np.pi * np.linalg.inv(density.lattice / Bohr).T
    with h5py.File(path, "w") as file:
        file.attrs["gamma_only"] = np.bytes_(".TRUE." if gamma_only else ".FALSE.")
        file.attrs["ngm_g"] = np.int32(kept.sum())
        file.attrs["nspin"] = np.int32(len(fields))
        file["MillerIndices"] = miller[kept]
        for i in range(3 if cell else 0):
            file["MillerIndices"].attrs[f"bg{i + 1}"] = reciprocal[i]
        for name, field in zip(names, fields, strict=False):
            waves = np.fft.fftn(field * Bohr**3, norm="forward").ravel()[kept]
            file[name] = waves.view(np.float64)
    return path


def write_old_quantum_espresso(path: Path, density: ChargeDensity) -> Path:
    """Quantum ESPRESSO's charge-density.hdf5 before 6.2: planes along z."""
    with h5py.File(path, "w") as file:
        for i, n in enumerate(density.shape):
            file.attrs[f"nr{i + 1}"] = np.array([n], dtype="i")
        for k in range(density.shape[2]):
            file[f"K{k + 1}"] = density.values[:, :, k].ravel(order="F") * Bohr**3
    return path


def espresso_xml(density: ChargeDensity, *, n_electrons: float = 8.0, grid: tuple[int, int, int] | None = None) -> str:
    """Quantum ESPRESSO's data-file-schema.xml, as far as it matters; its input names another cell."""

    def numbers(values: np.ndarray) -> str:
        return " ".join(f"{x:.15e}" for x in values)

    def structure(scale: float) -> str:
        cell = "".join(f"<a{i + 1}>{numbers(row * scale / Bohr)}</a{i + 1}>" for i, row in enumerate(density.lattice))
        atoms = atoms_of(density)
        places = "".join(
            f'<atom name="{symbol}1" index="{i + 1}">{numbers(position / Bohr)}</atom>'
            for i, (symbol, position) in enumerate(zip(atoms.get_chemical_symbols(), atoms.positions, strict=True))
        )
        return f"<atomic_structure><atomic_positions>{places}</atomic_positions><cell>{cell}</cell></atomic_structure>"

    nr1, nr2, nr3 = grid or density.shape
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<qes:espresso xmlns:qes="http://www.quantum-espresso.org/ns/qes/qes-1.0">'
        f'<input>{structure(1.1)}</input><output>{structure(1.0)}<basis_set><fft_grid nr1="{nr1}" nr2="{nr2}" '
        f'nr3="{nr3}"/></basis_set><band_structure><lsda>false</lsda><nelec>{n_electrons:.15e}</nelec>'
        "<ks_energies>1 2 3</ks_energies></band_structure></output></qes:espresso>\n"
    )


def write_netcdf(
    path: Path, variables: Mapping[str, np.ndarray], *, texts: Mapping[str, str] | None = None, version: int = 1
) -> Path:
    """Classic netCDF (version 1 or 2) by scipy, or netCDF-4 (version 4) by h5py; `texts` are "variable:attribute"."""
    if version == 4:
        with h5py.File(path, "w") as file:
            for name, values in variables.items():
                file[name] = values
            for key, text in (texts or {}).items():
                name, attribute = key.split(":")
                file[name].attrs[attribute] = np.bytes_(text)
        return path
    with netcdf_file(path, "w", version=version) as file:
        for name, values in variables.items():
            axes = [f"{name}_{axis}" for axis in range(values.ndim)]
            for axis, length in zip(axes, values.shape, strict=True):
                file.createDimension(axis, length)
            file.createVariable(name, values.dtype, axes)[...] = values
        for key, text in (texts or {}).items():
            name, attribute = key.split(":")
            setattr(file.variables[name], attribute, text)
    return path


def abinit_variables(density: ChargeDensity, *, etsf: bool = False, n_electrons: float | None = 8.0) -> dict:
    """Variables of ABINIT's *_DEN.nc; two components are ρ, ρ_up, or with `etsf` ρ_up, ρ_down."""
    fields = fields_of(density)
    if len(fields) == 2:
        up, down = (fields[0] + fields[1]) / 2, (fields[0] - fields[1]) / 2
        fields = [up, down] if etsf else [fields[0], up]
    atoms = atoms_of(density)
    species = sorted(set(atoms.numbers.tolist()))
    variables = {
        "density": np.stack(fields).transpose(0, 3, 2, 1)[..., None] * Bohr**3,
        "primitive_vectors": density.lattice / Bohr,
        "reduced_atom_positions": atoms.get_scaled_positions(),
        "atomic_numbers": np.array(species, dtype=float),
        "atom_species": np.array([species.index(number) + 1 for number in atoms.numbers], dtype="i4"),
    }
    if n_electrons is not None:
        variables["nelect"] = np.array(n_electrons)
    return variables


def write_abinit(path: Path, density: ChargeDensity, *, version: int = 1, etsf: bool = False) -> Path:
    """ABINIT's *_DEN.nc."""
    return write_netcdf(path, abinit_variables(density, etsf=etsf), version=version)


def siesta_variables(density: ChargeDensity) -> dict[str, np.ndarray]:
    """Variables of SIESTA's Rho.grid.nc, in single precision."""
    fields = fields_of(density)
    if len(fields) > 1:
        m_z = fields[-1]
        spinor = [(fields[0] + m_z) / 2, (fields[0] - m_z) / 2]
        fields = spinor if len(fields) == 2 else [*spinor, fields[1] / 2, -fields[2] / 2]
    grid = np.stack(fields).transpose(0, 3, 2, 1) * Bohr**3
    return {"cell": (density.lattice / Bohr).astype("f4"), "gridfunc": grid.astype("f4")}


def write_siesta(path: Path, density: ChargeDensity, *, version: int = 1, function: str = "Rho") -> Path:
    """SIESTA's Rho.grid.nc."""
    texts = {"gridfunc:Description": f"Grid function -- {function}", "gridfunc:unit": "1/Bohr**3"}
    return write_netcdf(path, siesta_variables(density), texts=texts, version=version)


def siesta_xv(density: ChargeDensity) -> str:
    """Text of SIESTA's .XV file: cell and atoms in bohr, each with velocities."""
    atoms = atoms_of(density)
    lines = ["".join(f"{x:18.9f}" for x in (*row / Bohr, 0, 0, 0)) for row in density.lattice]
    lines.append(f"{len(atoms):12d}")
    for number, position in zip(atoms.numbers, atoms.positions, strict=True):
        lines.append(f"{1:3d}{number:6d}" + "".join(f"{x:18.9f}" for x in (*position / Bohr, 0, 0, 0)))
    return "\n".join(lines) + "\n"
