"""Floating-point operations of the graphs: of the model as published, and as exported.

Counted by PyTorch from the shapes of matrix products, convolutions and attention (a multiply-add is
two), on tensors without memory, for one image or one click.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from apsam_export.graphs import GRAPHS, EnergyEncoderGraph, TracingSizes, tracing_inputs
from apsam_export.passes import rewritten
from apsam_export.twins import typed
from apsam_serve.contract.manifest import Flops, Precision
from apsam_train.models import APSAM, Preset, build
from apsam_train.models.prompt_decoder import embed_points

_ONE_CLICK = TracingSizes(B=1, P=1, N=2)
"""A click is sent as one point and one point of padding, as SAM does."""


def count(preset: Preset, *, precision: Precision = "fp32") -> dict[str, Flops]:
    """Graph -> operations of a model of this preset; exported: in its graphs of this precision."""
    with torch.device("meta"):
        model = build(preset).eval()
    published: dict[str, nn.Module] = {
        "image_encoder": _PublishedEncoder(model),
        "energy_encoder": EnergyEncoderGraph(model, "fp32"),
        "prompt_decoder": _PublishedDecoder(model),
    }
    twin = typed(rewritten(model, precision), precision)
    return {
        graph: Flops(
            published=_of(published[graph], graph, model, "fp32"),
            exported=_of(module(twin, precision), graph, model, precision),
        )
        for graph, module in GRAPHS.items()
    }


class _PublishedEncoder(nn.Module):
    """SAM's own image encoder, which pads before W_qkv and adds its relative positions to a matrix
    of tokens x tokens, and the adapters beside it."""

    def __init__(self, model: APSAM) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        encoder = self.model.image_encoder
        embedding: Tensor = encoder(self.model.normalise(image))
        tokens = embedding.new_empty(1, *embedding.shape[2:], self.model.preset.width)
        for adapter in self.model.adapters:
            adapter(tokens)
        return embedding


class _PublishedDecoder(nn.Module):
    """SAM's own mask decoder, which projects every place of the image, after its embedding of a
    mask to refine, and the category head behind it. Without data on a tensor, SAM's choice of
    points by their label cannot run; ours multiplies as much."""

    def __init__(self, model: APSAM) -> None:
        super().__init__()
        self.model = model

    def forward(
        self,
        embedding: Tensor,
        energy_query: Tensor,
        image_index: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> Tensor:
        prompts = self.model.prompt_encoder
        masks, iou = self.model.mask_decoder.predict_masks(
            embedding,
            prompts.get_dense_pe(),
            embed_points(prompts, point_coords, point_labels),
            prompts._embed_masks(mask_input),
        )
        if self.model.category_head is not None:
            tokens = embedding.new_empty(1, iou.shape[1], self.model.preset.embed_dim)
            self.model.category_head(tokens, iou)
        logits: Tensor = masks
        return logits


def _of(module: nn.Module, graph: str, model: APSAM, precision: Precision) -> float:
    inputs = tracing_inputs(graph, model.preset.spec, _ONE_CLICK, precision)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*(tensor.to("meta") for tensor in inputs))
    return float(counter.get_total_flops())
