"""Scores by hand-made segmenters whose results are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.cli import main
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.formats import open_dataset
from apsam_train.errors import ConfigError
from apsam_train.evaluate.flood_fill import FloodFill
from apsam_train.evaluate.protocols import PROTOCOLS
from apsam_train.evaluate.score import score, summarise
from apsam_train.evaluate.sources import kind_of
from apsam_train.models import APSAM


class Everything:
    """A segmenter that marks the whole image."""

    def encode(self, image: NDArray[np.uint8]) -> EverythingImage:
        return EverythingImage(*image.shape[:2])

    def close(self) -> None:
        pass


class EverythingImage:
    def __init__(self, height: int, width: int) -> None:
        self.height, self.width = height, width

    def segment(
        self, prompts: Sequence[Prompt], *, strategy: StrategyName = "apg"
    ) -> list[Segmentation]:
        mask = np.ones((self.height, self.width), bool)
        return [Segmentation(mask=mask, score=1, points=p.points, branch="x") for p in prompts]

    def release(self) -> None:
        pass


@pytest.fixture(scope="module")
def source(blocks_dataset: Path) -> ImageDataset:
    return open_dataset(blocks_dataset)


def test_marking_everything_scores_the_objects_share_of_the_image(source: ImageDataset) -> None:
    summary = summarise(score(Everything(), source, PROTOCOLS["apg"], seed=0))
    assert summary.miou == pytest.approx(400 / (48 * 64))
    assert (summary.num_instances, summary.num_images) == (16, 8)


def test_instances_and_images_are_averaged_apart(source: ImageDataset) -> None:
    scores = score(Everything(), source, PROTOCOLS["apg"], seed=0)
    summary = summarise(scores[:3])
    assert summary.miou == pytest.approx(np.mean([s.iou for s in scores[:3]]))
    by_image = [(scores[0].iou + scores[1].iou) / 2, scores[2].iou]
    assert summary.miou_by_image == pytest.approx(np.mean(by_image))


def test_flood_fill_finds_a_flat_block(source: ImageDataset) -> None:
    summary = summarise(score(FloodFill(), source, PROTOCOLS["random1"], seed=0))
    assert summary.miou > 0.7


@pytest.mark.parametrize("name", PROTOCOLS)
def test_the_same_seed_gives_the_same_prompts(name: str) -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:30, 5:35] = True
    first, again, other = (
        PROTOCOLS[name].make(mask, np.random.default_rng(seed)) for seed in (1, 1, 2)
    )
    assert first == again
    assert name == "box" or first != other
    assert all(mask[int(p.y), int(p.x)] for p in first.points)


def test_the_box_protocol_is_tight() -> None:
    mask = np.zeros((40, 40), bool)
    mask[10:30, 5:35] = True
    box = PROTOCOLS["box"].make(mask, np.random.default_rng(0)).box
    assert box is not None
    assert (box.left, box.top, box.right, box.bottom) == (5, 10, 35, 30)


def test_the_command_scores_a_checkpoint_and_writes_metrics(
    small_model: APSAM, blocks_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = tmp_path / "model.safetensors", tmp_path / "metrics.json"
    save_checkpoint(checkpoint, small_model, Card.of(small_model, {}))
    command = ["evaluate", str(checkpoint), "--data", str(blocks_dataset), "--seeds", "0,1"]
    assert main([*command, "--out", str(out)]) == 0
    metrics = json.loads(out.read_text())
    assert set(metrics["protocols"]) == {"random1", "random2", "apg", "box"}
    assert len(metrics["protocols"]["apg"]["by_seed"]) == 2
    assert metrics["num_instances"] == 16
    printed = capsys.readouterr().out
    assert f"{metrics['protocols']['apg']['miou'] * 100:.2f}" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["floodfill", "--protocols", "random3"], "protocol 'random3' is unknown"),
        (["floodfill", "--seeds", "a"], "--seeds 'a' must be integers"),
        (["nowhere"], "nowhere is neither a bundle folder, a .safetensors checkpoint nor"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, blocks_dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *arguments, "--data", str(blocks_dataset)]) == 2
    assert message in capsys.readouterr().err


def test_targets_are_told_apart_by_what_they_are(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{}")
    assert kind_of(str(tmp_path)) == "bundle"
    assert kind_of("a/model.safetensors") == "checkpoint"
    assert kind_of("localhost:50051") == "server"
    with pytest.raises(ConfigError):
        kind_of(str(tmp_path / "nothing"))
