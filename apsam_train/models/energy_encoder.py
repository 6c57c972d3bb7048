"""The Energy-Aware Encoder and its location initializer (paper 4.3, eq. 4-6)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from apsam_train.models.channel_norm import ChannelNorm


def energies(image: Tensor) -> Tensor:
    """I_H and I_L of eq. 4 from uint8 [B, S, S, 3]: float [B, 2, S, S] in [0, 1].

    The larger of the colour channels follows the high-energy transmission, the smaller one the
    low-energy transmission (paper, eq. 14).
    """
    scaled = image.float() / 255
    return torch.stack([scaled.amax(dim=3), scaled.amin(dim=3)], dim=1)


class EnergyAwareEncoder(nn.Module):
    """Three blocks of Conv 3x3, LayerNorm, GELU, MaxPool: [B, 2, S, S] -> [B, c3, S/8, S/8]."""

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        channels = (2, *widths)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Conv2d(inputs, outputs, kernel_size=3, padding=1),
                    ChannelNorm(outputs),
                    nn.GELU(),
                    nn.MaxPool2d(2),
                )
                for inputs, outputs in itertools.pairwise(channels)
            )
        )

    def forward(self, energies: Tensor) -> Tensor:
        features: Tensor = self.blocks(energies.contiguous(memory_format=torch.channels_last))
        return features


class LocationInitializer(nn.Module):
    """The top-k places of the energy features as one query for the decoder's mask tokens.

    A linear head scores every pixel, a softmax over pixels makes the scores an attention map, the k
    strongest pixels' features, weighted by their share of the attention on all k so that gradient
    reaches the head, are concatenated and projected. The projection starts at zero: step 0 is SAM.
    (docs/adr/0010-the-energy-query-has-weight.md: why a share.)
    """

    def __init__(self, *, width: int, top_k: int, embed_dim: int) -> None:
        super().__init__()
        self.top_k = top_k
        self.head = nn.Linear(width, 1)
        self.project = nn.Linear(top_k * width, embed_dim)
        nn.init.zeros_(self.project.weight)
        nn.init.zeros_(self.project.bias)

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """[B, c3, H, W] -> (query [B, C], attention [B, H, W] that sums to 1 per image)."""
        num_images, width, rows, columns = features.shape
        pixels = features.flatten(2).transpose(1, 2)
        attention = self.head(pixels).squeeze(2).softmax(dim=1)
        weight, index = attention.topk(self.top_k, dim=1)
        chosen = pixels.gather(1, index.unsqueeze(2).expand(-1, -1, width))
        share = weight / weight.sum(dim=1, keepdim=True)
        query = self.project((chosen * share.unsqueeze(2)).flatten(1))
        return query, attention.view(num_images, rows, columns)
