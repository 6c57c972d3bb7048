"""SAM's prompt encoder and mask decoder for a batch of prompts over a batch of images.

The same parameters and the same arithmetic as `segment_anything`, written without indexed
assignment and without repeating an embedding per prompt by hand, so that one form trains, exports
and compiles; a test holds it to the original.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from apsam_serve.contract.prompts import PointLabel
from apsam_train.models.preset import TokenInit
from apsam_train.models.sam_parts import MaskDecoder, PromptEncoder

Draw = Callable[[MaskDecoder, Tensor, Tensor], Tensor]
"""`draw_masks`, or what computes the same in another order."""


def embed_points(encoder: PromptEncoder, coords: Tensor, labels: Tensor) -> Tensor:
    """coords [P, N, 2] in model pixels, labels [P, N] of `PointLabel` -> [P, N, C]."""
    height, width = encoder.input_image_size
    scaled = (coords + 0.5) / torch.tensor([width, height], device=coords.device)
    embedding: Tensor = encoder.pe_layer._pe_encoding(scaled)
    kinds = torch.tensor([PointLabel.PADDING, *range(len(encoder.point_embeddings))])
    parts = (encoder.not_a_point_embed, *encoder.point_embeddings)
    table = torch.cat([part.weight for part in parts])
    label = labels.unsqueeze(2)
    chosen = (label == kinds.to(labels)).to(table.dtype).unsqueeze(3)
    placed = (label != PointLabel.PADDING).to(table.dtype)
    # A sum, because a product might round the weights, as TF32 does.
    return embedding * placed + (chosen * table).sum(dim=2)


def embed_mask(
    encoder: PromptEncoder, mask_input: Tensor | None, has_mask_input: Tensor | None
) -> Tensor:
    """mask_input [P, 1, L, L] logits, has_mask_input [P] of 0 and 1 -> [P, C, G, G].

    Without them the embedding of "no mask", [1, C, 1, 1], which spares training a convolution.
    """
    without: Tensor = encoder.no_mask_embed.weight.view(1, -1, 1, 1)
    if mask_input is None or has_mask_input is None:
        return without
    has_mask = has_mask_input.view(-1, 1, 1, 1)
    *layers, last = encoder.mask_downscaling
    features = mask_input
    for layer in layers:
        features = layer(features)
    # Chosen before the last layer, on 16 channels in place of C.
    bias = has_mask * last.bias.view(1, -1, 1, 1) + (1 - has_mask) * without
    dense: Tensor = functional.conv2d(has_mask * features, last.weight) + bias
    return dense


def decode_masks(
    decoder: MaskDecoder,
    *,
    embedding: Tensor,
    position: Tensor,
    sparse: Tensor,
    dense: Tensor,
    energy_query: Tensor,
    token_init: TokenInit,
    draw: Draw,
) -> tuple[Tensor, Tensor, Tensor]:
    """The mask decoder with the energy query on its mask tokens (paper 4.2).

    embedding, dense [P, C, G, G], position [1, C, G, G], sparse [P, N, C], energy_query [P, C] ->
    (logits [P, M, L, L], predicted IoU [P, M], mask tokens [P, M, C] after the transformer).
    """
    num_prompts = sparse.shape[0]
    query = energy_query.unsqueeze(1)
    mask_tokens = decoder.mask_tokens.weight * (1.0 if token_init == "add" else 0.0) + query
    iou_token = decoder.iou_token.weight.expand(num_prompts, 1, -1)
    tokens = torch.cat([iou_token, mask_tokens, sparse], dim=1)
    source = embedding + dense
    hidden, source = decoder.transformer(source, position, tokens)
    tokens = hidden[:, 1 : 1 + decoder.num_mask_tokens]
    logits = draw(decoder, tokens, source)
    iou: Tensor = decoder.iou_prediction_head(hidden[:, 0])
    return logits, iou, tokens


def draw_masks(decoder: MaskDecoder, tokens: Tensor, places: Tensor) -> Tensor:
    """tokens [P, M, C] of masks and places [P, G G, C], as the transformer leaves them -> logits
    [P, M, L, L]."""
    num_prompts, num_places, _ = places.shape
    grid = math.isqrt(num_places)
    upscaled = decoder.output_upscaling(places.transpose(1, 2).reshape(num_prompts, -1, grid, grid))
    mlps = decoder.output_hypernetworks_mlps
    hyper = torch.stack([mlp(tokens[:, i]) for i, mlp in enumerate(mlps)], dim=1)
    side = upscaled.shape[-1]
    logits: Tensor = (hyper @ upscaled.flatten(2)).view(num_prompts, -1, side, side)
    return logits
