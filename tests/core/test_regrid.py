"""Resampling: exact where theory says so, never more or fewer electrons."""

import itertools
import math

import numpy as np
import pytest
from scipy.signal import resample

from rhonet.core.regrid import fourier_regrid, storage_grid, storage_shape
from tests.synthetic import CUBIC, LEFT_HANDED, SKEWED, density_of, random_density

# Rounding of a few FFTs in double precision, relative to the largest value.
ROUNDING = 1e-12
SHAPES = [(1, 1, 1), (4, 4, 4), (7, 20, 2), (5, 6, 8), (10, 12, 16), (3, 1, 9), (5, 7, 8), (4, 6, 7)]
FLAT = np.array([[9.0, 0.4, -0.2], [7.9, 2.1, 0.3], [-6.0, 1.2, 3.3]])


def points(shape):
    """Fractional coordinates of the grid points, three arrays that broadcast to the shape."""
    return np.meshgrid(*(np.arange(n) / n for n in shape), indexing="ij", sparse=True)


def waves(shape, turns, coefficients):
    """Real field Σ Re(c exp(2πi m·x)) at the grid points."""
    x, y, z = points(shape)
    field = np.zeros(shape)
    for (i, j, k), c in zip(turns, coefficients, strict=True):
        field += (c * np.exp(2j * np.pi * (i * x + j * y + k * z))).real
    return field


