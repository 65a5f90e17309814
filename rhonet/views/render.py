"""Views: the network's cubes of fixed size, from densities on any periodic grid.

One implementation serves training, evaluation, prediction and the exported graphs. The density is expanded in plane
waves, ρ(r) = Σ_G c_G exp(iG·r), low-pass filtered, and summed *exactly* at the points of the view. These points form a
regular lattice o + i·s₁ + j·s₂ + k·s₃, so exp(iG·r) factorises into one phase per axis and the sum is a matrix product
for every rotation (`views.plane_waves`). There is no interpolation error, and derivatives are sums of the same kind.

Plane waves that a stored record may lack are dropped. Therefore the result does not depend on how fine the grid was, as
long as its spacing is at most `view.finest`. The points of a cartesian view may be farther apart than that: they sample
the sharp field at some places, and random origins and several views sample the others. The network learns better from
such samples than from a field that is blurred to the distance of the points.
"""

from __future__ import annotations

import itertools
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from rhonet.core.config import ViewConfig
from rhonet.core.density import LEAST_MOMENT, LEAST_SKEWNESS
from rhonet.views.channels import COMPONENTS, channel_values, field_waves, fields_of
from rhonet.views.plane_waves import analyse, cell_volume, inverse, sum_on_lattice, without_autograph

# Relative margin at the highest frequency of a view. Lattices come in float32, and their rounding must not decide
# whether a wave at this frequency counts.
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
    """The plane waves of one density that a view contains. Half of them are enough, as the fields are real.

    Attributes:
        millers: (G, 3) float64, indices of G along the reciprocal axes.
        coefficients: (1 or 2, 2, G) float32, real and imaginary part, of ρ (e/Å³) and, with spin, of the magnetization
            (µB/Å³). They are filtered and weighted so that a field is Re Σ c exp(2πi h·f) over the half that is kept.
        lattice: (3, 3) float64, rows a, b, c, Å.
    """

    millers: tf.Tensor
    coefficients: tf.Tensor
    lattice: tf.Tensor


class Frame(NamedTuple):
    """Orientation and origin of a view.

    Attributes:
        rotation: (3, 3), rows are the axes of the cube.
        origin: (3,), fractional coordinates of the first point.
    """

    rotation: tf.Tensor
    origin: tf.Tensor


@without_autograph
def spectrum(values: tf.Tensor, magnetization: tf.Tensor, lattice: tf.Tensor, view: ViewConfig) -> Spectrum:
    """Filtered plane waves of a density.

    Which spin is "up" is a convention: the magnetization changes its sign where
    `rhonet.core.density.is_turned_by_convention` says so.

    Args:
        values: ρ, (nx, ny, nz), e/Å³; any nx, ny and nz.
        magnetization: (nx, ny, nz), µB/Å³, or (0, 0, 0) without spin.
        lattice: (3, 3), Å.
        view: kind, size, `finest` and softness of the view.
    """
    lattice = tf.cast(lattice, tf.float64)
    shape = tf.shape(values)
    reach = _reach(lattice, view)
    axes = [_axis_millers(shape[axis], reach[axis], half=axis == 2) for axis in range(3)]
    spin = tf.reshape(magnetization, tf.concat([[-1], shape], axis=0))
    coefficients = analyse(tf.cast(tf.concat([values[None], spin], axis=0), tf.float32), axes)
    millers = tf.reshape(tf.stack(tf.meshgrid(*axes, indexing="ij"), axis=-1), (-1, 3))
    frequency, is_stored = _relative_frequency(tf.cast(millers, tf.float64), lattice, view)
    stored = tf.where(is_stored)[:, 0]
    millers = tf.gather(millers, stored)
    damping = tf.exp(-0.5 * (math.pi * view.softness * tf.gather(frequency, stored)) ** 2)
    # The half with h_c > 0 stands for both signs of G; the plane h_c = 0 holds both already.
    weight = tf.where(millers[:, 2] > 0, 2.0, 1.0) * tf.cast(damping, tf.float32)
    coefficients = tf.gather(tf.reshape(coefficients, (-1, 2, tf.size(is_stored))), stored, axis=2)
    is_zero = tf.reduce_all(tf.equal(millers, 0), axis=1)
    mean = tf.reduce_sum(tf.where(is_zero, coefficients[1:, 0], 0.0))
    moment = tf.cast(mean, tf.float64) * cell_volume(lattice)
    cubed = tf.cast(magnetization, tf.float32) ** 3
    is_skewed = tf.reduce_sum(cubed) < -LEAST_SKEWNESS * tf.reduce_sum(tf.abs(cubed))
    is_down = (moment < -LEAST_MOMENT) | ((moment <= LEAST_MOMENT) & is_skewed)
    spin_waves = tf.where(is_down, -1.0, 1.0) * coefficients[1:]
    return Spectrum(tf.cast(millers, tf.float64), tf.concat([coefficients[:1], spin_waves], axis=0) * weight, lattice)


