"""XSF files: grids with and without repeated planes, units, spin, cells, and what is no density."""

import io
from pathlib import Path
from typing import Any

import ase
import ase.build
import numpy as np
import pytest
from ase.calculators.vasp import VaspChargeDensity
from ase.io.xsf import read_xsf, write_xsf
from ase.units import Bohr
from pymatgen.io.xcrysden import XSF

from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import (
    CUBIC,
    LEFT_HANDED,
    SKEWED,
    atoms_of,
    chgcar_text,
    density_of,
    random_density,
    spin_of,
    xsf_text,
)

# Files hold 11 digits.
DIGITS = 1e-10
DENSITY = random_density()


@pytest.fixture
def xsf(tmp_path):
    """Writes a file named rho.xsf and gives its path."""

    def write(text: str) -> Path:
        path = tmp_path / "rho.xsf"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize("per_cubic_bohr", [True, False])
@pytest.mark.parametrize("repeats", [True, False])
@pytest.mark.parametrize("lattice", [CUBIC, SKEWED, LEFT_HANDED])
@pytest.mark.parametrize("shape", [(5, 4, 6), (3, 7, 2), (4, 2, 13)])
def test_grid_with_or_without_repeated_planes_gives_the_same_density(xsf, shape, lattice, repeats, per_cubic_bohr):
    density = random_density(shape, lattice=lattice)
    read = read_density(xsf(xsf_text(density, repeats=repeats, per_cubic_bohr=per_cubic_bohr)))
    np.testing.assert_allclose(read.values, density.values, rtol=DIGITS)
    np.testing.assert_allclose(read.lattice, lattice, atol=1e-10)
    np.testing.assert_allclose(atoms_of(read).positions, atoms_of(density).positions, atol=1e-10)
    assert str(atoms_of(read).symbols) == "NaCl"
    assert read.format == "xsf"
    (warning,) = read.warnings
    assert warning.startswith(f"Values were taken as {'e/bohr³' if per_cubic_bohr else 'e/Å³'}: in no other unit")


def test_constant_density_is_the_same_either_way(xsf):
    flat = density_of(np.ones((3, 4, 5)), n_electrons=8, symbols="NaCl")
    for repeats in (True, False):
        read = read_density(xsf(xsf_text(flat, repeats=repeats)))
        assert read.values == pytest.approx(flat.values[0, 0, 0])
        np.testing.assert_allclose(read.lattice, flat.lattice, atol=1e-10)


def without_repeats(text: str, scale: float) -> str:
    """Text of a grid that ends a step early, its span changed to that multiple of the cell."""
    head, tail = text.split("DATAGRID_3D_rho\n")
    lines = tail.splitlines()
    for line, row in zip((2, 3, 4), DENSITY.lattice, strict=True):
        lines[line] = " ".join(f"{x * scale:.9f}" for x in row)
    return head + "DATAGRID_3D_rho\n" + "\n".join(lines) + "\n"


def test_unrepeated_grid_that_spans_the_cell_is_read_with_a_warning(xsf):
    read = read_density(xsf(without_repeats(xsf_text(DENSITY, repeats=False), 1.0)))
    np.testing.assert_allclose(read.values, DENSITY.values, rtol=DIGITS)
    np.testing.assert_allclose(read.lattice, SKEWED, atol=1e-10)
    assert "does not repeat its first plane" in read.warnings[1]


@pytest.mark.parametrize("scale", [0.5, 0.9, 1.5])
def test_part_of_a_cell_is_refused(xsf, scale):
    with pytest.raises(FormatError, match=r"rho\.xsf: its grid spans .* no period of the cell"):
        read_density(xsf(without_repeats(xsf_text(DENSITY, repeats=False), scale)))


def test_grid_over_absurdly_many_cells_takes_no_time(xsf):
    lines = xsf_text(DENSITY).splitlines()
    lines[3:6] = [" ".join(f"{x / 100:.12f}" for x in row) for row in DENSITY.lattice]
    with pytest.raises(FormatError, match="more than 1000 cells"):
        read_density(xsf("\n".join(lines)))


@pytest.mark.parametrize("unit", ["e/A^3", "electrons per Angstrom**3"])
def test_stated_unit_wins(xsf, unit):
    read = read_density(xsf(xsf_text(DENSITY, per_cubic_bohr=True, comment=f"rho in {unit}")))
    np.testing.assert_allclose(read.values, DENSITY.values * Bohr**3, rtol=DIGITS)
    assert read.warnings[0] == "Values were taken as e/Å³, as the file says."


def test_unit_that_cannot_be_told_is_asked_for(xsf):
    half = density_of(DENSITY.values, symbols="NaCl", n_electrons=8.5)
    with pytest.raises(FormatError, match=r"8\.5 electrons in e/bohr³ and .*neither.*state it in a first line"):
        read_density(xsf(xsf_text(half)))
    assert read_density(xsf(xsf_text(half, comment="e/bohr^3"))).n_electrons == pytest.approx(8.5)
    both = density_of(DENSITY.values, symbols="Cs", n_electrons=54)
    with pytest.raises(FormatError, match="both of which are possible"):
        read_density(xsf(xsf_text(both)))
    signed = xsf_text(both).replace("my_grids", "3D_PWSCF")
    assert read_density(xsf(signed)).n_electrons == pytest.approx(54)


