"""The pyramid: SAM's tokens from convolutions, at any side, and the decoder's way back to cells."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from apsam_train.models import APSAM, PRESETS, Preset, build, with_category_head
from apsam_train.models.prompt_decoder import (
    decode_masks,
    draw_masks,
    embed_mask,
    embed_points,
)
from apsam_train.models.pyramid import STACKED, Pyramid
from apsam_train.models.scratch_init import unfold_what_was_stacked

SMALL_PYRAMID = replace(
    PRESETS["demo"],
    side=64,
    width=32,
    num_heads=2,
    pyramid_widths=(8, 8, 16, 32),
    pyramid_depths=(1, 1, 1),
    embed_dim=32,
    decoder_heads=2,
    decoder_mlp=32,
    iou_hidden=16,
    energy_widths=(4, 4, 8),
)


def built(preset: Preset) -> APSAM:
    torch.manual_seed(0)
    return build(preset).eval()


def test_the_demo_fits_twelve_megabytes_of_half_precision() -> None:
    with torch.device("meta"):
        model = with_category_head(build(PRESETS["demo"]))
    assert 2 * sum(parameter.numel() for parameter in model.parameters()) < 12e6


@torch.no_grad()
def test_the_same_weights_serve_every_side() -> None:
    small, large = built(SMALL_PYRAMID), built(replace(SMALL_PYRAMID, side=96))
    large.load_state_dict(small.state_dict())
    for model in (small, large):
        spec = model.preset.spec
        image = torch.randint(0, 256, (2, spec.side, spec.side, 3), dtype=torch.uint8)
        embedding = model.encode_image(image)
        assert embedding.shape == (2, spec.embed_dim, spec.grid, spec.grid)
        assert embedding.isfinite().all()


@torch.no_grad()
def test_every_part_of_the_pyramid_reaches_the_embedding() -> None:
    model = built(SMALL_PYRAMID)
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    pyramid = model.image_encoder.patch_embed
    assert isinstance(pyramid, Pyramid)
    before = model.encode_image(image)
    for name, parameter in pyramid.named_parameters():
        if name.startswith("says."):  # for training alone
            continue
        kept = parameter.clone()
        # Not a constant: a norm would take it out again.
        parameter.add_(torch.randn_like(parameter))
        assert not torch.allclose(model.encode_image(image), before, atol=1e-5), name
        parameter.copy_(kept)


@torch.no_grad()
@pytest.mark.parametrize("place", [(0, 0), (5, 2), (15, 15)])
def test_the_decoder_starts_by_unfolding_what_was_stacked(place: tuple[int, int]) -> None:
    """One number of one cell, stacked into its token and unfolded again, is that cell's alone."""
    model = built(SMALL_PYRAMID)
    first, second = (model.mask_decoder.output_upscaling[i] for i in (0, 3))
    for layer in (first, second):
        layer.weight.zero_()
        layer.bias.zero_()
    unfold_what_was_stacked(model.mask_decoder)
    spec = model.preset.spec
    per_cell = spec.embed_dim // STACKED**2
    cells = torch.zeros(1, per_cell, spec.mask_side, spec.mask_side)
    cells[0, 1, place[0], place[1]] = 1
    unfolded = second(first(functional.pixel_unshuffle(cells, STACKED)))
    assert torch.equal(unfolded, torch.cat([cells, -cells], dim=1))


def test_nothing_beside_the_pyramid_encodes_images() -> None:
    model = built(SMALL_PYRAMID)
    assert not list(model.adapters)
    names = [name for name, _ in model.image_encoder.named_parameters()]
    assert all(name.startswith("patch_embed.") for name in names)


@torch.no_grad()
def test_part_of_a_picture_is_decoded_as_at_its_place_in_the_whole() -> None:
    """With tokens that are all alike, only places tell: mask and prompt move together."""
    model = built(SMALL_PYRAMID)
    embedding = torch.full((1, 32, 2, 2), 0.5)

    def logits(place: tuple[int, int], click: tuple[float, float]) -> torch.Tensor:
        return model.decode(
            embedding=embedding,
            energy_query=torch.zeros(1, 32),
            image_index=torch.zeros(1, dtype=torch.int64),
            point_coords=torch.tensor([[click]]),
            point_labels=torch.ones(1, 1),
            place=place,
        ).logits

    position = model.prompt_encoder.get_dense_pe()
    moved = logits((1, 2), (4.0, 20.0))
    assert not torch.allclose(moved, logits((0, 0), (4.0, 20.0)), atol=1e-6)
    tokens = embed_points(
        model.prompt_encoder, torch.tensor([[[4.0 + 2 * 16, 20.0 + 16]]]), torch.ones(1, 1)
    )
    wanted, _, _ = decode_masks(
        model.mask_decoder,
        embedding=embedding,
        position=position[..., 1:3, 2:4],
        sparse=tokens,
        dense=embed_mask(model.prompt_encoder, None, None),
        energy_query=torch.zeros(1, 32),
        token_init="add",
        draw=draw_masks,
    )
    torch.testing.assert_close(moved, wanted)
