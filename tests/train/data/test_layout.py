"""What tells layouts apart."""

from __future__ import annotations

from pathlib import Path

import pytest

from apsam_train.data.layout import glimpse, homes, is_split, mentions, split_of


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("train", "train"),
        ("train_set", "train"),
        ("instances_val2017", "val"),
        ("Validation", "val"),
        ("pixray_test", "test"),
        ("TestSet", "test"),
        ("test_A", "test"),
        ("latest", ""),
        ("constrained", ""),
        ("valuables", ""),
        ("images", ""),
    ],
)
def test_a_split_is_a_word_of_a_name(name: str, split: str) -> None:
    assert split_of(name) == split


def test_a_folder_is_a_split_when_its_name_says_nothing_else() -> None:
    assert [is_split(name) for name in ("train", "Testing", "test_bags", "images")] == [
        True,
        True,
        False,
        False,
    ]


def test_a_folder_in_a_folder_is_a_home_only_when_it_is_alone(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / ".cache").mkdir()
    assert homes(tmp_path) == [tmp_path, tmp_path / "data"]
    (tmp_path / "more").mkdir()
    assert homes(tmp_path) == [tmp_path]


def test_words_are_found_in_files_and_nowhere_in_empty_or_missing_ones(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"objects": [')
    (tmp_path / "empty.json").touch()
    assert glimpse(tmp_path, ".json") == [tmp_path / "a.json", tmp_path / "empty.json"]
    assert mentions(tmp_path / "a.json", '"objects"')
    assert not mentions(tmp_path / "a.json", '"objects"', '"shapes"')
    assert not mentions(tmp_path / "empty.json", "a")
    assert not mentions(tmp_path / "missing.json", "a")


def test_a_folder_of_too_many_files_is_left_in_the_middle_and_closed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("apsam_train.data.layout._NUM_GLIMPSED", 2)
    for number in range(5):
        (tmp_path / f"{number}.json").touch()
    assert len(glimpse(tmp_path, ".json")) == 2
