"""SamPredictor on a GPU: half precision, max-autotune, and segment-anything-fast's attention.

That project (https://github.com/pytorch-labs/segment-anything-fast) gives the relative positions,
tokens x tokens, to `scaled_dot_product_attention` as its mask, and compiles everything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.peers.base import PeerUnavailableError, Source
from bench.peers.predictor import PredictorPeer
from bench.peers.sam_shape import Attend, Attention, ShapedSam, get_rel_pos, original


def with_bias(attention: Attention, windows: Tensor) -> Tensor:
    """An `Attend` through PyTorch's fused attention with a materialised bias."""
    batch, height, width, _ = windows.shape
    tokens, heads = height * width, attention.num_heads
    projected = attention.qkv(windows).reshape(batch, tokens, 3, heads, -1)
    query, key, value = projected.permute(2, 0, 3, 1, 4).unbind(0)
    places = query.reshape(batch * heads, height, width, -1)
    of_rows = get_rel_pos(height, height, attention.rel_pos_h)
    of_columns = get_rel_pos(width, width, attention.rel_pos_w)
    rows = torch.einsum("bhwc,hkc->bhwk", places, of_rows)
    columns = torch.einsum("bhwc,wkc->bhwk", places, of_columns)
    bias = (rows[..., :, None] + columns[..., None, :]).reshape(batch, heads, tokens, tokens)
    attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    joined = attended.transpose(1, 2).reshape(batch, height, width, -1)
    out: Tensor = attention.proj(joined)
    return out


@dataclass(frozen=True, kw_only=True)
class Variant:
    """mode: of torch.compile, None for eager."""

    dtype: torch.dtype
    attend: Attend = original
    mode: str | None = None


VARIANTS = {
    "gpu_fp16": Variant(dtype=torch.float16),
    "gpu_bf16": Variant(dtype=torch.bfloat16),
    "gpu_max_autotune": Variant(dtype=torch.float16, mode="max-autotune"),
    "gpu_sdpa_bias": Variant(dtype=torch.bfloat16, attend=with_bias, mode="max-autotune"),
}


def open_peer(name: str, source: Source) -> PredictorPeer:
    """Raises PeerUnavailableError without CUDA."""
    if not torch.cuda.is_available():
        raise PeerUnavailableError(
            f"peer {name!r} needs an NVIDIA GPU and torch {torch.__version__} finds none; run it "
            "on a machine with a GPU and a torch that is built for CUDA"
        )
    torch.set_num_threads(source.threads)
    variant = VARIANTS[name]
    shaped = ShapedSam(source.checkpoint, attend=variant.attend)
    shaped.model.to("cuda")
    shaped.sam.to("cuda")
    in_type(shaped, variant.dtype, mode=variant.mode)
    return PredictorPeer(name, shaped)


def in_type(shaped: ShapedSam, dtype: torch.dtype, *, mode: str | None = None) -> None:
    """Have image encoder and mask decoder compute in another type, compiled where a mode is
    given. The prompt encoder, some thousand operations, stays in float32."""
    sam = shaped.sam
    for name in ("image_encoder", "mask_decoder"):
        part = getattr(sam, name).to(dtype)
        if mode is not None:
            part.compile(mode=mode, dynamic=False)
        setattr(sam, name, InType(part, dtype))
    sam.image_encoder.img_size = shaped.side


class InType(nn.Module):
    """A part of another type in a float32 model. What leaves it is a copy: a recorded graph
    overwrites its outputs when it runs again, and an embedding is kept."""

    img_size: int

    def __init__(self, part: nn.Module, dtype: torch.dtype) -> None:
        super().__init__()
        self.part = part
        self.dtype = dtype

    def forward(self, *tensors: Tensor, **named: Any) -> Any:
        given = [tensor.to(self.dtype) for tensor in tensors]
        kept = {key: self._typed(value) for key, value in named.items()}
        out = self.part(*given, **kept)
        return tuple(one.float() for one in out) if isinstance(out, tuple) else out.float()

    def _typed(self, value: Any) -> Any:
        return value.to(self.dtype) if isinstance(value, Tensor) else value
