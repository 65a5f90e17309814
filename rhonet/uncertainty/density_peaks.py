"""Density peaks: the maxima of a density, each with a fingerprint of the density around it.

The density near an atom hardly depends on the neighbouring atoms. With the same pseudopotential, oxygen has nearly the
same peak in every oxide, and hardly any other element has a peak like it. So a peak that is unlike all peaks of the
training crystals reveals a new element, another pseudopotential, a wrong unit or lattice, blur, noise or spikes. The
fingerprints do not come from a network, which would map inputs that it never learned to distinguish to the same
features.
"""

from __future__ import annotations

import math

import numpy as np
import tensorflow as tf

from rhonet.uncertainty.training_peaks import WIDTHS
from rhonet.views.plane_waves import inverse, phases, synthesise, without_autograph
from rhonet.views.render import Spectrum

# ρ0 of the fingerprints' asinh(ρ/ρ0), e/Å³: logarithmic above, finite for any field.
DENSITY_SCALE = 0.1
# Width of the Gaussian, Å, that smooths the density for the search: an atom keeps one maximum, a ripple none.
SEARCH_WIDTH = 0.25
# Largest spacing of the search grid, Å.
SEARCH_SPACING = 0.15
# A maximum is the highest of the points up to this many steps away along each axis.
REACH = 2
# Least rise of a maximum above the points REACH steps away, as a share of the largest density. Where the density
# vanishes, rounding in float32 makes ripples of up to 3e-6; real maxima rise by 8e-4 or more.
LEAST_RISE = 1e-5
# If a cell has more peaks, the strongest count.
MAX_PEAKS = 128
# Symmetry repeats peaks: fingerprints that differ by less (2 % of a density) are the same peak.
SAME_PEAK = 0.02


@without_autograph
def find_peaks(waves: Spectrum) -> tf.Tensor:
    """Fingerprints of the distinct maxima of a density, strongest first, (peaks, widths); there is at least one.

    A fingerprint contains asinh(ρ/ρ0) at the maximum, with ρ smoothed by Gaussians of `WIDTHS`. Maxima and fingerprints
    do not depend on origin, orientation or choice of the cell. They have no gradient, since the set of maxima does not
    change smoothly.

    Args:
        waves: plane waves of the density, from a view of any kind.
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
    """Values of fields at some points, (peaks, fields).

    Args:
        places: fractional coordinates of the points, (peaks, 3), float64.
        waves: plane waves of the fields, (fields, 2, P, Q, R).
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
    """Fractional coordinates of the maxima of a field, (peaks, 3) float64, strongest first.

    A parabola through a maximum and its neighbours along each axis refines its position. On the grid alone, a sharp
    peak would appear lower, the farther it is from a grid point.

    Args:
        waves: plane waves of the field, (2, P, Q, R).
        axes: their Miller indices along each axis, (P,), (Q,) and (R,).
        lattice: (3, 3), Å.
    """
    points = tf.cast(tf.math.ceil(tf.norm(lattice, axis=1) / SEARCH_SPACING), tf.int32)
    points = tf.maximum(points, [2 * axis[-1] + 1 for axis in axes])
    field = synthesise(waves[None], axes, points)[0]
    highest = field
    for axis in range(3):
        near = tf.range(points[axis])[:, None] + np.arange(-REACH, REACH + 1)
        highest = tf.reduce_max(tf.gather(highest, tf.math.floormod(near, points[axis]), axis=axis), axis=axis + 1)
    peaks = tf.cast(tf.where(tf.equal(field, highest)), tf.int32)
    peaks = tf.boolean_mask(peaks, _rises(field, peaks, points))
    heights = tf.gather_nd(field, peaks)
    heights, strongest = tf.math.top_k(heights, tf.minimum(tf.size(heights), MAX_PEAKS))
    peaks = tf.gather(peaks, strongest)
    steps = []
    for after, before in _along_axes(field, peaks, points, 1):
        curvature = tf.maximum(2 * heights - after - before, 0)
        steps.append(tf.clip_by_value(0.5 * tf.math.divide_no_nan(after - before, curvature), -0.5, 0.5))
    return (tf.cast(peaks, tf.float64) + tf.cast(tf.stack(steps, axis=1), tf.float64)) / tf.cast(points, tf.float64)


def _rises(field: tf.Tensor, peaks: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """Which of the grid points `peaks` (peaks, 3) rise clearly above their surroundings; the largest always does."""
    heights = tf.gather_nd(field, peaks)
    around = tf.stack([value for pair in _along_axes(field, peaks, points, REACH) for value in pair])
    rise = heights - tf.reduce_min(around, axis=0)
    is_largest = tf.equal(heights, tf.reduce_max(heights))
    return (rise > LEAST_RISE * tf.reduce_max(tf.abs(field))) | is_largest


def _along_axes(
    field: tf.Tensor, peaks: tf.Tensor, points: tf.Tensor, distance: int
) -> list[tuple[tf.Tensor, tf.Tensor]]:
    """Values of a periodic field `distance` steps after and before each peak, (peaks,) each, for every axis."""
    return [
        (
            tf.gather_nd(field, tf.math.floormod(peaks + distance * step, points)),
            tf.gather_nd(field, tf.math.floormod(peaks - distance * step, points)),
        )
        for step in tf.unstack(tf.eye(3, dtype=tf.int32))
    ]


def _distinct(peaks: tf.Tensor) -> tf.Tensor:
    """The fingerprints that differ from all those before them."""
    difference = tf.reduce_max(tf.abs(peaks[:, None] - peaks[None]), axis=-1)
    is_earlier = tf.range(tf.shape(peaks)[0])[None] < tf.range(tf.shape(peaks)[0])[:, None]
    return tf.boolean_mask(peaks, ~tf.reduce_any(is_earlier & (difference < SAME_PEAK), axis=1))
