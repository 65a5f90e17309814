"""The sizes of the networks: one table of all their widths."""

from __future__ import annotations

from dataclasses import dataclass

# Share of the features that a training step drops.
DROPOUT = 0.1


@dataclass(frozen=True)
class NetworkSize:
    """Widths of the networks of one `model.size`.

    Attributes:
        trunk: features of the shared trunk.
        stage_channels: channels of each stage of msa3dcnn; every stage first halves the grid.
        stage_blocks: multi-scale blocks of each of these stages.
        plain_channels: channels of each convolution of plain3dcnn.
    """

    trunk: int
    stage_channels: tuple[int, ...]
    stage_blocks: tuple[int, ...]
    plain_channels: tuple[int, ...]


NETWORK_SIZES = {
    "tiny": NetworkSize(trunk=64, stage_channels=(8, 16), stage_blocks=(1, 1), plain_channels=(8, 16, 32)),
    "base": NetworkSize(trunk=192, stage_channels=(16, 32), stage_blocks=(1, 1), plain_channels=(32, 64, 128)),
    "large": NetworkSize(
        trunk=384, stage_channels=(64, 128, 256), stage_blocks=(2, 3, 2), plain_channels=(64, 128, 256)
    ),
}
