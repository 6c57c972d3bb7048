"""Pictures of the gate's worst cases: the image, both masks, and where they differ.

Told apart by brightness alone, so that a print in black and white shows the same.
"""

from __future__ import annotations

import base64
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_export.gate.report import Case, Points

PANELS = ("image and prompt", "reference", "build", "difference")
Image = NDArray[np.uint8]
_SIDE = 220
"""Longest side of a panel in pixels."""
_LEAST = 24
"""Least side of what is shown, in image pixels."""
_GROUND, _BOTH, _REFERENCE_ONLY, _BUILD_ONLY = 245, 190, (0, 0, 0), (230, 110, 0)
_BLACK, _WHITE, _POINT = (0, 0, 0), (255, 255, 255), (0, 90, 200)


def data_uri(image: Image) -> str:
    """RGB uint8 [H, W, 3] as a PNG inside a page."""
    done, data = cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    assert done
    return "data:image/png;base64," + base64.b64encode(data.tobytes()).decode("ascii")


def draw(case: Case) -> tuple[Image, ...]:
    """The four `PANELS`, RGB uint8 of one size: the part of the image that it is about."""
    view = _View.around(case)
    picture = view.show(case.image)
    _draw_prompt(picture, case, view)
    reference = view.show(_over(case.image, case.reference))
    _draw_points(reference, case.reference_points, view)
    built = view.show(_over(case.image, case.built))
    _draw_points(built, case.built_points, view)
    return picture, reference, built, view.show(_difference(case))


class _View:
    """A rectangle of the image, enlarged."""

    def __init__(self, *, left: int, top: int, right: int, bottom: int) -> None:
        self.corner = left, top
        self.part = slice(top, bottom), slice(left, right)
        self.scale = _SIDE / max(right - left, bottom - top)

    @classmethod
    def around(cls, case: Case) -> _View:
        """Around both masks and the prompt, with some ground."""
        height, width = case.reference.shape
        y, x = np.nonzero(case.reference | case.built)
        xs = [*x, *(point.x for point in case.prompt.points)]
        ys = [*y, *(point.y for point in case.prompt.points)]
        if case.prompt.box is not None:
            xs += [case.prompt.box.left, case.prompt.box.right]
            ys += [case.prompt.box.top, case.prompt.box.bottom]
        left, right = _stretched(min(xs), max(xs), width)
        top, bottom = _stretched(min(ys), max(ys), height)
        return cls(left=left, top=top, right=right, bottom=bottom)

    def show(self, image: Image) -> Image:
        """That part of an image, as large as a panel."""
        part = image[self.part]
        size = (round(part.shape[1] * self.scale), round(part.shape[0] * self.scale))
        how = cv2.INTER_NEAREST if self.scale > 1 else cv2.INTER_AREA
        return np.asarray(cv2.resize(part, size, interpolation=how), np.uint8)

    def place(self, x: float, y: float) -> tuple[int, int]:
        """Where an image pixel's centre lies in the panel."""
        left, top = self.corner
        return int((x + 0.5 - left) * self.scale), int((y + 0.5 - top) * self.scale)


def _stretched(low: float, high: float, size: int) -> tuple[int, int]:
    extra = max(0.15 * (high - low), (_LEAST - (high - low)) / 2)
    return max(0, int(low - extra)), min(size, int(high + extra) + 2)


def _over(image: Image, mask: NDArray[np.bool_]) -> Image:
    """The mask dark on a pale image."""
    pale: Image = 255 - (255 - image) // 4
    pale[mask] = (pale[mask] * 0.45).astype(np.uint8)
    return pale


def _difference(case: Case) -> Image:
    shown = np.full((*case.reference.shape, 3), _GROUND, np.uint8)
    shown[case.reference & case.built] = _BOTH
    shown[case.reference & ~case.built] = _REFERENCE_ONLY
    shown[case.built & ~case.reference] = _BUILD_ONLY
    return shown


def _draw_prompt(panel: Image, case: Case, view: _View) -> None:
    if case.prompt.box is not None:
        box = case.prompt.box
        corners = view.place(box.left, box.top), view.place(box.right, box.bottom)
        _outlined(lambda colour, extra: cv2.rectangle(panel, *corners, colour, 1 + extra))
    for point in case.prompt.points:
        place = view.place(point.x, point.y)
        kind = cv2.MARKER_CROSS if point.positive else cv2.MARKER_TILTED_CROSS
        _mark(panel, place, kind)


def _mark(panel: Image, place: tuple[int, int], kind: int) -> None:
    _outlined(lambda colour, extra: cv2.drawMarker(panel, place, colour, kind, 15, 1 + extra))


def _draw_points(panel: Image, points: Points, view: _View) -> None:
    for x, y in points:
        place = view.place(float(x), float(y))
        cv2.circle(panel, place, 6, _WHITE, -1)
        cv2.circle(panel, place, 6, _BLACK, 1)
        cv2.circle(panel, place, 3, _POINT, -1)


def _outlined(draw_in: Callable[[tuple[int, int, int], int], object]) -> None:
    """White around black is seen on any ground."""
    draw_in(_WHITE, 2)
    draw_in(_BLACK, 0)
