"""The model in half precision, with every type stated: what strongly typed compilers ask for.

A copy of the model computes in FP16 or BF16 but for islands of FP32, whose casts become part of the
graph: normalisations, whose sums of squares overflow FP16; pixels, energies and positions, whose
steps FP16 cannot tell apart; the choice of energy places and the IoU head, where a rounding error
picks another place or another mask. The softmax of attention is no island: one would keep
compilers from fusing it (docs/adr/0013).
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from apsam_serve.contract.manifest import Precision
from apsam_train.models import APSAM

TORCH_TYPES: dict[Precision, torch.dtype] = {
    "fp32": torch.float32,
    "fp16": torch.float16,
    "bf16": torch.bfloat16,
}


def typed(model: APSAM, precision: Precision) -> APSAM:
    """A `passes.rewritten` model itself in FP32, else a copy that computes in that precision."""
    dtype = TORCH_TYPES[precision]
    if dtype == torch.float32:
        return model
    twin = copy.deepcopy(model)
    for part in (twin.image_encoder, twin.adapters, twin.prompt_encoder, twin.mask_decoder):
        _lower(part, dtype)
    _lower(twin.energy_encoder, dtype)
    twin.image_encoder.patch_embed = Lowered(twin.image_encoder.patch_embed, dtype)
    twin.energy_encoder = Lowered(twin.energy_encoder, dtype)  # type: ignore[assignment]
    twin.prompt_encoder.pe_layer = Positions(model.prompt_encoder.pe_layer, dtype)
    decoder = twin.mask_decoder
    decoder.iou_prediction_head = Island(model.mask_decoder.iou_prediction_head)
    twin.location_initializer = Island(model.location_initializer)  # type: ignore[assignment]
    if model.category_head is not None:
        twin.category_head = Island(model.category_head)  # type: ignore[assignment]
    return twin


class Island(nn.Module):
    """A part that computes in FP32. back: the type it returns, None for FP32."""

    def __init__(self, inner: nn.Module, back: torch.dtype | None = None) -> None:
        super().__init__()
        self.inner = inner
        self.back = back

    def forward(self, *inputs: Tensor) -> Tensor:
        result: Tensor = self.inner(*(tensor.float() for tensor in inputs))
        return result if self.back is None else result.to(self.back)


class Lowered(nn.Module):
    """A part in half precision that is given FP32."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner = inner
        self.dtype = dtype

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.inner(x.to(self.dtype))
        return result


class Positions(nn.Module):
    """SAM's encoding of positions, computed in FP32: half a pixel of 512 is no step of FP16."""

    def __init__(self, inner: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.inner = inner
        self.dtype = dtype

    def forward(self, size: tuple[int, int]) -> Tensor:
        """The grid of a feature map."""
        grid: Tensor = self.inner(size)
        return grid.to(self.dtype)

    def _pe_encoding(self, coords: Tensor) -> Tensor:
        """Points in [0, 1]; the name by which `embed_points` calls SAM's."""
        encoded: Tensor = self.inner._pe_encoding(coords)  # type: ignore[operator]
        return encoded.to(self.dtype)


def _lower(part: nn.Module, dtype: torch.dtype) -> None:
    """Give the weights of a part that type and put its normalisations on islands."""
    part.to(dtype)
    for parent in list(part.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.LayerNorm):
                setattr(parent, name, Island(child.float(), back=dtype))
