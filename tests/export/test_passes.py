"""Every exact rewrite against `segment_anything`'s own lines, in float64."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from apsam_export.cpu_attention import CpuAttention
from apsam_export.cpu_decoder import draw_in_token_order, with_cpu_decoder
from apsam_export.cpu_encoder import CpuEncoder, Patches, merged_mlp
from apsam_export.passes import PASSES, rewritten
from apsam_export.products import Product, spread
from apsam_export.windows import order_of, windows_of
from apsam_serve.contract.prompts import PointLabel
from apsam_train.models import APSAM, build, with_category_head
from apsam_train.models.attention import _fold_positions, _project, attend
from apsam_train.models.preset import Placement, Stem
from apsam_train.models.prompt_decoder import draw_masks, embed_mask, embed_points
from apsam_train.models.sam_parts import LayerNorm2d, window_partition, window_unpartition
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
    positions.forward = lambda size: grid[0]
    return model


def test_every_pass_has_a_test_here_and_says_what_it_prevents() -> None:
    tests = "".join(path.read_text("utf-8") for path in Path(__file__).parent.glob("test_*.py"))
    for one in PASSES:
        assert f"def test_{one.name}(" in tests, one.name
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
@pytest.mark.parametrize(("grid", "side"), [(4, 3), (5, 3), (4, 2), (2, 3)])
def test_padding_as_one_key(model: APSAM, grid: int, side: int) -> None:
    """Windows filled up below, beside, in the corner, nowhere, and everywhere."""
    block = model.image_encoder.blocks[0]
    block.window_size = side
    for name in ("rel_pos_h", "rel_pos_w"):
        table = torch.randn(2 * side - 1, model.preset.width // 2, dtype=torch.float64)
        setattr(block.attn, name, nn.Parameter(table))
    tokens = torch.randn(2, grid, grid, model.preset.width, dtype=torch.float64)
    padded, size = window_partition(tokens, side)
    want = window_unpartition(block.attn(padded), side, size, (grid, grid))
    order = order_of(grid, side)
    found = CpuAttention(block, windows_of(grid, side))(tokens.flatten(1, 2)[:, order])
    torch.testing.assert_close(found, want.flatten(1, 2)[:, order], **EXACT)


def test_tokens_in_window_order() -> None:
    order, start = order_of(5, 3), 0
    assert sorted(order.tolist()) == list(range(25))
    windows = windows_of(5, 3)
    assert [(one.num, one.height, one.width) for one in windows] == [
        (1, 3, 3), (1, 3, 2), (1, 2, 3), (1, 2, 2),
    ]  # fmt: skip
    for one in windows:
        mine = order[start : start + one.num_tokens].view(one.height, one.width)
        down, across = torch.arange(one.height)[:, None], torch.arange(one.width)
        assert torch.equal(mine, mine[0, 0] + 5 * down + across)
        start += one.num_tokens
    two_by_two = windows_of(32, 14)[0]
    assert (two_by_two.num, two_by_two.num_tokens) == (4, 784)


@torch.no_grad()
def test_merge_adapter_with_mlp(model: APSAM) -> None:
    mlp, adapter = model.image_encoder.blocks[0].mlp, model.adapters[0]
    tokens = torch.randn(2, 7, model.preset.width, dtype=torch.float64)
    merged = merged_mlp(mlp.lin1, mlp.lin2, adapter.down, adapter.up, scale=0.3)
    torch.testing.assert_close(merged(tokens), mlp(tokens) + 0.3 * adapter(tokens), **EXACT)


@torch.no_grad()
@pytest.mark.parametrize(
    ("width", "wide"), [(1024, 1040), (3072, 3088), (512, 528), (768, 768), (3225, 3232)]
)
def test_rows_that_do_not_crowd(width: int, wide: int) -> None:
    assert spread(width) == wide
    linear = nn.Linear(width, 5, dtype=torch.float64)
    product = Product(linear.weight, linear.bias)
    tokens = torch.randn(3, width, dtype=torch.float64)
    torch.testing.assert_close(product(tokens), linear(tokens), **EXACT)
    assert product.weight.shape[1] == (wide if width % 512 == 0 else width)


@torch.no_grad()
def test_patches_in_one_product() -> None:
    torch.manual_seed(0)
    model = build(replace(SMALL, stem="patch")).double().eval()
    encoder = model.image_encoder
    nn.init.normal_(encoder.pos_embed)
    image = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    want = encoder.patch_embed(model.normalise(image.double())) + encoder.pos_embed
    torch.testing.assert_close(Patches(model)(image), want.flatten(1, 2), **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("placement", ["mlp_parallel", "after_attention"])
@pytest.mark.parametrize(("stem", "window"), [("patch", 3), ("conv", 3), ("conv", 0)])
def test_the_encoder_for_cpus_is_the_encoder(
    stem: Stem, window: int, placement: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    small = replace(SMALL, stem=stem, window=window, adapter_placement=placement)
    model = build(small).eval().double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    monkeypatch.setattr(Tensor, "float", Tensor.double)  # of pixels
    image = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    want = model.encode_image(image)
    torch.testing.assert_close(CpuEncoder(model).encode_image(image), want, **EXACT)


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
def test_mask_prompt_by_arithmetic(model: APSAM) -> None:
    encoder, side = model.prompt_encoder, model.preset.spec.mask_side
    masks = torch.randn(3, 1, side, side, dtype=torch.float64)
    given = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)
    found = embed_mask(encoder, masks, given)
    for row in range(3):
        mask = masks[row : row + 1] if given[row] else None
        _, want = encoder(points=None, boxes=None, masks=mask)
        torch.testing.assert_close(found[row : row + 1], want, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("for_cpus", [False, True])
def test_gather_embeddings(model: APSAM, for_cpus: bool) -> None:
    spec = model.preset.spec
    embeddings = torch.randn(2, spec.embed_dim, spec.grid, spec.grid, dtype=torch.float64)
    coords = torch.rand(3, 2, 2, dtype=torch.float64) * spec.side
    labels = torch.ones(3, 2)
    encoder, decoder = model.prompt_encoder, model.mask_decoder
    sparse = embed_points(encoder, coords, labels)
    _, dense = encoder(points=None, boxes=None, masks=None)
    owner = torch.tensor([1, 0, 1])
    asked = with_cpu_decoder(model) if for_cpus else model
    found = asked.decode(
        embedding=embeddings,
        energy_query=torch.zeros(2, spec.embed_dim, dtype=torch.float64),
        image_index=owner,
        point_coords=coords,
        point_labels=labels,
        draw=draw_in_token_order if for_cpus else draw_masks,
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
