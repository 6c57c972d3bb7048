"""The rearranged attention against `segment_anything`'s own, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from apsam_train.models.attention import attend
from apsam_train.models.sam_parts import Block, window_partition, window_unpartition

CASES = pytest.mark.parametrize(
    ("grid", "window"),
    [
        pytest.param((6, 6), 3, id="windows divide the grid"),
        pytest.param((7, 7), 3, id="windows are filled up"),
        pytest.param((2, 2), 3, id="one window is larger than the grid"),
        pytest.param((4, 7), 3, id="a grid that is not square"),
        pytest.param((6, 6), 0, id="global"),
        pytest.param((3, 5), 0, id="global, not square"),
    ],
)


def block_for(grid: tuple[int, int], window: int) -> Block:
    torch.manual_seed(0)
    block = Block(dim=16, num_heads=2, use_rel_pos=True, window_size=window, input_size=grid)
    for name, parameter in block.named_parameters():
        if "rel_pos" in name:
            nn.init.normal_(parameter)
    return block.double()


def reference(block: Block, x: Tensor) -> Tensor:
    """What `Block.forward` does between norm and sum."""
    if block.window_size == 0:
        return block.attn(x)
    windows, padded = window_partition(x, block.window_size)
    return window_unpartition(block.attn(windows), block.window_size, padded, x.shape[1:3])


@CASES
def test_it_equals_segment_anythings_attention(grid: tuple[int, int], window: int) -> None:
    block = block_for(grid, window)
    x = torch.randn(2, *grid, 16, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(attend(block, x), reference(block, x), atol=1e-13, rtol=0)


@CASES
def test_its_gradients_are_segment_anythings(grid: tuple[int, int], window: int) -> None:
    block = block_for(grid, window)
    x = torch.randn(2, *grid, 16, dtype=torch.float64, requires_grad=True)
    upstream = torch.randn(2, *grid, 16, dtype=torch.float64)
    parameters = dict(block.attn.named_parameters())
    assert {"qkv.bias", "rel_pos_h", "rel_pos_w"} < parameters.keys()
    leaves = [x, *parameters.values()]
    ours = torch.autograd.grad((attend(block, x) * upstream).sum(), leaves)
    theirs = torch.autograd.grad((reference(block, x) * upstream).sum(), leaves)
    for name, a, b in zip(["x", *parameters], ours, theirs, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=1e-12, msg=name)


def test_what_fills_a_window_up_is_not_multiplied() -> None:
    block = block_for((7, 7), 3)
    x = torch.randn(1, 7, 7, 16, dtype=torch.float64)
    with torch.no_grad(), FlopCounterMode(display=False) as counted:
        attend(block, x)
    counts = counted.get_flop_counts()["Global"]
    linear = sum(n for op, n in counts.items() if op in (torch.ops.aten.mm, torch.ops.aten.addmm))
    assert linear == 2 * 49 * 16 * (3 * 16 + 16)
