"""Matrix products whose rows do not share a cache set.

A CPU's first cache keeps 8 lines or so of all addresses that are 4096 bytes apart. The kernels of
ONNX Runtime read a dozen rows of the left matrix at once; rows of 1024 or 3072 floats evict each
other, and the product takes up to 1.4 times as long.
"""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

_CROWDED = 512
"""Floats. Of rows so far apart every second one falls on the same set."""
_LINE = 16
"""Floats of a cache line."""


def spread(width: int) -> int:
    """The next width, in whole cache lines, whose rows do not crowd."""
    wide = -(-width // _LINE) * _LINE
    return wide + _LINE if wide % _CROWDED == 0 else wide


class Product(nn.Module):
    """A linear layer over [..., inputs], which are filled up with zeros where their rows would
    crowd. weight: [outputs, inputs]; bias: [outputs], None for none."""

    def __init__(self, weight: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        width = weight.shape[1]
        self.filling = spread(width) - width if width % _CROWDED == 0 else 0
        wide = functional.pad(weight.detach(), (0, self.filling))
        self.weight = nn.Parameter(wide.contiguous(), requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias.detach(), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.filling:
            x = functional.pad(x, (0, self.filling))
        return functional.linear(x, self.weight, self.bias)
