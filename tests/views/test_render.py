"""Views compared with their definition: a sum over plane waves, in NumPy and float64."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from rhonet.core.config import MOTIONS, VIEW_KINDS, ViewConfig
from rhonet.core.density import ChargeDensity, is_turned_by_convention
from rhonet.core.regrid import fourier_regrid, storage_grid
from rhonet.views import plane_waves, render
from rhonet.views.render import Frame, Spectrum
from tests.synthetic import CUBIC, LEFT_HANDED, SKEWED, density_of, spin_of

# Largest error over all cubes below, relative to the largest value of the channel: 4e-7, from float32.
CLOSE = 2e-6

# Channels that are bounded where a density passes through zero, as white noise does.
PLAIN = ("density", "gradient", "laplacian", "magnetization")

LATTICES = {"cubic": CUBIC, "skewed": SKEWED, "left-handed": LEFT_HANDED}


def noise(shape: tuple[int, int, int], *, lattice: np.ndarray = SKEWED, seed: int = 0) -> ChargeDensity:
    """White noise, so that every plane wave of the grid counts, with a positive moment."""
    rng = np.random.default_rng(seed)
    return density_of(rng.random(shape), lattice=lattice, magnetization=rng.random(shape) - 0.1)


def view_of(kind: str, **changes: object) -> ViewConfig:
    return dataclasses.replace(ViewConfig(kind=kind, size=8, edge=4.0, channels=PLAIN), **changes)


def random_frame(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rotation and origin."""
    rng = np.random.default_rng(seed)
    return np.linalg.qr(rng.normal(size=(3, 3)))[0], rng.random(3)


def spectrum_of(density: ChargeDensity, view: ViewConfig) -> Spectrum:
    magnetization = np.zeros((0, 0, 0)) if density.magnetization is None else density.magnetization
    return render.spectrum(
        tf.constant(density.values, tf.float32),
        tf.constant(magnetization, tf.float32),
        tf.constant(density.lattice),
        view,
    )


def cube_of(density: ChargeDensity, view: ViewConfig, rotation: np.ndarray, origin: np.ndarray) -> np.ndarray:
    frame = Frame(tf.constant(rotation), tf.constant(origin))
    return render.render(spectrum_of(density, view), frame, view).numpy()


