"""One black and white PNG of 1 bit per pixel for every object, as large as its image.

masks/<image>_<object>.png   white is the object
index.csv                    which file is whose
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from apsam_serve.console.exports.contents import Annotated, label_of, mask_of
from apsam_serve.console.exports.files import write_csv
from apsam_serve.contract.masks import encode_png

HEADS = (
    "file", "image", "image_sha256", "object", "category", "left", "top", "right", "bottom",
    "area", "score", "source", "verdict", "reviewer", "round",
)  # fmt: skip


def write(contents: Sequence[Annotated], folder: Path) -> None:
    """Write the masks and their index."""
    (folder / "masks").mkdir()
    rows: list[tuple[object, ...]] = []
    for entry in contents:
        for one in entry.objects:
            name = f"masks/{entry.stem}_{one.id}.png"
            (folder / name).write_bytes(encode_png(mask_of(one)))
            box = (one.box.left, one.box.top, one.box.right, one.box.bottom)
            said = (one.score, one.source, one.verdict, one.reviewer, one.round)
            whose = (name, entry.image.name, entry.image.sha256, one.id, label_of(one))
            rows.append((*whose, *box, one.area, *said))
    write_csv(folder / "index.csv", HEADS, rows)
