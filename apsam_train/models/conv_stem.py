"""A convolutional stem in place of SAM's single 16 x 16 patch projection.

For presets without pretrained weights. Two strided 3 x 3 convolutions see edges from the first
step; then each 4 x 4 group of their pixels is stacked into one token, so that a token still knows
where inside its 16 x 16 model pixels an edge lies. The mask decoder unfolds exactly such groups.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from apsam_train.models.channel_norm import ChannelNorm

_STACKED = 4
"""Side of the pixel group that becomes one token: two strides of 2, then 4, make SAM's 16."""


class ConvStem(nn.Module):
    """float32 [B, 3, S, S] -> [B, S/16, S/16, width] (channels last, as SAM's PatchEmbed)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        channels = width // 8
        self.layers = nn.Sequential(
            nn.Conv2d(3, channels, kernel_size=3, stride=2, padding=1),
            ChannelNorm(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, kernel_size=3, stride=2, padding=1),
            ChannelNorm(channels),
            nn.GELU(),
            nn.Conv2d(channels, channels, kernel_size=3, padding=1),
            ChannelNorm(channels),
            nn.GELU(),
            nn.PixelUnshuffle(_STACKED),
            nn.Conv2d(channels * _STACKED**2, width, kernel_size=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last))
        return features.permute(0, 2, 3, 1)
