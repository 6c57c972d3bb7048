"""Tokens in the order of the windows that attend: what windows share lies together."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Windows:
    """Windows that hold equally many tokens, and lie side by side in `order_of`.

    height, width: their tokens, fewer than `side` where the grid ends and SAM fills windows up.
    """

    num: int
    height: int
    width: int
    side: int

    @property
    def num_tokens(self) -> int:
        """Of all of them."""
        return self.num * self.height * self.width


def windows_of(grid: int, side: int) -> list[Windows]:
    """The windows of a grid of grid x grid tokens, in the order of `order_of`."""
    spans = _spans(grid, side)
    return [
        Windows(
            num=(bottom - top) // height * (right - left) // width,
            height=height,
            width=width,
            side=side,
        )
        for top, bottom, height in spans
        for left, right, width in spans
    ]


def order_of(grid: int, side: int) -> Tensor:
    """Number in the grid, row by row, of every token, window by window: int64 [grid * grid]."""
    numbers = torch.arange(grid * grid).view(grid, grid)
    spans = _spans(grid, side)
    return torch.cat(
        [
            numbers[top:bottom, left:right]
            .reshape((bottom - top) // height, height, -1, width)
            .transpose(1, 2)
            .flatten()
            for top, bottom, height in spans
            for left, right, width in spans
        ]
    )


def _spans(grid: int, side: int) -> list[tuple[int, int, int]]:
    """Start, end and height of windows along one axis: the whole ones, and what is left."""
    whole = grid - grid % side
    spans = [(0, whole, side), (whole, grid, grid - whole)]
    return [span for span in spans if span[0] < span[1]]
