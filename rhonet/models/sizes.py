"""What all networks share, by size: the width of the trunk, and how much is left out in training."""

from __future__ import annotations

TRUNK_WIDTHS = {"tiny": 64, "base": 192, "large": 384}
DROPOUT = 0.1