def test_one_of_several_grids_is_chosen_by_number_or_name(xsf):
    path = xsf(xsf_text(DENSITY, grids={"one": DENSITY.values, "two": 2 * DENSITY.values}))
    for entry in ("2", "two"):
        np.testing.assert_allclose(read_density(path, entry=entry).values, 2 * DENSITY.values, rtol=DIGITS)
    with pytest.raises(FormatError, match=r"grids 'one' and 'two'; choose one: .*rho\.xsf::1 or"):
        read_density(path)
    with pytest.raises(FormatError, match=r"no grid of values '3' \(there are 'one', 'two'\)"):
        read_density(path, entry="3")
    path = xsf(xsf_text(DENSITY, grids=dict.fromkeys("abc", DENSITY.values)))
    with pytest.raises(FormatError, match="a third grid"):
        read_density(path)
    assert read_density(path, entry="c").n_electrons == pytest.approx(8)


@pytest.mark.parametrize(("up", "down"), [("RHO:spin_1", "RHO:spin_2"), ("rho_up", "rho_down")])
def test_spin_up_and_down_make_one_density(xsf, up, down):
    density = random_density(blocks=2)
    spin = spin_of(density)
    grids = {up: (density.values + spin) / 2, down: (density.values - spin) / 2}
    read = read_density(xsf(xsf_text(density, grids=grids)))
    np.testing.assert_allclose(read.values, density.values, rtol=1e-9)
    np.testing.assert_allclose(spin_of(read), spin, atol=1e-9)


def test_density_of_one_spin_direction_is_refused(xsf):
    half = DENSITY.values / 2
    with pytest.raises(FormatError, match=r"the grid 'spin_up' \(of 'spin_up'\) holds the electrons of one spin"):
        read_density(xsf(xsf_text(DENSITY, grids={"spin_up": half})))
    for up, down in (("rho_up", "rho_down"), ("alpha", "beta"), ("n_up", "n_down"), ("x_up", "x_down")):
        pair = xsf(xsf_text(DENSITY, grids={up: half, down: half}))
        for entry in ("1", down):
            with pytest.raises(FormatError, match="one spin direction only; leave ::NAME out to read both"):
                read_density(pair, entry=entry)
        assert read_density(pair).n_electrons == pytest.approx(8)
    for name in ("group", "SiO2_alpha", "Ti_beta", "warm_up"):
        assert read_density(xsf(xsf_text(DENSITY, grids={name: DENSITY.values}))).n_electrons == pytest.approx(8)


def test_origin_moves_to_the_corner(xsf):
    read = read_density(xsf(xsf_text(DENSITY, origin=(1.0, -0.5, 0.25))))
    np.testing.assert_allclose(atoms_of(read).positions, atoms_of(DENSITY).positions, atol=1e-10)
    assert "(1.0000, -0.5000, 0.2500) Å" in read.warnings[1]


@pytest.mark.parametrize("matrix", [np.diag([2, 1, 1]), np.array([[-1, 1, 1], [1, -1, 1], [1, 1, -1]])])
def test_grid_over_several_primitive_cells_gets_their_atoms(xsf, matrix):
    small = atoms_of(random_density(symbols="NaCl"))
    large = ase.build.make_supercell(small, matrix)
    density = random_density(lattice=np.asarray(large.cell), n_electrons=4 * len(large))
    lines = xsf_text(density).splitlines(keepends=True)
    primitive = xsf_text(random_density()).splitlines(keepends=True)
    read = read_density(xsf("".join(primitive[:10] + lines[10:])))
    np.testing.assert_allclose(read.lattice, large.cell, atol=1e-9)
    np.testing.assert_allclose(read.values, density.values, rtol=DIGITS)
    ours, theirs = (np.round(atoms.get_scaled_positions() % 1, 6) for atoms in (atoms_of(read), large))
    assert sorted(map(tuple, ours)) == sorted(map(tuple, theirs))


@pytest.mark.parametrize("kind", ["SLAB", "POLYMER", "MOLECULE"])
def test_box_stands_for_the_axes_that_are_not_periodic(xsf, kind):
    read = read_density(xsf(xsf_text(DENSITY, kind=kind, repeats=False)))
    np.testing.assert_allclose(read.values, DENSITY.values, rtol=DIGITS)
    np.testing.assert_allclose(read.lattice, SKEWED, atol=1e-9)
    assert len(atoms_of(read)) == 2


