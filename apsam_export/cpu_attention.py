"""Attention of one block from the least work: nothing is computed of tokens that do not exist.

SAM fills windows up with tokens whose q, k and v are the bias, and lets them take part unmasked.
Nobody reads what they ask for. Each bias of k adds the same to every score of a query, which a
softmax does not see, and each bias of v comes out whole, since weights sum to one: W_proj adds it.
What is left of a token that does not exist is a score of q R_row + q R_column, and a value of zero:
its share of the sum that the softmax divides by. Over a rectangle of them the exponentials of that
sum factor, sum e^(r + c) = sum e^r sum e^c, so that a rectangle is one key.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from apsam_export.products import Product
from apsam_export.windows import Windows
from apsam_train.models.attention import _places, _relative
from apsam_train.models.sam_parts import Block


class CpuAttention(nn.Module):
    """`attend` over tokens in the order of these windows: normalised [B, T, C] -> [B, T, C]."""

    rows: Tensor
    columns: Tensor

    def __init__(self, block: Block, windows: list[Windows]) -> None:
        super().__init__()
        attention = block.attn
        (query, key, value), (query_bias, _, value_bias) = (
            tensor.detach().chunk(3) for tensor in (attention.qkv.weight, attention.qkv.bias)
        )
        proj = attention.proj
        self.windows = windows
        self.num_heads: int = attention.num_heads
        self.query = Product(attention.scale * query, attention.scale * query_bias)
        self.key = Product(key)
        self.value = Product(value)
        self.proj = Product(proj.weight, proj.bias + proj.weight @ value_bias)
        for name, table in (("rows", attention.rel_pos_h), ("columns", attention.rel_pos_w)):
            # Queries come scaled, and relative positions want them as they were.
            relative = _relative(table.detach(), windows[0].side) / attention.scale
            self.register_buffer(name, relative.transpose(1, 2).contiguous())

    def forward(self, x: Tensor) -> Tensor:
        sizes = [windows.num_tokens for windows in self.windows]
        query, key, value = (of(x).split(sizes, 1) for of in (self.query, self.key, self.value))
        parts = zip(query, key, value, self.windows, strict=True)
        attended = [self._attend(*part) for part in parts]
        out: Tensor = self.proj(attended[0] if len(attended) == 1 else torch.cat(attended, dim=1))
        return out

    def _attend(self, query: Tensor, key: Tensor, value: Tensor, windows: Windows) -> Tensor:
        """[B, T, C] -> [B, T, C] of windows of one size."""
        query, key, value = (self._heads(tensor, windows.num) for tensor in (query, key, value))
        of_rows, of_columns = self._positions(query, windows)
        height, width = windows.height, windows.width
        positions = torch.cat([of_rows[..., :height], of_columns[..., :width]], dim=-1)
        places = _places((height, width), key).expand(*key.shape[:-1], height + width)
        wide_query = torch.cat([query, positions], dim=-1)
        # In this form, ONNX Runtime takes keys as they are and transposes nothing.
        scores = wide_query @ torch.cat([key, places], dim=-1).transpose(-2, -1)
        filling = _filling(of_rows, of_columns, windows)
        weights = torch.cat([scores, *filling], dim=-1).softmax(dim=-1)
        attended = weights[..., : height * width] @ value if filling else weights @ value
        return attended.transpose(2, 3).flatten(1, 2).flatten(2)

    def _heads(self, x: Tensor, num_windows: int) -> Tensor:
        """[B, T, C] -> [B, windows, heads, tokens of a window, C / heads]."""
        tokens, channels = x.shape[1:]
        shape = (-1, num_windows, tokens // num_windows, self.num_heads, channels // self.num_heads)
        return x.reshape(shape).transpose(2, 3)

    def _positions(self, query: Tensor, windows: Windows) -> tuple[Tensor, Tensor]:
        """What a query adds to each row and each column of its window, those filled up too: twice
        [B, windows, heads, tokens, side]."""
        by_place = query.reshape(
            -1, *query.shape[1:3], windows.height, windows.width, query.shape[4]
        )
        of_rows = by_place @ self.rows[: windows.height]
        of_columns = by_place.transpose(3, 4) @ self.columns[: windows.width]
        return of_rows.flatten(3, 4), of_columns.transpose(3, 4).flatten(3, 4)


def _filling(of_rows: Tensor, of_columns: Tensor, windows: Windows) -> list[Tensor]:
    """The score of each rectangle that was filled up, [B, windows, heads, tokens, 1]: the rows
    below the tokens, and the columns beside them."""
    scores = []
    if windows.height < windows.side:
        scores.append(_log_sum(of_rows[..., windows.height :]) + _log_sum(of_columns))
    if windows.width < windows.side:
        beside = _log_sum(of_columns[..., windows.width :])
        scores.append(_log_sum(of_rows[..., : windows.height]) + beside)
    return scores


def _log_sum(x: Tensor) -> Tensor:
    return x.logsumexp(dim=-1, keepdim=True)
