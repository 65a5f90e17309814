"""VASP's text files: what is read, what is refused, and where the error points."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import rhonet.formats.parsing.text as text_module
from rhonet.core.errors import FormatError
from rhonet.formats import read_density
from tests.synthetic import (
    CUBIC,
    LEFT_HANDED,
    SKEWED,
    atoms_of,
    chgcar_blocks,
    chgcar_text,
    density_of,
    poscar_text,
    random_density,
    rows,
)

# Files hold 11 digits.
DIGITS = 1e-10
GRID_LINE = 12
FIRST_VALUE_LINE = 13


@pytest.fixture
def chgcar(tmp_path):
    """Writes a file named CHGCAR and gives its path."""

    def write(text: str, name: str = "CHGCAR") -> Path:
        path = tmp_path / name
        path.write_bytes(text.encode("latin-1"))
        return path

    return write


def assert_same(read, expected):
    np.testing.assert_allclose(read.values, expected.values, rtol=DIGITS, atol=1e-12)
    np.testing.assert_allclose(read.lattice, expected.lattice, rtol=1e-12, atol=1e-12)
    assert (read.magnetization is None) == (expected.magnetization is None)
    if expected.magnetization is not None:
        np.testing.assert_allclose(read.magnetization, expected.magnetization, rtol=DIGITS, atol=1e-12)


@pytest.mark.parametrize("blocks", [1, 2, 4])
@pytest.mark.parametrize("augmentation", [False, True])
@pytest.mark.parametrize("shape", [(5, 4, 6), (3, 7, 1), (1, 1, 1), (8, 9, 10)])
def test_fields_come_in_electrons_per_cubic_angstrom(chgcar, shape, augmentation, blocks):
    density = random_density(shape, blocks=blocks)
    read = read_density(chgcar(chgcar_text(density, augmentation=augmentation)))
    assert_same(read, density)
    assert read.format == "vasp"
    assert read.n_electrons == pytest.approx(8)
    assert atoms_of(read).get_chemical_symbols() == ["Na", "Cl"]
    np.testing.assert_allclose(atoms_of(read).positions, atoms_of(density).positions, atol=1e-10)


@pytest.mark.parametrize("lattice", [CUBIC, SKEWED, LEFT_HANDED])
def test_values_are_divided_by_a_positive_volume(chgcar, lattice):
    density = random_density(lattice=lattice)
    assert_same(read_density(chgcar(chgcar_text(density))), density)


def test_x_runs_fastest(chgcar):
    values = np.arange(1.0, 25.0).reshape(2, 3, 4)
    density = density_of(values, lattice=np.eye(3), symbols="H")
    text = chgcar_text(density)
    assert [float(x) for x in text.splitlines()[GRID_LINE - 1].split()[:3]] == [1, 13, 5]
    np.testing.assert_allclose(read_density(chgcar(text)).values, values)


@pytest.mark.parametrize("columns", [1, 5, 10])
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_columns_and_line_ends_do_not_matter(chgcar, columns, newline):
    density = random_density()
    text = chgcar_text(density, columns=columns, augmentation=True).replace("\n", newline)
    assert_same(read_density(chgcar(text)), density)


@pytest.mark.parametrize("chunk", [97, 256, 5000])
def test_blocks_larger_than_the_reading_buffer(chgcar, monkeypatch, chunk):
    monkeypatch.setattr(text_module, "CHUNK_BYTES", chunk)
    density = random_density((9, 7, 8), blocks=2)
    assert_same(read_density(chgcar(chgcar_text(density, augmentation=True))), density)


@pytest.mark.parametrize(
    ("scale", "factor"),
    [("2.0", [0.5] * 3), (f"{-abs(np.linalg.det(SKEWED)):.12f}", [0.31] * 3), ("2.0 0.5 1.25", [0.5, 2, 0.8])],
)
def test_scale_factor_one_number_volume_or_three(chgcar, scale, factor):
    density = random_density()
    header = poscar_text(density, scale=scale, rows_of=SKEWED * factor)
    read = read_density(chgcar(chgcar_text(density, header=header)))
    assert_same(read, density)
    np.testing.assert_allclose(atoms_of(read).positions, atoms_of(density).positions, atol=1e-10)


def test_cartesian_positions_are_scaled_like_the_lattice(chgcar):
    density = random_density()
    header = poscar_text(density, scale="2.0", rows_of=SKEWED / 2).split("Direct")[0] + "Cartesian\n"
    header += "".join(" ".join(f"{x / 2:.14f}" for x in row) + "\n" for row in atoms_of(density).positions)
    read = read_density(chgcar(chgcar_text(density, header=header)))
    np.testing.assert_allclose(atoms_of(read).positions, atoms_of(density).positions, atol=1e-10)


def test_selective_dynamics_and_velocities_are_passed_over(chgcar):
    density = random_density()
    header = poscar_text(density).replace("Direct\n", "Selective dynamics\nDirect\n")
    lines = header.splitlines()
    header = "\n".join([*lines[:-2], *(line + "  T F T" for line in lines[-2:])]) + "\n"
    header += "\n  0.1  0.2  0.3\n  0.0  0.0 -0.1\n"
    assert_same(read_density(chgcar(chgcar_text(density, header=header))), density)


def test_velocities_written_as_whole_numbers_are_no_grid(chgcar):
    density = random_density()
    header = poscar_text(density) + "\n 0 0 0\n 0 0 0\n"
    assert_same(read_density(chgcar(chgcar_text(density, header=header))), density)


@pytest.mark.parametrize("comment", ["  ! scale", " # scale"])
def test_comment_behind_the_scale_factor_is_passed_over(chgcar, comment):
    density = random_density()
    header = poscar_text(density, scale="1.0" + comment)
    assert_same(read_density(chgcar(chgcar_text(density, header=header), "rho")), density)


def test_vasp_4_header_gives_no_atoms_even_if_the_title_names_some(chgcar):
    density = random_density()
    header = poscar_text(density, vasp4=True).replace("made by", "Na Cl")
    read = read_density(chgcar(chgcar_text(density, header=header)))
    assert_same(read, density)
    assert read.atoms is None
    assert "VASP 4" in read.warnings[0]


@pytest.mark.parametrize(("names", "symbols"), [("Na_pv Cl", "NaCl"), ("Na_sv_GW/1a2b Cl/99", "NaCl"), ("Xx Cl", None)])
def test_labels_of_vasp_6_name_elements_and_others_none(chgcar, names, symbols):
    density = random_density()
    read = read_density(chgcar(chgcar_text(density, header=poscar_text(density).replace("Na  Cl", names))))
    assert (read.atoms and str(atoms_of(read).symbols)) == symbols
    assert bool(read.warnings) == (symbols is None)


def test_long_lists_of_species_wrap_over_lines(chgcar):
    density = random_density(symbols="NaCl" * 15, n_electrons=120)
    lines = poscar_text(density).splitlines()
    lines[5:7] = ["  Na Cl" * 10, "  Na Cl" * 5, "  1  1" * 10, " 1 1" * 5]
    read = read_density(chgcar(chgcar_text(density, header="\n".join(lines) + "\n")))
    assert str(atoms_of(read).symbols) == "NaCl" * 15


def test_exponents_without_their_letter_are_read_as_fortran_means_them(chgcar):
    values = np.full((2, 3, 2), 2.0)
    values[0] = 1.5e-120
    text = chgcar_text(density_of(values, lattice=np.eye(3), symbols="H"))
    assert "0.15000000000-119" in text
    read = read_density(chgcar(text.replace("0.20000000000E+01", "2.0D+00", 2)))
    np.testing.assert_allclose(read.values, values, rtol=1e-10)


def test_last_row_may_be_padded_with_zeros(chgcar):
    density = random_density((3, 3, 3))
    text = chgcar_text(density).rstrip("\n") + " 0.00000000000E+00" * 3 + "\n"
    assert_same(read_density(chgcar(text)), density)


def test_augmentation_rows_that_look_like_a_grid_start_no_block(chgcar):
    density = random_density((3, 4, 5))
    text = chgcar_text(density) + " augmentation occupancies\n 1 1 11\n"
    assert_same(read_density(chgcar(text)), density)


def test_moments_without_a_second_block_are_reported(chgcar):
    read = read_density(chgcar(chgcar_text(random_density()) + rows([1.0, -1.0])))
    assert read.magnetization is None
    assert "magnetization" in read.warnings[0]


@pytest.mark.parametrize(
    ("name", "warned"), [("AECCAR0", "core"), ("AECCAR1", "atomic"), ("PARCHG", "bands"), ("AECCAR2", None)]
)
def test_partial_densities_are_named(chgcar, name, warned):
    read = read_density(chgcar(chgcar_text(random_density()), name))
    assert [warned in note for note in read.warnings] == ([True] if warned else [])


def edited(text: str, line: int, replacement: str | None) -> str:
    """Text with one line (from 1) replaced or taken out."""
    lines = text.splitlines(keepends=True)
    lines[line - 1 : line] = [] if replacement is None else [replacement + "\n"]
    return "".join(lines)


@pytest.mark.parametrize(
    ("line", "replacement", "message"),
    [
        (2, "one", "scale factor"),
        (2, "0.0", "scale factor"),
        (2, "1.0 -1.0 1.0", "positive"),
        (3, "1.0 0.0", "lattice vector a"),
        (4, "1.0 nan 0.0", "lattice vector b"),
        (5, "0 0 0", "no volume"),
        (6, "Na Cl H", "each of 3 elements"),
        (7, "1 -1", "number of atoms"),
        (7, "0 0", "number of atoms"),
        (8, "Fractional", "Direct or Cartesian"),
        (9, "0.1 0.2", "position of atom 1"),
        (GRID_LINE, "5 4", "the grid"),
        (GRID_LINE, "5 4 -6", "the grid"),
        (GRID_LINE, "5 0 6", "the grid"),
        (FIRST_VALUE_LINE, None, "expected 120 grid values, found 115"),
        (FIRST_VALUE_LINE, " ******** 1.0 1.0 1.0 1.0", "overflowed"),
        (FIRST_VALUE_LINE, " NaN 1.0 1.0 1.0 1.0", "not a finite number"),
        (FIRST_VALUE_LINE, " -Infinity 1.0 1.0 1.0 1.0", "not a finite number"),
        (FIRST_VALUE_LINE, " 1.0E+999 1.0 1.0 1.0 1.0", "too large"),
        (FIRST_VALUE_LINE, " 1.0-2.0 1.0 1.0 1.0", "not a number"),
        (FIRST_VALUE_LINE, " 1.0-2.0-3.0 1.0 1.0", "not a number"),
        (FIRST_VALUE_LINE, " 1.0.5 1.0 1.0 1.0 1.0", "not a number"),
        (FIRST_VALUE_LINE, " 1,0 1.0 1.0 1.0 1.0", "not a number"),
        (FIRST_VALUE_LINE, " 0x1 1.0 1.0 1.0 1.0", "not a number"),
        (FIRST_VALUE_LINE, " 1_0 1.0 1.0 1.0 1.0", "not a number"),
        (FIRST_VALUE_LINE, " 1.0 \x00 1.0 1.0 1.0", "not a number"),
    ],
)
def test_error_names_the_line(chgcar, line, replacement, message):
    path = chgcar(edited(chgcar_text(random_density()), line, replacement))
    with pytest.raises(FormatError, match=message) as caught:
        read_density(path)
    end_of_file = FIRST_VALUE_LINE + 23
    where = {6: 7}.get(line, line) if replacement else end_of_file
    assert str(caught.value).startswith(f"{path}:{where}: ")


@pytest.mark.parametrize("chunk", [97, 256, 5000])
def test_error_in_a_later_piece_names_the_line(chgcar, monkeypatch, chunk):
    monkeypatch.setattr(text_module, "CHUNK_BYTES", chunk)
    text = chgcar_text(random_density((9, 7, 8)))
    with pytest.raises(FormatError, match=r"CHGCAR:99: '\*\*\*\*' stands for a number that overflowed"):
        read_density(chgcar(edited(text, 99, " 1.0 1.0 **** 1.0 1.0")))


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (rows([1.0]), "1 more numbers than the 5x4x6 grid"),
        (rows(np.ones(5)), "5 more numbers"),
        ("the end\n", "found 'the end'"),
        ("  5  4  7\n", "3 more numbers"),
        ("  5  4  6\n", "expected 120 grid values"),
        ("augmentation occupancies 1 7\n 1.0 2.0\n", "expected 7 augmentation occupancies, found 2"),
        ("augmentation occupancies 1 2\n 1.0 2.0 3.0\n", "more than 2 augmentation occupancies"),
    ],
)
def test_what_follows_the_grid_must_be_known(chgcar, extra, message):
    with pytest.raises(FormatError, match=message):
        read_density(chgcar(chgcar_text(random_density()) + extra))


def test_value_beyond_the_grid_on_its_last_row_is_refused(chgcar):
    with pytest.raises(FormatError, match="more than the 120 values"):
        read_density(chgcar(chgcar_text(random_density()).rstrip("\n") + " 0.5\n"))


@pytest.mark.parametrize(("n_blocks", "message"), [(3, "3 blocks"), (5, "a fifth block")])
def test_numbers_of_blocks_that_no_calculation_writes(chgcar, n_blocks, message):
    density = random_density()
    block = "5 4 6\n" + rows(chgcar_blocks(density)[0])
    with pytest.raises(FormatError, match=message):
        read_density(chgcar(chgcar_text(density) + block * (n_blocks - 1)))


def test_grid_far_larger_than_the_file_takes_no_memory(chgcar):
    with pytest.raises(FormatError, match="more than the file can hold"):
        read_density(chgcar(edited(chgcar_text(random_density()), GRID_LINE, "99999 99999 99999")))


def test_number_cut_by_the_end_of_the_file_is_noticed(chgcar):
    density = random_density()
    text = chgcar_text(density).rstrip("\n")
    assert_same(read_density(chgcar(text)), density)
    for cut in range(1, 17):
        with pytest.raises(FormatError):
            read_density(chgcar(text[:-cut]))


def test_localisation_function_and_potential_are_known_by_their_values(chgcar):
    density = random_density()
    elf = poscar_text(density) + "\n5 4 6\n" + rows(np.random.default_rng(0).random(120))
    with pytest.raises(FormatError, match="ELFCAR"):
        read_density(chgcar(elf))
    potential = poscar_text(density) + "\n5 4 6\n" + rows(np.random.default_rng(0).standard_normal(120))
    with pytest.raises(FormatError, match="no electron density"):
        read_density(chgcar(potential))


@pytest.mark.parametrize(
    ("n_electrons", "symbols", "message"),
    [
        (8.1, "NaCl", "no whole number"),
        (80.0, "NaCl", "28 protons"),
        (28.0, "NaCl", "all-electron"),
        (27.0, "NaCl", None),
    ],
)
def test_implausible_electron_counts_are_reported(chgcar, n_electrons, symbols, message):
    read = read_density(chgcar(chgcar_text(random_density(symbols=symbols, n_electrons=n_electrons))))
    assert [message in note for note in read.warnings] == ([True] if message else [])


def test_negative_values_are_kept_and_reported(chgcar):
    values = np.random.default_rng(0).random((6, 6, 6)) + 0.1
    values[:2, :3] *= -0.2
    read = read_density(chgcar(chgcar_text(density_of(values, symbols="NaCl", n_electrons=8))))
    assert read.values.min() < 0
    assert "16.7% of the grid points are negative" in read.warnings[0]


def test_entry_is_refused(chgcar):
    with pytest.raises(FormatError, match="leave the entry out"):
        read_density(chgcar(chgcar_text(random_density())), entry="1")


@pytest.mark.parametrize("blocks", [1, 2])
def test_reading_takes_less_than_three_times_the_memory_of_the_fields(chgcar, blocks):
    row = rows([1.25, 3.0, 0.5, 2.0, 0.75])
    header = poscar_text(random_density(symbols="NaCl"))
    path = chgcar(header + "\n" + ("100 100 100\n" + row * 200_000) * blocks)
    read_density(path)  # imports and caches are not counted
    tracemalloc.start()
    read_density(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3 * blocks * 8 * 100**3
