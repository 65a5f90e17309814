"""Views: how a density on any periodic grid becomes the network's cube of fixed size.

One implementation serves training, evaluation, prediction and the exported graphs. The density is taken to
its plane waves, ρ(r) = Σ_G c_G exp(iG·r), low-pass filtered there, and summed *exactly* at the view's
points. These form a regular lattice o + i·s₁ + j·s₂ + k·s₃, so exp(iG·r) factorises into one phase per
axis and the sum is a matrix product, whatever the rotation (`views.plane_waves`): there is no interpolation error,
and derivatives come for free. Plane waves that a stored record need not hold are dropped, so the result does not
depend on how fine the grid was, as long as its spacing is at most `view.finest`. The points of a cartesian view
may lie farther apart than that: they sample the sharp field here and there, and random origins and several views
see the rest, which serves the network better than a field blurred to the distance of the points.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rhonet.core.config import ViewConfig
from rhonet.core.density import LEAST_MOMENT, LEAST_SKEWNESS
from rhonet.views.channels import COMPONENTS, field_waves, fields_of, show
from rhonet.views.plane_waves import analyse, as_written, cell_volume, inverse, sum_on_lattice

# Lattices come in float32: a wave on the edge of what is seen must not come and go with their rounding.
EDGE = 1e-5

# The symmetries of the cube, the identity first: permutations of the axes with any signs, (48, 3, 3).
CUBIC = np.array(
    [
        np.diag(signs)[list(order)]
        for order in itertools.permutations(range(3))
        for signs in itertools.product((1.0, -1.0), repeat=3)
    ]
)


class Spectrum(NamedTuple):
    """The plane waves of one density that a view can see; half of them, as the fields are real.

    millers: (G, 3) float64, indices of G along the reciprocal axes.
    coefficients: (1 or 2, 2, G) float32, real and imaginary, of ρ (e/Å³) and, with spin, of the magnetization
        (µB/Å³); filtered and weighted so that a field is Re Σ c exp(2πi h·f) over the half that is kept.
    lattice: (3, 3) float64, rows a, b, c, Å.
    """

    millers: tf.Tensor
    coefficients: tf.Tensor
    lattice: tf.Tensor


class Frame(NamedTuple):
    """Where a view looks from: rotation (3, 3), rows are the cube's axes; origin (3,), fractional."""

    rotation: tf.Tensor
    origin: tf.Tensor


@as_written
def spectrum(values: tf.Tensor, magnetization: tf.Tensor, lattice: tf.Tensor, view: ViewConfig) -> Spectrum:
    """Filtered plane waves of a density.

    Up and down are a convention: the magnetization is flipped by `rhonet.core.density.is_turned_by_convention`.

    Args:
        values: ρ, (nx, ny, nz), e/Å³, any shape.
        magnetization: (nx, ny, nz), µB/Å³, or (0, 0, 0) without spin.
        lattice: (3, 3), Å.
        view: kind, size, edge and softness of the view.
    """
    lattice = tf.cast(lattice, tf.float64)
    shape = tf.shape(values)
    reach = _reach(lattice, view)
    axes = [_axis_millers(shape[axis], reach[axis], half=axis == 2) for axis in range(3)]
    spin = tf.reshape(magnetization, tf.concat([[-1], shape], axis=0))
    coefficients = analyse(tf.cast(tf.concat([values[None], spin], axis=0), tf.float32), axes)
    millers = tf.reshape(tf.stack(tf.meshgrid(*axes, indexing="ij"), axis=-1), (-1, 3))
    frequency, is_stored = _relative_frequency(tf.cast(millers, tf.float64), lattice, view)
    seen = tf.where(is_stored)[:, 0]
    millers = tf.gather(millers, seen)
    damping = tf.exp(-0.5 * (math.pi * view.softness * tf.gather(frequency, seen)) ** 2)
    # The half with h_c > 0 stands for both signs of G; the plane h_c = 0 holds both already.
    weight = tf.where(millers[:, 2] > 0, 2.0, 1.0) * tf.cast(damping, tf.float32)
    coefficients = tf.gather(tf.reshape(coefficients, (-1, 2, tf.size(is_stored))), seen, axis=2)
    at_zero = tf.reduce_all(tf.equal(millers, 0), axis=1)
    mean = tf.reduce_sum(tf.where(at_zero, coefficients[1:, 0], 0.0))
    moment = tf.cast(mean, tf.float64) * cell_volume(lattice)
    cubes = tf.cast(magnetization, tf.float32) ** 3
    is_skewed = tf.reduce_sum(cubes) < -LEAST_SKEWNESS * tf.reduce_sum(tf.abs(cubes))
    is_down = (moment < -LEAST_MOMENT) | ((moment <= LEAST_MOMENT) & is_skewed)
    up = tf.where(is_down, -1.0, 1.0) * coefficients[1:]
    return Spectrum(tf.cast(millers, tf.float64), tf.concat([coefficients[:1], up], axis=0) * weight, lattice)