def noise(shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def exact_resampling(values, shape):
    """Definition, wave by wave: the shortest-wave interpolant, cut to what the new grid holds, at the new points."""
    for axis, size in enumerate(shape):
        points = values.shape[axis]
        x = np.arange(size)[:, None] / size
        matrix = np.zeros((size, points))
        for m in range(-(points // 2), points // 2 + 1):
            weight = 0.5 if 2 * abs(m) == points else 1.0
            if 2 * abs(m) <= size or size >= points:
                matrix += weight / points * np.cos(2 * np.pi * m * (x - np.arange(points)[None, :] / points))
        values = np.moveaxis(np.tensordot(matrix, values, axes=(1, axis)), 0, axis)
    return values


@pytest.mark.parametrize("shape", SHAPES)
def test_regrid_keeps_the_number_of_electrons(shape):
    density = random_density((5, 6, 8))
    assert fourier_regrid(density, shape).n_electrons == pytest.approx(density.n_electrons, rel=1e-13)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("given", [(5, 6, 8), (4, 1, 3), (8, 8, 2)])
def test_regrid_is_the_trigonometric_sum(given, shape):
    values = noise(given)
    regridded = fourier_regrid(density_of(values), shape).values
    np.testing.assert_allclose(regridded, exact_resampling(values, shape), atol=ROUNDING * 10)


@pytest.mark.parametrize("shape", SHAPES)
def test_regrid_agrees_with_scipy_axis_by_axis(shape):
    values = noise((5, 6, 8))
    expected = values
    for axis, size in enumerate(shape):
        expected = np.asarray(resample(expected, size, axis=axis))
    np.testing.assert_allclose(fourier_regrid(density_of(values), shape).values, expected, atol=ROUNDING * 10)


@pytest.mark.parametrize("given", [(5, 6, 8), (16, 9, 7)])
@pytest.mark.parametrize("shape", [(5, 5, 5), (6, 7, 8), (21, 24, 30)])
def test_band_limited_field_is_exact_on_any_grid_that_holds_it(given, shape):
    turns = list(itertools.product((-2, 0, 1), (-1, 0, 2), (-2, 0, 2)))
    coefficients = noise((len(turns), 2)) @ [1, 1j]
    regridded = fourier_regrid(density_of(waves(given, turns, coefficients)), shape).values
    np.testing.assert_allclose(regridded, waves(shape, turns, coefficients), atol=ROUNDING * 100)


def test_waves_beyond_the_coarse_grid_vanish_instead_of_aliasing():
    fine = density_of(1 + waves((20, 20, 20), [(7, 0, 0), (0, -5, 6)], [1, 1j]))
    np.testing.assert_allclose(fourier_regrid(fine, (12, 8, 11)).values, 1, atol=ROUNDING)


@pytest.mark.parametrize("shape", [(6, 7, 8), (12, 18, 24), (11, 13, 17)])
def test_there_and_back_is_the_same_field(shape):
    density = random_density((6, 7, 8))
    back = fourier_regrid(fourier_regrid(density, shape), density.shape)
    np.testing.assert_allclose(back.values, density.values, atol=ROUNDING)


def test_integer_refinement_passes_through_the_given_points():
    values = noise((4, 5, 2))
    fine = fourier_regrid(density_of(values), (8, 15, 4)).values
    np.testing.assert_allclose(fine[::2, ::3, ::2], values, atol=ROUNDING)


def test_one_point_axes_stay_constant():
    fine = fourier_regrid(density_of(noise((1, 5, 1))), (4, 5, 3)).values
    assert np.ptp(fine, axis=(0, 2)) == pytest.approx(0, abs=ROUNDING)


@pytest.mark.parametrize("blocks", [2, 4])
def test_magnetization_is_resampled_like_the_density(blocks):
    density = random_density((5, 6, 4), blocks=blocks)
    regridded = fourier_regrid(density, (8, 3, 9))
    assert density.magnetization is not None
    assert regridded.magnetization is not None
    assert regridded.total_moment == pytest.approx(density.total_moment, rel=1e-12)
    given = density.magnetization.reshape(-1, 5, 6, 4)
    for component, expected in zip(regridded.magnetization.reshape(-1, 8, 3, 9), given, strict=True):
        np.testing.assert_allclose(component, exact_resampling(expected, (8, 3, 9)), atol=ROUNDING)


def test_memory_order_and_threads_do_not_change_the_result():
    values = noise((12, 10, 9))
    plain = fourier_regrid(density_of(values), (7, 7, 8)).values
    fortran = fourier_regrid(density_of(np.asfortranarray(values)), (7, 7, 8)).values
    threaded = fourier_regrid(density_of(values), (7, 7, 8), workers=2).values
    np.testing.assert_allclose(fortran, plain, atol=ROUNDING)
    np.testing.assert_allclose(threaded, plain, atol=ROUNDING)


def test_regrid_changes_no_input():
    density = random_density((5, 6, 8), blocks=2)
    before = density.values.copy()
    fourier_regrid(density, (3, 4, 5))
    np.testing.assert_array_equal(density.values, before)


@pytest.mark.parametrize("shape", [(0, 4, 4), (4, 4), (4, -1, 4)])
def test_impossible_grid_is_refused(shape):
    with pytest.raises(ValueError, match="at least 1"):
        fourier_regrid(random_density(), shape)


@pytest.mark.parametrize("lattice", [CUBIC, SKEWED, LEFT_HANDED, FLAT, 7.3 * SKEWED])
@pytest.mark.parametrize("spacing", [0.1, 0.25, 0.7, 50.0])
def test_storage_shape_is_the_smallest_smooth_one_within_the_spacing(lattice, spacing):
    lengths = np.linalg.norm(lattice, axis=1)
    for size, length in zip(storage_shape(lattice, spacing), lengths, strict=True):
        assert length / size <= spacing * (1 + 1e-8)
        smooth = [2**a * 3**b * 5**c * 7**d for a in range(12) for b in range(7) for c in range(5) for d in range(4)]
        assert size == min(n for n in smooth if n >= length / spacing * (1 - 1e-8))


def test_rounded_lattice_does_not_cost_a_bigger_grid():
    assert storage_shape(np.eye(3) * 8 * (1 + 1e-12), 0.25) == (32, 32, 32)


@pytest.mark.parametrize("lattice", [CUBIC, SKEWED, LEFT_HANDED, FLAT])
def test_storage_grid_keeps_every_wave_longer_than_twice_the_spacing(lattice):
    spacing = 0.5
    native = (30, 26, 28)
    reach = range(-12, 13)
    turns = np.array(list(itertools.product(reach, reach, reach)))
    wave_vectors = 2 * np.pi * turns @ np.linalg.inv(lattice).T
    kept = turns[np.linalg.norm(wave_vectors, axis=1) < math.pi / spacing]
    assert np.abs(kept).max() < 12
    coefficients = noise((len(kept), 2)) @ [1, 1j]
    density = density_of(waves(native, kept, coefficients), lattice=lattice)
    stored = storage_grid(density, spacing)
    assert stored.values.size < density.values.size / 2
    assert (stored.spacing <= spacing).all()
    np.testing.assert_allclose(stored.values, waves(stored.shape, kept, coefficients), atol=1e-10)
    np.testing.assert_allclose(fourier_regrid(stored, native).values, density.values, atol=1e-10)


@pytest.mark.parametrize("lattice", [CUBIC, SKEWED, LEFT_HANDED, FLAT])
def test_storage_grid_keeps_electrons_and_moment(lattice):
    density = random_density((24, 27, 31), lattice=lattice, blocks=2)
    stored = storage_grid(density, 0.4)
    assert stored.n_electrons == pytest.approx(density.n_electrons, rel=1e-12)
    assert stored.total_moment == pytest.approx(density.total_moment, rel=1e-10)


def test_storage_grid_is_never_finer_than_the_file():
    density = random_density((11, 40, 6), lattice=np.diag([4.0, 4.0, 4.0]))
    stored = storage_grid(density, 0.37)
    assert storage_shape(density.lattice, 0.37) == (12, 12, 12)
    assert stored.shape == (11, 12, 6)


@pytest.mark.parametrize("spacing", [0.0, -0.25, math.nan])
def test_impossible_spacing_is_refused(spacing):
    with pytest.raises(ValueError, match="above 0"):
        storage_grid(random_density(), spacing)
