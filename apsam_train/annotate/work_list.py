"""The work list of a round: which proposals to look at first."""

from __future__ import annotations

import csv
import io

from apsam_train.annotate.documents import Document, Record

COLUMNS = (
    *("rank", "image", "annotation_id", "category", "flags", "score", "box_iou", "prompt"),
    *("area", "x", "y", "width", "height"),
)


def worst_first(annotations: list[Record]) -> list[Record]:
    """Flagged proposals before the others, and among both by ascending predicted IoU times
    agreement with the known box: a mask is no better than either says."""
    return sorted(annotations, key=lambda one: (not one["flags"], _worth(one), one["id"]))


def work_list(document: Document) -> str:
    """CSV with one row per proposal, worst first; x to height are the known box, in pixels."""
    names = {image["id"]: image["file_name"] for image in document["images"]}
    categories = {category["id"]: category["name"] for category in document["categories"]}
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for rank, one in enumerate(worst_first(document["annotations"]), start=1):
        box = [f"{value:.1f}" for value in one["known_box"]]
        writer.writerow(
            [
                *(rank, names[one["image_id"]], one["id"], categories[one["category_id"]]),
                *("; ".join(one["flags"]), f"{one['score']:.3f}", f"{one['box_iou']:.3f}"),
                *(one["prompt"], one["area"], *box),
            ]
        )
    return text.getvalue()


def _worth(annotation: Record) -> float:
    return float(annotation["score"] * annotation["box_iou"])
