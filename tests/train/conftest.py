"""A model and a data set small enough for every test."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from apsam_train.models import APSAM, PRESETS, Preset, build

SMALL = replace(
    PRESETS["tiny"],
    name="tiny",
    side=64,
    width=32,
    depth=2,
    num_heads=2,
    global_blocks=(1,),
    window=3,
    embed_dim=32,
    decoder_heads=2,
    decoder_mlp=32,
    iou_hidden=16,
    energy_widths=(4, 4, 8),
)


@pytest.fixture
def small_preset(monkeypatch: pytest.MonkeyPatch) -> Preset:
    """The tiny preset made smaller still, for this test."""
    monkeypatch.setitem(PRESETS, "tiny", SMALL)
    return SMALL


@pytest.fixture
def small_model(small_preset: Preset) -> APSAM:
    """A small model whose parts all do something (nothing is zero)."""
    torch.manual_seed(0)
    model = build(small_preset)
    for parameter in model.parameters():
        if not parameter.any():
            torch.nn.init.normal_(parameter, std=0.1)
    return model.eval()


@pytest.fixture(scope="session")
def blocks_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight pictures of coloured blocks with their masks, as `apsam-train synth` lays them out."""
    folder = tmp_path_factory.mktemp("blocks")
    write_blocks(folder, num_images=8)
    return folder


def write_blocks(folder: Path, *, num_images: int) -> None:
    (folder / "images").mkdir()
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for number in range(num_images):
        picture = np.full((48, 64, 3), 240, np.uint8)
        for category, colour in ((1, (200, 120, 40)), (2, (40, 120, 200))):
            left, top = int(rng.integers(0, 40)), int(rng.integers(0, 24))
            mask = np.zeros((48, 64), np.uint8)
            mask[top : top + 20, left : left + 20] = 1
            picture[mask > 0] = colour
            rle = coco_mask.encode(np.asfortranarray(mask))
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": category,
                    "segmentation": {"size": [48, 64], "counts": rle["counts"].decode()},
                    "area": int(mask.sum()),
                    "bbox": [left, top, 20, 20],
                    "iscrowd": 0,
                }
            )
        name = f"images/{number:06d}.png"
        cv2.imwrite(str(folder / name), picture)
        images.append({"id": number, "file_name": name, "width": 64, "height": 48})
    categories = [{"id": 1, "name": "Gun"}, {"id": 2, "name": "Bullet"}]
    document = {"images": images, "annotations": annotations, "categories": categories}
    (folder / "annotations.json").write_text(json.dumps(document))
