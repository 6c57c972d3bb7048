"""Finished work in Label Studio comes back as COCO, every pixel of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from apsam_serve.contract.masks import mask_iou
from apsam_serve.contract.segmenter import Segmentation
from apsam_serve.errors import InvalidInputError
from apsam_train.annotate.accept import accept
from apsam_train.annotate.propose import propose
from apsam_train.data.formats import open_dataset
from integrations.label_studio.brush import decode_brush, encode_brush
from integrations.label_studio.from_coco import tasks_of
from integrations.label_studio.tasks import prediction_of, target_of
from integrations.label_studio.to_coco import coco_of, file_name, main
from tests.integrations.label_studio_double import BRUSH_CONFIG, POLYGON_CONFIG
from tests.train.annotate.fakes import BoxFiller, proposals_of, write_boxes


def exported(mask: NDArray[np.bool_], config: str = BRUSH_CONFIG) -> list[dict[str, Any]]:
    """Three tasks: a mask in the second of two annotations, none, and one that was skipped."""
    answer = Segmentation(mask=mask, score=1.0, points=(), branch="direct")
    found = prediction_of([(answer, "Bullet")], target_of(config), version="", simplify_px=0)
    data = {"picture": "/data/upload/1/3f2a91c0-bag%201.png"}
    first, last = {"result": []}, {"result": found["result"], "was_cancelled": False}
    return [
        {"id": 4, "data": data, "annotations": [first, last]},
        {"id": 5, "data": {"picture": "/data/local-files/?d=a/b.png"}, "annotations": [first]},
        {"id": 6, "data": data, "annotations": [last | {"was_cancelled": True}]},
    ]


@pytest.mark.parametrize("config", [BRUSH_CONFIG, POLYGON_CONFIG], ids=["brush", "polygon"])
def test_masks_come_back_as_pycocotools_reads_them(
    tmp_path: Path, disc: NDArray[np.bool_], config: str
) -> None:
    (tmp_path / "export.json").write_text(json.dumps(exported(disc, config)))
    out = tmp_path / "corrected.json"
    assert main([str(tmp_path / "export.json"), "--data-key", "picture", "--out", str(out)]) == 0
    document = json.loads(out.read_text())
    names = [image["file_name"] for image in document["images"]]
    assert names == ["data/upload/1/3f2a91c0-bag 1.png", "a/b.png"]
    assert [category["name"] for category in document["categories"]] == ["Bullet"]
    (found,) = document["annotations"]
    assert found["image_id"] == 4
    assert found["bbox"] == coco_mask.toBbox(found["segmentation"]).tolist()
    assert mask_iou(coco_mask.decode(found["segmentation"]) > 0, disc) == 1.0


def test_a_brush_is_read_by_its_alpha_with_soft_edges_halved() -> None:
    # 2 x 1 pixels, eight values of which none is repeated: alpha 127, then 128.
    bits = f"{8:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}" + "0" + "00" + f"{7:03b}"
    bits += "".join(f"{value:08b}" for value in (255, 255, 255, 127, 0, 0, 0, 128))
    rle = int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big")
    assert decode_brush(list(rle), height=1, width=2).tolist() == [[False, True]]


@pytest.mark.parametrize(
    "rle", [[], [0, 0, 0, 4], encode_brush(np.ones((9, 9), bool))[:-2], [300], "text"]
)
def test_bytes_that_are_no_brush_are_refused(rle: Any) -> None:
    with pytest.raises(InvalidInputError, match="export it again"):
        decode_brush(rle, height=9, width=9)


def test_an_export_of_another_kind_is_refused() -> None:
    for export in ([{"image": "a.png", "label": []}], {"tasks": []}, 7):
        with pytest.raises(InvalidInputError, match="JSON-MIN"):
            coco_of(export)


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("/data/upload/1/bag%20a.png", "data/upload/1/bag a.png"),
        ("/data/local-files/?d=x%2Fy%2Fbag.png", "x/y/bag.png"),
        ("https://images.example.com/x/bag.png?size=2", "x/bag.png"),
    ],
)
def test_the_name_of_an_image_is_its_path(address: str, name: str) -> None:
    assert file_name(address) == name


@pytest.mark.parametrize("address", ["/data/local-files/?d=scans/{name}", "/data/upload/1/{name}"])
def test_a_round_goes_through_label_studio_unchanged(tmp_path: Path, address: str) -> None:
    dataset = open_dataset(write_boxes(tmp_path / "boxes"))
    a_round = tmp_path / "round"
    propose(BoxFiller(), dataset, out=a_round, model="fake", model_sha256="ab" * 32)
    proposals = proposals_of(a_round)
    labels = "".join(f'<Label value="{found["name"]}"/>' for found in proposals["categories"])
    target = target_of(BRUSH_CONFIG.replace('<Label value="Bullet"/>', labels, 1))
    tasks = tasks_of(proposals, target, address=address, version="1")
    accepted = [
        {"id": number, "data": task["data"], "annotations": task["predictions"]}
        for number, task in enumerate(tasks)
    ]
    corrected = tmp_path / "corrected.json"
    corrected.write_text(json.dumps(coco_of(accepted, data_key="picture")))
    review = accept(a_round, corrected=corrected, reviewer="Ada")
    assert (review.num_images, review.num_unchanged, review.miou) == (3, 6, 1.0)
