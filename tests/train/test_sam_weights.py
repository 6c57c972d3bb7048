"""Official SAM checkpoints: what is computed from them, and what is refused."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from apsam_train.errors import CheckpointError
from apsam_train.models import APSAM, PRESETS, Preset, build
from apsam_train.models.sam_parts import Sam
from apsam_train.sam_weights import load_sam, resize_absolute, resize_relative
from tests.train.sam_files import SMALL_SAM, official_sam, write_sam

State = dict[str, Tensor]


def write(path: Path, content: object) -> Path:
    torch.save(content, path)
    return path


def small(side: int) -> APSAM:
    return build(replace(SMALL_SAM, side=side)).eval()


def made_for_512(sam: Sam, other: Sam) -> Sam:
    """`other`, built for 512, with the weights of `sam`, built for 1024.

    Relative positions stay as long as they are: `segment_anything` shortens them itself.
    """
    state = sam.state_dict()
    positions = state["image_encoder.pos_embed"].permute(0, 3, 1, 2)
    halved = functional.avg_pool2d(positions, 2).permute(0, 2, 3, 1)
    for ours, theirs in zip(other.image_encoder.blocks, sam.image_encoder.blocks, strict=True):
        ours.attn.rel_pos_h = nn.Parameter(torch.empty_like(theirs.attn.rel_pos_h))
        ours.attn.rel_pos_w = nn.Parameter(torch.empty_like(theirs.attn.rel_pos_w))
    other.load_state_dict(state | {"image_encoder.pos_embed": halved})
    return other


@torch.no_grad()
def compare(model: APSAM, sam: Sam) -> None:
    """Embedding, masks and predicted IoU of one random image."""
    side = model.preset.side
    torch.manual_seed(1)
    image = torch.randint(0, 256, (1, side, side, 3), dtype=torch.uint8)
    points, labels = torch.rand(3, 2, 2) * side, torch.tensor([[1.0, 0.0]]).repeat(3, 1)
    theirs = sam.image_encoder(model.normalise(image))
    embedding = model.encode_image(image)
    torch.testing.assert_close(embedding, theirs, atol=1e-5, rtol=1e-5)
    sparse, dense = sam.prompt_encoder((points, labels), None, None)
    position = sam.prompt_encoder.get_dense_pe()
    masks, iou = sam.mask_decoder.predict_masks(theirs, position, sparse, dense)
    decoded = model.decode(
        embedding=embedding,
        energy_query=model.encode_energy(image)[0],
        image_index=torch.zeros(3, dtype=torch.int64),
        point_coords=torch.cat([points, torch.zeros(3, 1, 2)], dim=1),
        point_labels=torch.cat([labels, -torch.ones(3, 1)], dim=1),
    )
    torch.testing.assert_close(decoded.logits, masks, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(decoded.iou, iou, atol=1e-5, rtol=1e-5)


def test_at_1024_apsam_equals_the_sam_that_wrote_the_file(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sam, model = official_sam(SMALL_SAM, side=1024), small(1024)
    load_sam(write(tmp_path / "sam.pth", sam.state_dict()), model)
    compare(model, sam)


def test_at_512_apsam_equals_segment_anything_built_for_512(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sam, model = official_sam(SMALL_SAM, side=1024), small(512)
    load_sam(write(tmp_path / "sam.pth", sam.state_dict()), model)
    compare(model, made_for_512(sam, official_sam(SMALL_SAM, side=512)))


@pytest.mark.slow
def test_the_real_vit_b_equals_segment_anything_built_for_512(tmp_path: Path) -> None:
    from segment_anything import sam_model_registry

    preset = PRESETS["vit_b"]
    sam, model = sam_model_registry["vit_b"](), build(preset).eval()
    load_sam(write(tmp_path / "sam_vit_b.pth", sam.state_dict()), model)
    compare(model, made_for_512(sam, official_sam(preset, side=512)))


def test_additions_stay_and_the_hash_of_the_file_comes_back(tmp_path: Path) -> None:
    path, model = write_sam(tmp_path / "sam.pth"), small(64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    assert load_sam(path, model) == hashlib.sha256(path.read_bytes()).hexdigest()
    after = model.state_dict()
    changed = {name.split(".")[0] for name in after if not torch.equal(after[name], before[name])}
    assert changed == {"image_encoder", "prompt_encoder", "mask_decoder"}


def test_windowed_blocks_keep_their_tables_and_pixel_statistics_are_ignored(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = official_sam(SMALL_SAM, side=1024).state_dict()
    path = write(tmp_path / "sam.pth", state | {"pixel_mean": torch.zeros(3, 1, 1)})
    model = small(512)
    load_sam(path, model)
    for block, rows in enumerate([5, 63, 5, 63]):
        name = f"image_encoder.blocks.{block}.attn.rel_pos_w"
        assert model.state_dict()[name].shape[0] == rows
        assert torch.equal(model.state_dict()[name], state[name]) == (rows == 5)
    assert model.pixel_mean.all()


def test_half_as_many_absolute_positions_are_means_of_neighbours() -> None:
    rows = torch.arange(8.0).view(1, 8, 1, 1).expand(1, 8, 8, 2)
    halved = resize_absolute(rows, grid=4)
    assert halved.shape == (1, 4, 4, 2)
    assert halved[0, :, 2, 1].tolist() == [0.5, 2.5, 4.5, 6.5]
    assert resize_absolute(rows, grid=8) is rows


def test_relative_positions_are_shortened_as_segment_anything_does() -> None:
    from segment_anything.modeling.image_encoder import get_rel_pos

    table = torch.randn(127, 4)
    resized = resize_relative(table, size=63)
    torch.testing.assert_close(get_rel_pos(32, 32, resized), get_rel_pos(32, 32, table))
    assert torch.allclose(resized[31], table[63]), "no distance must stay no distance"
    assert resize_relative(table, size=127) is table


@pytest.mark.parametrize(("file", "given"), [("vit_b", "vit_l"), ("vit_h", "vit_b")])
def test_the_weights_of_another_variant_are_refused_by_name(
    file: str, given: str, tmp_path: Path
) -> None:
    kernel = torch.zeros(PRESETS[file].width, 3, 16, 16)
    path = write(tmp_path / "sam.pth", {"image_encoder.patch_embed.proj.weight": kernel})
    with torch.device("meta"):
        model = build(PRESETS[given])
    message = rf"sam\.pth is {file} \(width {PRESETS[file].width}\), but preset '{given}' has width"
    with pytest.raises(CheckpointError, match=message):
        load_sam(path, model)


def test_a_preset_with_another_encoder_is_refused(tmp_path: Path, small_model: APSAM) -> None:
    message = r"cannot start preset 'tiny', .* choose one of vit_b, vit_l, vit_h"
    with pytest.raises(CheckpointError, match=message):
        load_sam(write_sam(tmp_path / "sam.pth"), small_model)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.pth cannot be read \(No such file"):
        load_sam(tmp_path / "nowhere.pth", small(64))


@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.999])
def test_a_truncated_file_is_refused(share: float, tmp_path: Path) -> None:
    path = write_sam(tmp_path / "sam.pth")
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(CheckpointError, match=r"sam\.pth is truncated or damaged .*download it"):
        load_sam(path, small(64))


@pytest.mark.parametrize("text", ["hello", "<html>404 Not Found</html>"])
def test_a_file_of_text_is_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "sam.pth"
    path.write_text(text)
    with pytest.raises(CheckpointError, match=r"sam\.pth is truncated or damaged"):
        load_sam(path, small(64))


class Mischief:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.mkdir, ("mischief",)


@pytest.mark.parametrize(
    ("content", "what"),
    [(Mischief(), r"posix\.mkdir"), (nn.Linear(1, 1), r"torch\.nn\.modules\.linear\.Linear")],
)
def test_a_pickle_that_could_run_code_is_refused_with_the_reason(
    content: object, what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "sam.pth", {"model": content})
    with pytest.raises(CheckpointError, match=rf"refused: it holds {what}, .* can run code"):
        load_sam(path, small(64))
    assert not (tmp_path / "mischief").exists()


def drop(state: State) -> State:
    return {k: v for k, v in state.items() if k != "mask_decoder.iou_token.weight"} | {
        "mask_decoder.hf_token.weight": torch.zeros(1)
    }


def other_window(state: State) -> State:
    return state | {"image_encoder.blocks.0.attn.rel_pos_h": torch.zeros(27, 16)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: {"model": state}, r"it holds the keys model, expected tensors by name"),
        (lambda _state: [1, 2], r"it holds list, expected tensors by name, such as image_encoder"),
        (
            lambda _state: {"head.weight": torch.zeros(1)},
            r"keys are missing \(image_encoder.*\.\.\.",
        ),
        (drop, r"1 keys are missing \(mask_decoder\.iou_.*1 are unexpected \(mask_decoder\.hf_"),
        (other_window, r"blocks\.0\.attn\.rel_pos_h is \(27, 16\), expected \(5, 16\)"),
    ],
)
def test_a_file_that_is_no_sam_is_described(
    change: Callable[[State], object], message: str, tmp_path: Path
) -> None:
    state = official_sam(SMALL_SAM, side=64).state_dict()
    with pytest.raises(CheckpointError, match=message):
        load_sam(write(tmp_path / "sam.pth", change(state)), small(64))


def test_a_refused_file_changes_nothing(tmp_path: Path) -> None:
    model = small(64)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = other_window(official_sam(SMALL_SAM, side=64).state_dict())
    with pytest.raises(CheckpointError):
        load_sam(write(tmp_path / "sam.pth", state), model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_the_layout_is_that_of_every_official_variant() -> None:
    def names(preset: Preset) -> set[str]:
        with torch.device("meta"):
            return set(build(preset).state_dict())

    for name in ("vit_b", "vit_l", "vit_h"):
        with torch.device("meta"):
            official = set(official_sam(PRESETS[name], side=1024).state_dict())
        assert {n for n in names(PRESETS[name]) if n.startswith(("image", "prompt", "mask"))} == (
            official
        )
