"""Official SAM checkpoints (`sam_vit_{b,l,h}_*.pth`, made for 1024 x 1024) into an APSAM.

Two kinds of tensors depend on the input side: the absolute position embedding, and the relative
positions of blocks that attend over the whole grid. Windowed blocks keep theirs at any side.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from apsam_train.errors import CheckpointError
from apsam_train.files import sha256_of
from apsam_train.models import APSAM, PRESETS, Preset, build

SAM_PARTS = ("image_encoder.", "prompt_encoder.", "mask_decoder.")
_IGNORED = ("pixel_mean", "pixel_std")
_PATCH = "image_encoder.patch_embed.proj.weight"
_POSITIONS = "image_encoder.pos_embed"
_NUM_NAMED = 3


def load_sam(path: Path, model: APSAM) -> str:
    """Load the weights of an official SAM file; returns its SHA-256. Raises CheckpointError.

    Adapters, energy parts and category head stay as they are.
    """
    digest = file_sha256(path)
    load_sam_weights(path, model)
    return digest


def load_sam_weights(path: Path, model: APSAM) -> None:
    """As `load_sam`, for a caller who knows the SHA-256 already."""
    preset = model.preset
    if preset.stem != "patch":
        raise CheckpointError(
            f"{path} cannot start preset {preset.name!r}, whose encoder is not SAM's; "
            f"choose one of {', '.join(_variants().values())}"
        )
    state = _read(path)
    expected = {name: value for name, value in model.state_dict().items() if is_sam(name)}
    _check_variant(path, state, preset)
    _check_names(path, state, expected)
    state = fit_positions(state, grid=preset.spec.grid, global_blocks=preset.global_blocks)
    _check_shapes(path, state, expected)
    model.load_state_dict(state, strict=False)


def frozen_sam(path: Path) -> APSAM:
    """SAM itself, as the paper's "SAM (frozen)": whichever variant the file is, with adapters and
    energy parts that add nothing yet, in evaluation mode. Raises CheckpointError."""
    state = _read(path)
    width = state[_PATCH].shape[0] if _PATCH in state else 0
    if width not in _variants():
        raise CheckpointError(
            f"{path} is no SAM of this release: {_PATCH} has width {width}, known are "
            f"{', '.join(f'{w} ({name})' for w, name in _variants().items())}"
        )
    model = build(PRESETS[_variants()[width]])
    load_sam_weights(path, model)
    return model.eval()


def is_sam(name: str) -> bool:
    """Whether a tensor of an APSAM is one of SAM's own."""
    return name.startswith(SAM_PARTS)


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal. Raises CheckpointError."""
    try:
        return sha256_of(path)
    except OSError as error:
        raise CheckpointError(
            f"{path} cannot be read ({error.strerror}); give a file like sam_vit_l_0b3195.pth"
        ) from error


def fit_positions(
    state: Mapping[str, Tensor], *, grid: int, global_blocks: Iterable[int]
) -> dict[str, Tensor]:
    """A SAM state dict whose position tensors fit a grid of `grid` x `grid` tokens."""
    # By block number: public code that looks for its digits in names ("2" in "blocks.12") also
    # stretches windowed tables.
    tables = {
        f"image_encoder.blocks.{block}.attn.rel_pos_{axis}"
        for block in global_blocks
        for axis in "hw"
    }
    fitted = dict(state)
    fitted[_POSITIONS] = resize_absolute(state[_POSITIONS], grid=grid)
    for name in tables:
        fitted[name] = resize_relative(state[name], size=2 * grid - 1)
    return fitted


def resize_absolute(embedding: Tensor, *, grid: int) -> Tensor:
    """Absolute positions [1, G, G, C] -> [1, grid, grid, C], bilinear."""
    if embedding.shape[1:3] == (grid, grid):
        return embedding
    # Bilinear as in SAMed and SAM-Med2D, so that runs compare; at half the side, means of 2 x 2.
    planes = embedding.permute(0, 3, 1, 2)
    resized = functional.interpolate(planes, (grid, grid), mode="bilinear", align_corners=False)
    return resized.permute(0, 2, 3, 1)


def resize_relative(table: Tensor, *, size: int) -> Tensor:
    """Relative positions [L, D] -> [size, D], linear, as `segment_anything`'s get_rel_pos."""
    if table.shape[0] == size:
        return table
    return functional.interpolate(table.T[None], size, mode="linear", align_corners=False)[0].T


def _read(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise anything
        refused = re.search(r"GLOBAL (\S+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and refused:
            raise CheckpointError(
                f"{path} is refused: it holds {refused[1]}, not tensors alone, and reading such a "
                "file can run code hidden in it; give the official sam_vit_*.pth, or save its "
                "state_dict() with torch.save"
            ) from error
        reason = (str(error).splitlines() or [type(error).__name__])[0][:100]
        raise CheckpointError(
            f"{path} is truncated or damaged ({reason}); download it again"
        ) from error
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        found = f"the keys {_some(state)}" if isinstance(state, Mapping) else type(state).__name__
        raise CheckpointError(
            f"{path} is no SAM state dict: it holds {found}, expected tensors by name, such as "
            f"{_PATCH}"
        )
    return {name: value for name, value in state.items() if name not in _IGNORED}


def _check_variant(path: Path, state: Mapping[str, Tensor], preset: Preset) -> None:
    width = state[_PATCH].shape[0] if _PATCH in state else preset.width
    if width != preset.width:
        variant = _variants().get(width, "no variant of this release")
        raise CheckpointError(
            f"{path} is {variant} (width {width}), but preset {preset.name!r} has width "
            f"{preset.width}; give sam_{preset.name}_*.pth or choose another preset"
        )


def _variants() -> dict[int, str]:
    return {preset.width: preset.name for preset in PRESETS.values() if preset.stem == "patch"}


def _check_names(path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    missing = [name for name in expected if name not in state]
    unexpected = [name for name in state if name not in expected]
    if missing or unexpected:
        raise CheckpointError(
            f"{path} is no SAM state dict of this variant: {len(missing)} keys are missing "
            f"({_some(missing)}), {len(unexpected)} are unexpected ({_some(unexpected)}); give an "
            "official sam_vit_*.pth"
        )


def _check_shapes(path: Path, state: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    for name, value in expected.items():
        if state[name].shape != value.shape:
            raise CheckpointError(
                f"{path}: {name} is {tuple(state[name].shape)}, expected {tuple(value.shape)}; "
                "give an official sam_vit_*.pth"
            )


def _some(names: Iterable[object]) -> str:
    listed = [str(name) for name in names]
    more = ", ..." if len(listed) > _NUM_NAMED else ""
    return ", ".join(listed[:_NUM_NAMED]) + more if listed else "none"
