"""Sums over plane waves in real arithmetic: matrix products with cosines and sines.

ONNX graphs have neither complex numbers nor Fourier transforms of arbitrary length. A view needs only a few of the
plane waves of a grid, so matrix products with the phases of these waves cost no more than a fast Fourier transform.

A complex number is a pair (real, imaginary) along an axis of length 2. A real field is Re Σ c exp(2πi h·f) over half of
the Miller indices h, at fractional coordinates f.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

PLANE_WAVES_AT_ONCE = 2048

# These functions contain graph operations only. AutoGraph would search them for Python control flow, for seconds.
without_autograph = tf.autograph.experimental.do_not_convert


def phases(turns: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cosine and sine in float32 of angles in turns, float64.

    The angles are reduced to [-1/2, 1/2] turns in float64: far from the origin, float32 would lose the phase.
    """
    angle = tf.cast(turns - tf.round(turns), tf.float32) * (2 * math.pi)
    return tf.cos(angle), tf.sin(angle)


@without_autograph
def analyse(fields: tf.Tensor, axes: Sequence[tf.Tensor]) -> tf.Tensor:
    """Fourier coefficients of real fields, (fields, 2, P, Q, R).

    Args:
        fields: (fields, nx, ny, nz), float32.
        axes: wanted Miller indices along each axis, (P,), (Q,) and (R,), int32.
    """
    nx, ny, nz = tf.unstack(tf.shape(fields)[1:])
    p, q, r = (tf.size(axis) for axis in axes)
    cos, sin = _phases_on_grid(axes[2], nz)
    waves = tf.matmul(tf.reshape(fields, (-1, nz)), tf.concat([cos, -sin], axis=0), transpose_b=True)
    waves = tf.transpose(tf.reshape(waves, (-1, ny, 2, r)), (0, 2, 1, 3))
    cos, sin = _phases_on_grid(axes[1], ny)
    waves = tf.matmul(_complex_matrix(cos, -sin), tf.reshape(waves, (-1, 2 * ny, r)))
    waves = tf.transpose(tf.reshape(waves, (-1, nx, 2, q * r)), (0, 2, 1, 3))
    cos, sin = _phases_on_grid(axes[0], nx)
    waves = tf.matmul(_complex_matrix(cos, -sin), tf.reshape(waves, (-1, 2 * nx, q * r)))
    return tf.reshape(waves, (-1, 2, p, q, r)) / tf.cast(nx * ny * nz, tf.float32)


@without_autograph
def synthesise(waves: tf.Tensor, axes: Sequence[tf.Tensor], points: tf.Tensor) -> tf.Tensor:
    """Real fields on a grid from their plane waves, (fields, nx, ny, nz), float32.

    Args:
        waves: coefficients, (fields, 2, P, Q, R).
        axes: Miller indices along each axis, (P,), (Q,) and (R,), int32.
        points: shape nx, ny, nz of the grid, (3,).
    """
    nx, ny, nz = tf.unstack(points)
    p, q, r = (tf.size(axis) for axis in axes)
    cos, sin = (tf.transpose(part) for part in _phases_on_grid(axes[0], nx))
    fields = tf.matmul(_complex_matrix(cos, sin), tf.reshape(waves, (-1, 2 * p, q * r)))
    fields = tf.transpose(tf.reshape(fields, (-1, 2, nx, q * r)), (0, 2, 1, 3))
    cos, sin = (tf.transpose(part) for part in _phases_on_grid(axes[1], ny))
    fields = tf.matmul(_complex_matrix(cos, sin), tf.reshape(fields, (-1, 2 * q, r)))
    fields = tf.transpose(tf.reshape(fields, (-1, 2, ny, r)), (0, 2, 1, 3))
    cos, sin = _phases_on_grid(axes[2], nz)
    fields = tf.matmul(tf.reshape(fields, (-1, 2 * r)), tf.concat([cos, -sin], axis=0))
    return tf.reshape(fields, (-1, nx, ny, nz))


