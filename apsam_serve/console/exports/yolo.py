"""YOLO's form for segmentation, one polygon per object.

    data.yaml            class names; train and val are the same folder: split it as you need
    images/<image>       a copy of every image
    labels/<image>.txt   a line per object: class, then x y of every corner as shares of the size

Holes and pieces are tied into the one polygon by a line there and back.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from apsam_serve.console.exports.contents import Annotated, label_of, labels_of, mask_of
from apsam_serve.console.exports.outlines import polygon
from apsam_serve.console.rows import ObjectRow


def write(contents: Sequence[Annotated], folder: Path) -> None:
    """Write images, labels and names."""
    names = labels_of(contents)
    numbers = {name: number for number, name in enumerate(names)}
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for entry in contents:
        shutil.copyfile(entry.file, folder / "images" / entry.file_name)
        lines = [_line(one, numbers) + "\n" for one in entry.objects]
        (folder / "labels" / f"{entry.stem}.txt").write_text("".join(lines), encoding="utf-8")
    listed = "".join(f"  {number}: {name}\n" for number, name in enumerate(names))
    head = "path: .\ntrain: images\nval: images\n"
    (folder / "data.yaml").write_text(f"{head}names:\n{listed}", encoding="utf-8")


def _line(one: ObjectRow, numbers: Mapping[str, int]) -> str:
    corners = polygon(mask_of(one)) / (one.mask.width, one.mask.height)
    values = " ".join(f"{value:.6f}" for value in corners.ravel())
    return f"{numbers[label_of(one)]} {values}"
