"""Checkpoints: what is kept, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from apsam_train.checkpoint import Card, load_checkpoint, restore_checkpoint, save_checkpoint
from apsam_train.errors import CheckpointError
from apsam_train.models import APSAM, PRESETS, build


@pytest.fixture
def saved(tmp_path: Path, small_model: APSAM) -> Path:
    path = tmp_path / "model.safetensors"
    save_checkpoint(path, small_model, Card.of(small_model, {"data": "blocks"}))
    return path


def test_weights_and_card_come_back(saved: Path, small_model: APSAM) -> None:
    loaded, card = load_checkpoint(saved)
    assert card.training == {"data": "blocks"}
    for name, value in small_model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


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
    with pytest.raises(CheckpointError, match="of preset 'tiny'; this release has vit_b"):
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
