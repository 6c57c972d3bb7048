"""Every export read back by who reads it: pycocotools, OpenCV, and the loaders of training."""

from __future__ import annotations

import base64
import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from apsam_serve.console.exports import EXPORTS
from apsam_serve.console.exports.dicos import MAX_CORNERS, bounding_polygon
from apsam_serve.console.exports.outlines import polygon
from apsam_serve.console.project import Project
from apsam_serve.contract.categories import CATEGORIES
from apsam_serve.contract.masks import Mask, decode_png
from apsam_serve.errors import OutputExistsError
from apsam_train.data.formats import open_dataset, recognise
from tests.serve.console.filled import SHAPES, WIDTH, add_picture, block, fill, new_object

MASKS = [*SHAPES.values(), SHAPES["block"]]
"""Of the nine objects of the first image, and of the one without category in the third."""
STEMS = ["lane_1_bag", "lane_2_bag", "bag"]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Project]:
    with fill(tmp_path / "project") as project:
        yield project


def same(found: list[Mask], expected: list[Mask] = MASKS) -> bool:
    return len(found) == len(expected) and all(map(np.array_equal, found, expected))


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_coco_reads_back_to_the_pixel(
    project: Project, tmp_path: Path, form: str, capsys: pytest.CaptureFixture[str]
) -> None:
    files = EXPORTS["coco"](project, tmp_path / "out")
    assert [f.name for f in files] == ["instances_polygons.json", "instances_rle.json"]
    coco = COCO(str(tmp_path / "out" / f"instances_{form}.json"))
    capsys.readouterr()
    annotations = coco.loadAnns(coco.getAnnIds())
    assert same([coco.annToMask(a).astype(bool) for a in annotations])
    for annotation, mask in zip(annotations, MASKS, strict=True):
        rle = coco_mask.encode(np.asfortranarray(mask, np.uint8))
        assert annotation["area"] == coco_mask.area(rle)
        assert annotation["bbox"] == coco_mask.toBbox(rle).tolist()
    assert [c["name"] for c in coco.loadCats(coco.getCatIds())] == [*CATEGORIES, "uncategorised"]
    names = [c["name"] for c in coco.loadCats([a["category_id"] for a in annotations])]
    assert names == ["Gun"] * 9 + ["uncategorised"]
    images = coco.loadImgs(coco.getImgIds())
    assert [i["file_name"] for i in images] == ["lane 1/bag.png", "lane 2/bag.jpg", "bag.tif"]
    assert annotations[0]["reviewer"] == "Ada"


def test_png_masks_are_one_bit_each_and_the_index_says_whose(
    project: Project, tmp_path: Path
) -> None:
    files = EXPORTS["png"](project, tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "index.csv")
    assert len(files) == 1 + len(rows)
    data = [(tmp_path / "out" / row["file"]).read_bytes() for row in rows]
    assert {png[24] for png in data} == {1}  # bits per sample
    assert same([decode_png(png) for png in data])
    assert [row["image"] for row in rows] == ["lane 1/bag.png"] * 9 + ["bag.tif"]
    assert (rows[0]["category"], rows[-1]["category"]) == ("Gun", "uncategorised")
    assert (rows[0]["left"], rows[0]["bottom"], rows[0]["score"]) == ("4", "20", "0.9")
    assert rows[-1]["score"] == ""


@pytest.mark.parametrize(("name", "format"), [("labelme", "labelme"), ("yolo", "yolo")])
def test_training_reads_labelme_and_yolo_to_the_pixel(
    project: Project, tmp_path: Path, name: str, format: str
) -> None:
    EXPORTS[name](project, tmp_path / "out")
    assert recognise(tmp_path / "out") == format
    dataset = open_dataset(tmp_path / "out")
    samples = {Path(s.name).stem: s for s in (dataset[n] for n in range(len(dataset)))}
    assert set(samples) == set(STEMS)
    assert not any(sample.problems for sample in samples.values())
    assert samples["lane_2_bag"].instances == ()
    found = [one for stem in STEMS for one in samples[stem].instances]
    assert same([one.mask for one in found])
    assert [one.category for one in found] == ["Gun"] * 9 + ["uncategorised"]
    assert samples["lane_1_bag"].image[0, 0].tolist() == [0, 0, 0]


def test_labelme_has_polygons_that_can_be_edited_and_masks_where_there_are_holes(
    project: Project, tmp_path: Path
) -> None:
    EXPORTS["labelme"](project, tmp_path / "out")
    document = json.loads((tmp_path / "out" / "lane_1_bag.json").read_text())
    assert (document["imagePath"], document["imageData"]) == ("lane_1_bag.png", None)
    assert (tmp_path / "out" / "lane_1_bag.png").is_file()
    kinds: dict[int, list[str]] = {}
    for shape in document["shapes"]:
        kinds.setdefault(shape["group_id"], []).append(shape["shape_type"])
    found = dict(zip(SHAPES, kinds.values(), strict=True))
    assert found["block"] == found["one pixel"] == ["polygon"]
    assert found["two pieces"] == ["polygon", "polygon"]
    assert found["with holes"] == found["an island in a hole"] == ["mask"]
    (holed,) = [s for s in document["shapes"] if s["group_id"] == 5]
    (left, top), (right, bottom) = holed["points"]
    crop = decode_png(base64.b64decode(holed["mask"]))
    assert np.array_equal(crop, SHAPES["with holes"][top : bottom + 1, left : right + 1])


