"""Floating-point operations of the graphs: of the model as published, and as exported.

Counted by PyTorch from the shapes of matrix products, convolutions and attention (a multiply-add is
two), on tensors without memory, for one image or one click.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from apsam_export.graphs import GRAPHS, TracingSizes, tracing_inputs
from apsam_serve.contract.manifest import Flops
from apsam_train.models import APSAM, Preset, build

_ONE_CLICK = TracingSizes(B=1, P=1, N=2)
"""A click is sent as one point and one point of padding, as SAM does."""


def count(preset: Preset) -> dict[str, Flops]:
    """Graph -> operations of a model of this preset."""
    with torch.device("meta"):
        model = build(preset).eval()
    counts = {}
    for graph, module in GRAPHS.items():
        exported = _of(module(model, "fp32"), graph, model)
        published = _of(_AsPublished(model), graph, model) if graph == "image_encoder" else exported
        counts[graph] = Flops(published=published, exported=exported)
    return counts


class _AsPublished(nn.Module):
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


def _of(module: nn.Module, graph: str, model: APSAM) -> float:
    inputs = [t.to("meta") for t in tracing_inputs(graph, model.preset.spec, _ONE_CLICK)]
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module(*inputs)
    return float(counter.get_total_flops())
