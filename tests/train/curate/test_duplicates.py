from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest

from apsam_train.curate import phash
from apsam_train.curate.filters.duplicates import Duplicates
from apsam_train.curate.record import Duplicate, Link, Record

from .conftest import draw, record


def hash_of(picture: np.ndarray) -> str:
    return phash.to_hex(phash.perceptual_hash(cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)))


def flipped(text: str, *bits: int) -> str:
    """A hash that differs in some of its coarse bits (row 0, columns 1 to 7)."""
    found = phash.from_hex([text])[0].copy()
    for bit in bits:
        found[0, bit] ^= True
    return phash.to_hex(found)


def outcome(*records: Record, near_distance: int = 4, mirrors: bool = False) -> dict[str, Record]:
    stage = Duplicates(near_distance=near_distance, mirrors=mirrors)
    return {item.name: item for item in stage.apply(records)[0]}


def test_of_equal_files_the_one_with_most_objects_stays_then_the_first() -> None:
    found = outcome(
        record("first", sha256="x"),
        record("most", sha256="x", categories=("Bullet", "Gun"), bag="7", split="test"),
        record("same", sha256="x", categories=("Bullet", "Gun")),
        record("other"),
    )
    assert [item.dropped for item in found.values()] == [
        "equal file, other objects",
        "",
        "equal file",
        "",
    ]
    assert found["same"].duplicate == Duplicate(
        of="bags/most", distance=None, orientation="", same_objects=True
    )
    assert found["most"].linked == (
        Link(bag="bags/first", split=""),
        Link(bag="bags/same", split=""),
    )


@pytest.mark.parametrize(
    ("bits", "copy"), [((), True), ((1, 2, 3, 4), True), ((1, 2, 3, 4, 5), False)]
)
def test_hashes_within_the_distance_are_copies(bits: tuple[int, ...], copy: bool) -> None:
    first = record("a")
    found = outcome(first, record("b", phash=flipped(first.phash, *bits)))
    assert (found["b"].dropped == "near duplicate") is copy
    assert not copy or found["b"].duplicate == Duplicate(
        of="bags/a", distance=len(bits), orientation="", same_objects=True
    )


def test_coarse_bits_alone_make_no_copy() -> None:
    first = phash.from_hex([record("a").phash])[0]
    unlike = ~first
    unlike[:8, :8] = first[:8, :8]
    found = outcome(record("a"), record("b", phash=phash.to_hex(unlike)))
    assert not found["b"].dropped


@pytest.mark.parametrize(("mirrors", "dropped"), [(False, ""), (True, "near duplicate")])
def test_mirrored_pictures_are_copies_on_request(mirrors: bool, dropped: str) -> None:
    picture = draw(1)
    found = outcome(
        record("a", phash=hash_of(picture)),
        record("b", phash=hash_of(np.ascontiguousarray(picture[:, ::-1]))),
        mirrors=mirrors,
    )
    assert found["b"].dropped == dropped
    assert found["b"].duplicate is None or "left to right" in found["b"].duplicate.orientation


def test_reencoded_smaller_and_brighter_is_a_copy_and_another_bag_is_not() -> None:
    picture = draw(1, width=200, height=150)
    small = cv2.resize(cv2.add(picture, (9, 9, 9, 0)), (140, 105), interpolation=cv2.INTER_AREA)
    jpeg = cv2.imdecode(cv2.imencode(".jpg", small)[1], cv2.IMREAD_COLOR)
    found = outcome(
        record("a", phash=hash_of(picture)),
        record("b", phash=hash_of(jpeg)),
        *(record(f"other{seed}", phash=hash_of(draw(seed))) for seed in range(2, 30)),
    )
    assert [name for name, item in found.items() if item.dropped] == ["b"]


def test_whatever_goes_is_close_to_what_stays_and_no_two_that_stay_are_close() -> None:
    hashes = [record("a").phash]
    for bit in (1, 2, 3, 4, 5, 6):
        hashes.append(flipped(hashes[-1], bit))
    found = outcome(*(record(str(n), phash=text) for n, text in enumerate(hashes)), near_distance=2)
    assert [name for name, item in found.items() if not item.dropped] == ["0", "3", "6"]
    assert {n: i.duplicate.of for n, i in found.items() if i.duplicate} == {
        "1": "bags/0",
        "2": "bags/0",
        "4": "bags/3",
        "5": "bags/3",
    }


@pytest.mark.parametrize(
    ("other", "dropped"),
    [
        ({"bag": "a"}, ""),
        ({}, "near duplicate"),
        ({"bag": "a", "split": "test"}, "near duplicate"),
        ({"categories": ()}, ""),
        ({"categories": (), "split": "test"}, "near duplicate, other objects"),
        ({"categories": (), "source": "rail"}, "near duplicate, other objects"),
        ({"categories": (), "sha256": "a"}, "equal file, other objects"),
    ],
)
def test_alike_images_stay_in_one_split_of_one_source_if_views_or_with_other_objects(
    other: dict[str, object], dropped: str
) -> None:
    first = record("a", split="train")
    second = replace(first, **({"name": "b", "sha256": "b", "bag": "b"} | other))
    found, notes = Duplicates().apply([first, second])
    assert [item.dropped for item in found] == ["", dropped]
    assert notes == {"alike_kept": [] if dropped else [[first.id, second.id]]}
    ties = () if second.bag == "a" else (Link(bag=second.bag_id, split=second.split),)
    assert found[0].linked == ties


def test_a_thousand_equal_hashes_take_no_million_comparisons() -> None:
    empty = record("tray")
    trays = [replace(empty, name=str(n), sha256=str(n), bag=str(n)) for n in range(1000)]
    found = outcome(*trays)
    assert sum(not item.dropped for item in found.values()) == 1
    assert len(found["0"].linked) == 999
