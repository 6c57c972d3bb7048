"""Attention of the peers on a GPU against the original, and the encoder against ours."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from apsam_train.models import APSAM
from bench.peers.gpu import with_bias
from bench.peers.sam_shape import AdaptedEncoder


@pytest.mark.parametrize("block", [0, 1], ids=["windows", "all tokens"])
def test_attention_with_a_bias_equals_the_original(small_model: APSAM, block: int) -> None:
    attention = small_model.image_encoder.blocks[block].attn
    side = 3 if block == 0 else 4
    torch.manual_seed(1)
    windows = torch.randn(2, side, side, small_model.preset.width)
    assert attention.rel_pos_h.abs().min() > 0, "a bias of zero would prove nothing"
    torch.testing.assert_close(with_bias(attention, windows), attention(windows))


@torch.no_grad()
def test_the_originals_arithmetic_gives_our_embedding(small_model: APSAM) -> None:
    image = torch.from_numpy(np.random.default_rng(2).integers(0, 255, (1, 64, 64, 3), np.uint8))
    encoder = AdaptedEncoder(small_model)
    torch.testing.assert_close(
        encoder(small_model.normalise(image)), small_model.encode_image(image), rtol=0, atol=1e-4
    )
