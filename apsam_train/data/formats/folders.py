"""Folders of images and of binary masks, the form of XSeg's binary masks: `images` and `masks` (or
`image`, `imgs`, `JPEGImages`; `mask`, `SegmentationClass`), at the top or in folders named after
splits, or with such folders in both.

A mask has its image's stem; the suffix may differ. `NAME.png` has all objects of an image: each of
its 8-connected parts of at least 16 pixels is an instance (XSeg has three masks an image).
`NAME_0.png`, `NAME_1.png`, ... have one instance each, in as many parts as they like: the form for
objects that touch, or that others cut in two; with them, `NAME.png` is not read. A black mask is a
bag without contraband. What is marked is told from 0 by half the brightest value, so 1 and 255
serve, and the noise of a JPEG does no harm.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.images import decode
from apsam_serve.errors import InvalidImageError
from apsam_train.data.entry import Entry, Report, Shape
from apsam_train.data.files import images_by_stem
from apsam_train.data.layout import homes, is_split, split_of, subfolders
from apsam_train.data.problems import ProblemKind, ProblemLog
from apsam_train.data.rle import to_rle
from apsam_train.data.sidecars import check_size
from apsam_train.errors import DatasetError

TITLE = "image and mask folders"
GENERIC = True
CATEGORIES_IN_XSEG: Mapping[str, str] = {}
CATEGORY = "contraband"
"""Of every instance: binary masks know no other."""
MIN_PIXELS = 16
"""Of a connected part, to be an instance: what is smaller is a slip of the brush."""
_IMAGES = ("images", "image", "imgs", "jpegimages")
_MASKS = ("masks", "mask", "segmentationclass")
_MAX_BETWEEN = 0.2
"""Share of a mask that may be neither dark nor bright: blurred edges, not classes."""


def looks_like(root: Path) -> bool:
    """By folders of both kinds, where nothing tells of annotations of another form."""
    others = {"annotations", "annotations.json"}
    if any(item.name.lower() in others for home in homes(root) for item in home.iterdir()):
        return False
    return bool(_places(root))


def read(root: Path, log: ProblemLog) -> list[Entry]:
    """Every image with a mask."""
    places = _places(root)
    if not places:
        raise DatasetError(f"{root} has no pair of folders like images and masks")
    return [entry for place in places for entry in _entries(*place, root, log)]


def _places(root: Path) -> list[tuple[Path, Path, str]]:
    """(images, masks, split)."""
    found: dict[Path, tuple[Path, Path, str]] = {}
    for home in homes(root):
        for place in (home, *(f for f in subfolders(home) if is_split(f.name))):
            split = "" if place == home else split_of(place.name)
            images, masks = _named(place, _IMAGES), _named(place, _MASKS)
            if images is None or masks is None:
                continue
            inner = {f.name: f for f in subfolders(images) if is_split(f.name)}
            both = [name for name in inner if (masks / name).is_dir()]
            for name in both:
                found[inner[name]] = (inner[name], masks / name, split_of(name))
            if not both:
                found.setdefault(images, (images, masks, split))
    return list(found.values())


def _named(place: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder for folder in subfolders(place) if folder.name.lower() in names), None)


def _entries(images: Path, masks: Path, split: str, root: Path, log: ProblemLog) -> list[Entry]:
    by_stem = images_by_stem(images)
    whole: dict[str, Path] = {}
    single: dict[str, list[Path]] = defaultdict(list)
    for stem, file in images_by_stem(masks).items():
        numbered = re.fullmatch(r"(.+)_\d+", stem)
        if stem in by_stem:
            whole[stem] = file
        elif numbered and numbered[1] in by_stem:
            single[numbered[1]].append(file)
        else:
            log.add(ProblemKind.MISSING_IMAGE, str(file), "no image of this name: left out")
    entries = []
    for stem, image in by_stem.items():
        if stem not in whole and stem not in single:
            log.add(ProblemKind.MISSING_ANNOTATION, str(image), "no mask of this name: left out")
            continue
        read_shapes = (
            partial(_instances, tuple(single[stem]), image)
            if stem in single
            else partial(_components, whole[stem], image)
        )
        name = image.relative_to(root).as_posix()
        entries.append(Entry(name=name, image=image, read_shapes=read_shapes, split=split))
    return entries


def _components(file: Path, image: Path, report: Report) -> list[Shape]:
    marked = _read(file, image).astype(np.uint8)
    num, parts, stats, _ = cv2.connectedComponentsWithStats(marked, connectivity=8)
    sizes = {part: int(stats[part, cv2.CC_STAT_AREA]) for part in range(1, num)}
    specks = [size for size in sizes.values() if size < MIN_PIXELS]
    if specks:
        detail = f"{file.name}: {len(specks)} parts of fewer than {MIN_PIXELS} pixels: left out"
        report(ProblemKind.EMPTY_MASK, detail)
    return [_shape(parts == part) for part, size in sizes.items() if size >= MIN_PIXELS]


def _instances(files: tuple[Path, ...], image: Path, _report: Report) -> list[Shape]:
    return [_shape(_read(file, image)) for file in files]


def _shape(mask: NDArray[np.bool_]) -> Shape:
    return Shape(category=CATEGORY, segmentation=to_rle(mask))


def _read(file: Path, image: Path) -> NDArray[np.bool_]:
    """bool [H, W] of a mask file. Raises DatasetError for another size, or more than two values."""
    try:
        values = decode(file.read_bytes()).max(axis=2)
    except (OSError, InvalidImageError) as error:
        raise DatasetError(f"mask {file} cannot be read ({error})") from error
    check_size(file, (values.shape[0], values.shape[1]), image)
    peak = int(values.max())
    if peak == 0:
        return np.zeros(values.shape, bool)
    share = values / peak
    between = (share > 1 / 8) & (share < 7 / 8)
    if between.sum() > _MAX_BETWEEN * (share > 1 / 8).sum():
        found = np.unique(values)[:6].tolist()
        raise DatasetError(f"{file} has the values {found} and so on; a binary mask has 0 and one")
    bright: NDArray[np.bool_] = share > 1 / 2
    return bright
