"""An APSAM checkpoint in the shape of `segment_anything.Sam`, so that SAM's own tools run it.

The original's arithmetic: windows are filled up with zeros and pass all of the attention, and the
relative positions become a bias of tokens x tokens. Adapters sit between; the energy query of an
image is added to the mask tokens, after which the original mask decoder runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from apsam_serve.contract.apg import ApgConfig
from apsam_train.checkpoint import load_checkpoint
from apsam_train.models import APSAM
from apsam_train.models.sam_parts import (
    Block,
    MaskDecoder,
    Sam,
    window_partition,
    window_unpartition,
)

# isort: split
# After `sam_parts`, which declares operators that torchvision may lack; without them these fail.
from segment_anything import SamPredictor
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from segment_anything.utils.onnx import SamOnnxModel

__all__ = [
    "AdaptedEncoder",
    "Attend",
    "Attention",
    "BestOfFour",
    "SamOnnxModel",
    "SamPredictor",
    "ShapedSam",
    "get_rel_pos",
    "original",
]

Attend = Callable[[Attention, Tensor], Tensor]
"""A block's `attn` on the tokens of its windows: [W, H, W, C] -> the same."""


def original(attention: Attention, windows: Tensor) -> Tensor:
    """As `segment_anything` computes it."""
    attended: Tensor = attention(windows)
    return attended


class AdaptedEncoder(nn.Module):
    """SAM's image encoder with adapters: normalised float [B, 3, S, S] -> [B, C, G, G]."""

    def __init__(self, model: APSAM, *, attend: Attend = original) -> None:
        super().__init__()
        self.img_size = model.preset.side
        self.encoder = model.image_encoder
        self.adapters = model.adapters
        self._after_attention = model.preset.adapter_placement == "after_attention"
        self._scale = model.preset.adapter_scale
        self._attend = attend

    def forward(self, x: Tensor) -> Tensor:
        x = self.encoder.patch_embed(x)
        if self.encoder.pos_embed is not None:
            x = x + self.encoder.pos_embed
        for block, adapter in zip(self.encoder.blocks, self.adapters, strict=True):
            x = self._block(block, adapter, x)
        embedding: Tensor = self.encoder.neck(x.permute(0, 3, 1, 2))
        return embedding

    def _block(self, block: Block, adapter: nn.Module, x: Tensor) -> Tensor:
        attended = self._windows(block, block.norm1(x))
        if self._after_attention:
            attended = attended + self._scale * adapter(attended)
        x = x + attended
        normed = block.norm2(x)
        out: Tensor = x + block.mlp(normed)
        return out if self._after_attention else out + self._scale * adapter(normed)

    def _windows(self, block: Block, x: Tensor) -> Tensor:
        if block.window_size == 0:
            return self._attend(block.attn, x)
        windows, padded = window_partition(x, block.window_size)
        attended = self._attend(block.attn, windows)
        joined: Tensor = window_unpartition(attended, block.window_size, padded, x.shape[1:3])
        return joined


class BestOfFour(nn.Module):
    """SAM's mask decoder, which of four masks hands out the three with the highest predicted IoU.

    APSAM's answer is the best of four (paper 4.1), and the original would hand out three whichever
    they are; as many as that, because SamPredictor makes each as large as the image.
    """

    def __init__(self, decoder: MaskDecoder) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(
        self,
        image_embeddings: Tensor,
        image_pe: Tensor,
        sparse_prompt_embeddings: Tensor,
        dense_prompt_embeddings: Tensor,
        multimask_output: bool = True,
    ) -> tuple[Tensor, Tensor]:
        masks, iou = self.decoder.predict_masks(
            image_embeddings, image_pe, sparse_prompt_embeddings, dense_prompt_embeddings
        )
        best, index = iou.topk(iou.shape[1] - 1, dim=1)
        chosen = index[:, :, None, None].expand(-1, -1, *masks.shape[2:])
        return masks.gather(1, chosen), best


class ShapedSam:
    """sam: the checkpoint as a Sam; apg: how its adaptive points are made."""

    def __init__(self, checkpoint: Path, *, attend: Attend = original) -> None:
        self.model, card = load_checkpoint(checkpoint)
        self.apg: ApgConfig = card.apg
        self.sam = Sam(
            image_encoder=AdaptedEncoder(self.model, attend=attend),
            prompt_encoder=self.model.prompt_encoder,
            mask_decoder=BestOfFour(self.model.mask_decoder),
        ).eval()
        self.sam.requires_grad_(False)
        tokens = self.model.mask_decoder.mask_tokens.weight.detach().clone()
        self.mask_tokens = tokens * (1.0 if self.model.preset.token_init == "add" else 0.0)

    @property
    def side(self) -> int:
        """S, of the model's input."""
        return self.model.preset.side

    @torch.no_grad()
    def look(self, boxed: NDArray[np.uint8]) -> None:
        """Start the decoder's mask tokens from the energies of an image uint8 [S, S, 3]."""
        device = self.model.pixel_mean.device
        query, _ = self.model.encode_energy(torch.from_numpy(boxed)[None].to(device))
        self.model.mask_decoder.mask_tokens.weight.copy_(self.mask_tokens.to(device) + query)
