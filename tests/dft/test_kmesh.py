"""K meshes fit the lattice: its shape is recognized in any orientation, and divisions depend on its size."""

import itertools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from tools.dft.kmesh import LENGTHS, k_list, k_mesh, lattice_shape, symmetry_points
from tools.dft.prototypes import BCC, CUBIC, FCC, hexagonal

SHAPES = {"fcc": FCC, "bcc": BCC, "sc": CUBIC, "hex": hexagonal(1.6), "other": np.diag([1.0, 1.1, 1.2])}


def divisions(text):
    words = text.split()
    return [int(word) for word in words[1 : words.index("nshiftk")]]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("size", [2.5, 9.0])
def test_shape_is_seen_in_any_orientation_and_size(shape, size):
    turned = SHAPES[shape] * size @ Rotation.from_rotvec([0.3, -1.1, 0.7]).as_matrix()
    assert lattice_shape(turned) == shape


@pytest.mark.parametrize(
    "lattice", [FCC * [1, 1, 1.01], BCC * [1, 1, 1.52], CUBIC * [1, 1, 0.95], hexagonal(1.0) * [1.01, 1, 1]]
)
def test_distorted_lattices_are_of_no_named_shape(lattice):
    assert lattice_shape(lattice * 4.0) == "other"


def test_known_meshes():
    assert k_mesh(FCC * 5.43, "insulator") == "ngkpt 3 3 3 nshiftk 4 shiftk .5 .5 .5 .5 0 0 0 .5 0 0 0 .5"
    assert k_mesh(BCC * 2.87, "metal") == "ngkpt 8 8 8 nshiftk 2 shiftk .25 .25 .25 -.25 -.25 -.25"
    assert k_mesh(CUBIC * 3.9, "coarse") == "ngkpt 4 4 4 nshiftk 1 shiftk .5 .5 .5"
    assert k_mesh(hexagonal(1.6) * 3.2, "metal") == "ngkpt 7 7 4 nshiftk 1 shiftk 0 0 .5"


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("purpose", LENGTHS)
def test_smaller_cells_get_at_least_as_many_divisions(shape, purpose):
    meshes = [divisions(k_mesh(SHAPES[shape] * size, purpose)) for size in (2.5, 4.0, 6.0, 9.0)]
    for small, large in itertools.pairwise(meshes):
        assert all(one >= other for one, other in zip(small, large, strict=True))


@pytest.mark.parametrize("shape", SHAPES)
def test_metals_get_the_densest_meshes(shape):
    coarse, insulator, metal = (np.prod(divisions(k_mesh(SHAPES[shape] * 3.0, purpose))) for purpose in LENGTHS)
    assert coarse <= insulator <= metal
    assert coarse < metal


def test_hexagonal_meshes_are_not_shifted_in_the_plane():
    assert k_mesh(hexagonal(1.6) * 3.2, "metal").endswith("shiftk 0 0 .5")


@pytest.mark.parametrize("shape", SHAPES)
def test_symmetry_points_begin_at_the_center_and_do_not_repeat(shape):
    points = symmetry_points(SHAPES[shape])
    assert points[0] == (0, 0, 0)
    assert len(set(points)) == len(points)


def test_list_of_points_is_written_to_nine_digits():
    assert k_list([(0, 0, 0), (1 / 3, -0.25, 0.5)]) == (
        "kptopt 0 nkpt 2 kpt 0.000000000 0.000000000 0.000000000\n 0.333333333 -0.250000000 0.500000000"
    )
