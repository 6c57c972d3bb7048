"""Activation checkpointing of the adapted encoder."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from apsam_train.models import APSAM, build
from apsam_train.models.preset import Placement
from tests.train.sam_files import SMALL_SAM


def gradients(model: APSAM, *, checkpointing: bool) -> tuple[dict[str, Tensor], int]:
    """Gradients of every parameter that has one, and the bytes of activations kept for them."""
    side = model.preset.side
    torch.manual_seed(0)
    image = torch.randint(0, 256, (2, side, side, 3), dtype=torch.uint8)
    kept: dict[int, int] = {}
    weights = {value.data_ptr() for value in model.state_dict().values()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in weights:
            kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    model.zero_grad()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        embedding = model.encode_image(image, checkpointing=checkpointing)
        num_bytes = sum(kept.values())
    embedding.square().sum().backward()
    named = model.named_parameters()
    return {name: p.grad.clone() for name, p in named if p.grad is not None}, num_bytes


@pytest.mark.parametrize("placement", ["mlp_parallel", "after_attention"])
@pytest.mark.parametrize("frozen", [False, True])
def test_checkpointing_gives_the_same_gradients_from_less_memory(
    placement: Placement, frozen: bool
) -> None:
    torch.manual_seed(0)
    model = build(replace(SMALL_SAM, adapter_placement=placement))
    for adapter in model.adapters:
        torch.nn.init.normal_(adapter.up.weight)
    if frozen:
        model.freeze_sam()
    plain, num_bytes = gradients(model, checkpointing=False)
    checkpointed, fewer_bytes = gradients(model, checkpointing=True)
    assert any(name.startswith("adapters") for name in plain)
    assert plain.keys() == checkpointed.keys()
    assert all(torch.equal(plain[name], checkpointed[name]) for name in plain)
    assert fewer_bytes < 0.3 * num_bytes, (fewer_bytes, num_bytes)
