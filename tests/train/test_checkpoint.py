"""Checkpoints: what is kept, and what is refused."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from apsam_serve.contract.apg import ApgConfig
from apsam_train.checkpoint import (
    Card,
    load_checkpoint,
    load_extra,
    restore_checkpoint,
    save_checkpoint,
)
from apsam_train.delta import Base, base_of
from apsam_train.errors import CheckpointError
from apsam_train.models import APSAM, PRESETS, build, with_category_head
from apsam_train.sam_weights import file_sha256, load_sam
from tests.train.sam_files import SMALL_SAM, write_sam


@pytest.fixture
def saved(tmp_path: Path, small_model: APSAM) -> Path:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, small_model, Card.of(small_model, {"data": "blocks"}))
    return path


@dataclass(frozen=True, kw_only=True)
class Delta:
    path: Path
    sam: Path
    base: Base
    model: APSAM


@pytest.fixture
def delta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Delta:
    """A model that was started from a SAM file, as its run saved it beside that file."""
    monkeypatch.setitem(PRESETS, SMALL_SAM.name, SMALL_SAM)
    sam, path = write_sam(tmp_path / "sam_vit_x.pth"), tmp_path / "delta.safetensors"
    model = build(SMALL_SAM)
    base = base_of(sam, load_sam(sam, model))
    model.freeze_sam()
    for adapter in model.adapters:
        torch.nn.init.normal_(adapter.up.weight)
    save_checkpoint(path, model, Card.of(model, {}, base=base))
    return Delta(path=path, sam=sam, base=base, model=model)


def test_weights_and_card_come_back(saved: Path, small_model: APSAM) -> None:
    loaded, card = load_checkpoint(saved)
    assert card.training == {"data": "blocks"}
    for name, value in small_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_category_head_comes_back(tmp_path: Path, small_model: APSAM) -> None:
    path, model = tmp_path / "named.safetensors", with_category_head(small_model)
    save_checkpoint(path, model, Card.of(model, {}))
    loaded, _ = load_checkpoint(path)
    assert loaded.preset == model.preset
    for name, value in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_checkpoint_from_before_the_category_head_is_read(
    tmp_path: Path, small_model: APSAM
) -> None:
    path, card = tmp_path / "old.safetensors", Card.of(small_model, {})
    numbers = {k: v for k, v in card.preset_numbers.items() if k != "num_categories"}
    save_checkpoint(path, small_model, replace(card, preset_numbers=numbers))
    assert load_checkpoint(path)[0].category_head is None


def test_a_head_for_other_categories_is_refused(tmp_path: Path, small_model: APSAM) -> None:
    path, card = tmp_path / "other.safetensors", Card.of(small_model, {})
    numbers = {**card.preset_numbers, "num_categories": 5}
    save_checkpoint(path, small_model, replace(card, preset_numbers=numbers))
    with pytest.raises(CheckpointError, match=r"other numbers of preset 'tiny' \(num_categories\)"):
        load_checkpoint(path)


def test_a_file_of_text_is_no_checkpoint(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    path.write_text("hello")
    with pytest.raises(CheckpointError, match=r"model\.safetensors is no readable checkpoint"):
        load_checkpoint(path)


def test_a_truncated_file_is_refused(saved: Path) -> None:
    saved.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(CheckpointError, match="is no readable checkpoint"):
        load_checkpoint(saved)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"nowhere\.safetensors is no readable checkpoint"):
        load_checkpoint(tmp_path / "nowhere.safetensors")


def test_somebody_elses_safetensors_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(CheckpointError, match="has no APSAM card"):
        load_checkpoint(path)


def test_a_checkpoint_of_another_preset_is_refused(saved: Path) -> None:
    other = build(replace(PRESETS["tiny"], name="vit_b"))
    with pytest.raises(CheckpointError, match="is of preset 'tiny', but 'vit_b' was asked for"):
        restore_checkpoint(saved, other, torch.optim.AdamW(other.parameters()))


def test_a_preset_whose_numbers_changed_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, "tiny", replace(PRESETS["tiny"], top_k=2))
    with pytest.raises(CheckpointError, match=r"other numbers of preset 'tiny' \(top_k\)"):
        load_checkpoint(saved)


def test_a_preset_this_release_lacks_is_refused(
    saved: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(PRESETS, "tiny")
    with pytest.raises(CheckpointError, match="of preset 'tiny'; this release has demo, vit_b"):
        load_checkpoint(saved)


def test_weights_alone_cannot_be_resumed(saved: Path, small_model: APSAM) -> None:
    with pytest.raises(CheckpointError, match="no optimiser state; resume from last"):
        restore_checkpoint(saved, small_model, torch.optim.AdamW(small_model.parameters()))


def test_an_interrupted_save_keeps_the_previous_file(
    saved: Path, small_model: APSAM, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = saved.read_bytes()

    def fail(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        save_checkpoint(saved, small_model, Card.of(small_model, {}))
    assert saved.read_bytes() == before


def test_tensors_that_do_not_fit_are_named(saved: Path, small_model: APSAM) -> None:
    tensors = load_file(saved)
    with safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
    lacking = {name: value for name, value in tensors.items() if name != "model.adapters.0.up.bias"}
    save_file(lacking, saved, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"1 tensors are missing .*\(adapters\.0\.up\.bias\)"):
        load_checkpoint(saved)
    save_file(tensors | {"model.adapters.0.up.bias": torch.zeros(5)}, saved, metadata=metadata)
    with pytest.raises(CheckpointError, match=r"does not fit preset 'tiny': .*size mismatch"):
        load_checkpoint(saved)


def test_a_whole_checkpoint_takes_no_sam_file(saved: Path, small_model: APSAM) -> None:
    with pytest.raises(CheckpointError, match=r"is a whole checkpoint .* leave out --sam"):
        load_checkpoint(saved, sam=Path("sam.pth"))
    optimizer = torch.optim.AdamW(small_model.parameters())
    with pytest.raises(CheckpointError, match=r"but sam\.pth was given for it; leave out --sam"):
        restore_checkpoint(saved, small_model, optimizer, base={"file": "sam.pth", "sha256": "0"})


def test_extra_tensors_come_back_beside_the_weights(tmp_path: Path, small_model: APSAM) -> None:
    path = tmp_path / "last.safetensors"
    extra = {"ema.adapters.0.up.bias": torch.rand(3), "rng.cpu": torch.get_rng_state()}
    save_checkpoint(path, small_model, Card.of(small_model, {}), extra=extra)
    found = load_extra(path)
    assert found.keys() == extra.keys()
    assert all(torch.equal(found[name], extra[name]) for name in extra)
    assert load_checkpoint(path)[0].state_dict().keys() == small_model.state_dict().keys()


def test_a_checkpoint_without_extra_tensors_has_none(saved: Path) -> None:
    assert load_extra(saved) == {}


def test_a_delta_comes_back_with_the_sam_file_beside_it(delta: Delta) -> None:
    loaded, card = load_checkpoint(delta.path)
    assert card.base == {"file": "sam_vit_x.pth", "sha256": file_sha256(delta.sam)}
    for name, value in delta.model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_a_delta_holds_no_tensor_of_sam(delta: Delta, tmp_path: Path) -> None:
    parts = {name.split(".")[1] for name in load_file(delta.path)}
    assert parts == {"adapters", "energy_encoder", "location_initializer"}
    whole = tmp_path / "whole.safetensors"
    save_checkpoint(whole, delta.model, Card.of(delta.model, {}))
    assert delta.path.stat().st_size < 0.1 * whole.stat().st_size


def test_a_delta_finds_its_sam_file_by_option(delta: Delta, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere.pth"
    delta.sam.rename(moved)
    loaded, _ = load_checkpoint(delta.path, sam=moved)
    assert all(
        torch.equal(value, delta.model.state_dict()[name])
        for name, value in loaded.state_dict().items()
    )


def test_a_delta_without_its_sam_file_says_what_to_do(delta: Delta) -> None:
    delta.sam.unlink()
    advice = r"give that file with --sam FILE, or make one whole file with `apsam-train merge`"
    start = r"delta\.safetensors is a delta on sam_vit_x\.pth \(SHA-256 [0-9a-f]{12}\)"
    with pytest.raises(
        CheckpointError, match=f"{start}, and no sam_vit_x.pth lies beside it; {advice}"
    ):
        load_checkpoint(delta.path)
    with pytest.raises(CheckpointError, match=f"{start}, and nowhere.pth is not there; {advice}"):
        load_checkpoint(delta.path, sam=Path("nowhere.pth"))


def test_a_delta_refuses_another_sam_file(delta: Delta, tmp_path: Path) -> None:
    other = write_sam(tmp_path / "other.pth", seed=1)
    ours, theirs = file_sha256(delta.sam)[:12], file_sha256(other)[:12]
    message = (
        rf"delta on sam_vit_x\.pth \(SHA-256 {ours}\), but other\.pth \(SHA-256 {theirs}\) is "
        r"another file; give the one it was trained on with --sam FILE"
    )
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(delta.path, sam=other)


def test_a_model_whose_sam_trains_is_no_delta(delta: Delta) -> None:
    before = delta.path.read_bytes()
    delta.model.mask_decoder.requires_grad_(True)
    with pytest.raises(CheckpointError, match=r"cannot be a delta: \d+ .* train \(mask_decoder\."):
        save_checkpoint(delta.path, delta.model, Card.of(delta.model, {}, base=delta.base))
    assert delta.path.read_bytes() == before


def test_a_delta_that_was_read_can_be_written_again(delta: Delta) -> None:
    before = load_file(delta.path)
    model, card = load_checkpoint(delta.path)
    save_checkpoint(delta.path, model, card)
    after = load_file(delta.path)
    assert after.keys() == before.keys()
    assert all(torch.equal(after[name], before[name]) for name in after)


def test_a_run_resumes_from_a_delta(delta: Delta, tmp_path: Path) -> None:
    def run() -> tuple[APSAM, torch.optim.Optimizer]:
        model = build(SMALL_SAM)
        load_sam(delta.sam, model)
        model.freeze_sam()
        trainable = [p for p in model.parameters() if p.requires_grad]
        return model, torch.optim.AdamW(trainable, lr=0.1)

    def step(model: APSAM, optimizer: torch.optim.Optimizer) -> None:
        image = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
        model.encode_image(image).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()

    last, (model, optimizer) = tmp_path / "last.safetensors", run()
    step(model, optimizer)
    card = Card.of(model, {"step": 1}, base=delta.base)
    save_checkpoint(last, model, card, optimizer=optimizer)
    resumed, its_optimizer = run()
    assert restore_checkpoint(last, resumed, its_optimizer, base=delta.base) == card
    step(model, optimizer)
    step(resumed, its_optimizer)
    for name, value in model.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name

    with pytest.raises(
        CheckpointError, match=r"is a delta on .*; resume with --sam sam_vit_x\.pth"
    ):
        restore_checkpoint(last, resumed, its_optimizer)
    other = {"file": "other.pth", "sha256": "f" * 64}
    with pytest.raises(
        CheckpointError, match=r"other\.pth \(SHA-256 ffffffffffff\) is another file"
    ):
        restore_checkpoint(last, resumed, its_optimizer, base=other)


def test_a_card_says_how_its_model_makes_adaptive_points(
    small_model: APSAM, tmp_path: Path
) -> None:
    trained = {"config": {"apg": {"core": 2.0, "scale_range": [0.9, 1.1]}}}
    save_checkpoint(tmp_path / "m.safetensors", small_model, Card.of(small_model, trained))
    _, card = load_checkpoint(tmp_path / "m.safetensors")
    assert card.apg == ApgConfig(core=2.0)
    assert Card.of(small_model, {}).apg == ApgConfig()
