"""Fixed pictures and prompts for the gate: what screening meets, drawn.

Drawn, not random noise, so that masks have edges, thin parts and overlaps to disagree about.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Box, Point, Prompt

COLOURS = ((240, 170, 90), (120, 190, 110), (60, 120, 210), (30, 40, 80))
"""Organic orange, inorganic green, metal blue, dense: as scanners show them."""
KINDS = ("thin", "ring", "overlapped", "small", "plain", "negative point", "box", "refined")
"""What a prompt of every picture is about."""
Layer = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True, eq=False)
class SamplePrompt:
    """kind: one of `KINDS`; refined: ask again with the logits of the first answer."""

    kind: str
    prompt: Prompt
    refined: bool = False


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """image: RGB uint8 [H, W, 3]; prompts: one of each kind, in their order."""

    number: int
    image: NDArray[np.uint8]
    prompts: tuple[SamplePrompt, ...]


def sample(number: int, *, side: int) -> Sample:
    """Picture `number`, square, wide or high by turns, for a model of S = `side`."""
    rng = np.random.default_rng(number)
    height, width = ((side, side), (side * 3 // 4, side), (side, side * 2 // 3))[number % 3]
    shades = np.full((height, width, 3), 250, np.float32)
    places = []
    for shape in ("thin", "ring", "overlapped", "small", "plain"):
        layer, place = _object(shape, height, width, side=side, rng=rng)
        colours = rng.permutation(len(COLOURS))
        covers = [layer]
        if shape == "overlapped":
            covers += _crossing(layer, place, rng=rng)
        for cover, colour in zip(covers, colours, strict=False):
            shade = np.array(COLOURS[colour], np.float32) / 255
            shades = np.where(cover[..., None] > 0, shades * shade, shades)
        places.append((layer, place))
    image = shades.round().astype(np.uint8)
    return Sample(number=number, image=image, prompts=_prompts(places))


def digest(samples: Sequence[Sample]) -> str:
    """SHA-256 of pictures and prompts: figures of other samples must not be compared."""
    seen = hashlib.sha256()
    for one in samples:
        seen.update(one.image.tobytes())
        seen.update(repr([(p.kind, p.prompt, p.refined) for p in one.prompts]).encode())
    return seen.hexdigest()


def _prompts(places: Sequence[tuple[Layer, Point]]) -> tuple[SamplePrompt, ...]:
    """Clicks on all five objects, then what else a person does."""
    clicks = [
        SamplePrompt(kind=kind, prompt=Prompt(points=(place,)))
        for kind, (_, place) in zip(KINDS, places, strict=False)
    ]
    _, (_, ring), (below, crossed), _, (_, plain) = places
    away = Point(x=ring.x, y=ring.y, positive=False)
    return (
        *clicks,
        SamplePrompt(kind="negative point", prompt=Prompt(points=(crossed, away))),
        SamplePrompt(kind="box", prompt=Prompt(box=_box(below))),
        SamplePrompt(kind="refined", prompt=Prompt(points=(plain,)), refined=True),
    )


def _box(layer: Layer) -> Box:
    left, top, width, height = cv2.boundingRect(layer)
    return Box(left=left, top=top, right=left + width, bottom=top + height)


def _object(
    shape: str, height: int, width: int, *, side: int, rng: np.random.Generator
) -> tuple[Layer, Point]:
    """An object that lies in the picture, and a place on it."""
    size = int(rng.integers(side // 14, side // 6))
    x, y = int(rng.integers(size, width - size)), int(rng.integers(size, height - size))
    angle = float(rng.uniform(0, 180))
    layer = np.zeros((height, width), np.uint8)
    place = Point(x=float(x), y=float(y))
    if shape == "thin":
        cv2.ellipse(layer, (x, y), (size * 2, max(1, size // 8)), angle, 0, 360, 255, -1)
    elif shape == "ring":
        cv2.circle(layer, (x, y), size, 255, max(1, size // 4))
        place = Point(x=float(x), y=float(y - size))
    elif shape == "overlapped":
        _bar(layer, (x, y), (size * 2.0, float(size)), angle)
    elif shape == "small":
        cv2.circle(layer, (x, y), max(1, side // 64), 255, -1)
    else:
        cv2.ellipse(layer, (x, y), (size, size // 2), angle, 0, 360, 255, -1)
    return layer, place


def _crossing(layer: Layer, place: Point, *, rng: np.random.Generator) -> list[Layer]:
    """Two bars over an object, so that three things lie under one place."""
    bars = []
    for _ in range(2):
        bar = np.zeros_like(layer)
        length = 1.5 * max(cv2.boundingRect(layer)[2:])
        centre = int(place.x), int(place.y)
        _bar(bar, centre, (length, length / 5), float(rng.uniform(0, 180)))
        bars.append(bar)
    return bars


def _bar(layer: Layer, centre: tuple[int, int], size: tuple[float, float], angle: float) -> None:
    corners = cv2.boxPoints((centre, size, angle))
    cv2.fillPoly(layer, [corners.astype(np.int32)], 255)
