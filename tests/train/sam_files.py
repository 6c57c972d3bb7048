"""SAM files for tests: `segment_anything`'s own modules, small, in the layout of the official
checkpoints."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from torch import nn

from apsam_train.models import Preset
from apsam_train.models.sam_parts import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)

SMALL_SAM = Preset(
    name="small_sam",
    side=64,
    width=32,
    depth=4,
    num_heads=2,
    global_blocks=(1, 3),
    window=3,
    embed_dim=32,
    decoder_heads=2,
    decoder_mlp=64,
    iou_hidden=16,
    energy_widths=(4, 8, 8),
)


def official_sam(preset: Preset, *, side: int) -> Sam:
    """As `segment_anything.build_sam` puts it together; position tables are not zero."""
    encoder = ImageEncoderViT(
        depth=preset.depth,
        embed_dim=preset.width,
        img_size=side,
        mlp_ratio=4,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        num_heads=preset.num_heads,
        patch_size=16,
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=preset.global_blocks,
        window_size=preset.window,
        out_chans=preset.embed_dim,
    )
    for name, parameter in encoder.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            nn.init.normal_(parameter, std=0.2)
    prompts = PromptEncoder(
        embed_dim=preset.embed_dim,
        image_embedding_size=(side // 16, side // 16),
        input_image_size=(side, side),
        mask_in_chans=16,
    )
    decoder = MaskDecoder(
        num_multimask_outputs=3,
        transformer=TwoWayTransformer(
            depth=2,
            embedding_dim=preset.embed_dim,
            mlp_dim=preset.decoder_mlp,
            num_heads=preset.decoder_heads,
        ),
        transformer_dim=preset.embed_dim,
        iou_head_depth=3,
        iou_head_hidden_dim=preset.iou_hidden,
    )
    return Sam(encoder, prompts, decoder).eval()


def write_sam(path: Path, *, seed: int = 0) -> Path:
    """A file for `SMALL_SAM`, made for twice its side."""
    torch.manual_seed(seed)
    torch.save(official_sam(SMALL_SAM, side=2 * SMALL_SAM.side).state_dict(), path)
    return path
