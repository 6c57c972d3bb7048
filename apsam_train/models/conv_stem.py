"""Four strided convolutions in place of SAM's single 16 x 16 patch projection.

For presets without pretrained weights: small strided convolutions see edges from the first step,
where a patch projection needs long training to find them.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

from apsam_train.models.channel_norm import ChannelNorm


class ConvStem(nn.Module):
    """float32 [B, 3, S, S] -> [B, S/16, S/16, width] (channels last, as SAM's PatchEmbed)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = (3, width // 8, width // 4, width // 2, width)
        layers: list[nn.Module] = []
        for inputs, outputs in itertools.pairwise(widths):
            layers += [
                nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1),
                ChannelNorm(outputs),
                nn.GELU(),
            ]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, width, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        features: Tensor = self.layers(x.contiguous(memory_format=torch.channels_last))
        return features.permute(0, 2, 3, 1)
