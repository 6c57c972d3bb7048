"""Objects of a Pascal VOC annotation file, for every data set that uses them.

VOC counts pixels from 1 and its last pixel is inside the box, so that the box of the pixels xmin to
xmax runs from the edge xmin - 1 to the edge xmax. Objects marked difficult or truncated are kept.
"""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

from apsam_serve.contract.prompts import Box
from apsam_train.data.entry import Report, Shape
from apsam_train.data.files import read_text
from apsam_train.data.problems import ProblemKind
from apsam_train.errors import DatasetError


def voc_shapes(
    file: Path, classes: tuple[str, ...], dropped: tuple[str, ...], report: Report
) -> list[Shape]:
    """The boxes of a file, named as in `classes`, whatever the file's letter case.

    An object of another name keeps it, and is reported; one of `dropped` is left out, as its data
    set does. Raises DatasetError when the file is no VOC annotation.
    """
    shapes = []
    for number, item in enumerate(_parse(file).findall("object"), start=1):
        name = (item.findtext("name") or "").strip()
        known = next((c for c in classes if c.lower() == name.lower()), None)
        if name.lower() in (d.lower() for d in dropped):
            continue
        if known is None:
            detail = f"object {number} is {name!r}, none of {', '.join(classes)}"
            report(ProblemKind.UNKNOWN_CATEGORY, detail)
        box = _box(item)
        if box is None:
            detail = f"object {number} ({name}) lacks a box of four numbers"
            report(ProblemKind.BAD_ANNOTATION, detail)
        elif name:
            shapes.append(Shape(category=known or name, box=box))
    return shapes


def _parse(file: Path) -> ElementTree.Element:
    text = read_text(file)
    # Nested entities make a gigabyte of a kilobyte, and no VOC file declares any.
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise DatasetError(f"{file.name} declares a document type or entities; VOC files do not")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise DatasetError(f"{file.name} is not XML ({error})") from error
    if root.tag != "annotation":
        raise DatasetError(f"{file.name} starts with <{root.tag}>; VOC files with <annotation>")
    return root


def _box(item: ElementTree.Element) -> Box | None:
    try:
        left, top, right, bottom = (
            float(item.findtext(f"bndbox/{side}") or "")
            for side in ("xmin", "ymin", "xmax", "ymax")
        )
    except ValueError:
        return None
    return Box(left=left - 1, top=top - 1, right=right, bottom=bottom)
