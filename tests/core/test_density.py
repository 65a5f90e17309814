"""What a charge density says about itself."""

import numpy as np
import pytest

from rhonet.core.density import ChargeDensity
from tests.synthetic import CUBIC, LEFT_HANDED, SKEWED, density_of, random_density


def test_antiferromagnet_is_projected_on_its_own_axis_however_it_lies():
    rng = np.random.default_rng(0)
    profile = rng.normal(size=(4, 5, 6))
    profile -= profile.mean()
    for axis in ([0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.6, 0.0, 0.8]):
        field = np.multiply.outer(np.array(axis), profile)
        projected = density_of(np.ones((4, 5, 6)), magnetization=field).collinear_magnetization()
        assert projected is not None
        sign = np.sign(projected.ravel() @ profile.ravel())
        np.testing.assert_allclose(sign * projected, profile, atol=1e-6)


@pytest.mark.parametrize("lattice", [CUBIC, SKEWED, LEFT_HANDED])
def test_uniform_density_integrates_to_density_times_volume(lattice):
    density = density_of(np.full((3, 4, 1), 0.25), lattice=lattice)
    assert density.volume > 0
    assert density.n_electrons == pytest.approx(0.25 * abs(np.linalg.det(lattice)), rel=1e-14)


def test_left_handed_cell_has_the_volume_of_its_mirror_image():
    assert np.linalg.det(LEFT_HANDED) < 0
    assert density_of(np.ones((2, 2, 2)), lattice=LEFT_HANDED).volume == pytest.approx(np.linalg.det(SKEWED))


def test_spacing_is_edge_over_points():
    density = density_of(np.ones((4, 5, 8)), lattice=np.diag([2.0, 3.0, 4.0]))
    assert density.spacing == pytest.approx([0.5, 0.6, 0.5])


def test_collinear_moment_keeps_its_sign():
    values = np.ones((2, 3, 4))
    down = density_of(values, lattice=CUBIC, magnetization=-0.5 * values)
    assert down.total_moment == pytest.approx(-0.5 * 64)
    assert density_of(values).total_moment is None


def test_non_collinear_moment_is_a_length_and_projects_on_its_axis():
    direction = np.array([2.0, -1.0, 2.0]) / 3
    profile = np.random.default_rng(0).random((3, 2, 4))
    density = density_of(profile, lattice=CUBIC, magnetization=direction[:, None, None, None] * profile)
    assert density.total_moment == pytest.approx(profile.mean() * 64)
    assert density.collinear_magnetization() == pytest.approx(profile)


def test_non_collinear_field_without_a_moment_projects_on_its_main_axis():
    field = np.zeros((3, 2, 1, 1))
    field[2] = [[[1.0]], [[-1.0]]]
    projected = density_of(np.ones((2, 1, 1)), magnetization=field).collinear_magnetization()
    assert projected is not None
    assert projected == pytest.approx(field[2])


@pytest.mark.parametrize(("angles", "has_one"), [((0, 180), True), ((0, 120, 240), False), ((0, 90, 180, 270), False)])
def test_main_axis_is_that_of_a_collinear_order(angles, has_one):
    """Spins of equal length in a plane, at these angles."""
    field = np.zeros((3, len(angles), 1, 1))
    field[0, :, 0, 0], field[1, :, 0, 0] = np.cos(np.radians(angles)), np.sin(np.radians(angles))
    density = density_of(np.ones((len(angles), 1, 1)), magnetization=field)
    assert density.has_main_axis == has_one
    assert density_of(np.ones((2, 2, 2)), magnetization=np.ones((3, 2, 2, 2))).has_main_axis, "it has a moment"
    assert density_of(np.ones((2, 2, 2)), magnetization=np.zeros((3, 2, 2, 2))).has_main_axis, "nothing to be seen"


def test_negative_share_counts_points():
    values = np.ones((2, 5, 1))
    values[0, :3] = -0.1
    assert density_of(values).negative_share == pytest.approx(0.3)


@pytest.mark.parametrize(
    ("values", "lattice", "magnetization", "message"),
    [
        (np.ones((2, 2)), CUBIC, None, "shape"),
        (np.ones((2, 0, 2)), CUBIC, None, "shape"),
        (np.ones((2, 2, 2), complex), CUBIC, None, "real"),
        (np.full((2, 2, 2), np.nan), CUBIC, None, "8 values that are not finite"),
        (np.ones((2, 2, 2)), np.ones(3), None, "lattice"),
        (np.ones((2, 2, 2)), np.ones((3, 3)), None, "no volume"),
        (np.ones((2, 2, 2)), np.full((3, 3), np.inf), None, "no volume"),
        (np.ones((2, 2, 2)), CUBIC, np.ones((2, 2, 3)), "magnetization"),
        (np.ones((2, 2, 2)), CUBIC, np.full((3, 2, 2, 2), np.inf), "magnetization"),
    ],
)
def test_impossible_density_is_refused(values, lattice, magnetization, message):
    with pytest.raises(ValueError, match=message):
        ChargeDensity(values=values, lattice=lattice, magnetization=magnetization)


def test_printing_a_density_does_not_print_its_grid():
    assert len(repr(random_density((20, 20, 20), blocks=4))) < 400
