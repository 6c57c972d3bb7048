"""The image encoder as the FP32 graph has it, for CPUs: the same function in another order.

A CPU is bound by matrix products and by passes over memory. So tokens keep the order of their
windows from block to block, adapters ride in the MLP's products, patches are rows of one product,
and no product reads rows that crowd (`products`). Half-precision graphs keep the form that fused
kernels of GPUs take.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from apsam_export.cpu_attention import CpuAttention
from apsam_export.products import Product, spread
from apsam_export.windows import order_of, windows_of
from apsam_train.models import APSAM
from apsam_train.models.adapters import Adapter
from apsam_train.models.preset import Preset
from apsam_train.models.sam_parts import Block


class CpuEncoder(nn.Module):
    """An APSAM's image encoder."""

    def __init__(self, model: APSAM) -> None:
        super().__init__()
        encoder, preset = model.image_encoder, model.preset
        self.grid = preset.spec.grid
        side = preset.window or self.grid  # 0: every block attends to all tokens, as in SAM
        order = order_of(self.grid, side).to(encoder.pos_embed.device)
        self.to_windows, self.to_grid = Reordered(order), Reordered(order.argsort())
        self.embed = Patches(model) if preset.stem == "patch" else Stem(model)
        self.blocks = nn.ModuleList(
            CpuBlock(block, self._attention(block, preset), adapter, preset)
            for block, adapter in zip(encoder.blocks, model.adapters, strict=True)
        )
        self.neck = encoder.neck

    def _attention(self, block: Block, preset: Preset) -> nn.Module:
        if block.window_size:
            return CpuAttention(block, windows_of(self.grid, preset.window))
        whole = CpuAttention(block, windows_of(self.grid, self.grid))
        return nn.Sequential(self.to_grid, whole, self.to_windows)

    def encode_image(self, image: Tensor) -> Tensor:
        """uint8 [B, S, S, 3] -> embedding [B, C, G, G], as `APSAM.encode_image`."""
        x = self.to_windows(self.embed(image))
        for block in self.blocks:
            x = block(x)
        grid = self.to_grid(x).reshape(-1, self.grid, self.grid, x.shape[2])
        embedding: Tensor = self.neck(grid.permute(0, 3, 1, 2))
        return embedding


class CpuBlock(nn.Module):
    """One block with its adapter: [B, T, C] -> [B, T, C]."""

    def __init__(
        self, block: Block, attention: nn.Module, adapter: nn.Module, preset: Preset
    ) -> None:
        super().__init__()
        assert isinstance(adapter, Adapter)
        parallel = preset.adapter_placement == "mlp_parallel"
        self.norm1, self.attention, self.norm2 = block.norm1, attention, block.norm2
        self.adapter = None if parallel else adapter
        self.scale = preset.adapter_scale
        first, second = block.mlp.lin1, block.mlp.lin2
        self.mlp = (
            merged_mlp(first, second, adapter.down, adapter.up, scale=self.scale)
            if parallel
            else nn.Sequential(
                Product(first.weight, first.bias), nn.GELU(), Product(second.weight, second.bias)
            )
        )

    def forward(self, x: Tensor) -> Tensor:
        attended = self.attention(self.norm1(x))
        if self.adapter is not None:
            attended = attended + self.scale * self.adapter(attended)
        x = x + attended
        out: Tensor = x + self.mlp(self.norm2(x))
        return out


def merged_mlp(
    first: nn.Linear, second: nn.Linear, down: nn.Linear, up: nn.Linear, *, scale: float
) -> nn.Module:
    """second(gelu(first(x))) + scale * up(gelu(down(x))) as one MLP, whose hidden numbers are both
    sides' next to each other."""
    hidden = first.out_features + down.out_features
    filling = spread(hidden) - hidden
    into = functional.pad(torch.cat([first.weight, down.weight]), (0, 0, 0, filling))
    into_bias = functional.pad(torch.cat([first.bias, down.bias]), (0, filling))
    out_of = functional.pad(torch.cat([second.weight, scale * up.weight], dim=1), (0, filling))
    bias = second.bias + scale * up.bias
    return nn.Sequential(Product(into, into_bias), nn.GELU(), Product(out_of, bias))


class Patches(nn.Module):
    """SAM's patch projection as a product over patches: uint8 [B, S, S, 3] -> tokens [B, G * G, C]
    with their positions, row by row."""

    mean: Tensor

    def __init__(self, model: APSAM) -> None:
        super().__init__()
        encoder = model.image_encoder
        projection, positions = encoder.patch_embed.proj, encoder.pos_embed
        self.side: int = projection.kernel_size[0]
        weight = projection.weight.detach() / model.pixel_std
        self.product = Product(weight.permute(0, 2, 3, 1).flatten(1))
        # Not in the bias: where pixels equal the mean, little would be left of two large numbers.
        self.register_buffer("mean", model.pixel_mean.flatten().repeat(self.side**2))
        start = positions.detach().flatten(1, 2) + projection.bias
        self.positions = nn.Parameter(start, requires_grad=False)

    def forward(self, image: Tensor) -> Tensor:
        grid = image.shape[1] // self.side
        by_patch = image.reshape(-1, grid, self.side, grid, self.side, 3).transpose(2, 3)
        pixels = by_patch.reshape(-1, grid * grid, 3 * self.side**2).to(self.mean.dtype)
        tokens: Tensor = self.product(pixels - self.mean) + self.positions
        return tokens


class Stem(nn.Module):
    """Any other stem as it is, with the same result."""

    def __init__(self, model: APSAM) -> None:
        super().__init__()
        self.model = model

    def forward(self, image: Tensor) -> Tensor:
        encoder = self.model.image_encoder
        tokens: Tensor = encoder.patch_embed(self.model.normalise(image)) + encoder.pos_embed
        return tokens.flatten(1, 2)


class Reordered(nn.Module):
    """[B, T, C] -> the tokens of these numbers."""

    order: Tensor

    def __init__(self, order: Tensor) -> None:
        super().__init__()
        self.register_buffer("order", order)

    def forward(self, x: Tensor) -> Tensor:
        return x.index_select(1, self.order)
