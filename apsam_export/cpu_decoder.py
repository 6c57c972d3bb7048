"""The mask decoder as the FP32 graph has it, for CPUs: the same function in another order.

A click is seven tokens, an image 1,024 places. SAM projects every place to keys, values and
queries; here the projections are taken over to the tokens, which is linear and so the same, and no
place is ever projected or split into heads. A product over all places has H T columns then, for H
heads and T tokens, where it had C / 2: fewer below sixteen tokens of a ViT. Half-precision graphs
keep the form that fused kernels of GPUs take.
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from apsam_train.models import APSAM
from apsam_train.models.channel_norm import ChannelNorm
from apsam_train.models.sam_parts import MaskDecoder, TwoWayTransformer


def with_cpu_decoder(model: APSAM) -> APSAM:
    """The model with `FewTokens` in its mask decoder: the same weights."""
    weights = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    changed = copy.deepcopy(model, weights)
    changed.mask_decoder.transformer = FewTokens(changed.mask_decoder.transformer)
    return changed


class FewTokens(nn.Module):
    """What `TwoWayTransformer` computes, with its weights and its interface."""

    def __init__(self, transformer: TwoWayTransformer) -> None:
        super().__init__()
        self.layers = transformer.layers
        self.final_attn_token_to_image = transformer.final_attn_token_to_image
        self.norm_final_attn = transformer.norm_final_attn

    def forward(self, image: Tensor, position: Tensor, prompt: Tensor) -> tuple[Tensor, Tensor]:
        """image [P, C, G, G], position [1, C, G, G], prompt [P, T, C] -> tokens [P, T, C],
        places [P, G G, C]."""
        # A second axis of one: ONNX Runtime fuses sum and norm of three axes into one kernel that
        # takes four times as long as both.
        places = image.flatten(2).transpose(1, 2).unsqueeze(1)
        position = position.flatten(2).transpose(1, 2).unsqueeze(1)
        # Tokens of all prompts in one axis, so that each layer is one Gemm with its bias.
        num_prompts, _, channels = prompt.shape
        start = prompt.reshape(-1, channels)
        tokens = start
        for layer in self.layers:
            placed = places + position
            if layer.skip_first_layer_pe:
                tokens = layer.norm1(_among(layer.self_attn, tokens, tokens, num_prompts))
            else:
                moved = _among(layer.self_attn, tokens + start, tokens, num_prompts)
                tokens = layer.norm1(tokens + moved)
            seen = _seen(layer.cross_attn_token_to_image, tokens + start, placed, places)
            tokens = layer.norm2(tokens + seen)
            tokens = layer.norm3(tokens + layer.mlp(tokens))
            told = _told(layer.cross_attn_image_to_token, placed, tokens + start, tokens)
            places = layer.norm4(places + told)
        placed = places + position
        seen = _seen(self.final_attn_token_to_image, tokens + start, placed, places)
        tokens = self.norm_final_attn(tokens + seen)
        return tokens.view(num_prompts, -1, channels), places.squeeze(1)


def draw_in_token_order(decoder: MaskDecoder, tokens: Tensor, places: Tensor) -> Tensor:
    """What `prompt_decoder.draw_masks` computes, in the order of tokens: a transposed convolution
    whose kernel is its stride is a product, and pixels come to their places once, in the masks."""
    first, norm, activation, second, _ = decoder.output_upscaling
    norm = norm.norm if isinstance(norm, ChannelNorm) else norm
    num_prompts, num_masks, _ = tokens.shape
    grid = math.isqrt(places.shape[1])
    pixels = _spread(first, places)
    pixels = functional.layer_norm(pixels, norm.weight.shape, norm.weight, norm.bias, norm.eps)
    pixels = activation(pixels)
    pixels = activation(_spread(second, pixels)).view(num_prompts, 16 * grid**2, -1)
    logits: Tensor = _weights(decoder, tokens) @ pixels.transpose(1, 2)
    # Each time one axis moves, for which ONNX Runtime has a loop of its own.
    logits = logits.reshape(-1, grid, 2, 8).transpose(1, 2)
    logits = logits.reshape(-1, 2 * grid, 2, 2).transpose(1, 2)
    return logits.reshape(num_prompts, num_masks, 4 * grid, 4 * grid)


def _weights(decoder: MaskDecoder, tokens: Tensor) -> Tensor:
    """Of each mask over the pixels' channels, all hypernetworks at once: [P, M, C / 8]."""
    hidden = tokens.transpose(0, 1)
    mlps = decoder.output_hypernetworks_mlps
    layers = list(zip(*(mlp.layers for mlp in mlps), strict=True))
    for number, layer in enumerate(layers):
        weight = torch.stack([one.weight.T for one in layer])
        hidden = hidden @ weight + torch.stack([one.bias for one in layer]).unsqueeze(1)
        if number < len(layers) - 1:
            hidden = functional.relu(hidden)
    return hidden.transpose(0, 1)


