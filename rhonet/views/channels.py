"""Channels of a view: functions of the density, its derivatives and the magnetization at each point.

- A density becomes asinh(ρ/ρ0), which keeps the sign of the small negative values of pseudo-densities.
- A magnetization becomes (m0/ρ0) asinh(m/m0). This is nearly linear, since the integral of m is the moment.
- A gradient becomes asinh(|∇ρ|·Å/ρ0), a Laplacian asinh(-∇²ρ·0.1 Å²/ρ0). Where the density is blurred by a Gaussian of
  width σ, its derivatives are taken in units of σ instead: σ|∇ρ| and -σ²∇²ρ.
- The dimensionless derivatives of density functionals, s = |∇ρ| / (2 (3π²)^⅓ ρ^(4/3)) and
  q = ∇²ρ / (4 (3π²)^⅔ ρ^(5/3)), become asinh(s) and asinh(-q), with ρ no smaller than `view.density_threshold`.

All channels are scalars that do not change when the crystal is rotated. So derivatives reach the network without its
having to learn how vectors rotate.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import tensorflow as tf

from rhonet.core.config import ViewConfig

# A channel of the cube, or a field: its name, and the blur of the density in Å.
Field = tuple[str, float]

# The fields that each channel is computed from.
CHANNEL_FIELDS = {
    "density": ("density",),
    "gradient": ("slopes",),
    "laplacian": ("curvature",),
    "reduced_gradient": ("density", "slopes"),
    "reduced_laplacian": ("density", "curvature"),
    "magnetization": ("magnetization",),
}
# The number of components of each field. "slopes" is ∇ρ, "curvature" is -∇²ρ.
COMPONENTS = {"density": 1, "slopes": 3, "curvature": 1, "magnetization": 1}

# Å²; -∇²ρ times this area is about as large as ρ.
LAPLACIAN_AREA = 0.1

# 2 k_F = FERMI ρ^⅓.
FERMI = 2 * (3 * math.pi**2) ** (1 / 3)


def fields_of(channels: Sequence[Field]) -> list[Field]:
    """The fields that channels are computed from, each once, the magnetization last."""
    fields = dict.fromkeys((part, blur) for name, blur in channels for part in CHANNEL_FIELDS[name])
    return sorted(fields, key=lambda field: field[0] == "magnetization")


def field_waves(field: Field, coefficients: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
    """Plane waves of a field: ρ in e/Å³, ∇ρ in e/Å⁴, -∇²ρ in e/Å⁵ or the magnetization in µB/Å³.

    Args:
        field: name of the field, and the blur of the density in Å.
        coefficients: (2, 2, G) plane waves of density and magnetization, or (1, 2, G) without spin.
        g: wave vectors, (3, G), 1/Å.

    Returns:
        (components, 2, G); (0, 2, G) for the magnetization of a crystal without spin.
    """
    name, blur = field
    density, magnetization = coefficients[:1], coefficients[1:]
    if name == "magnetization":
        return magnetization
    squared = tf.reduce_sum(g**2, axis=0)
    if blur:
        density *= tf.exp(-0.5 * blur**2 * squared)
    if name == "slopes":
        return g[:, None] * tf.stack([-density[:, 1], density[:, 0]], axis=1)
    return squared * density if name == "curvature" else density


def channel_values(channel: Field, fields: Mapping[Field, tf.Tensor], view: ViewConfig) -> tf.Tensor:
    """Values of a channel at the points of a view, (n, n, n), dimensionless.

    Args:
        channel: name of the channel, and the blur of the density in Å.
        fields: values (components, n, n, n) of all fields that the channel is computed from.
        view: scales of density and magnetization, and the density threshold.
    """
    (name, blur), scale, threshold = channel, view.density_scale, view.density_threshold
    parts = [fields[part, blur] for part in CHANNEL_FIELDS[name]]
    if name == "gradient":
        return tf.asinh((blur or 1.0) * tf.norm(parts[0], axis=0) / scale)
    if name == "laplacian":
        return tf.asinh((blur**2 or LAPLACIAN_AREA) * parts[0][0] / scale)
    if name == "reduced_gradient":
        return tf.asinh(tf.norm(parts[1], axis=0) / (FERMI * tf.maximum(parts[0][0], threshold) ** (4 / 3)))
    if name == "reduced_laplacian":
        return tf.asinh(parts[1][0] / (FERMI**2 * tf.maximum(parts[0][0], threshold) ** (5 / 3)))
    if name == "magnetization":
        return view.magnetization_scale / scale * tf.asinh(parts[0][0] / view.magnetization_scale)
    return tf.asinh(parts[0][0] / scale)
