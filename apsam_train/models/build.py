"""Every variant of APSAM, with every number, and how its parts are put together."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from torch import nn

from apsam_train.categories import CATEGORIES, CLASSES
from apsam_train.errors import ConfigError
from apsam_train.models import scratch_init
from apsam_train.models.adapters import Adapter
from apsam_train.models.apsam import APSAM
from apsam_train.models.category_head import CategoryHead
from apsam_train.models.conv_stem import ConvStem
from apsam_train.models.energy_encoder import EnergyAwareEncoder, LocationInitializer
from apsam_train.models.preset import Preset
from apsam_train.models.pyramid import Pyramid
from apsam_train.models.sam_parts import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    TwoWayTransformer,
)

PRESETS = {
    preset.name: preset
    for preset in (
        Preset(
            name="tiny",
            side=256,
            width=128,
            depth=2,
            num_heads=4,
            global_blocks=(1,),
            window=8,
            stem="conv",
            adapter_ratio=0.25,
            embed_dim=128,
            decoder_mlp=256,
            iou_hidden=128,
            energy_widths=(8, 16, 32),
        ),
        Preset(
            name="demo",
            side=384,
            width=192,
            depth=2,
            num_heads=6,
            global_blocks=(),
            stem="pyramid",
            pyramid_widths=(32, 48, 96, 192),
            pyramid_depths=(1, 2, 1),
            embed_dim=192,
            decoder_heads=6,
            decoder_mlp=512,
            energy_widths=(8, 16, 32),
        ),
        Preset(name="vit_b", width=768, depth=12, num_heads=12, global_blocks=(2, 5, 8, 11)),
        Preset(name="vit_l", width=1024, depth=24, num_heads=16, global_blocks=(5, 11, 17, 23)),
        Preset(name="vit_h", width=1280, depth=32, num_heads=16, global_blocks=(7, 15, 23, 31)),
    )
}


def preset(name: str) -> Preset:
    """The preset of that name. Raises ConfigError listing the known ones."""
    if name not in PRESETS:
        raise ConfigError(f"preset {name!r} is unknown; choose one of {', '.join(PRESETS)}")
    return PRESETS[name]


def build(preset: Preset) -> APSAM:
    """Compose APSAM with fresh weights; at this point it computes what SAM computes.

    Raises ConfigError for a number of categories that nobody has names for.
    """
    if preset.num_categories not in (0, len(CATEGORIES)):
        raise ConfigError(
            f"preset {preset.name!r} has num_categories {preset.num_categories}; give 0 for no "
            f"category head, or {len(CATEGORIES)}"
        )
    model = APSAM(
        image_encoder=_image_encoder(preset),
        adapters=nn.ModuleList(
            Adapter(preset.width, hidden=int(preset.adapter_ratio * preset.width))
            for _ in range(_num_vit_blocks(preset))
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=preset.embed_dim,
            image_embedding_size=(preset.spec.grid, preset.spec.grid),
            input_image_size=(preset.side, preset.side),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=preset.spec.num_masks - 1,
            transformer=TwoWayTransformer(
                depth=2,
                embedding_dim=preset.embed_dim,
                mlp_dim=preset.decoder_mlp,
                num_heads=preset.decoder_heads,
            ),
            transformer_dim=preset.embed_dim,
            iou_head_depth=3,
            iou_head_hidden_dim=preset.iou_hidden,
        ),
        energy_encoder=EnergyAwareEncoder(preset.energy_widths),
        location_initializer=LocationInitializer(
            width=preset.energy_widths[-1], top_k=preset.top_k, embed_dim=preset.embed_dim
        ),
        preset=preset,
    )
    if preset.stem == "conv":
        scratch_init.keep_detail(model.image_encoder)
    if preset.stem == "pyramid":
        scratch_init.unfold_what_was_stacked(model.mask_decoder)
    if preset.stem != "patch":
        scratch_init.look_where_the_prompt_is(model.mask_decoder)
    # Last, so that a seed gives the other parts the same weights with a head and without.
    return with_category_head(model) if preset.num_categories else model


def with_category_head(model: APSAM) -> APSAM:
    """A model of the same parts, not copied, and a fresh head for `CATEGORIES`; its masks are the
    same, bit for bit."""
    head = CategoryHead(model.preset.embed_dim, num_categories=len(CATEGORIES))
    extended = APSAM(
        image_encoder=model.image_encoder,
        adapters=model.adapters,
        prompt_encoder=model.prompt_encoder,
        mask_decoder=model.mask_decoder,
        energy_encoder=model.energy_encoder,
        location_initializer=model.location_initializer,
        category_head=head,
        preset=replace(model.preset, num_categories=len(CATEGORIES)),
    )
    return extended.to(model.pixel_mean.device).train(model.training)


def _image_encoder(preset: Preset) -> ImageEncoderViT:
    encoder = ImageEncoderViT(
        img_size=preset.side,
        patch_size=preset.spec.token_stride,
        embed_dim=preset.width,
        depth=_num_vit_blocks(preset),
        num_heads=preset.num_heads,
        mlp_ratio=4,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        qkv_bias=True,
        use_rel_pos=True,
        global_attn_indexes=preset.global_blocks,
        window_size=preset.window,
        out_chans=preset.embed_dim,
    )
    if preset.stem == "conv":
        encoder.patch_embed = ConvStem(preset.width)
    if preset.stem == "pyramid":
        encoder.patch_embed = Pyramid(
            widths=preset.pyramid_widths,
            depths=preset.pyramid_depths,
            attentions=preset.depth,
            num_heads=preset.num_heads,
            embed_dim=preset.embed_dim,
            num_said=len(CLASSES) + 4,
        )
        encoder.pos_embed, encoder.neck = None, nn.Identity()
    return encoder


def _num_vit_blocks(preset: Preset) -> int:
    """A pyramid stands in for the patch projection, the blocks and the neck of a ViT."""
    return 0 if preset.stem == "pyramid" else preset.depth