@without_autograph
def sum_on_lattice(
    millers: tf.Tensor, coefficients: tf.Tensor, steps: tf.Tensor, *, origin: tf.Tensor, size: int
) -> tf.Tensor:
    """Re Σ c exp(2πi h·f) at f = origin + i·steps[0] + j·steps[1] + k·steps[2], (fields, size, size, size).

    The points lie symmetrically about the centre of the cube. So the phases are computed for the upper half of each
    axis only, and terms with a cosine and terms with a sine are summed separately: at the mirrored point a cosine has
    the same value and a sine the opposite one. That takes half of the multiplications and a quarter of the phases.

    Args:
        millers: Miller indices, (G, 3), float64.
        coefficients: plane waves, (fields, 2, G), float32.
        steps: steps along the axes of the cube, (3, 3), fractional, float64.
        origin: first point, (3,), fractional, float64.
        size: number of points along each axis.
    """
    count, fields = tf.shape(millers)[0], tf.shape(coefficients)[0]
    half = (size + 1) // 2
    centre = origin + (size - 1) / 2 * tf.reduce_sum(steps, axis=0)
    offsets = tf.constant(np.arange(half)[:, None] + (0.0 if size % 2 else 0.5))

    def add_waves(start: tf.Tensor, same_parity: tf.Tensor, mixed_parity: tf.Tensor) -> tuple[tf.Tensor, ...]:
        stop = tf.minimum(start + PLANE_WAVES_AT_ONCE, count)
        h = millers[start:stop]
        cos, sin = phases(tf.matmul(centre[None], h, transpose_b=True))
        a, b = coefficients[:, 0, start:stop], coefficients[:, 1, start:stop]
        a, b = a * cos - b * sin, a * sin + b * cos
        cos, sin = phases(tf.matmul(steps, h, transpose_b=True)[:, None] * offsets)
        x = tf.stack([cos[0], sin[0]])
        # The axis of the waves comes first: products with a transposed matrix take 1.5 times as long.
        yz = tf.transpose(tf.stack([cos[1], sin[1], cos[2], -sin[2], sin[2], cos[2]]), (2, 0, 1))
        y, z_same, z_mixed = yz[:, :2], yz[:, 2:4], yz[:, 4:]

        def product(left: list[tf.Tensor], z: tf.Tensor) -> tf.Tensor:
            """Sums (fields · (cos, sin) along x · half, (cos, sin) along y · half · half)."""
            rows = tf.reshape(tf.stack(left, axis=1)[:, :, None] * x, (fields * 2 * half, -1))
            return tf.matmul(rows, tf.reshape(y[:, :, :, None] * z[:, :, None], (-1, 2 * half * half)))

        # Re c exp(i(x + y + z)) by the addition theorems.
        return stop, same_parity + product([a, -b], z_same), mixed_parity + product([-b, -a], z_mixed)

    zeros = tf.zeros((fields * 2 * half, 2 * half * half))
    _, same_parity, mixed_parity = tf.while_loop(
        lambda start, *_: start < count, add_waves, (tf.constant(0), zeros, zeros), parallel_iterations=1
    )
    # Same parity: cosines along both y and z, or sines along both. Mixed parity: a cosine along one, a sine along the
    # other.
    same_parity, mixed_parity = (
        tf.reshape(part, (fields, 2, half, 2, half, half)) for part in (same_parity, mixed_parity)
    )
    cosines = tf.stack([same_parity[:, :, :, 0], mixed_parity[:, :, :, 1]], axis=3)
    sines = tf.stack([mixed_parity[:, :, :, 0], same_parity[:, :, :, 1]], axis=3)
    along_z = _unfold(cosines, sines, size, axis=5)
    along_y = _unfold(along_z[:, :, :, 0], along_z[:, :, :, 1], size, axis=3)
    return _unfold(along_y[:, 0], along_y[:, 1], size, axis=1)


def inverse(lattice: tf.Tensor) -> tf.Tensor:
    """Inverse (3, 3) of a lattice (3, 3)."""
    faces = _faces(lattice)
    return tf.transpose(faces) / tf.reduce_sum(lattice[0] * faces[0])


def cell_volume(lattice: tf.Tensor) -> tf.Tensor:
    """Volume of the cell of a lattice (3, 3); positive for a left-handed lattice, too."""
    return tf.abs(tf.reduce_sum(lattice[0] * _faces(lattice)[0]))


def _faces(lattice: tf.Tensor) -> tf.Tensor:
    """Cross products b × c, c × a and a × b, (3, 3)."""
    after, last = ([1, 2, 0], [2, 0, 1])
    first, second = tf.gather(lattice, after, axis=0), tf.gather(lattice, last, axis=0)
    return tf.gather(first, after, axis=1) * tf.gather(second, last, axis=1) - tf.gather(
        first, last, axis=1
    ) * tf.gather(second, after, axis=1)


def _phases_on_grid(millers: tf.Tensor, points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Cosines and sines of 2π h x/n for the indices h and the points x = 0 ... n-1 of an axis, (h, n)."""
    product = millers[:, None] * tf.range(points)[None]
    turns = tf.cast(tf.math.floormod(product, points), tf.float64) / tf.cast(points, tf.float64)
    # In float64: these are few numbers, and they must not add to the rounding of the sums.
    angle = 2 * math.pi * turns
    return tf.cast(tf.cos(angle), tf.float32), tf.cast(tf.sin(angle), tf.float32)


def _complex_matrix(real: tf.Tensor, imaginary: tf.Tensor) -> tf.Tensor:
    """Matrix (2m, 2n) that multiplies stacked real and imaginary parts (2n,) by a complex matrix (m, n)."""
    return tf.concat([tf.concat([real, -imaginary], axis=1), tf.concat([imaginary, real], axis=1)], axis=0)


def _unfold(even: tf.Tensor, odd: tf.Tensor, size: int, *, axis: int) -> tf.Tensor:
    """Sums at all points of an axis, from those of cosines (even) and of sines (odd) on its upper half."""
    offsets = np.arange(size) - (size - 1) / 2
    mirrored = np.abs(offsets).astype(np.int32)
    signs = np.sign(offsets).astype(np.float32).reshape((-1,) + (1,) * (even.shape.rank - 1 - axis))
    return tf.gather(even, mirrored, axis=axis) + signs * tf.gather(odd, mirrored, axis=axis)
