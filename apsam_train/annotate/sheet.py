"""A picture of a round's worst proposals, for the person who plans the work."""

from __future__ import annotations

from pathlib import Path

from apsam_serve.contract.images import decode
from apsam_serve.contract.prompts import Box
from apsam_train.annotate.documents import (
    Record,
    RoundImage,
    image_file,
    read_document,
    read_images,
)
from apsam_train.annotate.record import PROPOSALS, SHEET, read_finished
from apsam_train.annotate.work_list import worst_first
from apsam_train.data.boxes import from_bbox
from apsam_train.data.shapes import decode_segmentation
from apsam_train.pictures import Cell, Picture, contact_sheet, write_picture

_COLUMNS = 5


def write_sheet(folder: Path, *, num_worst: int) -> Path:
    """Write FOLDER/worst.png: the worst proposals with their known boxes, worst first."""
    record = read_finished(folder)
    document = read_document(folder / PROPOSALS)
    images = read_images(document)
    root = record.proposed.data_root
    cells = []
    for one in worst_first(document["annotations"])[:num_worst]:
        image = images[one["image_id"]]
        cells.append(_cell(decode(image_file(image, root, folder).read_bytes()), image, one))
    write_picture(folder / SHEET, contact_sheet(cells, columns=_COLUMNS))
    return folder / SHEET


def _cell(pixels: Picture, image: RoundImage, one: Record) -> Cell:
    box = from_bbox(one["known_box"])
    rows, columns = _around(box, image)
    masks = []
    if one["segmentation"]:
        mask = decode_segmentation(one["segmentation"], height=image.height, width=image.width)
        masks = [("", mask[rows, columns])]
    shown_box = Box(
        left=box.left - columns.start,
        top=box.top - rows.start,
        right=box.right - columns.start,
        bottom=box.bottom - rows.start,
    )
    return Cell(
        image=pixels[rows, columns],
        masks=masks,
        boxes=[("known", shown_box)],
        title=f"{one['id']}, {Path(image.name).name}, score {one['score']:.2f}",
        alarm=", ".join(one["flags"]),
    )


def _around(box: Box, image: RoundImage) -> tuple[slice, slice]:
    """The part of the image to show: the box and half its longer side around it."""
    margin = int(max(box.right - box.left, box.bottom - box.top, 32.0) / 2)
    rows = slice(max(0, int(box.top) - margin), min(image.height, int(box.bottom) + margin))
    columns = slice(max(0, int(box.left) - margin), min(image.width, int(box.right) + margin))
    return rows, columns
