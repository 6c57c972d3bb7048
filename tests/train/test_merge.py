"""A delta and its SAM file as one file."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from apsam_train.checkpoint import Card, load_checkpoint, save_checkpoint
from apsam_train.cli import main
from apsam_train.delta import base_of
from apsam_train.models import PRESETS, build
from apsam_train.sam_weights import file_sha256, load_sam
from apsam_train.segmenter import open_checkpoint
from tests.train.sam_files import SMALL_SAM, write_sam


@pytest.fixture
def delta(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A delta away from its SAM file, which is in `sam/`."""
    monkeypatch.setitem(PRESETS, SMALL_SAM.name, SMALL_SAM)
    (tmp_path / "sam").mkdir()
    sam, path = write_sam(tmp_path / "sam" / "sam_vit_x.pth"), tmp_path / "delta.safetensors"
    model = build(SMALL_SAM)
    base = base_of(sam, load_sam(sam, model))
    model.freeze_sam()
    for adapter in model.adapters:
        torch.nn.init.normal_(adapter.up.weight)
    save_checkpoint(path, model, Card.of(model, {"data": "bags"}, base=base))
    return path


@torch.no_grad()
def test_the_merged_file_needs_no_sam_and_computes_the_same(delta: Path, tmp_path: Path) -> None:
    sam, out = tmp_path / "sam" / "sam_vit_x.pth", tmp_path / "new" / "whole.safetensors"
    assert main(["merge", str(delta), "--sam", str(sam), "--out", str(out)]) == 0
    model, _ = load_checkpoint(delta, sam=sam)
    hashes = file_sha256(delta), file_sha256(sam)
    sam.unlink()
    merged, card = load_checkpoint(out)
    image = torch.randint(0, 256, (1, 64, 64, 3), dtype=torch.uint8)
    assert torch.equal(merged.encode_image(image), model.encode_image(image))
    weights = load_file(out)
    assert weights.keys() == {f"model.{name}" for name in model.state_dict()}
    assert all(torch.equal(weights[f"model.{n}"], v) for n, v in model.state_dict().items())
    assert card.base is None
    assert card.training == {
        "data": "bags",
        "merged_from": {
            "delta": {"file": "delta.safetensors", "sha256": hashes[0]},
            "sam": {"file": "sam_vit_x.pth", "sha256": hashes[1]},
        },
    }


def test_the_sam_file_beside_a_delta_needs_no_option(
    delta: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "sam" / "sam_vit_x.pth").rename(tmp_path / "sam_vit_x.pth")
    out = tmp_path / "whole.safetensors"
    assert main(["merge", str(delta), "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["sha256"] == file_sha256(out)
    open_checkpoint(str(delta)).close()


def test_a_delta_is_opened_for_scoring_with_its_sam_file(delta: Path, tmp_path: Path) -> None:
    open_checkpoint(str(delta), sam=str(tmp_path / "sam" / "sam_vit_x.pth")).close()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["delta.safetensors", "--out", "w.safetensors"], "no sam_vit_x.pth lies beside it; give"),
        (["delta.safetensors", "--out", "w.pth"], "--out w.pth must end in .safetensors"),
        (["delta.safetensors", "--out", "delta.safetensors"], "delta.safetensors exists already"),
        (["nowhere.safetensors", "--out", "w.safetensors"], "is no readable checkpoint"),
        (["whole.safetensors", "--out", "w.safetensors"], "there is nothing to merge"),
    ],
)
def test_a_bad_option_is_one_line_and_nothing_is_written(
    delta: Path,
    tmp_path: Path,
    arguments: list[str],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    model = build(SMALL_SAM)
    save_checkpoint(Path("whole.safetensors"), model, Card.of(model, {}))
    before = delta.read_bytes()
    assert main(["merge", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert len(error.strip().splitlines()) == 1
    assert delta.read_bytes() == before
    assert not Path("w.safetensors").exists()
