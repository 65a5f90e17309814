"""MSA-3DCNN: a multi-scale attention 3D CNN after arXiv:2510.13207.

The paper names the ingredients (several receptive fields in parallel, attention, one output per property)
but neither sizes nor code; every number here is our choice, made for speed on CPUs too: no normalisation
or convolution at full resolution, matrix products over patches where the grid is halved. Beside the convolutions,
a second branch reads the distribution of the channels' values over the whole cube
(`rhonet.models.value_distribution`): from few hundred crystals that is learned far better than what convolutions find
(docs/results/models.md).
"""

from __future__ import annotations

from typing import Any

from keras import layers

from rhonet.models.layers import AttentionPooling3D, Patches3D, ResidualScale, convolve
from rhonet.models.sizes import DROPOUT, NETWORK_SIZES
from rhonet.models.value_distribution import FittedScale, encode_values


def encode(cube: Any, size: str, *, periodic: bool) -> Any:
    """Features (B, 2·trunk) of a cube (B, n, n, n, channels); n divisible by 2 for each stage.

    Convolutions: each stage halves the grid by learned 2 x 2 x 2 patches, then applies its multi-scale blocks. The
    other half of the features comes from the distribution of values.
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
    """Residual block: receptive fields of 1, 3, 5 and a pooled 6 points, fused, then two attentions."""
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
    """Weights (B, 1, 1, 1, C) in (0, 1) from the whole cube (squeeze and excitation, arXiv:1709.01507)."""
    summary = layers.GlobalAveragePooling3D(keepdims=True)(x)
    summary = layers.Dense(max(channels // 4, 4), activation="relu")(summary)
    return layers.Dense(channels, activation="sigmoid")(summary)


def spatial_attention(x: Any) -> Any:
    """Weights (B, n, n, n, 1) in (0, 1), a learned map."""
    return layers.Dense(1, activation="sigmoid")(x)
