"""The summary says what the density holds: numbers that can be checked by hand, and words that follow from them."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
from ase.cell import Cell

from rhonet.core.config import ViewConfig
from rhonet.core.density import ElectronCount
from rhonet.core.regrid import storage_grid
from rhonet.data.checks.summary import DensitySummary, summarize_density
from tests.synthetic import LEFT_HANDED, SKEWED, density_of, random_density

VIEW = ViewConfig()


def summary_of(density, **options) -> DensitySummary:
    return summarize_density("CHGCAR", density, **options)


@pytest.mark.parametrize("lattice", [SKEWED, LEFT_HANDED])
def test_cell_and_grid(lattice):
    summary = summary_of(random_density((6, 5, 7), lattice=lattice))
    np.testing.assert_allclose([*summary.lengths, *summary.angles], Cell(lattice).cellpar())
    np.testing.assert_allclose(summary.spacing, np.array(summary.lengths) / (6, 5, 7))
    assert (summary.grid, summary.formula, summary.n_atoms) == ((6, 5, 7), "NaCl", 2)
    assert summary.left_handed == (lattice is LEFT_HANDED)
    assert ("(left-handed)" in summary.to_text()) == summary.left_handed
    assert summary.volume == pytest.approx(Cell(lattice).volume)


def test_negative_values_are_counted_in_points_and_electrons():
    values = np.ones((2, 2, 5))
    values[0, 0, 0] = -0.5
    summary = summary_of(density_of(values, lattice=np.diag([2.0, 2.0, 5.0])))
    assert (summary.minimum, summary.maximum) == (-0.5, 1.0)
    assert summary.negative_share == 0.05
    assert summary.negative_electrons == pytest.approx(-0.5)
    assert summary.n_electrons == pytest.approx(18.5)
    assert "-0.5 to 1 e/Å³; 5.00% of the points are negative (-0.5 e)" in summary.to_text()
    assert "no point is negative" in summary_of(random_density()).to_text()


def test_moments_of_an_antiferromagnet_cancel_but_not_their_sizes():
    spin = np.ones((4, 4, 4))
    spin[2:] = -1
    summary = summary_of(density_of(spin * 0 + 2, lattice=np.diag([2.0, 2.0, 2.0]), magnetization=spin))
    assert (summary.blocks, summary.total_moment, summary.moment_vector) == (2, 0.0, None)
    assert summary.absolute_moment == pytest.approx(8.0)
    assert "collinear (2 blocks), moment 0.0000 µB, ∫|m| 8.0000 µB" in summary.to_text()


def test_noncollinear_moment_is_a_vector_with_a_length():
    spin = np.stack([np.full((3, 3, 3), x) for x in (0.3, 0.0, -0.4)])
    summary = summary_of(density_of(spin[0] * 0 + 2, lattice=np.diag([2.0, 2.0, 2.0]), magnetization=spin))
    assert summary.blocks == 4
    assert summary.total_moment == pytest.approx(4.0)
    np.testing.assert_allclose(summary.moment_vector or (), (2.4, 0, -3.2), atol=1e-12)
    assert summary.absolute_moment == pytest.approx(4.0)
    assert "non-collinear (4 blocks), moment 4.0000 µB = |(2.4000, 0.0000, -3.2000)|" in summary.to_text()
    assert "projected on its total moment" in summary.outlook[1]


def test_unknown_species_and_counts_are_said_to_be_unknown():
    text = summary_of(replace(random_density(), atoms=None)).to_text()
    assert "formula     unknown" in text
    assert "8.0000 (not stated elsewhere)" in text
    stated = replace(random_density(), expected_electrons=ElectronCount(8.0, "OUTCAR"))
    assert "8.0000 (8 according to OUTCAR)" in summary_of(stated).to_text()


def test_warnings_of_the_reader_are_listed():
    text = summary_of(replace(random_density(), warnings=("First odd thing.", "Second odd thing."))).to_text()
    assert "  warnings    First odd thing.\n              Second odd thing.\n" in text


def test_text_fits_the_page():
    long = replace(random_density(blocks=4), warnings=("word " * 60,), format="vasp")
    assert max(map(len, summary_of(long, view=VIEW).to_text().splitlines())) <= 110


def test_json_is_one_line_with_the_fields_as_keys():
    density = replace(random_density(blocks=4), expected_electrons=ElectronCount(8.0, "OUTCAR"))
    line = summary_of(density).to_json()
    tree = json.loads(line)
    assert "\n" not in line
    assert list(tree) == [field.name for field in fields(DensitySummary)]
    assert tree["expected_electrons"] == {"count": 8.0, "source": "OUTCAR"}
    assert tree["grid"] == [5, 4, 6]
    np.testing.assert_array_equal(tree["lattice"], density.lattice)


@pytest.mark.parametrize("shape", [(40, 36, 45), (8, 36, 45), (6, 7, 8)])
def test_storage_grid_is_the_one_that_training_uses(shape):
    density = random_density(shape)
    stored = storage_grid(density, 0.25).shape
    storage = summary_of(density).outlook[0]
    if stored == shape:
        assert "on its own grid" in storage
    else:
        assert f"on {stored[0]} x {stored[1]} x {stored[2]} points" in storage
    assert ("along a" in storage) == (density.spacing[0] > 0.25)


def test_storage_of_a_grid_that_is_fine_enough_needs_no_excuse():
    density = random_density((16, 16, 16), lattice=np.diag([4.0, 4.0, 4.0]))
    assert summary_of(density).outlook[0] == "Training stores it on its own grid."


@pytest.mark.parametrize(
    ("moment", "expected"),
    [(0.5, "as it is"), (-0.5, "reversed sign"), (-1e-4, "reversed sign")],
)
def test_sign_of_a_moment_that_points_down_is_reversed(moment, expected):
    values = np.full((3, 3, 3), 1.0)
    spin = np.full((3, 3, 3), moment / 8)
    density = density_of(values, lattice=np.diag([2.0, 2.0, 2.0]), magnetization=spin)
    assert expected in summary_of(density).outlook[1]


def test_vanishing_noncollinear_moment_is_projected_on_its_main_axis():
    spin = np.zeros((3, 2, 2, 2))
    spin[0, 0], spin[0, 1] = 0.1, -0.1
    assert (
        "projected on its main axis, as its total moment vanishes"
        in summary_of(density_of(np.ones((2, 2, 2)), magnetization=spin)).outlook[1]
    )


def test_what_the_released_model_does_with_it():
    fine = summary_of(random_density((40, 36, 45)), view=VIEW).outlook[2:]
    assert fine == ("The released model takes it: the grid is as fine as it needs (0.25 Å).",)
    (coarse,) = summary_of(random_density((8, 36, 9)), view=VIEW).outlook[2:]
    assert "along a and c this one is coarser" in coarse
    assert len(summary_of(random_density()).outlook) == 2


def test_large_and_empty_cells_are_pointed_out():
    values = np.full((10, 10, 10), 1e-5)
    values[:3] = 1.0
    outlook = summary_of(density_of(values, lattice=np.diag([20.0, 20.0, 20.0])), view=VIEW).outlook
    assert f"sees only a part of so large a cell: it averages over {VIEW.views} cubes of 8 Å" in outlook[3]
    assert "70% of the cell is empty" in outlook[4]
