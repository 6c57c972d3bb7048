"""Names to labels, and which classes a superclass has."""

from __future__ import annotations

import pytest

from apsam_train.categories import (
    CATEGORIES,
    CLASSES,
    LABELS,
    MEMBERSHIP,
    SUPERCLASS,
    SUPERCLASSES,
    UNKNOWN,
    label_of,
)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("ColumnarBlockBattery", 1),
        ("Scissors", 12),
        ("Gun", 22),
        ("Sawblade", 30),
        ("Batteries", 31),
        ("Fruitknife", 33),
        ("Others", 40),
        ("none", UNKNOWN),
        ("gun", UNKNOWN),
        ("", UNKNOWN),
    ],
)
def test_a_name_says_as_much_as_it_can(name: str, label: int) -> None:
    assert label_of(name) == label


def test_every_label_has_its_name_and_the_category_scissors_wins() -> None:
    assert len(LABELS) == 41
    assert [label_of(name) for name in CATEGORIES] == list(range(1, 31))
    labels = [label_of(name) for name in SUPERCLASSES]
    assert labels == [31, 32, 33, 34, 12, 36, 37, 38, 39, 40]
    assert [LABELS[label] for label in labels] == list(SUPERCLASSES)


def test_every_category_is_in_its_superclass_and_no_other() -> None:
    for index, name in enumerate(CLASSES):
        owners = [SUPERCLASSES[row] for row, classes in enumerate(MEMBERSHIP) if classes[index]]
        assert owners == ([SUPERCLASS[name]] if index else [])
    assert [sum(classes) for classes in MEMBERSHIP] == [2, 3, 2, 2, 3, 2, 3, 4, 2, 7]
