"""Bottleneck adapters (paper 5.2: "fine-tuned with an identical adapter") and where they sit."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from apsam_train.models.attention import attend
from apsam_train.models.preset import Placement
from apsam_train.models.sam_parts import Block, ImageEncoderViT


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
    checkpointing: bool = False,
    fused: bool = True,
) -> Tensor:
    """SAM's image encoder with one adapter per block: [B, 3, S, S] -> [B, C, G, G].

    The encoder itself stays as `segment_anything` built it, so that its weights keep their names.
    checkpointing: keep only each block's input for the backward pass and compute the block again;
    the same gradients from less memory and a second forward pass. fused: see `attend`.
    """
    x = encoder.patch_embed(x)
    if encoder.pos_embed is not None:
        x = x + encoder.pos_embed
    for block, adapter in zip(encoder.blocks, adapters, strict=True):
        run = partial(_adapted_block, block, adapter, placement=placement, scale=scale, fused=fused)
        # Nothing in a block draws random numbers, so that their state need not be kept.
        x = (
            checkpoint(run, x, use_reentrant=False, preserve_rng_state=False)
            if checkpointing
            else run(x)
        )
    embedding: Tensor = encoder.neck(x.permute(0, 3, 1, 2))
    return embedding


def _adapted_block(
    block: Block, adapter: nn.Module, x: Tensor, *, placement: Placement, scale: float, fused: bool
) -> Tensor:
    attended = attend(block, block.norm1(x), fused=fused)
    if placement == "after_attention":
        attended = attended + scale * adapter(attended)
    x = x + attended
    normed = block.norm2(x)
    out: Tensor = x + block.mlp(normed)
    if placement == "mlp_parallel":
        out = out + scale * adapter(normed)
    return out
