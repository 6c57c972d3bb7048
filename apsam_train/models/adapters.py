"""Bottleneck adapters (paper 5.2: "fine-tuned with an identical adapter") and where they sit."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn

from apsam_train.models.preset import Placement
from apsam_train.models.sam_parts import (
    Block,
    ImageEncoderViT,
    window_partition,
    window_unpartition,
)


class Adapter(nn.Module):
    """Linear(width -> hidden), GELU, Linear(hidden -> width); starts as zero."""

    def __init__(self, width: int, *, hidden: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, hidden)
        self.activation = nn.GELU()
        self.up = nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.up(self.activation(self.down(x)))
        return out


def encode_adapted(
    encoder: ImageEncoderViT,
    adapters: Iterable[nn.Module],
    x: Tensor,
    *,
    placement: Placement,
    scale: float,
) -> Tensor:
    """SAM's image encoder with one adapter per block: [B, 3, S, S] -> [B, C, G, G].

    The encoder itself stays as `segment_anything` built it, so that its weights keep their names.
    """
    x = encoder.patch_embed(x)
    if encoder.pos_embed is not None:
        x = x + encoder.pos_embed
    for block, adapter in zip(encoder.blocks, adapters, strict=True):
        x = _adapted_block(block, adapter, x, placement=placement, scale=scale)
    embedding: Tensor = encoder.neck(x.permute(0, 3, 1, 2))
    return embedding


def _adapted_block(
    block: Block, adapter: nn.Module, x: Tensor, *, placement: Placement, scale: float
) -> Tensor:
    attended = _attention(block, block.norm1(x))
    if placement == "after_attention":
        attended = attended + scale * adapter(attended)
    x = x + attended
    normed = block.norm2(x)
    out: Tensor = x + block.mlp(normed)
    if placement == "mlp_parallel":
        out = out + scale * adapter(normed)
    return out


def _attention(block: Block, x: Tensor) -> Tensor:
    if block.window_size == 0:
        attended: Tensor = block.attn(x)
        return attended
    height, width = x.shape[1], x.shape[2]
    windows, padded = window_partition(x, block.window_size)
    unpartitioned: Tensor = window_unpartition(
        block.attn(windows), block.window_size, padded, (height, width)
    )
    return unpartitioned
