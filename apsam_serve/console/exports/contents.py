"""What is exported of a project: every image that somebody worked on, and what stands on it.

An image that is open and bare is left out: nobody said that it holds nothing. Rejected objects are
left out. An object that nobody gave a category is one of `UNCATEGORISED`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from apsam_serve.console.project import Project
from apsam_serve.console.rows import ImageRow, ObjectRow
from apsam_serve.contract.categories import CATEGORIES
from apsam_serve.contract.masks import Mask, decode_rle

UNCATEGORISED: Final = "uncategorised"
_FOREIGN = re.compile(r"[^\w.()-]+")


@dataclass(frozen=True, kw_only=True)
class Annotated:
    """An image to export. file: where its bytes lie; stem: a file name without folder and suffix
    that no other image of the export has."""

    image: ImageRow
    file: Path
    stem: str
    objects: tuple[ObjectRow, ...]

    @property
    def file_name(self) -> str:
        """Of a copy beside other images."""
        return self.stem + self.image.suffix


def read_contents(project: Project) -> list[Annotated]:
    """What there is to export, in the order of the images."""
    found = []
    taken: set[str] = set()
    for image, objects in project.contents():
        kept = tuple(one for one in objects if one.verdict != "rejected")
        if image.status == "done" or kept:
            stem = _stem(image, taken)
            file = project.file_of(image)
            found.append(Annotated(image=image, file=file, stem=stem, objects=kept))
    return found


def label_of(one: ObjectRow) -> str:
    """The name of an object's category."""
    return one.category or UNCATEGORISED


def labels_of(contents: Iterable[Annotated]) -> Sequence[str]:
    """The thirty names, and `UNCATEGORISED` where it is needed."""
    bare = any(one.category is None for entry in contents for one in entry.objects)
    return (*CATEGORIES, UNCATEGORISED) if bare else CATEGORIES


def mask_of(one: ObjectRow) -> Mask:
    """An object's mask, bool [H, W]."""
    return decode_rle(one.mask)


def _stem(image: ImageRow, taken: set[str]) -> str:
    """Folders become part of the name; letter case does not tell files apart everywhere."""
    name = image.name.rpartition(".")[0] or image.name
    stem = _FOREIGN.sub("_", name).strip(".") or "image"
    if stem.casefold() in taken:
        stem = f"{stem}_{image.id}"
    taken.add(stem.casefold())
    return stem
