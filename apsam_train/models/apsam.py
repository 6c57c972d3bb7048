"""APSAM: one module, three calls, exactly the three graphs of a bundle."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from apsam_serve.contract.preprocess import PIXEL_MEAN, PIXEL_STD
from apsam_train.models.adapters import encode_adapted
from apsam_train.models.category_head import CategoryHead
from apsam_train.models.energy_encoder import (
    EnergyAwareEncoder,
    LocationInitializer,
    energies,
)
from apsam_train.models.preset import Preset
from apsam_train.models.prompt_decoder import (
    Draw,
    decode_masks,
    draw_masks,
    embed_mask,
    embed_points,
)
from apsam_train.models.sam_parts import ImageEncoderViT, MaskDecoder, PromptEncoder


class Decoded(NamedTuple):
    """P prompts decoded. logits: low-resolution [P, M, L, L]; iou: predicted [P, M];
    category_logits: [P, 1 + num_categories], None without a category head."""

    logits: Tensor
    iou: Tensor
    category_logits: Tensor | None


class APSAM(nn.Module):
    """SAM with adapters, an Energy-Aware Encoder and, where the preset has categories, a category
    head. Parts keep `segment_anything`'s weight names (`image_encoder.*`, `prompt_encoder.*`,
    `mask_decoder.*`); the additions stand beside them."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(
        self,
        *,
        image_encoder: ImageEncoderViT,
        adapters: nn.ModuleList,
        prompt_encoder: PromptEncoder,
        mask_decoder: MaskDecoder,
        energy_encoder: EnergyAwareEncoder,
        location_initializer: LocationInitializer,
        category_head: CategoryHead | None = None,
        preset: Preset,
    ) -> None:
        super().__init__()
        self.preset = preset
        self.image_encoder = image_encoder
        self.adapters = adapters
        self.prompt_encoder = prompt_encoder
        self.mask_decoder = mask_decoder
        self.energy_encoder = energy_encoder
        self.location_initializer = location_initializer
        self.category_head = category_head
        mean, std = torch.tensor(PIXEL_MEAN), torch.tensor(PIXEL_STD)
        self.register_buffer("pixel_mean", mean.view(3, 1, 1), persistent=False)
        self.register_buffer("pixel_std", std.view(3, 1, 1), persistent=False)

    def normalise(self, image: Tensor) -> Tensor:
        """uint8 [B, S, S, 3] -> float [B, 3, S, S] with SAM's mean and deviation."""
        # In this order: TensorRT cannot transpose bytes.
        return (image.float().permute(0, 3, 1, 2) - self.pixel_mean) / self.pixel_std

    def encode_image(
        self, image: Tensor, *, checkpointing: bool = False, fused: bool = True
    ) -> Tensor:
        """Letter-boxed uint8 [B, S, S, 3] -> embedding float [B, C, G, G]; checkpointing and fused
        as in `encode_adapted`."""
        return encode_adapted(
            self.image_encoder,
            self.adapters,
            self.normalise(image),
            placement=self.preset.adapter_placement,
            scale=self.preset.adapter_scale,
            checkpointing=checkpointing,
            fused=fused,
        )

    def encode_energy(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Letter-boxed uint8 [B, S, S, 3] -> (query [B, C], attention [B, S/8, S/8])."""
        query, attention = self.location_initializer(self.energy_encoder(energies(image)))
        return query, attention

    def decode(
        self,
        *,
        embedding: Tensor,
        energy_query: Tensor,
        image_index: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor | None = None,
        has_mask_input: Tensor | None = None,
        draw: Draw = draw_masks,
        place: tuple[int, int] = (0, 0),
    ) -> Decoded:
        """P prompts over B images.

        embedding [B, C, G, G], energy_query [B, C]; image_index int64 [P] says which image each
        prompt belongs to; point_coords [P, N, 2] in model pixels (x, y), point_labels [P, N] of
        `PointLabel`; mask_input [P, 1, L, L] logits, used where has_mask_input [P] is 1; give both
        or neither. draw: of masks from what the decoder's transformer leaves. G may be less than
        the preset's where the image encoder serves every side; place: row and column of the
        preset's grid at which such a part of a picture lies.
        """
        top, left = place
        rows, columns = embedding.shape[-2:]
        position = self.prompt_encoder.get_dense_pe()
        if (rows, columns) != position.shape[-2:]:
            position = position[..., top : top + rows, left : left + columns]
            stride = self.preset.spec.token_stride
            point_coords = point_coords + point_coords.new_tensor([left * stride, top * stride])
        logits, iou, tokens = decode_masks(
            self.mask_decoder,
            embedding=embedding.index_select(0, image_index),
            position=position,
            sparse=embed_points(self.prompt_encoder, point_coords, point_labels),
            dense=embed_mask(self.prompt_encoder, mask_input, has_mask_input),
            energy_query=energy_query.index_select(0, image_index),
            token_init=self.preset.token_init,
            draw=draw,
        )
        head = self.category_head
        return Decoded(logits, iou, None if head is None else head(tokens, iou))

    def freeze_sam(self) -> None:
        """Train the additions only: adapters, energy parts (paper 5.2), category head."""
        self.requires_grad_(False)
        parts = (self.adapters, self.energy_encoder, self.location_initializer, self.category_head)
        for part in parts:
            if part is not None:
                part.requires_grad_(True)

    def num_trainable(self) -> int:
        """Number of parameters that receive gradient."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)
