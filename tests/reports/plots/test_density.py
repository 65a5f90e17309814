"""The figure of a density has true geometry, values and averages."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.text import Text

from rhonet.reports.plots.density import density_figure
from rhonet.reports.plots.parity import figure_to_image
from tests.synthetic import LEFT_HANDED, SKEWED, density_of, random_density

HEXAGONAL = np.array([[3.0, 0, 0], [-1.5, 1.5 * np.sqrt(3), 0], [0, 0, 5.0]])
LATTICES = pytest.mark.parametrize("lattice", [SKEWED, LEFT_HANDED, HEXAGONAL, np.diag([4.0, 4.0, 30.0])])


def parts_of(figure: Figure, kind: type) -> list[Any]:
    return list(figure.findobj(kind))


def meshes_of(figure: Figure) -> list[Any]:
    """Slices in the order drawn; the colour bar has a mesh, too, but no title."""
    return [mesh for mesh in parts_of(figure, QuadMesh) if mesh.axes.get_title()]


def lines_of(figure: Figure, label: str) -> list[Any]:
    return [line for axes in parts_of(figure, Axes) for line in axes.lines if line.get_label().startswith(label)]


def edges_of(mesh: Any) -> np.ndarray:
    """Both edges of a slice as drawn, (2, 2), Å."""
    corner = mesh.get_coordinates()
    return np.array([corner[-1, 0] - corner[0, 0], corner[0, -1] - corner[0, 0]])


@LATTICES
def test_slices_have_true_lengths_and_angles(lattice):
    figure = density_figure(random_density((6, 5, 8), lattice=lattice))
    drawn = [edges_of(mesh) @ edges_of(mesh).T for mesh in meshes_of(figure)]
    metric = lattice @ lattice.T
    for across, products in zip((2, 1, 0), drawn, strict=True):
        in_plane = [axis for axis in range(3) if axis != across]
        expected = metric[np.ix_(in_plane, in_plane)]
        # Either edge may be the horizontal one.
        assert np.allclose(products, expected) or np.allclose(products[::-1, ::-1], expected)


def test_slices_are_grid_planes_closed_periodically():
    density = random_density((6, 5, 8))
    for across, mesh in zip((2, 1, 0), meshes_of(density_figure(density)), strict=True):
        drawn = np.asarray(mesh.get_array()).reshape(mesh.get_coordinates().shape[:2])
        np.testing.assert_array_equal(drawn[-1], drawn[0])
        np.testing.assert_array_equal(drawn[:, -1], drawn[:, 0])
        planes = np.moveaxis(density.values, across, 0)
        inner = drawn[:-1, :-1]
        assert any(np.array_equal(inner, plane) or np.array_equal(inner, plane.T) for plane in planes)


def test_slices_pass_through_the_atom():
    x, y, z = np.meshgrid(*(np.arange(n) / n for n in (10, 12, 14)), indexing="ij")
    at = (0.3, 0.25, 0.5)
    distance = np.sum([np.sin(np.pi * (f - g)) ** 2 for f, g in zip((x, y, z), at, strict=True)], axis=0)
    figure = density_figure(density_of(0.01 + np.exp(-8 * distance)))
    assert [mesh.axes.get_title() for mesh in meshes_of(figure)] == ["at 0.5 $c$", "at 0.25 $b$", "at 0.3 $a$"]


@pytest.mark.parametrize("blocks", [1, 2, 4])
def test_averages_integrate_to_electrons_and_moment(blocks):
    density = random_density((6, 5, 8), blocks=blocks)
    figure = density_figure(density)
    assert len(meshes_of(figure)) == (3 if blocks == 1 else 6)
    for line in lines_of(figure, "ρ"):
        mean = np.mean(line.get_ydata()[:-1])
        assert mean * density.volume == pytest.approx(density.n_electrons)
    moments = lines_of(figure, "m (")
    assert len(moments) == (0 if blocks == 1 else 3)
    for line in moments:
        assert np.mean(line.get_ydata()[:-1]) * density.volume == pytest.approx(density.total_moment)


@pytest.mark.parametrize(
    "values",
    [np.ones((1, 1, 1)), np.ones((3, 4, 5)), np.random.default_rng(0).normal(0.3, 1, (4, 5, 6))],
    ids=["one point", "constant", "negative"],
)
def test_odd_fields_are_drawn(values):
    density = density_of(values, magnetization=0 * values)
    picture = figure_to_image(density_figure(density, title="x" * 200))
    assert picture.std() > 10


def test_any_file_name_can_be_a_title():
    figure = density_figure(random_density(), title="cost$a^$b\n\udcff.cube")
    assert figure_to_image(figure).std() > 10
    assert figure.get_suptitle() == r"cost$a^$b\n\xff.cube"


@pytest.mark.parametrize(("largest", "has_lines"), [(1e-4, False), (0.1, True)])
def test_noise_has_no_contours(largest, has_lines):
    noise = np.random.default_rng(0).uniform(-largest, largest, (4, 5, 6))
    density = density_of(np.ones((4, 5, 6)), magnetization=noise)
    lines = parts_of(density_figure(density), ContourSet)
    assert bool(lines) == has_lines


def test_fine_grids_are_thinned_out():
    density = density_of(np.random.default_rng(0).random((900, 2, 3)))
    assert max(len(mesh.get_coordinates()) for mesh in meshes_of(density_figure(density))) == 301


def test_atoms_near_the_planes_are_marked_also_on_opposite_edges():
    density = random_density((4, 4, 4), lattice=np.diag([4.0, 4.0, 4.0]), symbols="NaCl")
    assert density.atoms is not None
    density.atoms.set_scaled_positions([[0, 0, 0], [0.5, 0.5, 0.3]])
    peak = np.full((4, 4, 4), 0.1)
    peak[0, 0, 0] = 9.0
    figure = density_figure(replace(density, values=peak))
    words = [text.get_text() for text in parts_of(figure, Text)]
    assert words.count("Na") == 3 * 4
    assert words.count("Cl") == 0
