"""The FP32 graph's mask decoder against the model's own lines, in float64, and as a graph."""

from __future__ import annotations

from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor, nn

from apsam_export.cpu_decoder import FewTokens, draw_in_token_order, with_cpu_decoder
from apsam_export.passes import rewritten
from apsam_train.models import APSAM, build
from apsam_train.models.prompt_decoder import draw_masks
from tests.train.conftest import SMALL

EXACT = {"atol": 1e-11, "rtol": 0.0}


@pytest.fixture
def model() -> APSAM:
    """A small model in float64 in which nothing is zero."""
    torch.manual_seed(0)
    model = build(SMALL).eval().double()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.2)
    return model


def drawn(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=torch.float64)


@torch.no_grad()
@pytest.mark.parametrize("num_tokens", [6, 30])
def test_project_tokens_not_places(model: APSAM, num_tokens: int) -> None:
    spec = model.preset.spec
    grid = (spec.embed_dim, spec.grid, spec.grid)
    inputs = drawn(3, *grid), drawn(1, *grid), drawn(3, num_tokens, spec.embed_dim)
    theirs = model.mask_decoder.transformer
    ours = FewTokens(theirs)
    for found, want in zip(ours(*inputs), theirs(*inputs), strict=True):
        torch.testing.assert_close(found, want, **EXACT)


@torch.no_grad()
@pytest.mark.parametrize("one_node", [True, False])
def test_draw_in_token_order(model: APSAM, one_node: bool) -> None:
    decoder, spec = (rewritten(model) if one_node else model).mask_decoder, model.preset.spec
    tokens = drawn(3, decoder.num_mask_tokens, spec.embed_dim)
    places = drawn(3, spec.grid**2, spec.embed_dim)
    want = draw_masks(decoder, tokens, places)
    assert want.shape == (3, spec.num_masks, spec.mask_side, spec.mask_side)
    torch.testing.assert_close(draw_in_token_order(decoder, tokens, places), want, **EXACT)


def test_the_decoder_is_another_with_the_same_weights_and_the_model_keeps_its_own(
    model: APSAM,
) -> None:
    changed = with_cpu_decoder(model)
    assert isinstance(changed.mask_decoder.transformer, FewTokens)
    assert not [part for part in model.modules() if isinstance(part, FewTokens)]
    assert {id(p) for p in changed.parameters()} == {id(p) for p in model.parameters()}


def test_onnx_runtime_fuses_biases_into_products_and_no_norm_of_places_with_its_sum(
    bundle: Path, tmp_path: Path
) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(
        bundle / "prompt_decoder.onnx", options, providers=["CPUExecutionProvider"]
    )
    nodes = onnx.load(tmp_path / "optimised.onnx").graph.node
    kinds = [node.op_type for node in nodes]
    assert "ConvTranspose" not in kinds
    assert kinds.count("Gemm") + kinds.count("FusedGemm") >= 25
    # Two norms of places, one while drawing, two in the mask prompt, one that has nothing to add.
    assert kinds.count("LayerNormalization") >= 6
    assert len(nodes) < 260
