"""Sites of a density: its maxima, each with a fingerprint of what surrounds it.

Around an atom the density hardly knows the neighbours: oxygen has nearly the same peak in every oxide, as long as
the same pseudopotential made it, and nearly no other element has. So a peak like none of those trained on gives away
a new element, another pseudisation, a wrong unit or lattice, blur, noise and spikes. No network is involved: what
it never learned to tell apart it would not find strange.
"""

from __future__ import annotations

import math

import tensorflow as tf

from rhonet.surroundings import WIDTHS
from rhonet.views import Spectrum, as_written

# The fingerprint's densities are on the scale asinh(ρ/ρ0): logarithmic above 0.1 e/Å³, finite for any field.
DENSITY_SCALE = 0.1
# Maxima are those of the density smoothed so far, Å, which has one for an atom and none for a ripple.
SEARCH_WIDTH = 0.25
# On a grid of at most this spacing, Å, among the five points along each axis.
SEARCH_SPACING = 0.15
REACH = 2
# Of a larger cell the strongest count.
MOST_SITES = 128
# Symmetry repeats sites; those that differ by less (2 % of a density) are one.
SAME = 0.02


@as_written
def find_sites(waves: Spectrum) -> tf.Tensor:
    """Fingerprints of the distinct maxima of a density, strongest first, (sites, widths), at least one.

    A fingerprint holds asinh(ρ/ρ0) at the maximum, with ρ smoothed by Gaussians of `WIDTHS`. Both do not depend on
    origin, orientation or choice of the cell. No gradient flows through them: which places are maxima does not
    change smoothly.

    Args:
        waves: of any view; what it cannot see does not count.
    """
    millers = tf.cast(waves.millers, tf.int32)
    waves_per_angstrom = tf.matmul(waves.millers, tf.linalg.inv(waves.lattice), transpose_b=True)
    g_squared = tf.cast((2 * math.pi) ** 2 * tf.reduce_sum(waves_per_angstrom**2, axis=1), tf.float32)
    density = waves.coefficients[0]
    places = _maxima(millers, density * _blur(g_squared, SEARCH_WIDTH), waves.lattice)
    blurred = tf.stack([density * _blur(g_squared, width) for width in WIDTHS], axis=1)

    def values_at(place: tf.Tensor) -> tf.Tensor:
        turns = tf.linalg.matvec(waves.millers, place)
        angle = tf.cast((turns - tf.floor(turns)) * (2 * math.pi), tf.float32)
        phases = tf.complex(tf.cos(angle), tf.sin(angle))
        return tf.math.real(tf.reduce_sum(blurred * phases[:, None], axis=0))

    values = tf.map_fn(values_at, places, fn_output_signature=tf.TensorSpec((len(WIDTHS),), tf.float32))
    return tf.stop_gradient(_distinct(tf.asinh(values / DENSITY_SCALE)))


def _blur(g_squared: tf.Tensor, width: float) -> tf.Tensor:
    return tf.cast(tf.exp(-0.5 * width**2 * g_squared), tf.complex64)


def _maxima(millers: tf.Tensor, coefficients: tf.Tensor, lattice: tf.Tensor) -> tf.Tensor:
    """Places of the maxima of Re Σ c exp(2πi h·f), (sites, 3) fractional float64, strongest first.

    Each is refined by the parabola through its neighbours along every axis: on the grid alone a sharp peak would seem
    lower the farther it lies from a point.
    """
    points = tf.cast(tf.math.ceil(tf.norm(lattice, axis=1) / SEARCH_SPACING), tf.int32)
    points = tf.maximum(points, 2 * tf.reduce_max(tf.abs(millers), axis=0) + 1)
    field = _on_grid(millers, coefficients, points)
    highest = field
    for axis in range(3):
        shifted = [tf.roll(highest, step, axis) for step in range(-REACH, REACH + 1)]
        highest = tf.reduce_max(tf.stack(shifted), axis=0)
    found = tf.cast(tf.where(tf.equal(field, highest)), tf.int32)
    heights = tf.gather_nd(field, found)
    heights, strongest = tf.math.top_k(heights, tf.minimum(tf.size(heights), MOST_SITES))
    found = tf.gather(found, strongest)
    steps = []
    for step in tf.unstack(tf.eye(3, dtype=tf.int32)):
        after, before = (tf.gather_nd(field, tf.math.floormod(found + sign * step, points)) for sign in (1, -1))
        bend = tf.maximum(2 * heights - after - before, 0)
        steps.append(tf.clip_by_value(0.5 * tf.math.divide_no_nan(after - before, bend), -0.5, 0.5))
    return (tf.cast(found, tf.float64) + tf.cast(tf.stack(steps, axis=1), tf.float64)) / tf.cast(points, tf.float64)


def _on_grid(millers: tf.Tensor, coefficients: tf.Tensor, points: tf.Tensor) -> tf.Tensor:
    """The field that these plane waves make up on a grid that holds them all, float32."""
    # A spectrum counts waves with h_c > 0 twice, for those with h_c < 0, which the transform adds itself.
    halves = tf.where(millers[:, 2] > 0, 0.5, 1.0) * tf.cast(tf.reduce_prod(points), tf.float32)
    half_grid = tf.concat([points[:2], points[2:] // 2 + 1], axis=0)
    index = tf.math.floormod(millers, points)
    spectrum = tf.scatter_nd(index, coefficients * tf.cast(halves, tf.complex64), half_grid)
    return tf.signal.irfft3d(spectrum, fft_length=points)


def _distinct(sites: tf.Tensor) -> tf.Tensor:
    """Those unlike all before them."""
    apart = tf.reduce_max(tf.abs(sites[:, None] - sites[None]), axis=-1)
    is_earlier = tf.range(tf.shape(sites)[0])[None] < tf.range(tf.shape(sites)[0])[:, None]
    return tf.boolean_mask(sites, ~tf.reduce_any(is_earlier & (apart < SAME), axis=1))
