"""Scores by hand-made segmenters whose results are known."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.masks import mask_iou
from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.cli import main
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.formats import open_dataset
from apsam_train.errors import ConfigError
from apsam_train.evaluate.boundary import boundary_iou
from apsam_train.evaluate.flood_fill import FloodFill
from apsam_train.evaluate.protocols import PROTOCOLS
from apsam_train.evaluate.score import Asking, InstanceScore, score
from apsam_train.evaluate.sources import kind_of
from apsam_train.evaluate.summary import breakdown, over_seeds, summarise
from apsam_train.models import APSAM

APG, CLICK = Asking(protocol="apg", seed=0), Asking(protocol="random1", seed=0)


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
    summary = summarise(score(Everything(), source, [APG])[APG])
    assert summary.miou == pytest.approx(400 / (48 * 64))
    assert (summary.num_instances, summary.num_images) == (16, 8)


def test_instances_and_images_are_averaged_apart(source: ImageDataset) -> None:
    scores = score(Everything(), source, [APG])[APG]
    summary = summarise(scores[:3])
    assert summary.miou == pytest.approx(np.mean([s.iou for s in scores[:3]]))
    by_image = [(scores[0].iou + scores[1].iou) / 2, scores[2].iou]
    assert summary.miou_by_image == pytest.approx(np.mean(by_image))


def test_flood_fill_finds_a_flat_block(source: ImageDataset) -> None:
    summary = summarise(score(FloodFill(), source, [CLICK])[CLICK])
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
    (row,) = metrics["rows"]
    assert set(row["protocols"]) == {"random1", "random2", "apg", "box"}
    assert len(row["protocols"]["apg"]["by_seed"]) == 2
    assert row["num_instances"] == 16
    printed = capsys.readouterr().out
    assert f"{row['protocols']['apg']['miou'] * 100:.2f}" in printed
    assert "category Gun" in printed


def test_several_targets_and_data_sets_make_one_table_and_sheets(
    small_model: APSAM, blocks_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "model.safetensors"
    save_checkpoint(checkpoint, small_model, Card.of(small_model, {}))
    other = tmp_path / "other"
    shutil.copytree(blocks_dataset, other)
    command = ["evaluate", str(checkpoint), "floodfill", "--data", str(blocks_dataset), str(other)]
    command += ["--seeds", "0", "--protocols", "random1,apg", "--out", str(tmp_path / "m.json")]
    command += ["--pictures", str(tmp_path / "6.png"), "--energy-maps", str(tmp_path / "7.jpg")]
    assert main([*command, "--rows", "2"]) == 0
    rows = json.loads((tmp_path / "m.json").read_text())["rows"]
    assert [(Path(row["target"]).name, row["data"].split()[0]) for row in rows] == [
        (target, data)
        for target in ("model.safetensors", "floodfill")
        for data in (blocks_dataset.name, "other")
    ]
    assert capsys.readouterr().out.count("floodfill") == 4
    figure_6, figure_7 = (cv2.imread(str(tmp_path / name)) for name in ("6.png", "7.jpg"))
    assert figure_6 is not None
    assert figure_7 is not None
    assert figure_6.shape[1] == pytest.approx(2 * figure_7.shape[1], rel=0.01)


def test_unreadable_images_are_counted_and_strict_stops(
    blocks_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(blocks_dataset, data)
    (data / "images" / "000002.png").write_bytes(b"no picture")
    command = ["evaluate", "floodfill", "--data", str(data), "--out", str(tmp_path / "m.json")]
    assert main(command) == 0
    assert "1 x unreadable image, first: images/000002.png" in capsys.readouterr().err
    report = json.loads((tmp_path / "m.json").read_text())
    assert report["problems"]["counts"] == {"unreadable image": 1}
    assert report["rows"][0]["num_instances"] == 14
    assert main([*command, "--strict"]) == 2


def test_scores_are_broken_down_by_size_overlap_and_category() -> None:
    scores = [
        InstanceScore(
            image="a", category=category, area=area, overlap=overlap, iou=iou, dice=iou,
            boundary_iou=iou,
            points_on=1.0,
        )
        for category, area, overlap, iou in (
            ("Gun", 100, None, 0.2),
            ("Gun", 32**2, 0.0, 0.4),
            ("Dart", 96**2, 0.3, 0.6),
            ("Dart", 96**2 + 1, 0.31, 1.0),
        )
    ]  # fmt: skip
    parts = breakdown(scores)
    mious = {kind: {n: g["miou"] for n, g in groups.items()} for kind, groups in parts.items()}
    assert mious["size"] == pytest.approx({"small": 0.3, "medium": 0.6, "large": 1.0})
    assert mious["overlap"] == pytest.approx({"none": 0.4, "some": 0.6, "much": 1.0})
    assert mious["category"] == pytest.approx({"Gun": 0.3, "Dart": 0.8})
    figures = over_seeds([summarise(scores[:2]), summarise(scores[2:])])
    assert (figures["miou"], figures["miou_spread"]) == pytest.approx((0.55, 0.5))


def test_boundary_iou_sees_what_area_hides() -> None:
    truth = np.zeros((200, 200), bool)
    truth[50:150, 50:150] = True
    shifted = np.roll(truth, 4, axis=1)
    assert boundary_iou(truth, truth) == 1
    assert boundary_iou(np.zeros_like(truth), np.zeros_like(truth)) == 1
    assert boundary_iou(truth, ~truth) == 0
    assert mask_iou(truth, shifted) > 0.92
    assert boundary_iou(truth, shifted) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["floodfill", "--protocols", "random3"], "protocol 'random3' is unknown"),
        (["floodfill", "--seeds", "a"], "--seeds 'a' must be integers"),
        (["nowhere"], "nowhere is neither a bundle folder, a .safetensors checkpoint, SAM"),
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
