"""Views: how a density on any periodic grid becomes the network's cube of fixed size.

One implementation serves training, evaluation, prediction and the exported graph. The density is taken to
its plane waves, ρ(r) = Σ_G c_G exp(iG·r), low-pass filtered there, and summed *exactly* at the view's
points. These form a regular lattice o + i·s₁ + j·s₂ + k·s₃, so exp(iG·r) factorises into one phase per
axis and the sum is a single matrix product, whatever the rotation: there is no interpolation error, and
derivatives come for free. Plane waves that a stored record need not hold are dropped, so the result does not
depend on how fine the grid was, as long as its spacing is at most `view.finest`. The points of a cartesian view
may lie farther apart than that: they sample the sharp field here and there, and random origins and several views
see the rest, which serves the network better than a field blurred to the distance of the points.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rhonet.config import ViewConfig
from rhonet.density import LEAST_MOMENT

PLANE_WAVES_AT_ONCE = 2048

# What is here is written in graph operations; AutoGraph would take seconds to find nothing to convert.
as_written = tf.autograph.experimental.do_not_convert

# Lattices come in float32: a wave on the edge of what is seen must not come and go with their rounding.
EDGE = 1e-5

# Brings -∇²ρ to the size of ρ, Å².
LAPLACIAN_AREA = 0.1


class Spectrum(NamedTuple):
    """The plane waves of one density that a view can see; half of them, as the fields are real.

    millers: (G, 3) float64, indices of G along the reciprocal axes.
    coefficients: (2, G) complex64, of ρ (e/Å³) and of the magnetization (µB/Å³); filtered and weighted so
        that a field is Re Σ c exp(2πi h·f) over the half that is kept.
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

    The magnetization is flipped where its integral is negative (below -0.01 µB): up and down are a convention.

    Args:
        values: ρ, (nx, ny, nz), e/Å³, any shape.
        magnetization: (nx, ny, nz), µB/Å³, or (0, 0, 0) without spin.
        lattice: (3, 3), Å.
        view: kind, size, edge and softness of the view.
    """
    lattice = tf.cast(lattice, tf.float64)
    shape = tf.shape(values)
    reach = _reach(lattice, view)
    grids = [_axis_millers(shape[axis], reach[axis], half=axis == 2) for axis in range(3)]
    millers = tf.reshape(tf.stack(tf.meshgrid(*grids, indexing="ij"), axis=-1), (-1, 3))
    frequency, is_stored = _relative_frequency(tf.cast(millers, tf.float64), lattice, view)
    seen = tf.where(is_stored)[:, 0]
    millers = tf.gather(millers, seen)
    damping = tf.exp(-0.5 * (math.pi * view.softness * tf.gather(frequency, seen)) ** 2)
    # The half with h_c > 0 stands for both signs of G; the plane h_c = 0 holds both already.
    weight = tf.where(millers[:, 2] > 0, 2.0, 1.0) * tf.cast(damping, tf.float32)
    index = tf.math.floormod(millers, shape)
    density = _plane_waves(values, index)
    spin = tf.cond(tf.size(magnetization) > 0, lambda: _plane_waves(magnetization, index), lambda: density * 0)
    at_zero = tf.reduce_all(millers == 0, axis=1)
    mean = tf.reduce_sum(tf.where(at_zero, tf.math.real(spin), 0.0))
    total_moment = tf.cast(mean, tf.float64) * tf.abs(tf.linalg.det(lattice))
    spin = tf.where(total_moment < -LEAST_MOMENT, -spin, spin)
    coefficients = tf.stack([density, spin]) * tf.cast(weight, tf.complex64)
    return Spectrum(tf.cast(millers, tf.float64), coefficients, lattice)


@as_written
def render(waves: Spectrum, frame: Frame, view: ViewConfig) -> tf.Tensor:
    """The network's cube (size, size, size, channels), float32, dimensionless.

    Densities enter as asinh(ρ/ρ0) and magnetizations as asinh(m/ρ0), which keeps the sign of the small
    negative values of pseudo-densities; gradients as asinh(|∇ρ|·Å/ρ0), Laplacians as asinh(-∇²ρ·0.1 Å²/ρ0). Of a
    density blurred by a Gaussian of width σ, the derivatives are taken in units of σ instead (σ|∇ρ|, -σ²∇²ρ). Length
    of the gradient and Laplacian do not turn with the crystal: they tell the network about directions without its
    having to learn rotations.
    """
    inverse = tf.linalg.inv(waves.lattice)
    if view.kind == "cartesian":
        steps = tf.matmul(tf.cast(frame.rotation, tf.float64) * view.spacing, inverse)
    else:
        steps = tf.eye(3, dtype=tf.float64) / view.size
    waves_per_angstrom = tf.matmul(waves.millers, inverse, transpose_b=True)
    coefficients = [_field_waves(name, blur, waves.coefficients, waves_per_angstrom) for name, blur in view.fields]
    fields = _sum_plane_waves(waves.millers, tf.concat(coefficients, axis=0), steps, frame.origin, view.size)
    # One field per channel, but three for the gradient, of which the length counts.
    split = tf.split(fields, [3 if name == "gradient" else 1 for name, _ in view.fields])
    split = zip(view.fields, split, strict=True)
    cube = tf.stack([tf.norm(field, axis=0) if name == "gradient" else field[0] for (name, _), field in split], axis=-1)
    return tf.asinh(cube / view.density_scale)


def _field_waves(name: str, blur: float, coefficients: tf.Tensor, waves_per_angstrom: tf.Tensor) -> tf.Tensor:
    """Plane waves of the fields that a channel is made of, (1 or 3, G), all of the size of a density in e/Å³."""
    density, magnetization = coefficients[:1], coefficients[1:]
    if name == "magnetization":
        return magnetization
    g = 2 * math.pi * waves_per_angstrom
    squared = tf.reduce_sum(g**2, axis=1)
    if blur:
        density *= tf.cast(tf.exp(-0.5 * blur**2 * squared), tf.complex64)
    if name == "density":
        return density
    if name == "gradient":
        return tf.cast((blur or 1.0) * tf.transpose(g), tf.complex64) * tf.complex(0.0, 1.0) * density
    return tf.cast((blur**2 or LAPLACIAN_AREA) * squared, tf.complex64) * density


@as_written
def random_frame(seed: tf.Tensor) -> Frame:
    """Uniformly random rotation or rotoinversion and origin; the same for the same seed, (2,) integers."""
    numbers = tf.random.stateless_normal((4,), seed, dtype=tf.float64)
    chance = tf.random.stateless_uniform((4,), seed + 1, dtype=tf.float64)
    sign = tf.where(chance[3] < 0.5, tf.constant(-1.0, tf.float64), 1.0)
    return Frame(sign * _rotation(numbers), chance[:3])


def fixed_frames(view: ViewConfig) -> Frame:
    """The frames that every prediction is averaged over, stacked: rotations (views, 3, 3), origins (views, 3)."""
    rng = np.random.default_rng(20251015)
    rotations = [_rotation(tf.constant(rng.normal(size=4))) for _ in range(view.views)]
    return Frame(tf.stack(rotations), tf.constant(rng.random((view.views, 3))))


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
    waves_per_angstrom = tf.norm(tf.matmul(millers, tf.linalg.inv(lattice), transpose_b=True), axis=1)
    is_stored = waves_per_angstrom * 2 * view.finest < 1 - EDGE
    if view.kind == "cartesian":
        return waves_per_angstrom * 2 * view.finest, is_stored
    return tf.reduce_max(tf.abs(millers), axis=1) * 2 / view.size, is_stored


def _axis_millers(points: tf.Tensor, reach: tf.Tensor, *, half: bool) -> tf.Tensor:
    """Miller indices along one axis below the grid's own Nyquist frequency; for `half` those >= 0."""
    most = tf.minimum((points - 1) // 2, tf.cast(tf.floor(reach), tf.int32))
    return tf.range(0 if half else -most, most + 1)


def _plane_waves(values: tf.Tensor, index: tf.Tensor) -> tf.Tensor:
    """Fourier coefficients of a real field at the given places of its half-spectrum, (G,) complex64."""
    values = tf.cast(values, tf.float32)
    return tf.gather_nd(tf.signal.rfft3d(values), index) / tf.cast(tf.size(values), tf.complex64)


def _sum_plane_waves(
    millers: tf.Tensor, coefficients: tf.Tensor, steps: tf.Tensor, origin: tf.Tensor, size: int
) -> tf.Tensor:
    """Re Σ c exp(2πi h·f) at f = origin + i·steps[0] + j·steps[1] + k·steps[2], (fields, size, size, size)."""
    count = tf.shape(millers)[0]
    fields = coefficients.shape[0]
    assert fields is not None
    points = tf.range(size, dtype=tf.float64)

    def phases(turns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # Reduced to one turn in float64: far from the origin float32 would lose the phase.
        angle = tf.cast((turns - tf.floor(turns)) * (2 * math.pi), tf.float32)
        return tf.cos(angle), tf.sin(angle)

    def add(start: tf.Tensor, total: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        stop = tf.minimum(start + PLANE_WAVES_AT_ONCE, count)
        h = millers[start:stop]
        turns = tf.matmul(steps, h, transpose_b=True)[:, None, :] * points[:, None]
        at_origin = tf.linalg.matvec(h, tf.cast(origin, tf.float64))
        left = coefficients[:, None, start:stop] * tf.complex(*phases(turns[0] + at_origin))
        left = tf.concat([tf.math.real(left), -tf.math.imag(left)], axis=-1)
        (cy, sy), (cz, sz) = phases(turns[1][:, None]), phases(turns[2][None, :])
        right = tf.concat([cy * cz - sy * sz, sy * cz + cy * sz], axis=-1)
        flat = tf.matmul(tf.reshape(left, (fields * size, -1)), tf.reshape(right, (size * size, -1)), transpose_b=True)
        return stop, total + tf.reshape(flat, (fields, size, size, size))

    start, total = tf.constant(0), tf.zeros((fields, size, size, size))
    _, total = tf.while_loop(lambda start, total: start < count, add, (start, total), parallel_iterations=1)
    return total


def _rotation(quaternion: tf.Tensor) -> tf.Tensor:
    """Rotation matrix (3, 3) of a quaternion (4,), not necessarily normalised."""
    w, x, y, z = tf.unstack(quaternion / tf.norm(quaternion))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return tf.stack([tf.stack(row) for row in rows])
