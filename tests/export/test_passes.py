"""Every exact rewrite against `segment_anything`'s own lines, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from apsam_export.passes import PASSES, rewritten
from apsam_serve.contract.prompts import PointLabel
from apsam_train.models import APSAM, build, with_category_head
from apsam_train.models.attention import _fold_positions, _project, attend
from apsam_train.models.prompt_decoder import embed_mask, embed_points
from apsam_train.models.sam_parts import LayerNorm2d, window_partition
from tests.train.conftest import SMALL

EXACT = {"atol": 1e-12, "rtol": 0.0}


@pytest.fixture
def model() -> APSAM:
    """A small model in float64 with a category head, in which nothing is zero."""
    torch.manual_seed(0)
    model = with_category_head(build(SMALL)).eval()
    grid = model.prompt_encoder.get_dense_pe().double()
    model.double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    positions = model.prompt_encoder.pe_layer

    def in_double(coords: Tensor, size: tuple[int, int]) -> Tensor:
        return positions._pe_encoding(coords / torch.tensor(size[::-1], dtype=coords.dtype))

    # SAM's own go through float32.
    positions.forward_with_coords = in_double
    model.prompt_encoder.get_dense_pe = lambda: grid
    return model


def test_every_pass_has_a_test_here_and_says_what_it_prevents() -> None:
    for one in PASSES:
        assert f"test_{one.name}" in globals(), one.name
        assert one.prevents
        assert "\n" not in one.prevents


@torch.no_grad()
def test_project_before_window_padding(model: APSAM) -> None:
    block = model.image_encoder.blocks[0]
    side = block.window_size
    tokens = torch.randn(2, 4, 4, model.preset.width, dtype=torch.float64)
    padded, _ = window_partition(tokens, side)
    ours, _ = window_partition(_project(block, tokens, (side, side)), side)
    assert padded.shape[0] == 2 * 4  # 4 x 4 tokens fill windows of 3 x 3 up
    torch.testing.assert_close(ours, block.attn.qkv(padded), **EXACT)


@torch.no_grad()
def test_fold_relative_positions(model: APSAM) -> None:
    from segment_anything.modeling.image_encoder import add_decomposed_rel_pos

    block = model.image_encoder.blocks[1]
    attention, grid = block.attn, (4, 4)
    heads = attention.num_heads
    query, key = torch.randn(2, 3, heads, 16, model.preset.width // heads, dtype=torch.float64)
    wide_query, wide_key = _fold_positions(block, query, key, grid)
    flat = query.flatten(0, 1)
    scores = attention.scale * flat @ key.flatten(0, 1).transpose(1, 2)
    want = add_decomposed_rel_pos(
        scores, flat, attention.rel_pos_h, attention.rel_pos_w, grid, grid
    )
    found = (wide_query @ wide_key.transpose(2, 3)).flatten(0, 1)
    torch.testing.assert_close(found, want, **EXACT)


@torch.no_grad()
def test_widen_heads(model: APSAM, monkeypatch: pytest.MonkeyPatch) -> None:
    widths = []

    def spy(query: Tensor, key: Tensor, value: Tensor, **options: float) -> Tensor:
        widths.append((query.shape[-1], key.shape[-1], value.shape[-1]))
        return attention(query, key, value, **options)

    attention = functional.scaled_dot_product_attention
    monkeypatch.setattr(functional, "scaled_dot_product_attention", spy)
    tokens = torch.randn(2, 4, 4, model.preset.width, dtype=torch.float64)
    block = model.image_encoder.blocks[0]
    wide, narrow = (attend(block, tokens, fused=fused) for fused in (True, False))
    torch.testing.assert_close(wide, narrow, **EXACT)
    assert widths == [(24, 24, 24), (22, 22, 16)]  # 16 of a head, 3 rows and 3 columns


@torch.no_grad()
def test_labels_by_arithmetic(model: APSAM) -> None:
    encoder = model.prompt_encoder
    coords = torch.rand(3, 4, 2, dtype=torch.float64) * model.preset.side
    labels = torch.tensor(
        [[PointLabel.POSITIVE, PointLabel.NEGATIVE, PointLabel.POSITIVE, PointLabel.PADDING]] * 3
    )
    want = encoder._embed_points(coords, labels, pad=False)
    torch.testing.assert_close(embed_points(encoder, coords, labels), want, **EXACT)

    corners = torch.tensor([[PointLabel.BOX_TOP_LEFT, PointLabel.BOX_BOTTOM_RIGHT]] * 3)
    boxes = encoder._embed_boxes(coords[:, :2].flatten(1))
    torch.testing.assert_close(embed_points(encoder, coords[:, :2], corners), boxes, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("given", [True, False])
def test_mask_prompt_by_arithmetic(model: APSAM, given: bool) -> None:
    encoder, side = model.prompt_encoder, model.preset.spec.mask_side
    masks = torch.randn(1, 1, side, side, dtype=torch.float64)
    _, want = encoder(points=None, boxes=None, masks=masks if given else None)
    if not given:
        want = want[:1]
    found = embed_mask(encoder, masks, torch.full((1,), float(given), dtype=torch.float64))
    torch.testing.assert_close(found, want, **EXACT)


@torch.no_grad()
def test_gather_embeddings(model: APSAM) -> None:
    spec = model.preset.spec
    embeddings = torch.randn(2, spec.embed_dim, spec.grid, spec.grid, dtype=torch.float64)
    coords = torch.rand(3, 2, 2, dtype=torch.float64) * spec.side
    labels = torch.ones(3, 2)
    encoder, decoder = model.prompt_encoder, model.mask_decoder
    sparse = embed_points(encoder, coords, labels)
    _, dense = encoder(points=None, boxes=None, masks=None)
    owner = torch.tensor([1, 0, 1])
    found = model.decode(
        embedding=embeddings,
        energy_query=torch.zeros(2, spec.embed_dim, dtype=torch.float64),
        image_index=owner,
        point_coords=coords,
        point_labels=labels,
    )
    for image in (0, 1):
        mine = owner == image
        logits, iou = decoder.predict_masks(
            image_embeddings=embeddings[image : image + 1],  # SAM repeats it for every prompt
            image_pe=encoder.get_dense_pe(),
            sparse_prompt_embeddings=sparse[mine],
            dense_prompt_embeddings=dense.expand(int(mine.sum()), -1, -1, -1),
        )
        torch.testing.assert_close(found.logits[mine], logits, **EXACT)
        torch.testing.assert_close(found.iou[mine], iou, **EXACT)


@torch.no_grad()
def test_category_by_arithmetic(model: APSAM) -> None:
    head = model.category_head
    assert head is not None
    tokens = torch.randn(5, 4, model.preset.embed_dim, dtype=torch.float64)
    iou = torch.rand(5, 4, dtype=torch.float64)
    want = head.layers(tokens[torch.arange(5), iou.argmax(dim=1)])
    torch.testing.assert_close(head(tokens, iou), want, **EXACT)


@torch.no_grad()
def test_normalise_channels_in_one_node(model: APSAM) -> None:
    changed = rewritten(model)
    assert not [m for m in changed.modules() if isinstance(m, LayerNorm2d)]
    assert [m for m in model.modules() if isinstance(m, LayerNorm2d)], "the model was edited"
    assert {id(p) for p in changed.parameters()} == {id(p) for p in model.parameters()}
    features = torch.randn(2, model.preset.embed_dim, 5, 7, dtype=torch.float64)
    ours, theirs = (part.image_encoder.neck[1](features) for part in (changed, model))
    torch.testing.assert_close(ours, theirs, **EXACT)


@torch.no_grad()
def test_upscale_by_matrix_product(model: APSAM) -> None:
    changed, kept = rewritten(model, "bf16"), rewritten(model, "fp16")
    features = torch.randn(2, model.preset.embed_dim, 3, 5, dtype=torch.float64)
    want = model.mask_decoder.output_upscaling(features)
    for one in (changed, kept):
        torch.testing.assert_close(one.mask_decoder.output_upscaling(features), want, **EXACT)
    assert not [m for m in changed.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert [m for m in kept.modules() if isinstance(m, nn.ConvTranspose2d)]


@torch.no_grad()
def test_all_rewrites_together_leave_the_embedding_of_segment_anything(model: APSAM) -> None:
    for adapter in model.adapters:
        nn.init.zeros_(adapter.up.weight)
        nn.init.zeros_(adapter.up.bias)
    pixels = torch.randn(1, 3, model.preset.side, model.preset.side, dtype=torch.float64)
    want: Tensor = model.image_encoder(pixels)
    changed = rewritten(model)
    changed.normalise = lambda image: image  # type: ignore[method-assign]
    torch.testing.assert_close(changed.encode_image(pixels), want, **EXACT)
    assert functional.mse_loss(want, torch.zeros_like(want)) > 0