@pytest.mark.parametrize("pbc", [True, False])
def test_what_ase_writes(tmp_path, pbc):
    atoms = ase.Atoms(atoms_of(DENSITY), pbc=pbc)
    for span, name in ((None, "default"), (SKEWED * (1 - 1 / np.array([5, 4, 6]))[:, None], "exact")):
        path = tmp_path / f"{name}.xsf"
        with path.open("w") as file:
            write_xsf(file, [atoms], data=DENSITY.values, origin=np.zeros(3), span_vectors=span)
        if span is None and not pbc:
            continue
        read = read_density(path)
        np.testing.assert_allclose(read.values, DENSITY.values, atol=1e-6)
        np.testing.assert_allclose(read.lattice, SKEWED, atol=1e-5)
        assert any("as ASE writes it" in warning for warning in read.warnings) == (span is None)


def test_ase_and_pymatgen_read_the_same(xsf):
    path = xsf(xsf_text(DENSITY, per_cubic_bohr=False).replace("DATAGRID_3D_rho", "BEGIN_DATAGRID_3D_rho"))
    ours = read_density(path)
    with path.open() as file:
        found: Any = read_xsf(file, read_data=True)
    data, _, _, atoms = found
    np.testing.assert_allclose(ours.values, data[:-1, :-1, :-1], rtol=1e-12)
    np.testing.assert_allclose(ours.lattice, atoms.cell, atol=1e-10)
    (grid,) = XSF.parse_file(io.BytesIO(path.read_bytes())).grids.values()
    np.testing.assert_allclose(ours.values, grid.data[0][:-1, :-1, :-1], rtol=1e-12)


def edited(line: int, replacement: str | None) -> str:
    lines = xsf_text(DENSITY).splitlines(keepends=True)
    lines[line - 1 : line] = [] if replacement is None else [replacement + "\n"]
    return "".join(lines)


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        (2, "CRYSTALS", "keyword of XSF"),
        (3, "PRIMVEX", "keyword of XSF"),
        (4, "1.0 0.0", "vector a of PRIMVEC, 3 numbers"),
        (5, "0.0 0.0 nan", "vector b of PRIMVEC"),
        (8, "two 1", "number of atoms"),
        (9, "11 0.0 0.0", "atom 1 of 2"),
        (10, "Xx 0.0 0.0 0.0", "atom 2 of 2"),
        (10, None, "atom 2 of 2"),
        (11, "BEGIN_BLOCK_DATAGRID_2D", "plane of values"),
        (12, "electrostatic potential", "calls itself an electrostatic potential"),
        (13, "DATAGRID_3D_ELF", "calls itself an elf"),
        (14, "6 5", "numbers of grid points"),
        (14, "6 5 0", "numbers of grid points"),
        (14, "6 5 999999999", "more than the file can hold"),
        (15, "0.0 0.0", "origin of the grid"),
        (18, "0.0 0.0 0.0", "the grid spans no volume"),
        (19, "1.0 1.0 *** 1.0 1.0 1.0", "overflowed"),
        (19, "1.0 1.0 1.0 1.0 1.0", "END_DATAGRID_3D"),
        (19, "1.0 1.0 1.0 1.0 1.0 1.0 1.0", "END_DATAGRID_3D behind the 210 values"),
    ],
)
def test_error_says_what_is_wrong(xsf, line, replacement, message):
    with pytest.raises(FormatError, match=message):
        read_density(xsf(edited(line, replacement)))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ANIMSTEPS 2\nCRYSTAL\n", "animation"),
        ("BEGIN_BLOCK_BANDGRID_3D\n", "energies of bands"),
        ("CRYSTAL\nPRIMVEC\n1 0 0\n0 1 0\n0 0 1\nPRIMCOORD\n1 1\nSi 0 0 0\n", "no grid of values, only 1 atom"),
    ],
)
def test_other_contents_are_named(xsf, text, message):
    with pytest.raises(FormatError, match=message):
        read_density(xsf(text))


def test_negative_field_is_refused(xsf):
    with pytest.raises(FormatError, match="no electron density"):
        read_density(xsf(xsf_text(density_of(-DENSITY.values, symbols="NaCl"))))


def test_xsf_that_ase_makes_of_a_chgcar_gives_the_same_density(tmp_path):
    chgcar, path = tmp_path / "CHGCAR", tmp_path / "rho.xsf"
    chgcar.write_text(chgcar_text(DENSITY))
    theirs = VaspChargeDensity(str(chgcar))
    repeated = np.pad(theirs.chg[0], (0, 1), mode="wrap")
    with path.open("w") as file:
        write_xsf(file, theirs.atoms, data=repeated, span_vectors=np.asarray(theirs.atoms[0].cell))
    ours, read = read_density(chgcar), read_density(path)
    # ASE writes values and vectors with six decimals.
    np.testing.assert_allclose(read.values, ours.values, atol=1e-6)
    np.testing.assert_allclose(read.lattice, ours.lattice, atol=1e-10)
    np.testing.assert_allclose(atoms_of(read).positions, atoms_of(ours).positions, atol=1e-10)
