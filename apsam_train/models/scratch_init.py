"""A start that learns in minutes, for presets without pretrained weights.

Same parameters, other first values (docs/adr/0003-tiny-starts-where-it-can-learn.md).
"""

from __future__ import annotations

import torch
from torch import nn

from apsam_train.models.pyramid import STACKED
from apsam_train.models.sam_parts import ImageEncoderViT, MaskDecoder

ATTENTION_GAIN = 4.0
"""Makes the first attention logits spread by several units instead of a tenth."""


@torch.no_grad()
def look_where_the_prompt_is(decoder: MaskDecoder) -> None:
    """Start cross-attention between tokens and image with equal query and key projections.

    Prompt and image share one position encoding, so equal projections make a click attend to its
    own surroundings from the first step; independent ones would have to find that match first.
    """
    transformer = decoder.transformer
    attentions = [transformer.final_attn_token_to_image]
    for layer in transformer.layers:
        attentions += [layer.cross_attn_token_to_image, layer.cross_attn_image_to_token]
    for attention in attentions:
        attention.q_proj.weight.mul_(ATTENTION_GAIN)
        attention.k_proj.weight.copy_(attention.q_proj.weight)


@torch.no_grad()
def keep_detail(encoder: ImageEncoderViT) -> None:
    """Start the neck as a rotation of each token's channels, without mixing neighbouring tokens."""
    nn.init.orthogonal_(encoder.neck[0].weight)
    nn.init.dirac_(encoder.neck[2].weight)


@torch.no_grad()
def unfold_what_was_stacked(decoder: MaskDecoder) -> None:
    """Start the decoder's up-scaling as the way back from a `Pyramid`'s tokens to its cells, plus
    the usual random weights: every cell of a mask is drawn from its own numbers first."""
    first, second = decoder.output_upscaling[0], decoder.output_upscaling[3]
    half = STACKED // 2
    per_cell = first.in_channels // STACKED**2
    for row in range(STACKED):
        for column in range(STACKED):
            (above, y), (left, x) = divmod(row, half), divmod(column, half)
            for number in range(per_cell):
                stacked = number * STACKED**2 + row * STACKED + column
                between = number * half**2 + y * half + x
                first.weight[stacked, between, above, left] += 1
    for number in range(second.out_channels):
        # More numbers per cell than were stacked: the others begin as their negatives, because
        # what follows keeps one sign only.
        sign = 1 if number < per_cell else -1
        for y in range(half):
            for x in range(half):
                between = (number % per_cell) * half**2 + y * half + x
                second.weight[between, number, y, x] += sign
