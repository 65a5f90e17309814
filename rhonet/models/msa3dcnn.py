"""MSA-3DCNN: a multi-scale attention 3D CNN after arXiv:2510.13207.

The paper names the ingredients (several receptive fields in parallel, attention, one output per property) but gives
neither sizes nor code. Every number here is our choice, made to be fast on CPUs, too: there is no normalisation or
convolution at full resolution, and the grid is halved by matrix products over patches. Beside the convolutions, a
second branch reads the distribution of the channels' values over the whole cube (`rhonet.models.value_distribution`).
A training set of a few hundred crystals teaches that branch far more than it teaches the convolutions
(docs/results/models.md).
"""

from __future__ import annotations

from typing import Any

from keras import layers

from rhonet.models.layers import AttentionPooling3D, Patches3D, ResidualScale, convolve
from rhonet.models.sizes import DROPOUT, NETWORK_SIZES
from rhonet.models.value_distribution import FittedScale, encode_values


def encode(cube: Any, size: str, *, periodic: bool) -> Any:
    """Features (B, 2·trunk) of a cube: one half from convolutions, the other from the distribution of values.

    Each stage of the convolutions halves the grid by learned 2 x 2 x 2 patches, then applies its multi-scale blocks.

    Args:
        cube: (B, n, n, n, channels).
        size: name in `NETWORK_SIZES`.
        periodic: the cube repeats at its borders.

    Raises:
        ValueError: n cannot be halved once per stage.
    """
    shape = NETWORK_SIZES[size]
    x = scaled = FittedScale(name="channel_scale")(cube)
    for channels, blocks in zip(shape.stage_channels, shape.stage_blocks, strict=True):
        x = layers.Dense(channels)(Patches3D(2)(x))
        for _ in range(blocks):
            x = multi_scale_block(x, channels, periodic=periodic)
    x = layers.RMSNormalization()(x)
    pooled = [
        layers.GlobalAveragePooling3D()(x),
        layers.GlobalMaxPooling3D()(x),
        AttentionPooling3D(heads=2)(x),
    ]
    structure = layers.Dropout(DROPOUT)(layers.Concatenate()(pooled))
    structure = layers.Dropout(DROPOUT)(layers.Dense(shape.trunk, activation="gelu")(structure))
    return layers.Concatenate()([structure, encode_values(scaled, shape.trunk)])


def multi_scale_block(x: Any, channels: int, *, periodic: bool) -> Any:
    """Residual block (B, n, n, n, channels): four receptive fields in parallel, fused, then weighted by attention.

    The receptive fields have 1, 3 and 5 points per edge, and 6 points after pooling; the last is left out for odd n.

    Args:
        x: input, (B, n, n, n, channels).
        channels: number of channels of input and output.
        periodic: the cube repeats at its borders.
    """
    width = channels // 2
    narrow = layers.Dense(width, activation="relu")(layers.RMSNormalization()(x))
    three = convolve(narrow, width, periodic=periodic)
    five = convolve(three, width, periodic=periodic)
    branches = [narrow, three, five]
    if x.shape[1] % 2 == 0:
        wide = convolve(layers.AveragePooling3D(2)(narrow), width, periodic=periodic)
        branches.append(layers.UpSampling3D(2)(wide))
    fused = layers.Dense(channels)(layers.Concatenate()(branches))
    attended = layers.Multiply()([fused, channel_attention(fused, channels), spatial_attention(fused)])
    return ResidualScale()([x, attended])


def channel_attention(x: Any, channels: int) -> Any:
    """Weights (B, 1, 1, 1, C) of the channels in (0, 1), by squeeze and excitation (arXiv:1709.01507)."""
    summary = layers.GlobalAveragePooling3D(keepdims=True)(x)
    summary = layers.Dense(max(channels // 4, 4), activation="relu")(summary)
    return layers.Dense(channels, activation="sigmoid")(summary)


def spatial_attention(x: Any) -> Any:
    """Weights (B, n, n, n, 1) of the points in (0, 1), each from the channels of its point."""
    return layers.Dense(1, activation="sigmoid")(x)
