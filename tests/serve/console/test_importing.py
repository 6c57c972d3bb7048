"""Folders of images: what comes in, what is refused, and that it can be repeated."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from apsam_serve.console.importing import add_file, import_folder
from apsam_serve.console.project import Project
from apsam_serve.contract.images import MAX_BYTES
from apsam_serve.errors import InvalidImageError, InvalidInputError
from tests.serve.console.filled import HEIGHT, WIDTH, picture

HUGE = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    + struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0)
    + b"\0" * 4
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five good files, of which two are the same, three bad ones, and four to pass over."""
    files = {
        "a.png": picture(1),
        "lane 2/b.JPG": picture(2, ".jpg"),
        "lane 2/c.tiff": picture(3, ".tif"),
        "lane 2/deep/again.png": picture(1),
        "lane 2/deep/e.jpeg": picture(4, ".jpg"),
        "bad/huge.png": HUGE,
        "bad/text.png": b"not an image",
        "bad/cut.jpg": picture(5, ".jpg")[:60],
        "._a.png": b"",
        "__MACOSX/a.png": b"",
        ".hidden/a.png": b"",
        "notes.txt": b"",
    }
    for name, data in files.items():
        file = tmp_path / "bags" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
    os.mkfifo(tmp_path / "bags" / "pipe.png")
    return tmp_path / "bags"


def test_a_folder_comes_in_with_progress_and_a_list_of_what_was_refused(
    tmp_path: Path, folder: Path
) -> None:
    steps: list[tuple[int, int]] = []
    with Project.open(tmp_path / "project") as project:
        refused = import_folder(project, folder, lambda done, total: steps.append((done, total)))
        images = project.images()
        assert {i.name for i in images} == {
            "a.png", "lane 2/b.JPG", "lane 2/c.tiff", "lane 2/deep/e.jpeg",
        }  # fmt: skip
        assert {(i.height, i.width) for i in images} == {(HEIGHT, WIDTH)}
        assert {i.suffix for i in images} == {".png", ".jpg", ".tif"}
        assert steps == [(n, 8) for n in range(9)]
        why = {one.name: one.why for one in refused}
        assert why.keys() == {"bad/huge.png", "bad/text.png", "bad/cut.jpg"}
        assert "9000 x 9000" in why["bad/huge.png"]
        assert "PNG, JPEG or TIFF" in why["bad/text.png"]
        assert import_folder(project, folder, lambda *_: None) == refused
        assert project.images() == images


def test_a_file_over_the_limit_is_refused_by_its_size(tmp_path: Path) -> None:
    with Project.open(tmp_path / "project") as project:
        with pytest.raises(InvalidImageError, match=f"has {MAX_BYTES + 1} bytes"):
            add_file(project, "bag.png", picture() + b"\0" * (MAX_BYTES + 1 - len(picture())))
        large = tmp_path / "bags" / "large.png"
        large.parent.mkdir()
        with large.open("wb") as stream:
            stream.truncate(3 * MAX_BYTES)
        (refused,) = import_folder(project, large.parent, lambda *_: None)
        assert str(3 * MAX_BYTES) in refused.why
        assert project.images() == []


def test_links_are_followed_as_far_as_the_folder_that_was_opened_to_the_console(
    tmp_path: Path,
) -> None:
    root, folder = tmp_path / "opened", tmp_path / "opened" / "monday"
    folder.mkdir(parents=True)
    (tmp_path / "secret.png").write_bytes(picture(1))
    (root / "other.png").write_bytes(picture(2))
    (folder / "out.png").symlink_to(tmp_path / "secret.png")
    (folder / "beside.png").symlink_to("../other.png")
    (folder / "around").symlink_to(folder)
    (folder / "nowhere.png").symlink_to("nothing.png")
    with Project.open(tmp_path / "project") as project:
        (refused,) = import_folder(project, folder, lambda *_: None, root=root)
        assert refused.name == "out.png"
        assert f"leads out of {root}" in refused.why
        assert [image.name for image in project.images()] == ["beside.png"]
    with Project.open(tmp_path / "stricter") as project:
        refused_all = import_folder(project, folder, lambda *_: None)
        assert [one.name for one in refused_all] == ["beside.png", "out.png"]
        assert project.images() == []


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with (
        Project.open(tmp_path / "project") as project,
        pytest.raises(InvalidInputError, match="is no folder"),
    ):
        import_folder(project, tmp_path / "nothing", lambda *_: None)
