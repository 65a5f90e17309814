"""Channels of a view: functions of the density at a point, of the fields that they are made of.

Densities enter as asinh(ρ/ρ0), which keeps the sign of the small negative values of pseudo-densities; magnetizations as
(m0/ρ0) asinh(m/m0), nearly linear, as their integral is the moment; gradients as asinh(|∇ρ|·Å/ρ0), Laplacians as
asinh(-∇²ρ·0.1 Å²/ρ0). Of a density blurred by a Gaussian of width σ, the derivatives are taken in units of σ instead
(σ|∇ρ|, -σ²∇²ρ). The dimensionless derivatives of density functionals, s = |∇ρ| / (2 (3π²)^⅓ ρ^(4/3)) and
q = ∇²ρ / (4 (3π²)^⅔ ρ^(5/3)), enter as asinh(s) and asinh(-q), with ρ no smaller than `view.density_threshold`. None of
them turns with the crystal: they tell the network about directions without its having to learn rotations.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import tensorflow as tf

from rhonet.core.config import ViewConfig

# A channel of the cube, and the fields that it is made of: a name and the blur of the density in Å.
Field = tuple[str, float]

# What each channel is made of; the fields' numbers of components.
MADE_OF = {
    "density": ("density",),
    "gradient": ("slopes",),
    "laplacian": ("curvature",),
    "reduced_gradient": ("density", "slopes"),
    "reduced_laplacian": ("density", "curvature"),
    "magnetization": ("magnetization",),
}
COMPONENTS = {"density": 1, "slopes": 3, "curvature": 1, "magnetization": 1}

# Brings -∇²ρ to the size of ρ, Å².
LAPLACIAN_AREA = 0.1

# 2 k_F = FERMI ρ^⅓.
FERMI = 2 * (3 * math.pi**2) ** (1 / 3)


def fields_of(channels: Sequence[Field]) -> list[Field]:
    """The fields that channels are made of, each once, the magnetization last."""
    fields = dict.fromkeys((part, blur) for name, blur in channels for part in MADE_OF[name])
    return sorted(fields, key=lambda field: field[0] == "magnetization")


def field_waves(field: Field, coefficients: tf.Tensor, g: tf.Tensor) -> tf.Tensor:
    """Plane waves of a field: ρ in e/Å³, ∇ρ in e/Å⁴, -∇²ρ in e/Å⁵ or the magnetization in µB/Å³.

    Args:
        coefficients: of density and magnetization, (1 or 2, 2, G).
        g: wave vectors, (3, G), 1/Å.

    Returns:
        (components, 2, G), for a magnetization that there is not (0, 2, G).
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


def show(channel: Field, fields: Mapping[Field, tf.Tensor], view: ViewConfig) -> tf.Tensor:
    """The channel (n, n, n), dimensionless, of fields (components, n, n, n)."""
    (name, blur), scale, threshold = channel, view.density_scale, view.density_threshold
    parts = [fields[part, blur] for part in MADE_OF[name]]
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
