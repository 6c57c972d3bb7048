"""The review that a console exports is what `apsam-train annotate accept` takes."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from apsam_serve.console.exports import EXPORTS
from apsam_serve.console.importing import import_folder
from apsam_serve.console.project import Project
from apsam_serve.contract.masks import Mask
from apsam_serve.errors import InvalidInputError
from apsam_train.annotate.accept import accept
from apsam_train.annotate.propose import propose
from apsam_train.data.formats import open_dataset
from tests.serve.console.filled import new_object
from tests.train.annotate.fakes import BLOCKS, HEIGHT, WIDTH, BoxFiller, write_boxes


@pytest.fixture
def a_round(tmp_path: Path) -> Path:
    """A finished round of three images with two proposals each."""
    dataset = open_dataset(write_boxes(tmp_path / "boxes"))
    propose(BoxFiller(), dataset, out=tmp_path / "round", model="fake", model_sha256="ab" * 32)
    return tmp_path / "round"


@pytest.fixture
def project(a_round: Path, tmp_path: Path) -> Iterator[Project]:
    """The round's images."""
    with Project.open(tmp_path / "project") as project:
        assert import_folder(project, tmp_path / "boxes", lambda *_: None) == []
        yield project


def filled(number: int, *, lower: int = 0) -> Mask:
    left, top, right, bottom = BLOCKS[number]
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[top + lower : bottom + lower, left:right] = True
    return mask


def test_accept_takes_each_reviewers_file_and_tells_what_was_changed(
    project: Project, a_round: Path, tmp_path: Path
) -> None:
    first, second, third = (image.id for image in project.images())
    project.save_object(first, new_object(filled(0)))
    project.save_object(first, new_object(filled(1, lower=4), verdict="corrected"))
    project.save_object(second, new_object(filled(0), category="Bullet"))
    project.save_object(second, new_object(filled(1), verdict="rejected"))
    project.set_status(first, "done", reviewer="Ada", round=1)
    project.set_status(second, "done", reviewer="Bo O'Hara", round=1)
    project.save_object(third, new_object(filled(0)))  # not done: in nobody's file

    files = EXPORTS["review"](project, tmp_path / "reviews")
    assert [file.name for file in files] == ["round-1-Ada.json", "round-1-Bo_O_Hara.json"]
    ada = accept(a_round, corrected=files[0], reviewer="Ada")
    assert (ada.num_images, ada.num_unchanged, ada.num_corrected) == (1, 1, 1)
    assert (ada.num_added, ada.num_deleted, ada.num_renamed) == (0, 0, 0)

    info = json.loads(files[1].read_text())["info"]
    assert (info["round"], info["reviewer"]) == (1, "Bo O'Hara")
    words = shlex.split(info["command"])
    assert words[:3] == ["apsam-train", "annotate", "accept"]
    bo = accept(a_round, corrected=tmp_path / "reviews" / words[5], reviewer=words[7])
    assert (bo.num_images, bo.num_unchanged, bo.num_renamed, bo.num_deleted) == (1, 0, 1, 1)
    assert bo.reviewer == "Bo O'Hara"


def test_a_finished_image_without_objects_says_that_every_proposal_was_wrong(
    project: Project, a_round: Path, tmp_path: Path
) -> None:
    project.set_status(project.images()[0].id, "done", reviewer="Ada", round=7)
    (file,) = EXPORTS["review"](project, tmp_path / "reviews")
    assert file.name == "round-7-Ada.json"
    review = accept(a_round, corrected=file, reviewer="Ada")
    assert (review.num_images, review.num_deleted, review.num_unchanged) == (1, 2, 0)


def test_an_object_without_category_is_one_that_accept_knows_to_be_renamed(
    project: Project, a_round: Path, tmp_path: Path
) -> None:
    image = project.images()[0].id
    project.save_object(image, new_object(filled(0), category=None))
    project.set_status(image, "done")
    (file,) = EXPORTS["review"](project, tmp_path / "reviews")
    assert file.name == "round-0-unnamed.json"
    review = accept(a_round, corrected=file, reviewer="Ada")
    assert (review.num_renamed, review.num_corrected, review.num_deleted) == (1, 1, 1)


def test_reviewers_whose_names_make_the_same_file_name_get_files_of_their_own(
    project: Project, tmp_path: Path
) -> None:
    for image, reviewer in zip(project.images(), ("A B", "A/B", "a?b"), strict=True):
        project.set_status(image.id, "done", reviewer=reviewer, round=1)
    files = EXPORTS["review"](project, tmp_path / "reviews")
    reviewers = {json.loads(file.read_text())["info"]["reviewer"] for file in files}
    assert reviewers == {"A B", "A/B", "a?b"}


def test_a_project_without_a_finished_image_has_no_review(project: Project, tmp_path: Path) -> None:
    project.save_object(project.images()[0].id, new_object(filled(0)))
    with pytest.raises(InvalidInputError, match="0 images are done"):
        EXPORTS["review"](project, tmp_path / "reviews")
    assert not (tmp_path / "reviews").exists()