def test_yolo_names_its_classes_and_stays_inside_the_image(
    project: Project, tmp_path: Path
) -> None:
    files = EXPORTS["yolo"](project, tmp_path / "out")
    assert {f.relative_to(tmp_path / "out").as_posix() for f in files} == {
        "data.yaml",
        *(f"images/{s}{e}" for s, e in zip(STEMS, (".png", ".jpg", ".tif"), strict=True)),
        *(f"labels/{s}.txt" for s in STEMS),
    }
    lines = (tmp_path / "out" / "labels" / "lane_1_bag.txt").read_text().splitlines()
    assert {line.split()[0] for line in lines} == {str(CATEGORIES.index("Gun"))}
    values = [float(word) for line in lines for word in line.split()[1:]]
    assert (min(values), max(values)) == (0, 1)
    assert "\n  30: uncategorised\n" in (tmp_path / "out" / "data.yaml").read_text()


def value_of(dataset: dict[str, Any], *tags: str) -> Any:
    """Down through first items; the last tag's whole value."""
    for tag in tags[:-1]:
        dataset = dataset[tag]["Value"][0]
    return dataset[tags[-1]]["Value"]


def test_a_threat_report_bounds_every_object_with_its_own_pixels(
    project: Project, tmp_path: Path
) -> None:
    EXPORTS["dicos"](project, tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "index.csv")
    assert [(r["file"], r["threats"]) for r in rows] == [
        ("lane_1_bag.tdr.json", "9"), ("lane_2_bag.tdr.json", "0"), ("bag.tdr.json", "1"),
    ]  # fmt: skip
    reports = [json.loads((tmp_path / "out" / row["file"]).read_text()) for row in rows]
    assert [value_of(report, "40101031") for report in reports] == [["ALARM"], ["CLEAR"], ["ALARM"]]
    threats = [t for r in reports if "40101011" in r for t in value_of(r, "40101011")]
    found = []
    for threat, mask in zip(threats, MASKS, strict=True):
        corners = np.array(value_of(threat, "40101037", "4010101D")).reshape(-1, 3)
        base = value_of(threat, "40101037", "40101001", "40101004")
        extents = value_of(threat, "40101037", "40101001", "40101005")
        assert corners.min(axis=0).tolist() == base
        assert corners.max(axis=0).tolist() == [base[0] + extents[0], base[1] + extents[1], 0]
        (rle,) = coco_mask.frPyObjects([corners[:, :2].ravel().tolist()], *mask.shape)
        found.append(coco_mask.decode(rle).astype(bool))
    assert same(found)
    assert [value_of(t, "40101010") for t in threats] == [[n] for n in (*range(1, 10), 1)]
    assert value_of(threats[0], "40101038", "40101013") == ["Gun"]
    assert value_of(threats[-1], "40101038", "40101012") == ["UNKNOWN"]


def test_an_outline_too_long_for_an_attribute_is_reported_by_its_hull() -> None:
    specks = np.random.default_rng(0).random((120, 150)) < 0.5
    hull = bounding_polygon(specks)
    assert 3 <= len(hull) <= MAX_CORNERS < len(polygon(specks))
    (rle,) = coco_mask.frPyObjects([hull.ravel().tolist()], 120, 150)
    assert not (specks & ~coco_mask.decode(rle).astype(bool)).any()


@pytest.mark.parametrize("name", EXPORTS)
def test_an_export_never_writes_into_a_folder_with_files(
    project: Project, tmp_path: Path, name: str
) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("mine")
    with pytest.raises(OutputExistsError):
        EXPORTS[name](project, tmp_path / "out")
    assert [f.name for f in (tmp_path / "out").iterdir()] == ["mine.txt"]


def test_images_of_one_stem_keep_files_of_their_own(project: Project, tmp_path: Path) -> None:
    for shade, name in enumerate(("lane_1/bag.png", "Lane 1_bag.JPG"), start=50):
        project.save_object(add_picture(project, name, shade).id, new_object(block(0, 0, WIDTH, 2)))
    EXPORTS["labelme"](project, tmp_path / "out")
    stems = {f.stem.casefold() for f in (tmp_path / "out").glob("*.json")}
    assert stems == {*STEMS, "lane_1_bag_5", "lane_1_bag_6"}
    for file in (tmp_path / "out").glob("*.json"):
        image = tmp_path / "out" / json.loads(file.read_text())["imagePath"]
        assert image.stem == file.stem
        assert cv2.imread(str(image)) is not None
