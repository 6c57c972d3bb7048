"""SAM's attention from less work: two exact rewrites around `segment_anything`'s parameters.

1. Tokens that fill a window up are zeros after the norm and take part unmasked, so that their q, k
   and v are the bias. Real tokens alone go through W_qkv and W_proj; at 512, where SAM fills a grid
   of 32 up to 42, that is 15.6 % of ViT-L's multiplications saved.
2. Decomposed relative positions are a part of the product:
   s q.k + q.R_row + q.R_col = [s q, q R_row, q R_col] . [k, onehot(row), onehot(col)],
   which is plain softmax attention. No bias of tokens x tokens is built, and fused kernels fit.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from apsam_train.models.sam_parts import Block

Size = tuple[int, int]


_FUSED_MULTIPLE = 8
"""Fused kernels (flash attention, TensorRT's) take q, k and v of one width, a multiple of this."""


def attend(block: Block, x: Tensor, *, fused: bool = True) -> Tensor:
    """Attention of one block over its windows: normalised tokens [B, G, G, C] -> [B, G, G, C].

    Equals `block.attn` between `window_partition` and `window_unpartition`. fused: widen q, k and v
    with zeros to what fused kernels take; without one, that is work for nothing.
    """
    grid = x.shape[1], x.shape[2]
    window = (block.window_size, block.window_size) if block.window_size else grid
    query, key, value = _split(_project(block, x, window), window, block.attn.num_heads)
    width = value.shape[-1]
    query, key = _fold_positions(block, query, key, window)
    if fused:
        wide = -(-query.shape[-1] // _FUSED_MULTIPLE) * _FUSED_MULTIPLE
        query, key, value = (
            functional.pad(t, (0, wide - t.shape[-1])) for t in (query, key, value)
        )
    attended = functional.scaled_dot_product_attention(query, key, value, scale=1.0)
    out: Tensor = block.attn.proj(_join(attended[..., :width], window, grid))
    return out


def _project(block: Block, x: Tensor, window: Size) -> Tensor:
    """Tokens [B, G, G, C] -> q, k and v of whole windows [B, G', G', 3C]."""
    linear = block.attn.qkv
    rows, columns = -x.shape[1] % window[0], -x.shape[2] % window[1]
    if rows == columns == 0:
        projected: Tensor = linear(x)
        return projected
    real = functional.pad(functional.linear(x, linear.weight), (0, 0, 0, columns, 0, rows))
    projected = real + linear.bias
    return projected


def _split(qkv: Tensor, window: Size, num_heads: int) -> tuple[Tensor, ...]:
    """[B, G', G', 3C] -> q, k, v, each [windows, heads, tokens of a window, C / heads]."""
    (height, width), (batch, rows, columns, channels) = window, qkv.shape
    down, across = rows // height, columns // width
    tokens = qkv.view(batch, down, height, across, width, 3, num_heads, -1)
    windows = tokens.permute(5, 0, 1, 3, 6, 2, 4, 7)
    head = channels // (3 * num_heads)
    return windows.reshape(3, batch * down * across, num_heads, height * width, head).unbind(0)


def _join(attended: Tensor, window: Size, grid: Size) -> Tensor:
    """[windows, heads, tokens, C / heads] -> [B, G, G, C], without what filled the windows up."""
    height, width = window
    down, across = -(-grid[0] // height), -(-grid[1] // width)
    batch, num_heads, head = attended.shape[0] // (down * across), *attended.shape[1::2]
    windows = attended.reshape(batch, down, across, num_heads, height, width, head)
    tokens = windows.permute(0, 1, 4, 2, 5, 3, 6)
    tokens = tokens.reshape(batch, down * height, across * width, num_heads * head)
    return tokens[:, : grid[0], : grid[1]]


def _fold_positions(
    block: Block, query: Tensor, key: Tensor, window: Size
) -> tuple[Tensor, Tensor]:
    """Queries scaled, and both wider by one number per row and column of the window."""
    height, width = window
    by_place = query.reshape(*query.shape[:2], height, width, -1)
    of_rows = by_place @ _relative(block.attn.rel_pos_h, height).transpose(1, 2)
    by_column = by_place.transpose(2, 3) @ _relative(block.attn.rel_pos_w, width).transpose(1, 2)
    of_columns = by_column.transpose(2, 3)
    positions = torch.cat([of_rows, of_columns], dim=-1).flatten(2, 3)
    query = torch.cat([query * block.attn.scale, positions], dim=-1)
    places = _places(window, key).expand(*key.shape[:3], height + width)
    return query, torch.cat([key, places], dim=-1)


def _relative(table: Tensor, size: int) -> Tensor:
    """Table of relative positions [2 size - 1, D] -> [size of queries, size of keys, D]."""
    place = torch.arange(size, device=table.device)
    return table[place[:, None] - place[None, :] + size - 1]


def _places(window: Size, like: Tensor) -> Tensor:
    """Row and column of every token of a window, one-hot: [height * width, height + width]."""
    height, width = window
    row = torch.eye(height, dtype=like.dtype, device=like.device)[:, None, :]
    column = torch.eye(width, dtype=like.dtype, device=like.device)[None, :, :]
    both = torch.cat([row.expand(-1, width, -1), column.expand(height, -1, -1)], dim=-1)
    return both.flatten(0, 1)