@without_autograph
def render(waves: Spectrum, frame: Frame, view: ViewConfig) -> tf.Tensor:
    """The network's cube (size, size, size, channels), float32, dimensionless.

    `views.channels` describes the channels.

    Args:
        waves: plane waves of the density, from `spectrum` for the same view.
        frame: orientation and origin; a cell or paper view has no orientation.
        view: kind, size, spacing and channels of the view.
    """
    to_fractional = inverse(waves.lattice)
    if view.kind == "cartesian":
        steps = tf.matmul(tf.cast(frame.rotation, tf.float64) * view.spacing, to_fractional)
    else:
        steps = tf.eye(3, dtype=tf.float64) / view.size
    g = tf.cast(2 * math.pi * tf.matmul(to_fractional, waves.millers, transpose_b=True), tf.float32)
    # `names` ends with the magnetization. Without spin it has no plane waves and is filled up with zeros.
    names = fields_of(view.fields)
    coefficients = tf.concat([field_waves(name, waves.coefficients, g) for name in names], axis=0)
    fields = sum_on_lattice(
        waves.millers, coefficients, steps, origin=tf.cast(frame.origin, tf.float64), size=view.size
    )
    components = [COMPONENTS[name] for name, _ in names]
    missing = tf.zeros((sum(components) - tf.shape(fields)[0], *fields.shape[1:]))
    values = tf.split(tf.concat([fields, missing], axis=0), components)
    by_name = dict(zip(names, values, strict=True))
    return tf.stack([channel_values(channel, by_name, view) for channel in view.fields], axis=-1)


@without_autograph
def random_frame(seed: tf.Tensor, motion: str) -> Frame:
    """Random frame: a uniform origin and an orientation; equal seeds give equal frames.

    Args:
        seed: (2,) integers.
        motion: "rotations" (any rotation, half of them mirrored), "cubic" (a symmetry of the cube) or "shifts" (the
            identity).
    """
    uniform = tf.random.stateless_uniform((4,), seed + 1, dtype=tf.float64)
    if motion == "shifts":
        return Frame(tf.eye(3, dtype=tf.float64), uniform[:3])
    if motion == "cubic":
        row = tf.cast(uniform[3] * len(CUBIC), tf.int32)
        return Frame(tf.gather(tf.constant(CUBIC), row), uniform[:3])
    quaternion = tf.random.stateless_normal((4,), seed, dtype=tf.float64)
    sign = tf.where(uniform[3] < 0.5, tf.constant(-1.0, tf.float64), 1.0)
    return Frame(sign * _rotation(quaternion), uniform[:3])


def fixed_frames(view: ViewConfig) -> Frame:
    """The frames that every prediction is averaged over, stacked: rotations (views, 3, 3) and origins (views, 3)."""
    rng = np.random.default_rng(20251015)
    if view.motion == "rotations":
        rotations = tf.stack([_rotation(tf.constant(rng.normal(size=4))) for _ in range(view.views)])
    else:
        symmetries = CUBIC if view.motion == "cubic" else CUBIC[:1]
        rotations = tf.constant(symmetries[rng.integers(len(symmetries), size=view.views)])
    return Frame(rotations, tf.constant(rng.random((view.views, 3))))


@without_autograph
def render_fixed(waves: Spectrum, view: ViewConfig) -> tf.Tensor:
    """The cubes that a prediction is averaged over, (views, size, size, size, channels)."""
    cube = tf.TensorSpec((view.size,) * 3 + (len(view.fields),), tf.float32)
    return tf.map_fn(
        lambda frame: render(waves, Frame(*frame), view), tuple(fixed_frames(view)), fn_output_signature=cube
    )


def _reach(lattice: tf.Tensor, view: ViewConfig) -> tf.Tensor:
    """Largest Miller index along each axis that the view contains, (3,)."""
    edges = tf.norm(lattice, axis=1) * (1 + EDGE)
    if view.kind == "cartesian":
        return edges / (2 * view.finest)
    return tf.minimum(edges / (2 * view.finest), (view.size - 1) // 2)


def _relative_frequency(millers: tf.Tensor, lattice: tf.Tensor, view: ViewConfig) -> tuple[tf.Tensor, tf.Tensor]:
    """Frequency of each wave, as a multiple of the view's highest one, (G,); and whether |G| < π/finest."""
    waves_per_angstrom = tf.norm(tf.matmul(millers, inverse(lattice), transpose_b=True), axis=1)
    is_stored = waves_per_angstrom * 2 * view.finest < 1 - EDGE
    if view.kind == "cartesian":
        return waves_per_angstrom * 2 * view.finest, is_stored
    return tf.reduce_max(tf.abs(millers), axis=1) * 2 / view.size, is_stored


def _axis_millers(points: tf.Tensor, reach: tf.Tensor, *, half: bool) -> tf.Tensor:
    """Miller indices along one axis, up to `reach` and below the grid's Nyquist frequency; with `half` from 0 on."""
    largest = tf.minimum((points - 1) // 2, tf.cast(tf.floor(reach), tf.int32))
    return tf.range(0 if half else -largest, largest + 1)


def _rotation(quaternion: tf.Tensor) -> tf.Tensor:
    """Rotation matrix (3, 3) of a quaternion (4,), which need not be normalised."""
    w, x, y, z = tf.unstack(quaternion / tf.norm(quaternion))
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return tf.stack([tf.stack(row) for row in rows])