@as_written
def render(waves: Spectrum, frame: Frame, view: ViewConfig) -> tf.Tensor:
    """The network's cube (size, size, size, channels), float32, dimensionless; its channels: `views.channels`."""
    to_fractional = inverse(waves.lattice)
    if view.kind == "cartesian":
        steps = tf.matmul(tf.cast(frame.rotation, tf.float64) * view.spacing, to_fractional)
    else:
        steps = tf.eye(3, dtype=tf.float64) / view.size
    g = tf.cast(2 * math.pi * tf.matmul(to_fractional, waves.millers, transpose_b=True), tf.float32)
    # What is zero without spin comes last, where it need not be summed.
    names = fields_of(view.fields)
    coefficients = tf.concat([field_waves(name, waves.coefficients, g) for name in names], axis=0)
    fields = sum_on_lattice(
        waves.millers, coefficients, steps, origin=tf.cast(frame.origin, tf.float64), size=view.size
    )
    components = [COMPONENTS[name] for name, _ in names]
    missing = tf.zeros((sum(components) - tf.shape(fields)[0], *fields.shape[1:]))
    split = tf.split(tf.concat([fields, missing], axis=0), components)
    by_name = dict(zip(names, split, strict=True))
    return tf.stack([show(channel, by_name, view) for channel in view.fields], axis=-1)


@as_written
def random_frame(seed: tf.Tensor, motion: str) -> Frame:
    """Random origin and, as the motion says, orientation; the same for the same seed, (2,) integers."""
    chance = tf.random.stateless_uniform((4,), seed + 1, dtype=tf.float64)
    if motion == "shifts":
        return Frame(tf.eye(3, dtype=tf.float64), chance[:3])
    if motion == "cubic":
        which = tf.cast(chance[3] * len(CUBIC), tf.int32)
        return Frame(tf.gather(tf.constant(CUBIC), which), chance[:3])
    numbers = tf.random.stateless_normal((4,), seed, dtype=tf.float64)
    sign = tf.where(chance[3] < 0.5, tf.constant(-1.0, tf.float64), 1.0)
    return Frame(sign * _rotation(numbers), chance[:3])


def fixed_frames(view: ViewConfig) -> Frame:
    """The frames that every prediction is averaged over, stacked: rotations (views, 3, 3), origins (views, 3)."""
    rng = np.random.default_rng(20251015)
    if view.motion == "rotations":
        rotations = tf.stack([_rotation(tf.constant(rng.normal(size=4))) for _ in range(view.views)])
    else:
        choice = CUBIC if view.motion == "cubic" else CUBIC[:1]
        rotations = tf.constant(choice[rng.integers(len(choice), size=view.views)])
    return Frame(rotations, tf.constant(rng.random((view.views, 3))))


@as_written
def render_fixed(waves: Spectrum, view: ViewConfig) -> tf.Tensor:
    """The cubes that a prediction is averaged over, (views, size, size, size, channels)."""
    cube = tf.TensorSpec((view.size,) * 3 + (len(view.fields),), tf.float32)
    return tf.map_fn(
        lambda frame: render(waves, Frame(*frame), view), tuple(fixed_frames(view)), fn_output_signature=cube
    )


def _reach(lattice: tf.Tensor, view: ViewConfig) -> tf.Tensor:
    """Largest Miller index along each axis that the view can see, (3,)."""
    edges = tf.norm(lattice, axis=1) * (1 + EDGE)
    if view.kind == "cartesian":
        return edges / (2 * view.finest)
    return tf.minimum(edges / (2 * view.finest), (view.size - 1) // 2)


def _relative_frequency(millers: tf.Tensor, lattice: tf.Tensor, view: ViewConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """|G| in units of the highest frequency that the view sees, (G,); and whether |G| < π/finest."""
    waves_per_angstrom = tf.norm(tf.matmul(millers, inverse(lattice), transpose_b=True), axis=1)
    is_stored = waves_per_angstrom * 2 * view.finest < 1 - EDGE
    if view.kind == "cartesian":
        return waves_per_angstrom * 2 * view.finest, is_stored
    return tf.reduce_max(tf.abs(millers), axis=1) * 2 / view.size, is_stored


def _axis_millers(points: tf.Tensor, reach: tf.Tensor, *, half: bool) -> tf.Tensor:
    """Miller indices along one axis below the grid's own Nyquist frequency; for `half` those >= 0."""
    most = tf.minimum((points - 1) // 2, tf.cast(tf.floor(reach), tf.int32))
    return tf.range(0 if half else -most, most + 1)


def _rotation(quaternion: tf.Tensor) -> tf.Tensor:
    """Rotation matrix (3, 3) of a quaternion (4,), not necessarily normalised."""
    w, x, y, z = tf.unstack(quaternion / tf.norm(quaternion))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return tf.stack([tf.stack(row) for row in rows])
