"""Contact sheets of objects that a person should look at."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from apsam_train.data.sample import SampleSource
from apsam_train.labels.kinds import TwoKinds
from apsam_train.labels.objects import ObjectRef
from apsam_train.labels.suspects import Suspect
from apsam_train.pictures import Cell, contact_sheet, write_picture

_MARGIN = 0.75
"""An object is shown with this share of its size around it on every side."""
_LEAST_SIDE = 48
_COLUMNS = 4


def draw_suspects(
    file: Path, source: SampleSource, objects: Sequence[ObjectRef], suspects: Sequence[Suspect]
) -> None:
    """A sheet of suspects in their order; none is drawn when there are none."""
    if not suspects:
        return
    cells = [
        _cell(
            source,
            objects[one.position],
            title=f"{number}. {objects[one.position].image}",
            alarm=f"like {one.suggested} ({one.score:.2f})",
        )
        for number, one in enumerate(suspects, start=1)
    ]
    write_picture(file, contact_sheet(cells, columns=_COLUMNS))


def draw_kinds(
    file: Path, source: SampleSource, objects: Sequence[ObjectRef], kinds: TwoKinds
) -> None:
    """A sheet of the most typical objects of both kinds: rows of the first, rows of the second."""
    num = 2 * _COLUMNS if min(map(len, kinds.parts)) >= 2 * _COLUMNS else _COLUMNS
    cells = [
        _cell(source, objects[i], title=f"{letter}: {objects[i].image}")
        for letter, part in zip("AB", kinds.parts, strict=True)
        for i in part[:num].tolist()
    ]
    write_picture(file, contact_sheet(cells, columns=_COLUMNS))


def kinds_file(category: str) -> str:
    """The name of a category's sheet."""
    return f"kinds_{re.sub(r'[^A-Za-z0-9_-]+', '_', category)}.jpg"


def _cell(source: SampleSource, one: ObjectRef, *, title: str, alarm: str = "") -> Cell:
    """The part of the image around an object."""
    sample = source[one.sample]
    box = one.box
    side = max(box.right - box.left, box.bottom - box.top, _LEAST_SIDE) * (1 + 2 * _MARGIN)
    x, y = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    height, width = sample.image.shape[:2]
    rows = slice(max(0, int(y - side / 2)), min(height, int(y + side / 2)))
    columns = slice(max(0, int(x - side / 2)), min(width, int(x + side / 2)))
    mask = sample.instances[one.number].mask[rows, columns]
    image = np.ascontiguousarray(sample.image[rows, columns])
    return Cell(image=image, masks=[(one.category, mask)], title=title, alarm=alarm)
