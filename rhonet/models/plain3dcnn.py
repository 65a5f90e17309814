"""A plain 3D CNN in the manner of Zhao et al. (arXiv:2003.13425): the baseline architecture."""

from __future__ import annotations

from typing import Any

from keras import layers

from rhonet.models.layers import convolve
from rhonet.models.sizes import NETWORK_SIZES


def encode(cube: Any, size: str, *, periodic: bool) -> Any:
    """Features (B, trunk) of a cube, by convolutions that alternate with pooling.

    Args:
        cube: (B, n, n, n, channels).
        size: name in `NETWORK_SIZES`.
        periodic: the cube repeats at its borders.
    """
    x = cube
    first, *rest = NETWORK_SIZES[size].plain_channels
    x = convolve(x, first, periodic=periodic)
    for channels in rest:
        x = layers.AveragePooling3D(2, padding="same")(x)
        x = convolve(x, channels, periodic=periodic)
    pooled = layers.LayerNormalization()(layers.GlobalAveragePooling3D()(x))
    return layers.Dense(NETWORK_SIZES[size].trunk, activation="relu")(pooled)