def reference_cube(density: ChargeDensity, view: ViewConfig, rotation: np.ndarray, origin: np.ndarray) -> np.ndarray:
    """The definition: the sum over all plane waves, filtered, of coefficient times exponential at each point."""
    shape = np.array(density.shape)
    millers = np.stack(np.meshgrid(*[np.arange(-(n // 2), n - n // 2) for n in shape], indexing="ij"), -1).reshape(
        -1, 3
    )
    waves = millers @ np.linalg.inv(density.lattice).T
    if view.kind == "cartesian":
        frequency = np.linalg.norm(waves, axis=1) * 2 * view.finest
    else:
        frequency = np.abs(millers).max(axis=1) * 2 / view.size
    kept = (2 * np.abs(millers) < shape).all(axis=1)
    kept &= frequency < 1
    kept &= np.linalg.norm(waves, axis=1) * 2 * view.finest < 1
    millers, waves, frequency = millers[kept], waves[kept], frequency[kept]
    damping = np.exp(-((np.pi * view.softness * frequency) ** 2) / 2)

    steps = np.stack(np.meshgrid(*[np.arange(view.size)] * 3, indexing="ij"), -1).reshape(-1, 3)
    if view.kind == "cartesian":
        points = origin @ density.lattice + steps @ rotation * view.spacing
    else:
        points = (origin + steps / view.size) @ density.lattice
    exponentials = np.exp(2j * np.pi * points @ waves.T)

    def field(values: np.ndarray, factor: np.ndarray | float = 1.0) -> np.ndarray:
        grid = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), -1).reshape(-1, 3) / shape
        coefficients = np.exp(-2j * np.pi * millers @ grid.T) @ values.ravel() / values.size
        return (exponentials @ (coefficients * damping * factor)).real

    spin = np.zeros(len(points)) if density.magnetization is None else field(density.magnetization)
    squared = (2 * np.pi) ** 2 * (waves**2).sum(axis=1)

    def channel(name: str, blur: float) -> np.ndarray:
        """A Gaussian blur multiplies each wave by exp(-σ²k²/2); derivatives of what is blurred count per σ."""
        blurred = np.exp(-(blur**2) * squared / 2)
        if name == "magnetization":
            return spin
        if name == "density":
            return field(density.values, blurred)
        if name == "gradient":
            slopes = [field(density.values, 2j * np.pi * waves[:, axis] * blurred) for axis in range(3)]
            return np.linalg.norm(slopes, axis=0) * (blur if blur else 1.0)
        return field(density.values, squared * blurred) * (blur**2 if blur else 0.1)

    cube = np.stack([channel(name, blur) for name, blur in view.fields], axis=-1)
    return cube.reshape(view.size, view.size, view.size, -1)


def physical(cube: np.ndarray, view: ViewConfig) -> np.ndarray:
    """Fields in e/Å³ (µB/Å³), with the derivatives' factors, of a cube of plain channels."""
    is_moment = np.array([name == "magnetization" for name, _ in view.fields])
    scale = np.where(is_moment, view.magnetization_scale, view.density_scale)
    return np.sinh(cube.astype(np.float64) * view.density_scale / scale) * scale


def relative_error(cube: np.ndarray, fields: np.ndarray, view: ViewConfig) -> float:
    """Largest difference of a cube from physical fields, per channel relative to its largest value."""
    wrong = np.abs(physical(cube, view) - fields).max(axis=(0, 1, 2))
    return float((wrong / np.maximum(np.abs(fields).max(axis=(0, 1, 2)), 1e-3)).max())


@pytest.mark.parametrize(
    ("lattice", "shape"),
    [
        ("cubic", (12, 12, 12)),
        ("left-handed", (8, 10, 12)),
        ("skewed", (9, 11, 7)),
        ("left-handed", (12, 9, 1)),
        ("skewed", (2, 30, 3)),
        ("skewed", (1, 1, 1)),
    ],
)
@pytest.mark.parametrize("kind", VIEW_KINDS)
def test_view_is_the_sum_over_plane_waves(kind, shape, lattice):
    density, view, frame = noise(shape, lattice=LATTICES[lattice]), view_of(kind), random_frame()
    assert relative_error(cube_of(density, view, *frame), reference_cube(density, view, *frame), view) < CLOSE


@pytest.mark.parametrize(
    "changes",
    [
        {"softness": 0.0},
        {"softness": 1.3},
        {"size": 9},
        {"finest": 0.9},
        {"edge": 9.0},
        {"density_scale": 0.01},
        {"magnetization_scale": 0.1},
        {"blurs": ()},
        {"blurs": (0.2, 0.6)},
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", VIEW_KINDS)
def test_every_setting_of_a_view_has_its_defined_effect(kind, changes):
    density, view, frame = noise((9, 10, 16)), view_of(kind, **changes), random_frame(1)
    assert relative_error(cube_of(density, view, *frame), reference_cube(density, view, *frame), view) < CLOSE


def test_channels_have_the_order_of_the_setting():
    density, frame = noise((6, 7, 8)), random_frame()
    whole = cube_of(density, view_of("cartesian"), *frame)
    some = cube_of(density, view_of("cartesian", channels=("magnetization", "density"), blurs=()), *frame)
    order = [PLAIN.index("magnetization"), PLAIN.index("density")]
    np.testing.assert_allclose(some, whole[..., order], atol=CLOSE)
    assert cube_of(density, view_of("cell", channels=("gradient",), blurs=()), *frame).shape == (8, 8, 8, 1)


def test_channels_of_blurred_densities_come_last_and_the_magnetization_only_once():
    view = view_of("cartesian", channels=("magnetization", "density", "gradient"), blurs=(0.6, 0.2))
    assert view.fields == (
        ("magnetization", 0.0),
        ("density", 0.0),
        ("gradient", 0.0),
        ("density", 0.6),
        ("gradient", 0.6),
        ("density", 0.2),
        ("gradient", 0.2),
    )
    density, frame = noise((9, 10, 11)), random_frame()
    cube = cube_of(density, view, *frame)
    spread = {
        blur: np.sinh(cube[..., channel]).std() for channel, (name, blur) in enumerate(view.fields) if name == "density"
    }
    assert spread[0.6] < spread[0.2] < spread[0.0]


@pytest.mark.parametrize("blur", [0.0, 0.35])
def test_reduced_derivatives_are_those_of_density_functionals(blur):
    channels = ("density", "gradient", "laplacian", "reduced_gradient", "reduced_laplacian")
    view = view_of("cartesian", channels=channels, blurs=(blur,) if blur else ())
    noisy = noise((9, 10, 11))
    density = dataclasses.replace(noisy, values=noisy.values + 1)
    cube = cube_of(density, view, *random_frame()).astype(np.float64)[..., len(channels) if blur else 0 :]
    values, gradient, laplacian = np.moveaxis(np.sinh(cube[..., :3]) * view.density_scale, -1, 0)
    assert values.min() > 0.1
    # Derivatives of a blurred density are shown times powers of the blur, the Laplacian of a sharp one times 0.1 Å².
    gradient, laplacian = gradient / (blur or 1.0), laplacian / (blur**2 or 0.1)
    # PBE's s = |∇ρ| / (2 k_F ρ) and q = ∇²ρ / (4 k_F² ρ), k_F = (3π²ρ)^⅓.
    fermi = np.cbrt(3 * np.pi**2 * values)
    np.testing.assert_allclose(np.sinh(cube[..., 3]), gradient / (2 * fermi * values), rtol=1e-4)
    np.testing.assert_allclose(np.sinh(cube[..., 4]), laplacian / (4 * fermi**2 * values), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("blur", [0.0, 0.4])
def test_reduced_derivatives_take_no_density_below_the_threshold(blur):
    channels = ("density", "gradient", "laplacian", "reduced_gradient", "reduced_laplacian")
    view = view_of("cartesian", channels=channels, blurs=(blur,) if blur else (), density_threshold=0.5)
    cube = cube_of(noise((9, 10, 11)), view, *random_frame()).astype(np.float64)[..., len(channels) if blur else 0 :]
    values, gradient, laplacian = np.moveaxis(np.sinh(cube[..., :3]) * view.density_scale, -1, 0)
    gradient, laplacian = gradient / (blur or 1.0), laplacian / (blur**2 or 0.1)
    assert 0.1 < (values < 0.5).mean() < 0.9
    least = np.maximum(values, 0.5)
    fermi = np.cbrt(3 * np.pi**2 * least)
    np.testing.assert_allclose(np.sinh(cube[..., 3]), gradient / (2 * fermi * least), rtol=1e-4)
    np.testing.assert_allclose(np.sinh(cube[..., 4]), laplacian / (4 * fermi**2 * least), rtol=1e-4, atol=1e-5)


def test_reduced_derivatives_of_vacuum_are_finite():
    density = noise((9, 10, 11))
    view = view_of("cartesian", channels=("reduced_gradient", "reduced_laplacian"))
    for values in (np.zeros(density.shape), density.values - 1):
        vacuum = dataclasses.replace(density, values=values)
        assert np.isfinite(cube_of(vacuum, view, *random_frame())).all()


def test_mean_of_the_magnetization_is_the_moment():
    noisy = noise((9, 8, 7))
    density = dataclasses.replace(noisy, magnetization=0.3 * spin_of(noisy))
    cube = cube_of(density, view_of("paper", channels=("magnetization",), blurs=()), *random_frame())
    # In units of the density's scale, and linear to 1e-4 at 0.3 µB/Å³.
    assert cube.mean() * 0.1 * density.volume == pytest.approx(density.total_moment, rel=1e-3)


def test_mean_of_the_cell_view_is_the_mean_density():
    density, view = noise((9, 8, 7)), view_of("paper", channels=("density",), blurs=())
    cube = np.sinh(cube_of(density, view, *random_frame()).astype(np.float64)) * view.density_scale
    assert cube.mean() * density.volume == pytest.approx(density.n_electrons, rel=1e-5)


@pytest.mark.parametrize("kind", VIEW_KINDS)
def test_a_density_is_the_same_on_every_grid_that_holds_it(kind):
    band_limited = fourier_regrid(noise((7, 9, 11)), (16, 18, 20))
    frame, view = random_frame(2), view_of(kind)
    expected = cube_of(band_limited, view, *frame)
    for shape in [(30, 36, 40), (17, 19, 21), (48, 18, 20)]:
        np.testing.assert_allclose(cube_of(fourier_regrid(band_limited, shape), view, *frame), expected, atol=1e-5)


@pytest.mark.parametrize("lattice", LATTICES.values(), ids=LATTICES)
@pytest.mark.parametrize("kind", VIEW_KINDS)
def test_views_of_stored_and_native_grid_are_equal(kind, lattice):
    # White noise up to waves far shorter than a record of 0.25 Å holds; no smoothing hides the difference.
    native = noise((40, 36, 45), lattice=lattice)
    stored = storage_grid(native, 0.25)
    assert max(stored.shape) < 36
    view, frame = view_of(kind, size=24, softness=0.0), random_frame(3)
    np.testing.assert_allclose(cube_of(stored, view, *frame), cube_of(native, view, *frame), atol=2e-5)


def test_same_physical_point_has_the_same_value_in_every_frame():
    density, view, (rotation, origin) = noise((9, 10, 11)), view_of("cartesian"), random_frame()
    cube = cube_of(density, view, rotation, origin)
    turned = cube_of(density, view, rotation[[1, 2, 0]], origin)
    np.testing.assert_allclose(turned, cube.transpose(1, 2, 0, 3), atol=1e-5)
    mirrored = cube_of(density, view, rotation * [[-1], [1], [1]], origin)
    np.testing.assert_allclose(mirrored[0], cube[0], atol=1e-5)
    moved = origin + 3 * view.spacing * rotation[1] @ np.linalg.inv(density.lattice)
    np.testing.assert_allclose(cube_of(density, view, rotation, moved)[:, :-3], cube[:, 3:], atol=1e-5)


def test_a_lattice_vector_changes_nothing():
    density, frame = noise((9, 10, 11)), random_frame()
    for kind in VIEW_KINDS:
        cube = cube_of(density, view_of(kind), *frame)
        np.testing.assert_allclose(
            cube_of(density, view_of(kind), frame[0], frame[1] + np.array([1, -2, 40])), cube, atol=1e-5
        )


def test_cell_view_moves_with_the_origin():
    density, view, (rotation, origin) = noise((9, 10, 11)), view_of("cell"), random_frame()
    cube = cube_of(density, view, rotation, origin)
    moved = cube_of(density, view, rotation, origin + np.array([2, 0, -1]) / view.size)
    np.testing.assert_allclose(moved, np.roll(cube, (-2, 1), axis=(0, 2)), atol=1e-5)


@pytest.mark.parametrize("lattice", LATTICES.values(), ids=LATTICES)
def test_views_of_primitive_cell_and_supercell_are_equal(lattice):
    density, view, (rotation, origin) = noise((6, 7, 8), lattice=lattice), view_of("cartesian"), random_frame()
    supercell = ChargeDensity(
        np.tile(density.values, (2, 2, 2)), 2 * lattice, magnetization=np.tile(spin_of(density), (2, 2, 2))
    )
    np.testing.assert_allclose(
        cube_of(supercell, view, rotation, origin / 2), cube_of(density, view, rotation, origin), atol=1e-5
    )


@pytest.mark.parametrize("lattice", LATTICES.values(), ids=LATTICES)
def test_turning_or_mirroring_crystal_and_frame_together_changes_nothing(lattice):
    # In the cubic cell of 4 Å, waves lie exactly on the edge of what is seen, 2 x 0.25 Å.
    density, view, (rotation, origin) = noise((18, 17, 19), lattice=lattice), view_of("cartesian"), random_frame()
    cube = cube_of(density, view, rotation, origin)
    for seed in range(1, 5):
        turn = random_frame(seed)[0]
        turned = dataclasses.replace(density, lattice=lattice @ turn)
        np.testing.assert_allclose(cube_of(turned, view, rotation @ turn, origin), cube, atol=1e-5)


def test_views_of_left_and_right_handed_descriptions_are_equal():
    density, view, (rotation, origin) = noise((6, 9, 8)), view_of("cartesian"), random_frame()
    swapped = ChargeDensity(
        density.values.transpose(1, 0, 2), SKEWED[[1, 0, 2]], magnetization=spin_of(density).transpose(1, 0, 2)
    )
    assert np.linalg.det(SKEWED) * np.linalg.det(swapped.lattice) < 0
    np.testing.assert_allclose(
        cube_of(swapped, view, rotation, origin[[1, 0, 2]]), cube_of(density, view, rotation, origin), atol=1e-5
    )


def test_up_and_down_are_a_convention():
    density, frame, view = noise((6, 7, 8)), random_frame(), view_of("cartesian", channels=("magnetization",))
    flipped = dataclasses.replace(density, magnetization=-spin_of(density))
    cube = cube_of(density, view, *frame)
    np.testing.assert_allclose(cube_of(flipped, view, *frame), cube, atol=1e-6)
    assert np.sinh(cube).mean() > 0


def test_up_and_down_are_a_convention_in_antiferromagnets_too():
    """The sublattices differ, but their moments cancel; reversing all spins gives the same crystal."""
    density, frame, view = noise((6, 7, 8)), random_frame(), view_of("cartesian", channels=("magnetization",))
    spin = spin_of(density) ** 3
    spin -= spin.mean()
    cube, turned = (
        cube_of(dataclasses.replace(density, magnetization=sign * spin), view, *frame) for sign in (1.0, -1.0)
    )
    np.testing.assert_allclose(turned, cube, atol=1e-6)
    assert np.abs(cube).max() > 0.01


@pytest.mark.parametrize("residue", [-1e-5, 0.0, 1e-5])
def test_residual_moment_of_an_antiferromagnet_does_not_decide_its_direction(residue):
    """Two sublattices that differ only in direction, with the residual moment of a self-consistent calculation."""
    density = noise((6, 8, 8))
    spin = spin_of(density) - np.roll(spin_of(density), 4, axis=1)
    assert is_turned_by_convention(0.0, spin + residue) == is_turned_by_convention(0.0, -spin - residue)
    view, frame = view_of("cell", channels=("magnetization",)), random_frame()
    expected = cube_of(dataclasses.replace(density, magnetization=spin), view, *frame)
    np.testing.assert_allclose(
        cube_of(dataclasses.replace(density, magnetization=spin + residue), view, *frame), expected, atol=1e-3
    )


def test_without_spin_the_magnetization_is_zero():
    density = dataclasses.replace(noise((5, 6, 7)), magnetization=None)
    view = view_of("cartesian")
    cube = cube_of(density, view, *random_frame())
    assert not cube[..., view.channels.index("magnetization")].any()
    assert cube[..., view.channels.index("density")].any()


@pytest.mark.parametrize("chunk", [1, 7, 10**6])
def test_number_of_waves_at_once_does_not_matter(chunk, monkeypatch):
    density, view, frame = noise((4, 3, 5)), view_of("cartesian", size=5), random_frame()
    expected = cube_of(density, view, *frame)
    monkeypatch.setattr(plane_waves, "PLANE_WAVES_AT_ONCE", chunk)
    np.testing.assert_allclose(cube_of(density, view, *frame), expected, atol=1e-5)


def test_random_frames_follow_their_seed_and_are_uniform():
    def frame(number: int) -> Frame:
        return render.random_frame(tf.constant([3, 2 * number], tf.int64), "rotations")

    np.testing.assert_array_equal(frame(5).rotation, frame(5).rotation)
    drawn = [frame(number) for number in range(200)]
    rotations = np.stack([drawn_frame.rotation.numpy() for drawn_frame in drawn])
    np.testing.assert_allclose(
        rotations @ rotations.transpose(0, 2, 1), np.broadcast_to(np.eye(3), (200, 3, 3)), atol=1e-12
    )
    # Of 200 uniform rotations: means of numbers with standard deviation 1/√3, share of mirrored ones near one half.
    assert np.abs(rotations.mean(axis=0)).max() < 4 / np.sqrt(3 * 200)
    assert 0.35 < (np.linalg.det(rotations) < 0).mean() < 0.65
    origins = np.stack([drawn_frame.origin.numpy() for drawn_frame in drawn])
    assert origins.min() >= 0
    assert origins.max() < 1
    np.testing.assert_allclose(origins.mean(axis=0), 0.5, atol=4 / np.sqrt(12 * 200))


def test_cubic_motion_draws_the_48_symmetries_of_the_cube_equally_often():
    def frame(number: int) -> Frame:
        return render.random_frame(tf.constant([3, 2 * number], tf.int64), "cubic")

    drawn = [frame(number).rotation.numpy() for number in range(960)]
    for rotation in drawn:
        np.testing.assert_array_equal(np.sort(np.abs(rotation), axis=1), [[0, 0, 1]] * 3)
        np.testing.assert_array_equal(rotation @ rotation.T, np.eye(3))
    _, counts = np.unique(drawn, axis=0, return_counts=True)
    assert len(counts) == 48
    # Each 20 times on average, with a standard deviation of 4.4.
    assert counts.min() > 3
    assert counts.max() < 42


@pytest.mark.parametrize("motion", MOTIONS)
def test_frames_of_predictions_are_of_the_same_kind_as_in_training(motion):
    drawn = [render.random_frame(tf.constant([3, 2 * k], tf.int64), motion).rotation.numpy() for k in range(6)]
    fixed = render.fixed_frames(view_of("cartesian", motion=motion, views=6)).rotation.numpy()
    for rotations in (np.stack(drawn), fixed):
        are_permutations = np.isin(np.abs(rotations), (0, 1)).all()
        are_identities = (rotations == np.eye(3)).all()
        assert (are_permutations, are_identities) == (motion != "rotations", motion == "shifts")


def test_fixed_frames_are_the_same_rotations_every_time():
    view = view_of("cartesian", views=5)
    first, second = render.fixed_frames(view), render.fixed_frames(view)
    np.testing.assert_array_equal(first.rotation, second.rotation)
    np.testing.assert_array_equal(first.origin, second.origin)
    np.testing.assert_allclose(np.linalg.det(first.rotation.numpy()), np.ones(5))
    density = noise((6, 7, 8))
    cubes = render.render_fixed(spectrum_of(density, view), view).numpy()
    for number, cube in enumerate(cubes):
        expected = cube_of(density, view, first.rotation[number].numpy(), first.origin[number].numpy())
        np.testing.assert_allclose(cube, expected, atol=1e-6)
