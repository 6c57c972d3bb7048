"""The exact rewrites between the model as published and the graphs: what each is and prevents.

Most are the form in which `apsam_train.models` computes anyway, because one form that trains and
exports cannot drift apart; `rewritten` adds what only graphs need, `cpu_encoder` and
`cpu_decoder` what only FP32 graphs do. Tests in float64 hold each to `segment_anything`, directly
or through the form that training has.
"""

from __future__ import annotations

import copy

from torch import Tensor, nn
from torch.nn import functional

from apsam_serve.contract.manifest import Pass, Precision
from apsam_train.models import APSAM
from apsam_train.models.channel_norm import ChannelNorm
from apsam_train.models.sam_parts import LayerNorm2d

PASSES = (
    Pass(
        name="project_before_window_padding",
        prevents="qkv and proj of the zeros that fill windows up: 15.6 % of ViT-L's work at 512",
    ),
    Pass(
        name="fold_relative_positions",
        prevents="a bias of tokens x tokens per head, which keeps attention from being fused",
    ),
    Pass(
        name="widen_heads",
        prevents="attention that no fused kernel takes, in half-precision builds",
    ),
    Pass(
        name="padding_as_one_key",
        prevents="queries that nobody reads and keys that are all alike in windows filled up: half "
        "of windowed attention at 512, in FP32 graphs",
    ),
    Pass(
        name="tokens_in_window_order",
        prevents="cutting windows out of the grid in every block, in FP32 graphs",
    ),
    Pass(
        name="merge_adapter_with_mlp",
        prevents="four passes over all tokens per block, in FP32 graphs",
    ),
    Pass(
        name="rows_that_do_not_crowd",
        prevents="matrix products at two thirds of the CPU's speed, whose rows share cache sets, "
        "in FP32 graphs",
    ),
    Pass(
        name="patches_in_one_product",
        prevents="transposing float pixels, and passes over them, in FP32 graphs",
    ),
    Pass(
        name="project_tokens_not_places",
        prevents="projections of every place of the image for a few tokens: half of a decode, in "
        "FP32 graphs",
    ),
    Pass(
        name="draw_in_token_order",
        prevents="transposed convolutions, and moving all channels in place of four masks, in FP32 "
        "graphs",
    ),
    Pass(
        name="labels_by_arithmetic",
        prevents="OneHot, NonZero and ScatterND, on which compilers of the decoder fail",
    ),
    Pass(
        name="mask_prompt_by_arithmetic",
        prevents="a second decoder, or an If, for prompts without a mask",
    ),
    Pass(
        name="gather_embeddings",
        prevents="Tile and repeat_interleave, and one image's prompts only in a batch",
    ),
    Pass(
        name="category_by_arithmetic",
        prevents="ArgMax with GatherND on a computed index",
    ),
    Pass(
        name="normalise_channels_in_one_node",
        prevents="eight elementwise nodes per LayerNorm2d, each a pass over memory on a CPU",
    ),
    Pass(
        name="upscale_by_matrix_product",
        prevents="transposed convolutions in BF16, which TensorRT-RTX does not compile",
    ),
)


def rewritten(model: APSAM, precision: Precision = "fp32") -> APSAM:
    """The model with the rewrites that only graphs of this precision need: other modules, the same
    weights."""
    weights = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    changed = copy.deepcopy(model, weights)
    for parent in list(changed.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, LayerNorm2d):
                setattr(parent, name, _one_node(child))
            if isinstance(child, nn.ConvTranspose2d) and precision == "bf16":
                setattr(parent, name, Upscaled(child))
    return changed


class Upscaled(nn.Module):
    """A transposed convolution whose kernel is its stride: every pixel becomes a square of its own,
    [B, C, H, W] -> [B, C', k H, k W]."""

    def __init__(self, convolution: nn.ConvTranspose2d) -> None:
        super().__init__()
        weight, bias = convolution.weight, convolution.bias
        inputs, outputs, size, _ = weight.shape
        assert convolution.stride == (size, size)
        assert bias is not None
        self.size = size
        self.product = nn.Conv2d(inputs, outputs * size * size, kernel_size=1)
        by_place = weight.detach().permute(1, 2, 3, 0).reshape(-1, inputs, 1, 1)
        self.product.weight = nn.Parameter(by_place)
        self.product.bias = nn.Parameter(bias.detach().repeat_interleave(size * size))

    def forward(self, x: Tensor) -> Tensor:
        return functional.pixel_shuffle(self.product(x), self.size)


def _one_node(norm: LayerNorm2d) -> nn.Module:
    replacement = ChannelNorm(norm.weight.numel())
    replacement.norm.weight, replacement.norm.bias = norm.weight, norm.bias
    replacement.norm.eps = norm.eps
    return replacement
