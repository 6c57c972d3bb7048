"""The paper's numbers, and APSAM at step 0."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from apsam_train.errors import ConfigError
from apsam_train.models import APSAM, PRESETS, Preset, build
from apsam_train.models.build import preset as preset_named
from apsam_train.models.sam_parts import Sam

PATCH_SAM = Preset(
    name="small_sam",
    side=128,
    width=32,
    depth=3,
    num_heads=2,
    global_blocks=(1,),
    window=3,
    embed_dim=32,
    decoder_heads=2,
    decoder_mlp=64,
    iou_hidden=16,
    energy_widths=(4, 8, 8),
)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(preset: Preset) -> APSAM:
    with torch.device("meta"):
        return build(preset)


def test_vit_l_has_the_papers_trainable_parameters() -> None:
    model = on_meta(PRESETS["vit_l"])
    model.freeze_sam()
    assert count(model.adapters) == 10_056_480
    assert model.num_trainable() == 11_912_289


def test_vit_l_has_sams_frozen_parameters() -> None:
    model = on_meta(replace(PRESETS["vit_l"], side=1024))
    assert count(model.image_encoder) == 308_278_272
    assert count(model.prompt_encoder) == 6_220
    assert count(model.mask_decoder) == 4_058_340


@pytest.mark.parametrize(
    ("name", "millions"), [("vit_b", 89.7), ("vit_l", 308.3), ("vit_h", 637.0)]
)
def test_every_sam_variant_has_the_published_encoder_size(name: str, millions: float) -> None:
    model = on_meta(replace(PRESETS[name], side=1024))
    assert count(model.image_encoder) / 1e6 == pytest.approx(millions, abs=0.1)


def test_an_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(ConfigError, match="'vit_x' is unknown; choose one of tiny, demo, vit_b"):
        preset_named("vit_x")


@pytest.fixture
def pair() -> tuple[APSAM, Sam]:
    """APSAM at step 0 and the original SAM with the same weights."""
    torch.manual_seed(0)
    ours = build(PATCH_SAM).eval()
    for name, parameter in ours.image_encoder.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            nn.init.normal_(parameter, std=0.2)
    other = build(PATCH_SAM)
    sam = Sam(other.image_encoder, other.prompt_encoder, other.mask_decoder).eval()
    shared = {k: v for k, v in ours.state_dict().items() if k in sam.state_dict()}
    assert set(shared) == set(sam.state_dict())
    sam.load_state_dict(shared)
    return ours, sam


@pytest.mark.parametrize("placement", ["mlp_parallel", "after_attention"])
def test_at_step_0_apsam_equals_segment_anything(pair: tuple[APSAM, Sam], placement: str) -> None:
    ours, sam = pair
    ours.preset = replace(ours.preset, adapter_placement=placement)
    torch.manual_seed(1)
    image = torch.randint(0, 256, (1, 128, 128, 3), dtype=torch.uint8)
    points, labels = torch.rand(5, 2, 2) * 128, torch.tensor([[1.0, 0.0]]).repeat(5, 1)
    with torch.no_grad():
        theirs = sam.image_encoder(ours.normalise(image))
        sparse, dense = sam.prompt_encoder((points, labels), None, None)
        masks, iou = sam.mask_decoder.predict_masks(
            theirs, sam.prompt_encoder.get_dense_pe(), sparse, dense
        )
        embedding = ours.encode_image(image)
        query, _ = ours.encode_energy(image)
        our_masks, our_iou, category = ours.decode(
            embedding=embedding,
            energy_query=query,
            image_index=torch.zeros(5, dtype=torch.int64),
            point_coords=torch.cat([points, torch.zeros(5, 1, 2)], dim=1),
            point_labels=torch.cat([labels, -torch.ones(5, 1)], dim=1),
        )
    preprocessed = sam.preprocess(image[0].permute(2, 0, 1).float())[None]
    torch.testing.assert_close(ours.normalise(image), preprocessed)
    assert not query.any()
    torch.testing.assert_close(embedding, theirs, atol=1e-5, rtol=1e-5)
    assert category is None
    torch.testing.assert_close(our_masks, masks, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(our_iou, iou, atol=1e-5, rtol=1e-5)


def test_box_and_mask_prompts_equal_segment_anything(pair: tuple[APSAM, Sam]) -> None:
    ours, sam = pair
    torch.manual_seed(2)
    embedding, previous = torch.randn(1, 32, 8, 8), torch.randn(3, 1, 32, 32)
    boxes = torch.tensor([[4.0, 8.0, 60.0, 90.0]]).repeat(3, 1)
    with torch.no_grad():
        sparse, dense = sam.prompt_encoder(None, boxes, previous)
        masks, _ = sam.mask_decoder.predict_masks(
            embedding, sam.prompt_encoder.get_dense_pe(), sparse, dense
        )
        our_masks, _, _ = ours.decode(
            embedding=embedding,
            energy_query=torch.zeros(1, 32),
            image_index=torch.zeros(3, dtype=torch.int64),
            point_coords=boxes.view(3, 2, 2),
            point_labels=torch.tensor([[2.0, 3.0]]).repeat(3, 1),
            mask_input=previous,
            has_mask_input=torch.ones(3),
        )
    torch.testing.assert_close(our_masks, masks, atol=1e-5, rtol=1e-5)


def test_each_prompt_is_answered_on_its_own_image(small_model: APSAM) -> None:
    spec = small_model.preset.spec
    embedding = torch.randn(2, spec.embed_dim, spec.grid, spec.grid)
    query = torch.randn(2, spec.embed_dim)

    def decode(images: list[int], index: list[int]) -> torch.Tensor:
        with torch.no_grad():
            logits, _, _ = small_model.decode(
                embedding=embedding[images],
                energy_query=query[images],
                image_index=torch.tensor(index),
                point_coords=torch.full((len(index), 2, 2), 20.0),
                point_labels=torch.tensor([[1.0, -1.0]]).repeat(len(index), 1),
            )
        return logits

    together = decode([0, 1], [1, 0, 1])
    torch.testing.assert_close(together[:1], decode([1], [0]), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(together[1:2], decode([0], [0]), atol=1e-4, rtol=1e-4)
