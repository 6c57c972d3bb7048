"""Proposals: what is asked, what is flagged, and going on after a kill."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from apsam_serve.contract.prompts import Box
from apsam_train.annotate.flags import Thresholds
from apsam_train.annotate.known import KnownObject
from apsam_train.annotate.prompts import centre, outline
from apsam_train.annotate.proposals import ProposeOptions
from apsam_train.annotate.propose import propose
from apsam_train.annotate.record import read_finished, read_round
from apsam_train.annotate.sheet import write_sheet
from apsam_train.data.boxes import mask_box
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.formats import open_dataset
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import ConfigError, DatasetError
from tests.train.annotate.fakes import BLOCKS, BoxFiller, proposals_of, rle_of, write_boxes


@pytest.fixture
def boxes(tmp_path: Path) -> ImageDataset:
    return open_dataset(write_boxes(tmp_path / "boxes"))


def test_every_box_gets_a_mask_with_its_figures(a_round: Path) -> None:
    document = proposals_of(a_round)
    assert [image["file_name"] for image in document["images"]] == [
        f"images/{number:03d}.png" for number in range(3)
    ]
    assert len(document["annotations"]) == 6
    first = document["annotations"][0]
    left, top, right, bottom = BLOCKS[0]
    assert first["bbox"] == first["known_box"] == [left, top, right - left, bottom - top]
    assert first["area"] == (right - left) * (bottom - top)
    assert (first["score"], first["box_iou"], first["flags"]) == (0.9, 1.0, [])
    proposed = read_finished(a_round).proposed
    assert (proposed.num_images, proposed.num_objects, proposed.num_flagged) == (3, 6, 0)
    assert proposed.model_sha256 == "ab" * 32


@pytest.mark.parametrize(
    ("prompt", "area"), [("box", 320), ("box+center", 320), ("center", 25), ("apg", 25)]
)
def test_the_way_of_prompting_decides_the_mask(
    prompt: str, area: int, boxes: ImageDataset, tmp_path: Path
) -> None:
    out = tmp_path / "round"
    propose(BoxFiller(), boxes, out=out, model="fake", options=ProposeOptions(prompt=prompt))
    first = proposals_of(out)["annotations"][0]
    assert (first["area"], first["prompt"]) == (area, prompt)


@pytest.mark.parametrize(
    ("boxes_are_understood", "prompt", "area"), [(True, "box", 400), (False, "box+center", 25)]
)
def test_auto_keeps_the_mask_that_fits_the_box_best(
    boxes_are_understood: bool, prompt: str, area: int
) -> None:
    known = KnownObject(category="Gun", box=Box(left=8, top=8, right=28, bottom=28))
    image = BoxFiller(boxes=boxes_are_understood).encode(np.zeros((48, 64, 3), np.uint8))
    (proposal,) = outline(image, [known], prompt="auto", seed=[0])
    assert (proposal.prompt, proposal.mask.sum()) == (prompt, area)
    assert proposal.box_iou == area / 400


def test_more_objects_than_one_call_takes_are_asked_for_in_several() -> None:
    boxes = [Box(left=i % 40, top=i // 40, right=i % 40 + 9, bottom=30) for i in range(70)]
    known = [KnownObject(category="Gun", box=box) for box in boxes]
    image = BoxFiller().encode(np.zeros((48, 64, 3), np.uint8))
    proposals = outline(image, known, prompt="box", seed=[0])
    assert [mask_box(proposal.mask) for proposal in proposals] == boxes


def test_the_centre_of_a_rough_mask_lies_deep_inside_it() -> None:
    mask = np.zeros((40, 40), bool)
    mask[0:30, 0:10] = True  # a thin leg along the border,
    mask[10:30, 0:30] = True  # and the body
    known = KnownObject(category="Gun", box=Box(left=0, top=0, right=30, bottom=30), rough=mask)
    point = centre(known)
    assert (9 <= point.x <= 20, 18 <= point.y <= 21) == (True, True)


def test_masks_are_outlined_anew_only_when_asked(tmp_path: Path) -> None:
    dataset = open_dataset(write_boxes(tmp_path / "masks", masks=True))
    with pytest.raises(DatasetError, match=r"nothing to outline in 3 images.*--refine"):
        propose(BoxFiller(), dataset, out=tmp_path / "round1", model="fake")
    options = ProposeOptions(prompt="mask", refine=True)
    propose(BoxFiller(), dataset, out=tmp_path / "round2", model="fake", options=options)
    first = proposals_of(tmp_path / "round2")["annotations"][0]
    assert (first["known"], first["prompt"]) == ("mask", "mask")
    assert first["area"] == 16 * 20 / 16  # the fake sets one pixel per low-resolution cell
    assert first["rough_iou"] == pytest.approx(1 / 16)
    server = BoxFiller(logits=False)
    with pytest.raises(ConfigError, match="needs low-resolution logits, which a server keeps"):
        propose(server, dataset, out=tmp_path / "round3", model="fake", options=options)


def test_masks_beside_boxes_go_along_as_they_are(tmp_path: Path) -> None:
    folder = write_boxes(tmp_path / "mixed", num_images=1)
    document = json.loads((folder / "annotations.json").read_text())
    document["annotations"][0]["segmentation"] = rle_of(4, 4, 12, 24)
    (folder / "annotations.json").write_text(json.dumps(document))
    propose(BoxFiller(), open_dataset(folder), out=tmp_path / "round", model="fake")
    outlined, kept = proposals_of(tmp_path / "round")["annotations"]
    assert (outlined["prompt"], outlined["known"]) == ("box", "box")
    assert (kept["prompt"], kept["segmentation"]) == ("none", rle_of(4, 4, 12, 24))


def test_an_empty_mask_keeps_its_box_for_the_annotator(boxes: ImageDataset, tmp_path: Path) -> None:
    propose(BoxFiller(blind=True), boxes, out=tmp_path / "round", model="fake")
    first = proposals_of(tmp_path / "round")["annotations"][0]
    assert (first["segmentation"], first["flags"]) == ([], ["empty"])
    assert first["bbox"] == first["known_box"]


@pytest.mark.parametrize("tail", ["", '{"name": "images/002.p'], ids=["between", "half a line"])
def test_a_killed_run_goes_on_and_ends_with_the_same_files(
    tail: str, boxes: ImageDataset, tmp_path: Path
) -> None:
    options = ProposeOptions(prompt="random", seed=3)
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    propose(BoxFiller(), boxes, out=whole, model="fake", options=options)
    with pytest.raises(KeyboardInterrupt):
        propose(BoxFiller(fail_at=2), boxes, out=broken, model="fake", options=options)
    with pytest.raises(DatasetError, match="broken is not finished; run the same"):
        read_finished(broken)
    with (broken / "proposals.jsonl").open("a") as journal:
        journal.write(tail)
    again = BoxFiller()
    propose(again, boxes, out=broken, model="fake", options=options)
    assert again.num_encoded == 1
    for name in ("proposals.json", "proposals.jsonl", "review.csv"):
        assert (broken / name).read_bytes() == (whole / name).read_bytes()


def test_a_corrupt_image_is_counted_and_strict_stops(boxes: ImageDataset, tmp_path: Path) -> None:
    boxes.entries[1].image.write_bytes(b"no image")
    for _ in range(2):  # a resumed run counts it again
        log = ProblemLog()
        propose(BoxFiller(), boxes, out=tmp_path / "round", model="fake", log=log)
        assert log.counts() == {"unreadable image": 1}
    assert read_round(tmp_path / "round").proposed.problems == {"unreadable image": 1}
    assert len(proposals_of(tmp_path / "round")["images"]) == 2
    strict = ProblemLog(strict=True)
    with pytest.raises(DatasetError, match="unreadable image"):
        propose(BoxFiller(), boxes, out=tmp_path / "strict", model="fake", log=strict)


def test_another_model_or_option_does_not_mix_into_a_round(
    a_round: Path, boxes: ImageDataset
) -> None:
    with pytest.raises(ConfigError, match=r"begun with another model \('fake', now 'other'\)"):
        propose(BoxFiller(), boxes, out=a_round, model="other")
    options = ProposeOptions(thresholds=Thresholds(score=0.1))
    same = {"model": "fake", "model_sha256": "ab" * 32}
    with pytest.raises(ConfigError, match="begun with another options"):
        propose(BoxFiller(), boxes, out=a_round, options=options, **same)
    with pytest.raises(ConfigError, match="exists and is no annotation round"):
        propose(BoxFiller(), boxes, out=boxes.root, model="fake")


@pytest.mark.parametrize(
    ("prompt", "message"),
    [("points", "--prompt 'points' is unknown; choose one of auto, box"), ("mask", "add --refine")],
)
def test_a_prompt_that_cannot_be_made_is_refused(
    prompt: str, message: str, boxes: ImageDataset, tmp_path: Path
) -> None:
    options = ProposeOptions(prompt=prompt)
    with pytest.raises(ConfigError, match=message):
        propose(BoxFiller(), boxes, out=tmp_path / "round", model="fake", options=options)


def test_the_work_list_has_the_worst_first_and_a_picture(
    boxes: ImageDataset, tmp_path: Path
) -> None:
    out = tmp_path / "round"
    propose(BoxFiller(), boxes, out=out, model="fake", options=ProposeOptions(prompt="center"))
    rows = list(csv.DictReader((out / "review.csv").read_text().splitlines()))
    assert [row["rank"] for row in rows] == [str(rank) for rank in range(1, 7)]
    agreements = [float(row["box_iou"]) for row in rows]
    assert agreements == sorted(agreements)
    assert rows[0]["flags"] == "disagrees with its box"
    assert write_sheet(out, num_worst=6).stat().st_size > 1000


def test_a_record_of_another_version_is_refused(a_round: Path) -> None:
    record = json.loads((a_round / "round.json").read_text())
    (a_round / "round.json").write_text(json.dumps(record | {"format_version": 2}))
    with pytest.raises(DatasetError, match="has format_version 2; this release reads 1"):
        read_round(a_round)
    with pytest.raises(DatasetError, match="is no annotation round"):
        read_round(a_round.parent)
