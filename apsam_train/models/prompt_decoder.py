"""SAM's prompt encoder and mask decoder for a batch of prompts over a batch of images.

The same parameters and the same arithmetic as `segment_anything`, written without indexed
assignment and without repeating an embedding per prompt by hand, so that one form trains, exports
and compiles; a test holds it to the original.
"""

from __future__ import annotations

import torch
from torch import Tensor

from apsam_serve.contract.prompts import PointLabel
from apsam_train.models.preset import TokenInit
from apsam_train.models.sam_parts import MaskDecoder, PromptEncoder


def embed_points(encoder: PromptEncoder, coords: Tensor, labels: Tensor) -> Tensor:
    """coords [P, N, 2] in model pixels, labels [P, N] of `PointLabel` -> [P, N, C]."""
    height, width = encoder.input_image_size
    scaled = (coords + 0.5) / torch.tensor([width, height], device=coords.device)
    embedding: Tensor = encoder.pe_layer._pe_encoding(scaled)
    label = labels.unsqueeze(2)
    embedding = embedding * (label != PointLabel.PADDING)
    kinds = [(PointLabel.PADDING, encoder.not_a_point_embed.weight)]
    kinds += [(PointLabel(i), part.weight) for i, part in enumerate(encoder.point_embeddings)]
    for kind, weight in kinds:
        embedding = embedding + weight * (label == kind)
    return embedding


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
    dense: Tensor = has_mask * encoder.mask_downscaling(mask_input) + (1 - has_mask) * without
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
    source = source.transpose(1, 2).view(embedding.shape)
    upscaled = decoder.output_upscaling(source)
    mlps = decoder.output_hypernetworks_mlps
    tokens = hidden[:, 1 : 1 + len(mlps)]
    hyper = torch.stack([mlp(tokens[:, i]) for i, mlp in enumerate(mlps)], dim=1)
    side = upscaled.shape[-1]
    logits = (hyper @ upscaled.flatten(2)).view(num_prompts, -1, side, side)
    iou: Tensor = decoder.iou_prediction_head(hidden[:, 0])
    return logits, iou, tokens
