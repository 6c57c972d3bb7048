"""Images found by what is left of their names, objects by overlap."""

from __future__ import annotations

from dataclasses import replace

import pytest

from apsam_serve.contract.prompts import Box
from apsam_train.annotate.documents import OutlinedObject, ProposedObject
from apsam_train.annotate.matching import match_images, match_proposals
from apsam_train.data.rle import Rle
from apsam_train.errors import DatasetError
from tests.train.annotate.fakes import rle_of

KNOWN = ("train/cam1/001.png", "train/cam2/001.png", "train/cam2/002.png")


@pytest.mark.parametrize(
    ("found", "known"),
    [
        ("train/cam1/001.png", "train/cam1/001.png"),
        ("002.png", "train/cam2/002.png"),
        ("upload/002.png", "train/cam2/002.png"),
        ("cam2/001.png", "train/cam2/001.png"),
        ("cam1\\001.png", "train/cam1/001.png"),
        ("002.jpg", "train/cam2/002.png"),
        ("1f2e3d4c-002.png", "train/cam2/002.png"),
        ("./images/cam1/001.tiff", "train/cam1/001.png"),
    ],
)
def test_an_image_is_found_by_what_a_tool_left_of_its_name(found: str, known: str) -> None:
    assert match_images([found], KNOWN) == {found: known}


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (["002.png", "003.png", "4.png"], "2 images are not of this round: 003.png, 4.png; it has"),
        (["001.png"], "1 image names fit several images of this round: 001.png; put their folders"),
        (["a/002.png", "b/002.png"], "name the same image of this round: a/002.png, b/002.png"),
    ],
)
def test_an_image_that_cannot_be_told_is_refused_by_name(found: list[str], message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        match_images(found, KNOWN)


def proposed(mask: Rle | None, box: tuple[int, int, int, int]) -> ProposedObject:
    left, top, right, bottom = box
    known_box = Box(left=left, top=top, right=right, bottom=bottom)
    return ProposedObject(id=1, category="Gun", mask=mask, known_box=known_box, box_iou=1.0)


def outlined(*box: int) -> OutlinedObject:
    return OutlinedObject(category="Gun", mask=rle_of(*box))


def test_objects_are_matched_so_that_their_overlaps_add_up_to_most() -> None:
    # The first is nearest to the second's outline too; taken greedily, the second would be left.
    first = proposed(rle_of(0, 0, 20, 20), (0, 0, 20, 20))
    second = proposed(rle_of(4, 0, 24, 20), (4, 0, 24, 20))
    pairs = match_proposals([first, second], [outlined(2, 0, 22, 20), outlined(0, 0, 18, 20)])
    assert [(i, j) for i, j, _ in pairs.matched] == [(0, 1), (1, 0)]
    assert pairs.matched[0][2] == pytest.approx(0.9)


def test_what_barely_touches_is_no_match() -> None:
    one = proposed(rle_of(0, 0, 20, 20), (0, 0, 20, 20))
    pairs = match_proposals([one], [outlined(18, 0, 38, 20)])
    assert (pairs.matched, pairs.only_first, pairs.only_second) == ((), (0,), (0,))


@pytest.mark.parametrize("mask", [None, rle_of(40, 30, 44, 34)], ids=["empty", "elsewhere"])
def test_an_object_drawn_from_scratch_is_recognised_by_its_known_box(mask: Rle | None) -> None:
    one = proposed(mask, (0, 0, 20, 20))
    pairs = match_proposals([one], [outlined(1, 0, 20, 20)])
    assert pairs.matched == ((0, 0, 0.0),)


def test_nothing_against_nothing_matches_nothing() -> None:
    assert match_proposals([], []).matched == ()
    assert match_proposals([], [outlined(0, 0, 9, 9)]).only_second == (0,)
    assert match_proposals([proposed(None, (0, 0, 9, 9))], []).only_first == (0,)


def test_a_proposal_on_the_wrong_object_still_belongs_to_its_box() -> None:
    strayed = proposed(rle_of(30, 0, 50, 20), (0, 0, 20, 20))
    pairs = match_proposals([strayed], [outlined(28, 0, 50, 30), outlined(0, 0, 20, 20)])
    assert (pairs.matched, pairs.only_second) == (((0, 1, 0.0),), (0,))


def test_of_equal_masks_the_category_decides() -> None:
    mask, box = rle_of(0, 0, 20, 20), (0, 0, 20, 20)
    gun, bullet = proposed(mask, box), replace(proposed(mask, box), category="Bullet")
    corrected = [replace(outlined(*box), category="Bullet"), outlined(*box)]
    pairs = match_proposals([gun, bullet], corrected)
    assert [(i, j) for i, j, _ in pairs.matched] == [(0, 1), (1, 0)]
