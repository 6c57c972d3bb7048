"""The numbers that define one APSAM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from apsam_serve.contract.manifest import ModelSpec
from apsam_train.categories import CATEGORIES

Placement = Literal["mlp_parallel", "after_attention"]
TokenInit = Literal["add", "replace"]
Stem = Literal["patch", "conv", "pyramid"]


@dataclass(frozen=True, kw_only=True)
class Preset:
    """side: S, model input side in pixels.

    Image encoder (a SAM ViT): width, depth, num_heads, global_blocks (attention over all tokens),
    window (side of the others' windows in tokens, 0 for none), stem ("patch": one 16 x 16
    convolution as in SAM; "conv": four strided 3 x 3 ones, which learn faster from scratch;
    "pyramid": no ViT at all but a `Pyramid` of pyramid_widths, pyramid_depths and depth blocks of
    attention, without adapters).
    Adapters: adapter_ratio (hidden = int(ratio * width)), placement, adapter_scale.
    Decoder: embed_dim (C), decoder_heads, decoder_mlp, iou_hidden.
    Energy-Aware Encoder: energy_widths, top_k, token_init.
    Category head: num_categories, 0 for a model without one, or all of `CATEGORIES`.
    """

    name: str
    side: int = 512
    width: int
    depth: int
    num_heads: int
    global_blocks: tuple[int, ...]
    window: int = 14
    stem: Stem = "patch"
    pyramid_widths: tuple[int, ...] = ()
    pyramid_depths: tuple[int, ...] = ()
    adapter_ratio: float = 0.2
    adapter_placement: Placement = "mlp_parallel"
    adapter_scale: float = 0.5
    embed_dim: int = 256
    decoder_heads: int = 8
    decoder_mlp: int = 2048
    iou_hidden: int = 256
    energy_widths: tuple[int, int, int] = (64, 256, 512)
    top_k: int = 4
    token_init: TokenInit = "add"
    num_categories: int = 0

    @property
    def spec(self) -> ModelSpec:
        """What a bundle says about this model."""
        return ModelSpec(
            preset=self.name,
            side=self.side,
            embed_dim=self.embed_dim,
            categories=CATEGORIES[: self.num_categories],
        )
