"""Files that appear whole, and their digest."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from apsam_train.files import sha256_of, write_whole


def test_a_text_replaces_the_one_before(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.json", "before")
    write_whole(tmp_path / "a.json", "after: ü\n")
    assert (tmp_path / "a.json").read_bytes() == "after: ü\n".encode()


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise KeyboardInterrupt

    write_whole(tmp_path / "a.json", "before")
    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        write_whole(tmp_path / "a.json", "after")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.json", "before")]


def test_a_digest_is_that_of_the_bytes(tmp_path: Path) -> None:
    write_whole(tmp_path / "a", "abc")
    assert sha256_of(tmp_path / "a") == hashlib.sha256(b"abc").hexdigest()
