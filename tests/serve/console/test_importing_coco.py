"""COCO files onto images: our own exports, a round's proposals, and what other tools write."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from apsam_serve.console.exports import EXPORTS
from apsam_serve.console.importing import import_folder
from apsam_serve.console.importing_coco import Imported, import_coco
from apsam_serve.console.project import Project
from apsam_serve.console.rows import NewObject
from apsam_serve.errors import InvalidInputError
from apsam_train.annotate.accept import accept
from apsam_train.annotate.propose import propose
from apsam_train.data.formats import open_dataset
from tests.serve.console.filled import HEIGHT, SHAPES, WIDTH, add_picture, block, fill, new_object
from tests.train.annotate.fakes import BLOCKS, BoxFiller, write_boxes


def quiet(project: Project, file: Path) -> Imported:
    return import_coco(project, file, lambda *_: None)


@pytest.mark.parametrize("form", ["rle", "polygons"])
def test_an_export_comes_back_into_another_project_with_every_object_once(
    tmp_path: Path, form: str
) -> None:
    with fill(tmp_path / "first") as first:
        EXPORTS["coco"](first, tmp_path / "out")
        expected = first.objects(1)
    file = tmp_path / "out" / f"instances_{form}.json"
    with Project.open(tmp_path / "second") as second:
        # In another order and under other names: bytes tell which is which.
        for shade, name in ((2, "x.tif"), (0, "y.png")):
            add_picture(second, name, shade)
        steps: list[tuple[int, int]] = []
        found = import_coco(second, file, lambda *step: steps.append(step))
        assert (found.num_objects, found.num_known) == (10, 0)
        assert steps == [(n, 10) for n in range(11)]
        assert found.nameless == {"uncategorised": 1}
        assert [one.name for one in found.refused] == ["lane 2/bag.jpg"]
        objects = second.objects(2)
        assert [(o.mask, o.category) for o in objects] == [(o.mask, "Gun") for o in expected]
        assert {(o.source, o.verdict, o.reviewer, o.score) for o in objects} == {
            ("imported", "accepted", "Ada", 0.9)
        }
        assert second.objects(1)[0].category is None

        second.remove_object(objects[0].id)
        second.change_object(objects[1].id, mask=new_object(SHAPES["block"]).mask)
        again = quiet(second, file)
        assert (again.num_objects, again.num_known) == (0, 10)
        assert len(second.objects(2)) == len(SHAPES) - 1


def test_a_rounds_proposals_are_reviewed_in_the_console_and_taken_back(tmp_path: Path) -> None:
    dataset = open_dataset(write_boxes(tmp_path / "boxes"))
    a_round = tmp_path / "round"
    propose(BoxFiller(), dataset, out=a_round, model="fake", model_sha256="ab" * 32)
    with Project.open(tmp_path / "project") as project:
        import_folder(project, tmp_path / "boxes", lambda *_: None)
        assert quiet(project, a_round / "proposals.json").num_objects == 6
        first, second, _ = project.images()
        keep, drop = project.objects(first.id)
        assert (keep.box.left, keep.box.bottom) == (BLOCKS[0][0], BLOCKS[0][3])
        project.change_object(drop.id, verdict="rejected", reviewer="Ada")
        for image in (first, second):
            project.set_status(image.id, "done", reviewer="Ada", round=1)
        (file,) = EXPORTS["review"](project, tmp_path / "reviews")
    review = accept(a_round, corrected=file, reviewer="Ada")
    assert (review.num_images, review.num_unchanged, review.num_deleted) == (2, 3, 1)


def coco(**changes: Any) -> dict[str, Any]:
    """One object on one image, as other tools write it."""
    image = {"id": 3, "file_name": "D:\\bags\\lane 1\\BAG.png", "width": WIDTH, "height": HEIGHT}
    ring = [4, 4, 24, 4, 24, 20, 4, 20]
    annotation = {"id": 5, "image_id": 3, "category_id": 1, "segmentation": [ring], "iscrowd": 0}
    return {
        "images": [image],
        "annotations": [annotation | changes],
        "categories": [{"id": 1, "name": "Gun"}],
    }


def test_images_without_digest_are_known_by_the_last_part_of_their_name(tmp_path: Path) -> None:
    file = tmp_path / "other.json"
    file.write_text(json.dumps(coco()))
    with Project.open(tmp_path / "project") as project:
        image = add_picture(project, "lane 1/bag.png")
        assert quiet(project, file).num_objects == 1
        (found,) = project.objects(image.id)
        assert found.mask == new_object(block(4, 4, 24, 20)).mask
        assert (found.score, found.reviewer, found.round) == (
            None,
            "",
            NewObject(mask=found.mask).round,
        )
        add_picture(project, "lane 2/bag.png", 7)
        (refused,) = quiet(project, file).refused
        assert "several have its name" in refused.why
        document = coco()
        document["images"][0] |= {"file_name": "lane 1/bag.png", "width": 2 * WIDTH}
        file.write_text(json.dumps(document))
        (refused,) = quiet(project, file).refused
        assert "in that size" in refused.why


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"segmentation": None}, "segmentation is 'None'"),
        ({"segmentation": [[90, 90, 99, 90, 99, 99]]}, "mask has no pixel"),
        ({"segmentation": {"size": [1, 1], "counts": "01"}}, "its image 64 x 48"),
    ],
)
def test_an_object_without_usable_outline_is_listed(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    file = tmp_path / "other.json"
    file.write_text(json.dumps(coco(**changes)))
    with Project.open(tmp_path / "project") as project:
        image = add_picture(project, "bag.png")
        found = quiet(project, file)
        assert found.num_objects == 0
        assert found.refused[0].name == "bag.png, annotation 5"
        assert why in found.refused[0].why
        assert project.objects(image.id) == []


def _cut(file: Path) -> None:
    file.write_text('{"images": [')


def _list(file: Path) -> None:
    file.write_text("[]")


def _nested(file: Path) -> None:
    file.write_text(json.dumps(coco(image_id=[3])))


def _missing(file: Path) -> None:
    file.unlink(missing_ok=True)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (_cut, "cannot be read as JSON"),
        (_missing, "cannot be read as JSON"),
        (_list, "is no COCO instances file"),
        (_nested, "is no COCO instances file"),
    ],
)
def test_a_file_that_is_no_coco_is_refused_whole(
    tmp_path: Path, write: Callable[[Path], None], message: str
) -> None:
    write(tmp_path / "other.json")
    with (
        Project.open(tmp_path / "project") as project,
        pytest.raises(InvalidInputError, match=message),
    ):
        quiet(project, tmp_path / "other.json")
