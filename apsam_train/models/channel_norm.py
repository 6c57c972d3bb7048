"""LayerNorm over the channels of an image tensor.

The same numbers and parameters as `segment_anything`'s LayerNorm2d, through PyTorch's fused kernel:
in the channels-last layout the permutations are free, and an exported graph holds one
LayerNormalization where the original holds eight elementwise nodes.
"""

from __future__ import annotations

from torch import Tensor, nn


class ChannelNorm(nn.Module):
    """float [B, C, H, W] -> the same, each pixel normalised over C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(x.permute(0, 2, 3, 1))
        return normed.permute(0, 3, 1, 2)
