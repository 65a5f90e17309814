"""Peaks of a density: its maxima, each with a fingerprint of what surrounds it.

Around an atom the density hardly knows the neighbours: oxygen has nearly the same peak in every oxide, as long as
the same pseudopotential made it, and nearly no other element has. So a peak like none of those trained on gives away
a new element, another pseudisation, a wrong unit or lattice, blur, noise and spikes. No network is involved: what
it never learned to tell apart it would not find strange.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from rhonet.uncertainty.training_peaks import WIDTHS
from rhonet.views.plane_waves import inverse, phases, synthesise, without_autograph
from rhonet.views.render import Spectrum

# The fingerprint's densities are on the scale asinh(ρ/ρ0): logarithmic above 0.1 e/Å³, finite for any field.
DENSITY_SCALE = 0.1
# Maxima are those of the density smoothed so far, Å, which has one for an atom and none for a ripple.
SEARCH_WIDTH = 0.25
# On a grid of at most this spacing, Å, among the five points along each axis.
SEARCH_SPACING = 0.15
REACH = 2
# By which part of the largest value they rise above the points so far away. Where the density vanishes, float32 makes
# ripples of up to 3e-6; the flattest maximum of the bundled crystals rises by 8e-4.
LEAST_RISE = 1e-5
# Of a larger cell the strongest count.
MOST_PEAKS = 128
# Symmetry repeats peaks; those that differ by less (2 % of a density) are one.
SAME = 0.02


@without_autograph
def find_peaks(waves: Spectrum) -> tf.Tensor:
    """Fingerprints of the distinct maxima of a density, strongest first, (peaks, widths), at least one.

    A fingerprint holds asinh(ρ/ρ0) at the maximum, with ρ smoothed by Gaussians of `WIDTHS`. Both do not depend on
    origin, orientation or choice of the cell. No gradient flows through them: which places are maxima does not
    change smoothly.

    Args:
        waves: of any view; what it cannot see does not count.
    """
    millers = tf.cast(waves.millers, tf.int32)
    reach = tf.reduce_max(tf.abs(millers), axis=0)
    axes = [tf.range(0 if axis == 2 else -reach[axis], reach[axis] + 1) for axis in range(3)]
    first = tf.stack([axis[0] for axis in axes])
    box = tf.concat([*(tf.size(axis)[None] for axis in axes), [2]], axis=0)
    density = tf.transpose(tf.scatter_nd(millers - first, tf.transpose(waves.coefficients[0]), box), (3, 0, 1, 2))
    all_millers = tf.cast(tf.stack(tf.meshgrid(*axes, indexing="ij"), axis=-1), tf.float64)
    waves_per_angstrom = tf.matmul(tf.reshape(all_millers, (-1, 3)), inverse(waves.lattice), transpose_b=True)
    g_squared = tf.cast((2 * math.pi) ** 2 * tf.reduce_sum(waves_per_angstrom**2, axis=1), tf.float32)
    g_squared = tf.reshape(g_squared, box[:3])
    places = _maxima(density * _blur(g_squared, SEARCH_WIDTH), axes, waves.lattice)
    blurred = tf.stack([density * _blur(g_squared, width) for width in WIDTHS])
    return tf.stop_gradient(_distinct(tf.asinh(_values_at(places, blurred, axes) / DENSITY_SCALE)))


def _blur(g_squared: tf.Tensor, width: float) -> tf.Tensor:
    return tf.exp(-0.5 * width**2 * g_squared)


def _values_at(places: tf.Tensor, waves: tf.Tensor, axes: list[tf.Tensor]) -> tf.Tensor:
    """Fields at fractional places (peaks, 3), float64: (peaks, fields).

    Args:
        waves: (fields, 2, P, Q, R).
        axes: their Miller indices along each axis, (P,), (Q,) and (R,).
    """
    fields, peaks = tf.shape(waves)[0], tf.shape(places)[0]
    x, y, z = (tf.cast(axis, tf.float64) for axis in axes)
    cos, sin = phases(places[:, 2] * z[:, None])
    rotation = tf.concat([tf.concat([cos, sin], axis=1), tf.concat([-sin, cos], axis=1)], axis=0)
    rows = tf.reshape(tf.transpose(waves, (0, 2, 3, 1, 4)), (-1, 2 * tf.size(z)))
    columns = tf.reshape(tf.matmul(rows, rotation), (fields, -1, 2, peaks))
    cos, sin = phases(x[:, None, None] * places[:, 0] + y[:, None] * places[:, 1])
    cos, sin = (tf.reshape(part, (-1, peaks)) for part in (cos, sin))
    return tf.transpose(tf.reduce_sum(columns[:, :, 0] * cos - columns[:, :, 1] * sin, axis=1))


def _maxima(waves: tf.Tensor, axes: list[tf.Tensor], lattice: tf.Tensor) -> tf.Tensor:
    """Places of the maxima of the field of plane waves (2, P, Q, R), (peaks, 3) fractional float64, strongest first.

    Each is refined by the parabola through its neighbours along every axis: on the grid alone a sharp peak would seem
    lower the farther it lies from a point.
    """
    points = tf.cast(tf.math.ceil(tf.norm(lattice, axis=1) / SEARCH_SPACING), tf.int32)
    points = tf.maximum(points, [2 * axis[-1] + 1 for axis in axes])
    field = synthesise(waves[None], axes, points)[0]
    highest = field
    for axis in range(3):
        at = tf.range(points[axis])[:, None] + np.arange(-REACH, REACH + 1)
        highest = tf.reduce_max(tf.gather(highest, tf.math.floormod(at, points[axis]), axis=axis), axis=axis + 1)
    found = tf.cast(tf.where(tf.equal(field, highest)), tf.int32)
    found = tf.boolean_mask(found, _rises(field, found, points))
    heights = tf.gather_nd(field, found)
    heights, strongest = tf.math.top_k(heights, tf.minimum(tf.size(heights), MOST_PEAKS))
    found = tf.gather(found, strongest)
    steps = []
    for after, before in _along_axes(field, found, points, 1):
        bend = tf.maximum(2 * heights - after - before, 0)
        steps.append(tf.clip_by_value(0.5 * tf.math.divide_no_nan(after - before, bend), -0.5, 0.5))
    return (tf.cast(found, tf.float64) + tf.cast(tf.stack(steps, axis=1), tf.float64)) / tf.cast(points, tf.float64)


def _rises(field: tf.Tensor, found: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Which of the points found, (peaks, 3), are no rounding of the field (nx, ny, nz); its largest value never is."""
    heights = tf.gather_nd(field, found)
    around = tf.stack([value for pair in _along_axes(field, found, points, REACH) for value in pair])
    rise = heights - tf.reduce_min(around, axis=0)
    is_largest = tf.equal(heights, tf.reduce_max(heights))
    return (rise > LEAST_RISE * tf.reduce_max(tf.abs(field))) | is_largest


def _along_axes(
    field: tf.Tensor, found: tf.Tensor, points: tf.Tensor, distance: int
) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Values of a periodic field so many points after and before the points found, (peaks,) each, per axis."""
    return [
        (
            tf.gather_nd(field, tf.math.floormod(found + distance * step, points)),
            tf.gather_nd(field, tf.math.floormod(found - distance * step, points)),
        )
        for step in tf.unstack(tf.eye(3, dtype=tf.int32))
    ]


def _distinct(peaks: tf.Tensor) -> tf.Tensor:
    """Those unlike all before them."""
    apart = tf.reduce_max(tf.abs(peaks[:, None] - peaks[None]), axis=-1)
    is_earlier = tf.range(tf.shape(peaks)[0])[None] < tf.range(tf.shape(peaks)[0])[:, None]
    return tf.boolean_mask(peaks, ~tf.reduce_any(is_earlier & (apart < SAME), axis=1))
