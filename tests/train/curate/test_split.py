from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from apsam_train.curate.filters.split import Split, subset_of
from apsam_train.curate.record import Link, Record

from .conftest import record


def subsets(records: list[Record], **options: Any) -> dict[str, str]:
    return {item.id: item.subset for item in Split(**options).apply(records)[0]}


@pytest.mark.parametrize(
    ("split", "subset"),
    [
        ("train", "train"),
        ("test/hard", "test"),
        ("val2017", "val"),
        ("Validation", "val"),
        ("holdout", ""),
        ("", ""),
    ],
)
def test_a_data_sets_own_splits_become_train_val_or_test(split: str, subset: str) -> None:
    assert subset_of(split) == subset


def test_a_public_data_set_keeps_its_splits_even_without_val() -> None:
    public = [record(f"{s}{n}", split=s) for s in ("train", "test/easy") for n in range(40)]
    placed = subsets(public)
    assert Counter(placed.values()) == {"train": 40, "test": 40}
    with_val = subsets(public, val_share=0.25)
    assert Counter(with_val.values())["test"] == 40
    assert 4 <= Counter(with_val.values())["val"] <= 16
    assert set(subsets(public, resplit=("bags",)).values()) == {"train", "val", "test"}


def test_images_without_a_split_are_divided_8_to_1_to_1_in_every_source() -> None:
    bags = [record(f"{n}", source=source) for source in ("air", "rail") for n in range(2000)]
    placed = subsets(bags)
    for source in ("air", "rail"):
        counts = Counter(subset for name, subset in placed.items() if name.startswith(source))
        assert 1540 < counts["train"] < 1660
        assert 150 < counts["val"] < 250
        assert 150 < counts["test"] < 250


def test_all_views_of_a_bag_go_to_one_split() -> None:
    views = [record(f"{bag}-{view}", bag=str(bag)) for bag in range(200) for view in range(4)]
    placed = subsets(views)
    for bag in range(200):
        assert len({placed[f"bags/{bag}-{view}"] for view in range(4)}) == 1
    assert set(placed.values()) == {"train", "val", "test"}


def test_images_added_later_move_no_old_one() -> None:
    old = [record(f"{n}") for n in range(0, 300, 2)]
    new = [record(f"{n}") for n in range(300)] + [record("0", source="rail")]
    before, after = subsets(old), subsets(new)
    assert {name: after[name] for name in before} == before


def test_bags_tied_by_a_copy_go_to_one_split_and_to_a_public_test_set_first() -> None:
    bags = []
    for n in range(60):
        link = Link(bag=f"rail/{n}", split="")
        bags += [record(f"{n}", linked=(link,)), record(f"{n}-b", source="rail", bag=f"{n}")]
    placed = subsets(bags)
    assert all(placed[f"bags/{n}"] == placed[f"rail/{n}-b"] for n in range(60))
    assert set(placed.values()) == {"train", "val", "test"}
    copies_of_test = [
        record(f"{n}", linked=(Link(bag=f"public/{n}", split="test/hard"),)) for n in range(20)
    ]
    assert set(subsets(copies_of_test).values()) == {"test"}


def test_bags_that_public_splits_divide_are_counted() -> None:
    views = [record("a", bag="7", split="train"), record("b", bag="7", split="test")]
    placed, notes = Split().apply(views)
    assert [item.subset for item in placed] == ["train", "test"]
    assert notes == {"bags_in_two_splits": 1}
