"""A round to work on, and its correction as a tool would export it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from apsam_train.annotate.propose import propose
from apsam_train.data.formats import open_dataset
from tests.train.annotate.fakes import BoxFiller, Change, Correct, proposals_of, write_boxes


@pytest.fixture
def correct(tmp_path: Path) -> Correct:
    """Export a round's proposals as a tool would, changed by a function."""

    def export(folder: Path, change: Change = lambda _: None) -> Path:
        document = proposals_of(folder)
        for image in document["images"]:
            for key in set(image) - {"id", "file_name", "width", "height"}:
                del image[key]
        change(document)
        file = tmp_path / f"corrected{len(list(tmp_path.glob('corrected*')))}.json"
        file.write_text(json.dumps(document))
        return file

    return export


@pytest.fixture
def a_round(tmp_path: Path) -> Path:
    """A finished round of three images with two proposals each."""
    dataset = open_dataset(write_boxes(tmp_path / "boxes"))
    propose(BoxFiller(), dataset, out=tmp_path / "round1", model="fake", model_sha256="ab" * 32)
    return tmp_path / "round1"