def _among(attention: Any, query: Tensor, value: Tensor, num_prompts: int) -> Tensor:
    """Attention among the tokens of each prompt; query, which are the keys, and value [P T, C]."""
    heads = attention.num_heads
    key = _heads(attention.k_proj, query, num_prompts, heads)
    scores = _scaled(attention.q_proj, query, num_prompts, heads) @ key.transpose(2, 3)
    mixed = torch.softmax(scores, dim=-1) @ _heads(attention.v_proj, value, num_prompts, heads)
    told: Tensor = attention.out_proj(_joined(mixed))
    return told


def _seen(attention: Any, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of tokens [P T, C] to places [P, 1, G G, C]: q (k W)' is (q W') k', and what a bias
    of keys adds to all scores of a token falls out of its softmax."""
    num_prompts, heads, channels = keys.shape[0], attention.num_heads, keys.shape[-1]
    narrow = _scaled(attention.q_proj, query, num_prompts, heads)
    wide = narrow @ attention.k_proj.weight.view(heads, -1, channels)
    scores = wide.view(num_prompts, 1, -1, channels) @ keys.transpose(2, 3)
    mixed = (torch.softmax(scores, dim=-1) @ values).view(num_prompts, heads, -1, channels)
    out = mixed @ attention.v_proj.weight.view(heads, -1, channels).transpose(1, 2)
    seen: Tensor = attention.out_proj(_joined(out) + attention.v_proj.bias)
    return seen


def _told(attention: Any, places: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Attention of places [P, 1, G G, C] to tokens [P T, C]."""
    num_prompts, _, num_places, channels = places.shape
    heads = attention.num_heads
    key = _scaled(attention.k_proj, keys, num_prompts, heads)
    wide = key @ attention.q_proj.weight.view(heads, -1, channels)
    offset = key @ attention.q_proj.bias.view(heads, -1, 1)
    scores = wide.view(num_prompts, 1, -1, channels) @ places.transpose(2, 3)
    scores = scores.view(num_prompts, heads, -1, num_places) + offset
    # A softmax over the second last axis, for which ONNX Runtime's own transposes twice.
    powers = torch.exp(scores - scores.amax(dim=2, keepdim=True))
    shares = powers / powers.sum(dim=2, keepdim=True)
    shares = shares.view(num_prompts, 1, -1, num_places).transpose(2, 3)
    out = attention.out_proj.weight.view(channels, heads, -1).permute(1, 2, 0)
    value = _heads(attention.v_proj, values, num_prompts, heads) @ out
    # The shares of a head add up to one, so that each head can bring its part of the bias.
    value = value + attention.out_proj.bias / heads
    told: Tensor = shares @ value.view(num_prompts, 1, -1, channels)
    return told


def _heads(layer: nn.Linear, tokens: Tensor, num_prompts: int, heads: int) -> Tensor:
    """[P T, C] -> [P, H, T, C']."""
    projected: Tensor = layer(tokens)
    return projected.view(num_prompts, -1, heads, layer.out_features // heads).transpose(1, 2)


def _joined(heads: Tensor) -> Tensor:
    """[P, H, T, C'] -> [P T, H C']."""
    return heads.transpose(1, 2).reshape(-1, heads.shape[1] * heads.shape[3])


def _scaled(layer: nn.Linear, tokens: Tensor, num_prompts: int, heads: int) -> Tensor:
    """`_heads` over the root of their width, divided in the weights, which takes no node."""
    root = math.sqrt(layer.out_features // heads)
    projected = functional.linear(tokens, layer.weight / root, layer.bias / root)
    return projected.view(num_prompts, -1, heads, layer.out_features // heads).transpose(1, 2)


def _spread(convolution: nn.ConvTranspose2d, pixels: Tensor) -> Tensor:
    """Each pixel [..., C] to four, row by row -> [4 x, C']."""
    weight, bias = convolution.weight, convolution.bias
    assert convolution.stride == weight.shape[2:] == (2, 2)
    assert bias is not None
    inputs, outputs = weight.shape[:2]
    flat = weight.permute(2, 3, 1, 0).reshape(4 * outputs, inputs)
    spread = functional.linear(pixels.reshape(-1, inputs), flat, bias.repeat(4))
    return spread.view(-1, outputs)
