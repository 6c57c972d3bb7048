"""`apsam-train annotate collect`: the next training set, from accepted rounds."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from apsam_serve.contract.folders import new_folder
from apsam_train.annotate.accept import accepted_objects, require_reviews
from apsam_train.annotate.documents import (
    OutlinedObject,
    category_ids,
    category_records,
    image_file,
    read_document,
    read_images,
    to_text,
)
from apsam_train.annotate.record import PROPOSALS
from apsam_train.data.dataset import ImageDataset, usable_samples
from apsam_train.data.problems import ProblemLog
from apsam_train.data.rle import mask_fields, to_rle
from apsam_train.errors import DatasetError
from apsam_train.files import sha256_of


@dataclass(frozen=True, kw_only=True, eq=False)
class CollectedImage:
    """One image with its masks. origin: the round or data set it was taken from."""

    name: str
    file: Path
    sha256: str
    size: tuple[int, int]
    split: str
    bag: str
    origin: str
    objects: tuple[OutlinedObject, ...]


def collect(
    rounds: Sequence[Path],
    *,
    out: Path,
    extra: ImageDataset | None = None,
    split: str = "",
    link: bool = False,
    log: ProblemLog | None = None,
) -> list[CollectedImage]:
    """Write a COCO data set of the reviewed images of `rounds` and the images of `extra` whose
    objects all have masks to the new folder `out`; returns its images.

    The same image (by its bytes) in several places is taken from the last round, from `extra` only
    when no round has it. split: only rounds' images of this split and of its parts; link: symbolic
    links in place of copies. Raises DatasetError, OutputExistsError.
    """
    images: dict[str, CollectedImage] = {}
    log = log or ProblemLog()
    if extra is not None:
        images |= {image.sha256: image for image in _of_dataset(extra, log)}
    for folder in rounds:
        images |= {image.sha256: image for image in _of_round(folder, split)}
    if not images:
        raise DatasetError(
            f"0 reviewed images of split {split!r} in {', '.join(map(str, rounds))}; give accepted "
            "rounds that have it"
        )
    collected = list(images.values())
    with new_folder(out) as folder:
        names = _unique_names(collected)
        for image, name in zip(collected, names, strict=True):
            _place(image, folder / name, link=link)
        text = to_text(_document(collected, names, rounds))
        (folder / "annotations.json").write_text(text, encoding="utf-8")
    return collected


def _of_round(folder: Path, split: str) -> list[CollectedImage]:
    record = require_reviews(folder)
    images = read_images(read_document(folder / PROPOSALS))
    found = []
    for image_id, objects in sorted(accepted_objects(folder, record).items()):
        image = images[image_id]
        if split and not f"{image.split}/".startswith(f"{split}/"):
            continue
        file = image_file(image, record.proposed.data_root, folder)
        if sha256_of(file) != image.sha256:
            raise DatasetError(
                f"{file} has changed since {folder} was proposed; restore the image, its masks "
                "belong to the old one"
            )
        found.append(
            CollectedImage(
                name=image.name,
                file=file,
                sha256=image.sha256,
                size=(image.height, image.width),
                split=image.split,
                bag=image.bag,
                origin=folder.name,
                objects=tuple(objects),
            )
        )
    return found


def _of_dataset(dataset: ImageDataset, log: ProblemLog) -> list[CollectedImage]:
    found = []
    for index, sample in usable_samples(dataset, log):
        if sample.boxes:
            continue  # its objects are not all outlined; it would teach that they are background
        file = dataset.entries[index].image
        found.append(
            CollectedImage(
                name=sample.name,
                file=file,
                sha256=sha256_of(file),
                size=(sample.image.shape[0], sample.image.shape[1]),
                split=sample.split,
                bag=sample.bag,
                origin=dataset.root.name,
                objects=tuple(
                    OutlinedObject(category=one.category, mask=to_rle(one.mask))
                    for one in sample.instances
                ),
            )
        )
    return found


def _document(
    images: Sequence[CollectedImage], names: Sequence[str], rounds: Sequence[Path]
) -> dict[str, Any]:
    ids = category_ids(one.category for image in images for one in image.objects)
    records: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (image, name) in enumerate(zip(images, names, strict=True), start=1):
        records.append(
            {
                "id": number,
                "file_name": name,
                "height": image.size[0],
                "width": image.size[1],
                "split": image.split,
                "bag": image.bag,
                "origin": image.origin,
            }
        )
        for one in image.objects:
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": ids[one.category],
                    **mask_fields(one.mask),
                    "iscrowd": 0,
                }
            )
    return {
        "info": {
            "description": "Reviewed masks of annotation rounds",
            "rounds": [folder.name for folder in rounds],
        },
        "categories": category_records(ids),
        "images": records,
        "annotations": annotations,
    }


def _unique_names(images: Sequence[CollectedImage]) -> list[str]:
    """images/... below the data set; another image of the same name gets part of its digest."""
    names: list[str] = []
    taken: set[str] = set()
    for image in images:
        parts = [part for part in PurePosixPath(image.name).parts if part not in ("..", "/")]
        path = PurePosixPath(*parts[1:] if parts[0] == "images" and len(parts) > 1 else parts)
        path = path.with_suffix(image.file.suffix)
        if str(path) in taken:
            path = path.with_name(f"{path.stem}-{image.sha256[:8]}{path.suffix}")
        taken.add(str(path))
        names.append(f"images/{path}")
    return names


def _place(image: CollectedImage, target: Path, *, link: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if link:
        target.symlink_to(image.file.resolve())
    else:
        shutil.copyfile(image.file, target)
