"""The three graphs as modules: each wraps the trained model, or its twin, and none edits it.

They state the types of what goes in and out (`contract.tensors`); inside, the model does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from apsam_export.cpu_decoder import draw_in_token_order, with_cpu_decoder
from apsam_export.cpu_encoder import CpuEncoder
from apsam_export.twins import TORCH_TYPES
from apsam_serve.contract.manifest import ModelSpec, Precision
from apsam_serve.contract.tensors import DTYPES
from apsam_train.models import APSAM
from apsam_train.models.prompt_decoder import Draw, draw_masks


class ImageEncoderGraph(nn.Module):
    """image uint8 [B, S, S, 3] -> embedding [B, C, G, G]."""

    def __init__(self, model: APSAM, precision: Precision) -> None:
        super().__init__()
        is_vit = model.preset.stem != "pyramid"
        self.model = CpuEncoder(model) if precision == "fp32" and is_vit else model
        self.precision: Precision = precision

    def forward(self, image: Tensor) -> Tensor:
        return self.model.encode_image(image).to(held_type(self.precision))


class EnergyEncoderGraph(nn.Module):
    """image uint8 [B, S, S, 3] -> energy_query [B, C], attention float32 [B, S/8, S/8]."""

    def __init__(self, model: APSAM, precision: Precision) -> None:
        super().__init__()
        self.model = model
        self.precision: Precision = precision

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        query, attention = self.model.encode_energy(image)
        return query.to(held_type(self.precision)), attention.float()


class PromptDecoderGraph(nn.Module):
    """Prompts over embeddings -> low_res_logits [P, M, L, L], iou [P, M] and, from a model with a
    category head, category_logits [P, 1 + num_categories]; all float32."""

    def __init__(self, model: APSAM, precision: Precision) -> None:
        super().__init__()
        self.model = with_cpu_decoder(model) if precision == "fp32" else model
        self.draw: Draw = draw_in_token_order if precision == "fp32" else draw_masks
        self.precision: Precision = precision

    def forward(
        self,
        embedding: Tensor,
        energy_query: Tensor,
        image_index: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask_input: Tensor,
    ) -> tuple[Tensor, ...]:
        dtype = TORCH_TYPES[self.precision]
        decoded = self.model.decode(
            embedding=embedding.to(dtype),
            energy_query=energy_query.to(dtype),
            image_index=image_index,
            point_coords=point_coords,
            point_labels=point_labels,
            mask_input=mask_input.to(dtype),
            has_mask_input=has_mask_input.to(dtype),
            draw=self.draw,
        )
        return tuple(tensor.float() for tensor in decoded if tensor is not None)


GRAPHS = {
    "image_encoder": ImageEncoderGraph,
    "energy_encoder": EnergyEncoderGraph,
    "prompt_decoder": PromptDecoderGraph,
}


@dataclass(frozen=True, kw_only=True)
class TracingSizes:
    """Sizes of the free axes while tracing. None is 1, which a tracer would take for fixed."""

    B: int = 2
    P: int = 3
    N: int = 4


def held_type(precision: Precision) -> torch.dtype:
    """What embeddings and energy queries go in and out as."""
    return {"float32": torch.float32, "float16": torch.float16}[DTYPES[precision]]


def tracing_inputs(
    graph: str, spec: ModelSpec, sizes: TracingSizes, precision: Precision = "fp32"
) -> tuple[Tensor, ...]:
    """Inputs of a graph for tracing, in the order of its forward."""
    image = torch.zeros(sizes.B, spec.side, spec.side, 3, dtype=torch.uint8)
    if graph != "prompt_decoder":
        return (image,)
    mask_side = spec.mask_side
    return (
        torch.zeros(sizes.B, spec.embed_dim, spec.grid, spec.grid, dtype=held_type(precision)),
        torch.zeros(sizes.B, spec.embed_dim, dtype=held_type(precision)),
        torch.arange(sizes.P) % sizes.B,
        torch.zeros(sizes.P, sizes.N, 2),
        torch.ones(sizes.P, sizes.N),
        torch.zeros(sizes.P, 1, mask_side, mask_side),
        torch.zeros(sizes.P),
    )


def free_axes(shapes: Sequence[tuple[int | str, ...]]) -> tuple[dict[int, torch.export.Dim], ...]:
    """Dynamic axes of each input, from its contract shape."""
    dims: dict[str, torch.export.Dim] = {}
    return tuple(
        {
            axis: dims.setdefault(size, torch.export.Dim(size, min=1, max=64))
            for axis, size in enumerate(shape)
            if isinstance(size, str)
        }
        for shape in shapes
    )
