"""Where things lie: turns, windows and scale. Masks follow the picture exactly."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_train.data.sample import Instance, Sample

_NEARNESS = (0.75, 1.5)
"""A close-up's side varies by this."""
_LEAST_PIXELS = 16
_LEAST_SHARE = 0.3
"""What of an object must stay in the picture for it to be clicked on."""

Plane = NDArray[np.uint8]
"""The picture [H, W, 3], or one mask [H, W] of zeros and ones."""


def random_place(
    sample: Sample, rng: np.random.Generator, *, from_afar: bool, closeup: float | None = None
) -> Sample:
    """Flip, turn by quarters, crop; from_afar: or shrink onto a larger belt, as bags on a wide
    scanner are; closeup: or cut to a square around one object, of about this part of the longer
    side. A belt has no preferred direction. Without any object left: the sample itself."""
    masks = [np.ascontiguousarray(one.mask).view(np.uint8) for one in sample.instances]
    planes = _turned([np.ascontiguousarray(sample.image), *masks], rng)
    if closeup is not None:
        moved, least = _cut(planes, _close_window(planes, closeup, rng))
    elif from_afar and rng.random() < 0.4:
        moved = _shrunk(planes, rng)
        least = [_LEAST_PIXELS] * len(masks)
    else:
        moved, least = _cut(planes, _random_window(planes[0].shape[:2], rng))
    instances = tuple(
        Instance(category=old.category, mask=mask.view(np.bool_), overlap=old.overlap)
        for old, mask, pixels in zip(sample.instances, moved[1:], least, strict=True)
        if cv2.countNonZero(mask) >= pixels
    )
    if not instances:
        return sample
    return Sample(name=sample.name, image=moved[0], instances=instances)


def _turned(planes: list[Plane], rng: np.random.Generator) -> list[Plane]:
    if rng.random() < 0.5:
        planes = [_bytes(cv2.flip(plane, 1)) for plane in planes]
    turns = int(rng.integers(4))
    if turns:
        # OpenCV's codes are 0, 1, 2 for one to three quarters.
        planes = [_bytes(cv2.rotate(plane, turns - 1)) for plane in planes]
    return planes


def _random_window(shape: tuple[int, ...], rng: np.random.Generator) -> tuple[slice, slice]:
    """A window of 60 to 100 per cent of each side; half the time the whole image."""
    if rng.random() < 0.5:
        return slice(None), slice(None)
    spans = []
    for length in shape:
        kept = max(1, int(length * rng.uniform(0.6, 1.0)))
        start = int(rng.integers(length - kept + 1))
        spans.append(slice(start, start + kept))
    return spans[0], spans[1]


def _close_window(
    planes: list[Plane], part: float, rng: np.random.Generator
) -> tuple[slice, slice]:
    """A square with all of one object in it, whatever its side must be for that."""
    longer = max(planes[0].shape[:2])
    left, top, width, height = cv2.boundingRect(planes[1 + int(rng.integers(len(planes) - 1))])
    side = max(rng.uniform(*_NEARNESS) * part * longer, 1.1 * max(width, height))
    spans = []
    for start, extent, length in zip((top, left), (height, width), planes[0].shape, strict=False):
        kept = min(int(side), length)
        first, last = max(0, start + extent - kept), min(start, length - kept)
        begin = int(rng.integers(first, last + 1))
        spans.append(slice(begin, begin + kept))
    return spans[0], spans[1]


def _cut(planes: list[Plane], window: tuple[slice, slice]) -> tuple[list[Plane], list[int]]:
    """The window of all planes, and how many pixels of each mask must be in it."""
    cut = [np.ascontiguousarray(plane[window]) for plane in planes]
    return cut, [max(_LEAST_PIXELS, int(_LEAST_SHARE * cv2.countNonZero(m))) for m in planes[1:]]


def _shrunk(planes: list[Plane], rng: np.random.Generator) -> list[Plane]:
    """All of the picture, smaller, on a belt as long as it was and of any width. The two scales
    differ a little: makers differ in belt speed over detector pitch."""
    height, width = planes[0].shape[:2]
    scale, stretch = rng.uniform(0.45, 0.95), np.exp(rng.uniform(-0.12, 0.12))
    new_height = max(1, min(height, round(height * scale * stretch)))
    new_width = max(1, min(width, round(width * scale / stretch)))
    belt_height, belt_width = height, width
    if rng.random() < 0.5:
        belt_height = int(rng.integers(new_height, height + 1))
    else:
        belt_width = int(rng.integers(new_width, width + 1))
    top = int(rng.integers(belt_height - new_height + 1))
    left = int(rng.integers(belt_width - new_width + 1))
    bottom, right = belt_height - new_height - top, belt_width - new_width - left
    image, *masks = planes
    edges = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    fills = [np.median(edges, axis=0).tolist(), *([0] * len(masks))]
    if scale < 0.7:
        # Against jagged thin parts: bilinear sampling alone skips pixels.
        image = _bytes(cv2.GaussianBlur(image, (3, 3), 0.6))
    moved = []
    for plane, fill in zip([image, *masks], fills, strict=True):
        small = cv2.resize(plane, (new_width, new_height), interpolation=cv2.INTER_LINEAR)
        moved.append(
            _bytes(
                cv2.copyMakeBorder(small, top, bottom, left, right, cv2.BORDER_CONSTANT, value=fill)
            )
        )
    return moved


def _bytes(plane: object) -> Plane:
    return np.asarray(plane, np.uint8)
