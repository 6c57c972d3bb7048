"""Pictures for people: panels of an image with what is known of it, and sheets of panels.

Colours are Okabe and Ito's eight, which people of any colour vision tell apart. X-ray images are
orange, green and blue themselves, so every line has a dark or light edge, and every object a name.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Box, Point
from apsam_train.errors import ConfigError

Rgb = tuple[int, int, int]
Picture = NDArray[np.uint8]
"""RGB, uint8 [H, W, 3]."""

COLOURS: tuple[Rgb, ...] = (
    (213, 94, 0),
    (0, 114, 178),
    (204, 121, 167),
    (240, 228, 66),
    (0, 158, 115),
    (86, 180, 233),
    (230, 159, 0),
)
INK: Rgb = (30, 30, 30)
PAPER: Rgb = (255, 255, 255)
ALARM: Rgb = (178, 24, 43)
_FRAME: Rgb = (200, 200, 200)

_OPACITY = 0.35
_GAP = 12
_SHEET_WIDTH = 1600
_CAPTION = 24
_TEXT = 15
_TAG = 13
_OVERSAMPLING = 4
_TAKEN = 9
"""How much worse it is to hide a name or a point than a pixel of an object."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """An image, RGB uint8 [H, W, 3], and what to draw on it: (name, mask bool [H, W]) and
    (name, box); title: below it; alarm: what is wrong with it, if anything."""

    image: Picture
    masks: Sequence[tuple[str, NDArray[np.bool_]]] = ()
    boxes: Sequence[tuple[str, Box]] = ()
    points: Sequence[Point] = ()
    title: str = ""
    alarm: str = ""


def contact_sheet(cells: Sequence[Cell], *, columns: int = 4) -> Picture:
    """All cells in rows of `columns`, 1600 pixels wide, one colour per name all over the sheet.

    Raises ValueError without cells.
    """
    if not cells:
        raise ValueError("0 cells; a sheet needs at least one")
    columns = min(columns, len(cells))
    colours = colours_of([[name for name, _ in (*c.masks, *c.boxes)] for c in cells])
    side = (_SHEET_WIDTH - (columns + 1) * _GAP) // columns
    aspects = [cell.image.shape[0] / cell.image.shape[1] for cell in cells]
    height = round(side * float(np.clip(np.median(aspects), 0.5, 1.25)))
    panels = [
        panel(
            cell.image,
            masks=cell.masks,
            boxes=cell.boxes,
            points=cell.points,
            title=cell.title,
            alarm=cell.alarm,
            colours=colours,
            size=(height, side),
        )
        for cell in cells
    ]
    return sheet(panels, columns=columns)


def sheet(panels: Sequence[Picture], *, columns: int) -> Picture:
    """Panels in rows of `columns` on white, each as large as the largest."""
    height = max(p.shape[0] for p in panels)
    width = max(p.shape[1] for p in panels)
    rows = math.ceil(len(panels) / columns)
    size = (_GAP + rows * (height + _GAP), _GAP + columns * (width + _GAP), 3)
    drawn = np.full(size, 255, np.uint8)
    for number, picture in enumerate(panels):
        top = _GAP + number // columns * (height + _GAP)
        left = _GAP + number % columns * (width + _GAP)
        drawn[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
    return drawn


def panel(
    image: Picture,
    *,
    masks: Sequence[tuple[str, NDArray[np.bool_]]] = (),
    boxes: Sequence[tuple[str, Box]] = (),
    points: Sequence[Point] = (),
    title: str = "",
    alarm: str = "",
    colours: Mapping[str, Rgb] | None = None,
    size: tuple[int, int] = (384, 384),
) -> Picture:
    """The image inside `size` (height, width) pixels with masks filled and outlined, boxes, points
    (discs: light on the object, dark beside it), and a caption; uint8 [height + caption, width, 3].

    A name "" draws without a tag. colours: by name; `colours_of` this panel's unless given.
    """
    height, width = size
    scale = min(height / image.shape[0], width / image.shape[1])
    fitted = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    by = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    drawn = np.asarray(cv2.resize(image, fitted, interpolation=by), np.uint8)
    colours = colours or colours_of([[name for name, _ in (*masks, *boxes)]])
    used = np.zeros(drawn.shape[:2], np.uint8)
    tags: list[_Tag] = []
    for name, mask in sorted(masks, key=lambda named: -int(named[1].sum())):
        tags += _draw_mask(drawn, used, mask, name, colours[name])
    for name, box in boxes:
        tags.append(_draw_box(drawn, used, box, scale, name, colours[name]))
    for point in points:
        _draw_point(drawn, used, point, scale)
    for tag in tags:
        _draw_tag(drawn, used, tag, colours[tag.name])
    return _captioned(drawn, title, alarm, height, width)


def write_picture(file: Path, picture: Picture) -> None:
    """Write a PNG or a JPEG, by the suffix, and the folder it lies in. Raises ConfigError for
    another suffix, and for more pixels than the format has room for."""
    if file.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise ConfigError(f"{file} has no suffix of a picture; name it .png or .jpg")
    done, data = cv2.imencode(file.suffix, cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    if not done:
        height, width = picture.shape[:2]
        raise ConfigError(
            f"{file}: {width} x {height} pixels cannot be one picture of this kind; draw fewer "
            "panels"
        )
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(data.tobytes())


def colours_of(groups: Sequence[Sequence[str]]) -> dict[str, Rgb]:
    """A colour for every name. With more names than colours, names of one group (those of one
    panel) differ as long as they can."""
    colours: dict[str, Rgb] = {}
    for name in dict.fromkeys(name for group in groups for name in group):
        beside = Counter(
            colours[other]
            for group in groups
            if name in group
            for other in set(group)
            if other in colours
        )
        everywhere = Counter(colours.values())
        colours[name] = min(COLOURS, key=lambda c: (beside[c], everywhere[c]))
    return colours


@dataclass(frozen=True, kw_only=True)
class _Tag:
    """A name, and the pixels its object spans: right and bottom are outside."""

    name: str
    left: int
    top: int
    right: int
    bottom: int


def _draw_mask(
    drawn: Picture, used: NDArray[np.uint8], mask: NDArray[np.bool_], name: str, colour: Rgb
) -> list[_Tag]:
    size = drawn.shape[1], drawn.shape[0]
    # Averaged by the shrinking, then cut at half: smooth outlines. Less than that where a thin
    # object would vanish.
    share = cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    inside = (share >= min(0.5, float(share.max()))).astype(np.uint8)
    if not share.any():
        return []
    tint = drawn[inside > 0] * (1 - _OPACITY) + np.array(colour) * _OPACITY
    drawn[inside > 0] = tint.astype(np.uint8)
    used[inside > 0] = 1
    contours, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, contours, -1, _edge_of(colour), 4, cv2.LINE_AA)
    cv2.drawContours(drawn, contours, -1, colour, 2, cv2.LINE_AA)
    left, top, width, height = cv2.boundingRect(inside)
    return [_Tag(name=name, left=left, top=top, right=left + width, bottom=top + height)]


def _draw_box(
    drawn: Picture, used: NDArray[np.uint8], box: Box, scale: float, name: str, colour: Rgb
) -> _Tag:
    corner = round(box.left * scale), round(box.top * scale)
    opposite = round(box.right * scale) - 1, round(box.bottom * scale) - 1
    cv2.rectangle(drawn, corner, opposite, _edge_of(colour), 4, cv2.LINE_AA)
    cv2.rectangle(drawn, corner, opposite, colour, 2, cv2.LINE_AA)
    cv2.rectangle(used, corner, opposite, (1,), 4)
    left, top = corner
    return _Tag(name=name, left=left, top=top, right=opposite[0] + 1, bottom=opposite[1] + 1)


def _draw_point(drawn: Picture, used: NDArray[np.uint8], point: Point, scale: float) -> None:
    centre = round(point.x * scale), round(point.y * scale)
    cv2.circle(used, centre, 8, (_TAKEN,), -1)
    cv2.circle(drawn, centre, 7, PAPER if point.positive else INK, -1, cv2.LINE_AA)
    cv2.circle(drawn, centre, 7, INK if point.positive else PAPER, 2, cv2.LINE_AA)
    cv2.circle(drawn, centre, 2, INK if point.positive else PAPER, -1, cv2.LINE_AA)


def _draw_tag(drawn: Picture, used: NDArray[np.uint8], tag: _Tag, colour: Rgb) -> None:
    """The name beside its object, where it hides least of what is drawn."""
    if not tag.name:
        return
    height, width = used.shape
    ink = _text(tag.name, _TAG)
    tall, wide = min(ink.shape[0] + 4, height), min(ink.shape[1] + 8, width)
    sides = (tag.left, tag.right - wide, (tag.left + tag.right - wide) // 2)
    places = [(x, y) for y in (tag.top - tall - 3, tag.bottom + 3) for x in sides]
    middle = (tag.top + tag.bottom - tall) // 2
    places += [(x, y) for y in (middle, tag.top) for x in (tag.right + 3, tag.left - wide - 3)]
    inside = [(min(max(x, 0), width - wide), min(max(y, 0), height - tall)) for x, y in places]
    hidden = [int(used[y : y + tall, x : x + wide].sum()) for x, y in inside]
    left, top = inside[hidden.index(min(hidden))]
    used[top : top + tall, left : left + wide] = _TAKEN
    drawn[top : top + tall, left : left + wide] = colour
    _write(drawn, ink[:, : wide - 8], left + 4, top + 2, _ink_on(colour))


def _captioned(drawn: Picture, title: str, alarm: str, height: int, width: int) -> Picture:
    whole = np.full((height + _CAPTION * (2 if alarm else 1), width, 3), 255, np.uint8)
    top, left = (height - drawn.shape[0]) // 2, (width - drawn.shape[1]) // 2
    whole[:height] = 246
    whole[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
    _write(whole, _text(_shortened(title, width), _TEXT), 0, height + 4, INK)
    if alarm:
        whole[height + _CAPTION :] = ALARM
        _write(whole, _text(_shortened(alarm, width - 8), _TEXT), 4, height + _CAPTION + 3, PAPER)
    frame, thickness = (ALARM, 3) if alarm else (_FRAME, 1)
    cv2.rectangle(whole, (0, 0), (width - 1, height - 1), frame, thickness)
    return whole


def _text(text: str, size: int) -> NDArray[np.float32]:
    """How much ink is where, float32 [H, W] from 0 to 1; H is `size`. OpenCV's own fonts are line
    drawings without hinting: drawn large and shrunk, they are legible at this size."""
    plain = text.encode("ascii", "replace").decode()
    scale = cv2.getFontScaleFromHeight(cv2.FONT_HERSHEY_SIMPLEX, int(0.72 * size * _OVERSAMPLING))
    (width, _), baseline = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, scale, 5)
    canvas = np.zeros((size * _OVERSAMPLING, width + _OVERSAMPLING), np.uint8)
    origin = 0, size * _OVERSAMPLING - baseline // 2 - _OVERSAMPLING
    cv2.putText(canvas, plain, origin, cv2.FONT_HERSHEY_SIMPLEX, scale, (255,), 5, cv2.LINE_AA)
    shrunk = max(1, canvas.shape[1] // _OVERSAMPLING), size
    ink = cv2.resize(canvas, shrunk, interpolation=cv2.INTER_AREA)
    return cast(NDArray[np.float32], ink.astype(np.float32) / 255)


def _write(drawn: Picture, ink: NDArray[np.float32], left: int, top: int, colour: Rgb) -> None:
    spot = drawn[top : top + ink.shape[0], left : left + ink.shape[1]]
    share = ink[: spot.shape[0], : spot.shape[1], None]
    spot[:] = (spot * (1 - share) + np.array(colour) * share).round().astype(np.uint8)


def _shortened(text: str, width: int) -> str:
    """The text, its middle left out where it is wider than `width` pixels."""
    kept = len(text)
    while kept > 4 and _text(text, _TEXT).shape[1] > width:
        kept -= 2
        text = f"{text[: kept // 2 - 1]}...{text[-(kept // 2 - 1) :]}"
    return text


def _luminance(colour: Rgb) -> float:
    return 0.299 * colour[0] + 0.587 * colour[1] + 0.114 * colour[2]


def _edge_of(colour: Rgb) -> Rgb:
    return INK if _luminance(colour) > 140 else PAPER


def _ink_on(colour: Rgb) -> Rgb:
    return INK if _luminance(colour) > 125 else PAPER
