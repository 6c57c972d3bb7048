"""labelme: a JSON file for each image, anywhere below the folder.

An image is the one beside its JSON with the same stem, whatever its suffix, or else the one that
`imagePath` names; `imagePath` is often left over from another machine. Polygons, circles and masks
are outlines, rectangles are boxes. The split is that of a folder named after one.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path, PurePosixPath

from apsam_train.data.entry import Entry
from apsam_train.data.files import is_image, walk
from apsam_train.data.labelme_json import is_labelme, labelme_shapes, read_labelme
from apsam_train.data.layout import glimpse, homes, split_of, subfolders
from apsam_train.data.problems import ProblemKind, ProblemLog
from apsam_train.errors import DatasetError

TITLE = "labelme"
GENERIC = True
CATEGORIES_IN_XSEG: Mapping[str, str] = {}


def looks_like(root: Path) -> bool:
    """By one of the first files of a folder near the top."""
    folders = [folder for home in homes(root) for folder in (home, *subfolders(home))]
    return any(is_labelme(file) for f in folders for file in glimpse(f, ".json")[:3])


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image that a JSON file belongs to; other JSON files are passed over."""
    files = list(walk(root))
    beside = {file.with_suffix(""): file for file in files if is_image(file)}
    found: dict[Path, Path] = {}
    for file in files:
        if file.suffix.lower() != ".json":
            continue
        image = beside.get(file.with_suffix("")) or _image_named_in(file, log)
        if image in found:
            detail = f"a second annotation of {image.name}, after {found[image].name}: left out"
            log.add(ProblemKind.DUPLICATE_ID, str(file), detail)
        elif image is not None:
            found[image] = file
    for image in sorted(set(beside.values()) - found.keys()):
        log.add(ProblemKind.MISSING_ANNOTATION, str(image), "no annotation file: left out")
    return [_entry(image, found[image], root) for image in sorted(found)]


def _image_named_in(file: Path, log: ProblemLog) -> Path | None:
    if not is_labelme(file):
        return None
    try:
        named = str(read_labelme(file).get("imagePath") or "")
    except DatasetError as error:
        log.add(ProblemKind.BAD_ANNOTATION, str(file), f"no image beside it, and {error}")
        return None
    path = PurePosixPath(named.replace("\\", "/"))
    for place in (file.parent / path, file.parent / path.name):
        if place.is_file():
            return Path(os.path.normpath(place))
    detail = f"neither {file.stem}.* beside it nor its imagePath {named!r} is there: left out"
    log.add(ProblemKind.MISSING_IMAGE, str(file), detail)
    return None


def _entry(image: Path, file: Path, root: Path) -> Entry:
    place = file.relative_to(root)
    splits = [split_of(folder) for folder in place.parts[:-1]]
    return Entry(
        name=place.with_suffix(image.suffix).as_posix(),
        image=image,
        read_shapes=partial(labelme_shapes, file, image),
        split=next(filter(None, splits), ""),
    )
