"""The operations of the graphs, against figures worked out by hand."""

from __future__ import annotations

from functools import cache

import pytest

from apsam_export.flops import count
from apsam_serve.contract.manifest import Precision
from apsam_train.models import PRESETS

ALL: tuple[Precision, ...] = ("fp32", "fp16", "bf16")

counted = cache(count)


def _matrix_products(rows: int, width: int, depth: int) -> float:
    """qkv, proj and MLP of `depth` blocks over that many tokens each."""
    return 2.0 * depth * rows * 12 * width * width


def test_vit_l_at_512_saves_what_fills_windows_up() -> None:
    """Published: qkv and proj of 20 windowed blocks see 42 x 42 tokens instead of 32 x 32, and
    each of 9 windows attends with 14 x 14, of which 4 are whole, 4 hold 56 tokens, and one 16."""
    flops = counted(PRESETS["vit_l"])["image_encoder"]
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


def test_half_precision_pays_for_heads_that_fused_attention_takes() -> None:
    """Queries, keys and values of windows, 64 + 14 + 14 and 64 numbers, are 96 wide; those of whole
    grids, 64 + 32 + 32 and 64, are 128; and all 9 windows attend with 14 x 14."""
    flops = counted(PRESETS["vit_l"], precision="fp16")["image_encoder"]
    filled_up = 2.0 * 20 * (42 * 42 - 32 * 32) * 4 * 1024 * 1024
    wider = 2.0 * 16 * 2 * (20 * 9 * 196**2 * (96 - 64) + 4 * 1024**2 * (128 - 64))
    assert flops.exported == pytest.approx(flops.published - filled_up + wider, rel=0.001)
    assert flops.exported == pytest.approx(722e9, rel=0.001)
    assert flops.published == counted(PRESETS["vit_l"])["image_encoder"].published


def test_a_decode_in_fp32_projects_no_place_of_the_image() -> None:
    """Published: five attentions of 1,024 places with 128 numbers project them to two of query, key
    and value; exported: two products of all places with 7 tokens in 8 heads."""
    places, tokens = 2.0 * 1024 * 256, 7
    published = 5 * (2 * places * 128 + 2 * 2.0 * 1024 * tokens * 128)
    saved = published - 5 * 2 * places * 8 * tokens
    flops = {one: counted(PRESETS["vit_b"], precision=one)["prompt_decoder"] for one in ALL}
    fp32 = flops["fp32"]
    assert fp32.published - fp32.exported == pytest.approx(saved, rel=0.02)
    for half in (flops["fp16"], flops["bf16"]):
        assert half.published == half.exported == fp32.published


@pytest.mark.parametrize("precision", ALL)
def test_nothing_is_saved_in_the_energy_aware_encoder(precision: Precision) -> None:
    flops = counted(PRESETS["vit_b"], precision=precision)["energy_encoder"]
    # Three 3 x 3 convolutions at full, half and quarter size.
    channels = [(2, 64, 512), (64, 256, 256), (256, 512, 128)]
    convolutions = sum(2.0 * 9 * i * o * side * side for i, o, side in channels)
    assert flops.published == flops.exported == pytest.approx(convolutions, rel=0.01)
