"""A plain 3D CNN in the manner of Zhao et al. (arXiv:2003.13425): the baseline architecture."""

from __future__ import annotations

from typing import Any

from keras import layers

from rhonet.models.layers import TRUNK_WIDTHS, PeriodicPadding3D

CHANNELS = {"tiny": (8, 16, 32), "base": (32, 64, 128), "large": (64, 128, 256)}


def encode(cube: Any, size: str, *, periodic: bool) -> Any:
    """Features (B, trunk) of a cube (B, n, n, n, channels): convolution and pooling, three times."""
    x = cube
    first, *rest = CHANNELS[size]
    x = _convolve(x, first, periodic=periodic)
    for channels in rest:
        x = layers.AveragePooling3D(2, padding="same")(x)
        x = _convolve(x, channels, periodic=periodic)
    pooled = layers.LayerNormalization()(layers.GlobalAveragePooling3D()(x))
    return layers.Dense(TRUNK_WIDTHS[size], activation="relu")(pooled)


def _convolve(x: Any, channels: int, *, periodic: bool) -> Any:
    if periodic:
        return layers.Conv3D(channels, 3, activation="relu")(PeriodicPadding3D(1)(x))
    return layers.Conv3D(channels, 3, padding="same", activation="relu")(x)
