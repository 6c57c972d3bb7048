"""The operations of the graphs, against figures worked out by hand."""

from __future__ import annotations

import pytest

from apsam_export.flops import count
from apsam_train.models import PRESETS


def _matrix_products(rows: int, width: int, depth: int) -> float:
    """qkv, proj and MLP of `depth` blocks over that many tokens each."""
    return 2.0 * depth * rows * 12 * width * width


def test_vit_l_at_512_saves_what_fills_windows_up() -> None:
    """Published: qkv and proj of 20 windowed blocks see 42 x 42 tokens instead of 32 x 32, and
    each of 9 windows attends with 14 x 14, of which 4 are whole, 4 hold 56 tokens, and one 16."""
    flops = count(PRESETS["vit_l"])["image_encoder"]
    filled_up = 2.0 * 20 * (42 * 42 - 32 * 32) * 4 * 1024 * 1024
    scores = 9 * 196**2 - (4 * 196**2 + 4 * 56**2 + 16**2)
    unread = 2.0 * 20 * 16 * (64 + 64) * scores
    added = flops.exported - (flops.published - filled_up - unread)
    assert filled_up == pytest.approx(124e9, rel=0.01)
    # What the folded bias adds to QK^T, less what the separate bias took, and rows that are spread.
    assert 0 < added < 0.03 * flops.published
    assert flops.published == pytest.approx(794e9 + 20.5e9, rel=0.005)  # and the adapters
    assert flops.exported == pytest.approx(693e9, rel=0.005)
    assert flops.exported > _matrix_products(32 * 32, 1024, 24)


def test_graphs_that_nothing_was_saved_in_count_the_same() -> None:
    flops = count(PRESETS["vit_b"])
    for graph in ("energy_encoder", "prompt_decoder"):
        assert flops[graph].published == flops[graph].exported > 0
    # Three 3 x 3 convolutions at full, half and quarter size.
    channels = [(2, 64, 512), (64, 256, 256), (256, 512, 128)]
    convolutions = sum(2.0 * 9 * i * o * side * side for i, o, side in channels)
    assert flops["energy_encoder"].published == pytest.approx(convolutions, rel=0.01)
