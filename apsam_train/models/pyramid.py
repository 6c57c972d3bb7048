"""A convolutional image encoder for small models without pretrained weights.

Down to SAM's tokens, attention among them, and up again to the cells of the mask: there every cell
has a few numbers of its own, which know both its edges and the object it lies in. Each 4 x 4 group
of cells is then stacked into one token, because that is what the mask decoder unfolds. There are no
tables of positions: the same weights serve every side.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from apsam_train.models.channel_norm import ChannelNorm

STACKED = 4
"""Cells of the mask per token, on each side."""


class Pyramid(nn.Module):
    """float32 [B, 3, S, S] -> [B, S/16, S/16, embed_dim] (channels last, as SAM's PatchEmbed).

    widths: channels at strides 2, 4, 8 and 16; depths: blocks at strides 4, 8 and 16 on the way
    down; attentions: blocks that attend among all tokens, after those of stride 16; num_said:
    numbers that `says` reads off each cell, in training alone (`cell_loss`).
    """

    def __init__(
        self,
        *,
        widths: Sequence[int],
        depths: Sequence[int],
        attentions: int,
        num_heads: int,
        embed_dim: int,
        num_said: int,
    ) -> None:
        super().__init__()
        stem, *stages = widths
        cells, parts, tokens = stages
        self.stem = nn.Sequential(_halved(3, stem), nn.ReLU(), _halved(stem, cells))
        self.cells = _blocks(cells, depths[0])
        self.to_parts = _halved(cells, parts)
        self.parts = _blocks(parts, depths[1])
        self.to_tokens = _halved(parts, tokens)
        self.tokens = nn.Sequential(
            *_blocks(tokens, depths[2]), *(Attention(tokens, num_heads) for _ in range(attentions))
        )
        self.back_to_parts = Doubled(tokens, parts)
        self.fused_parts = _blocks(parts, 1)
        self.back_to_cells = Doubled(parts, cells)
        self.fused_cells = _blocks(cells, 1)
        self.stack = nn.Sequential(
            ChannelNorm(cells),
            nn.Conv2d(cells, embed_dim // STACKED**2, kernel_size=1),
            nn.PixelUnshuffle(STACKED),
        )
        self.whole = nn.Sequential(ChannelNorm(tokens), nn.Conv2d(tokens, embed_dim, kernel_size=1))
        self.says = nn.Sequential(ChannelNorm(cells), nn.Conv2d(cells, num_said, kernel_size=1))

    def forward(self, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last)
        cells = self.cells(self.stem(x))
        parts = self.parts(self.to_parts(cells))
        tokens = self.tokens(self.to_tokens(parts))
        parts = self.fused_parts(parts + self.back_to_parts(tokens))
        cells = self.fused_cells(cells + self.back_to_cells(parts))
        embedding: Tensor = self.stack(cells) + self.whole(tokens)
        return embedding.permute(0, 2, 3, 1)


class Block(nn.Module):
    """Two 3 x 3 convolutions beside the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = ChannelNorm(width)
        self.first = nn.Conv2d(width, width, kernel_size=3, padding=1)
        self.second = nn.Conv2d(width, width, kernel_size=3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x + self.second(functional.relu(self.first(self.norm(x))))
        return out


class Attention(nn.Module):
    """A transformer block over all tokens [B, C, G, G]; a convolution tells them where they are."""

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.place = nn.Conv2d(width, width, kernel_size=3, padding=1, groups=width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        batch, width, rows, columns = x.shape
        x = x + self.place(x)
        tokens = x.flatten(2).transpose(1, 2)
        heads = self.qkv(self.norm1(tokens)).unflatten(2, (3, self.num_heads, -1))
        query, key, value = heads.permute(2, 0, 3, 1, 4).unbind(0)
        attended = functional.scaled_dot_product_attention(query, key, value)
        tokens = tokens + self.project(attended.transpose(1, 2).flatten(2))
        tokens = tokens + self.mlp(self.norm2(tokens))
        out: Tensor = tokens.transpose(1, 2).reshape(batch, width, rows, columns)
        return out


class Doubled(nn.Module):
    """[B, C, H, W] -> [B, C', 2 H, 2 W]: every pixel becomes a square of its own."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            ChannelNorm(inputs), nn.Conv2d(inputs, 4 * outputs, kernel_size=1), nn.PixelShuffle(2)
        )

    def forward(self, x: Tensor) -> Tensor:
        doubled: Tensor = self.layers(x)
        return doubled


def _halved(inputs: int, outputs: int) -> nn.Module:
    return nn.Conv2d(inputs, outputs, kernel_size=3, stride=2, padding=1)


def _blocks(width: int, depth: int) -> nn.Sequential:
    return nn.Sequential(*(Block(width) for _ in range(depth)))
