"""The folder of formats: what every file in it has, and that a file in it is all a format takes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from apsam_train.categories import SUPERCLASS, SUPERCLASSES
from apsam_train.data import formats
from apsam_train.errors import DatasetError
from tests.train.data.formats.small_files import write, write_image

ROOT = Path(__file__).parents[4]
NAMES = formats.names()

PLUGIN = '''
"""Every JPEG of a folder that has a file `mark.ours`, without objects."""

from functools import partial

from apsam_train.data.entry import Entry, given

TITLE = "ours"
GENERIC = False
CATEGORIES_IN_XSEG = {}


def looks_like(root):
    return (root / "mark.ours").is_file()


def read(root, log):
    files = sorted(root.glob("*.jpg"))
    return [Entry(name=f.name, image=f, read_shapes=partial(given, ())) for f in files]
'''


@pytest.mark.parametrize("name", NAMES)
def test_every_format_has_what_a_format_needs(name: str, tmp_path: Path) -> None:
    layout = formats.load(name)
    assert isinstance(layout.TITLE, str)
    assert isinstance(layout.GENERIC, bool)
    assert all(isinstance(key, str) for key in layout.CATEGORIES_IN_XSEG)
    assert layout.looks_like(tmp_path) is False
    assert layout.looks_like(write(tmp_path / "file.txt", "x")) is False


@pytest.mark.parametrize("name", NAMES)
def test_reading_a_folder_of_another_layout_says_what_was_expected(
    name: str, tmp_path: Path
) -> None:
    with pytest.raises(DatasetError, match=str(tmp_path)):
        formats.open_dataset(tmp_path, format=name)


@pytest.mark.parametrize("name", NAMES)
def test_every_name_is_mapped_to_a_category_or_a_superclass(name: str) -> None:
    mapped = set(formats.load(name).CATEGORIES_IN_XSEG.values())
    assert mapped <= {*SUPERCLASS, *SUPERCLASSES}


def test_no_two_formats_have_the_same_title() -> None:
    titles = [formats.load(name).TITLE for name in NAMES]
    assert len(set(titles)) == len(titles) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_the_documents_have_a_row_for_every_format(name: str) -> None:
    rows = (ROOT / "docs" / "datasets.md").read_text().splitlines()
    assert any(row.startswith(f"| `{name}` ") for row in rows)


def test_a_file_in_the_folder_is_all_a_format_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path / "plugins" / "ours.py", PLUGIN)
    write(tmp_path / "data" / "mark.ours", "")
    write_image(tmp_path / "data" / "a.jpg")
    monkeypatch.setattr(formats, "__path__", [*formats.__path__, str(tmp_path / "plugins")])
    try:
        dataset = formats.open_dataset(tmp_path / "data")
        assert dataset.format == "ours"
        assert [dataset[index].name for index in range(len(dataset))] == ["a.jpg"]
    finally:
        sys.modules.pop(f"{formats.__name__}.ours", None)
        vars(formats).pop("ours", None)
