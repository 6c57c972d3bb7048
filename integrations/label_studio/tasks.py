"""Label Studio's words for images, prompts and answers: percent of the image, tags of a project."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.polygons import encode_polygons
from apsam_serve.contract.prompts import Box, Point, Prompt
from apsam_serve.contract.segmenter import Segmentation
from apsam_serve.errors import InvalidInputError, InvalidPromptError
from integrations.label_studio.brush import encode_brush

Document = Mapping[str, Any]
ANSWERS = ("BrushLabels", "Brush", "PolygonLabels", "Polygon")
"""Tags that can hold a mask, the first of them that a project has is used."""
_POINTS = ("keypointlabels", "keypoint")
_BOXES = ("rectanglelabels", "rectangle")
_ROUNDING = 0.01
"""Percent by which browsers miss the edges of the image."""
_CORNERS = 3
"""Label Studio draws no polygon of fewer."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """Where answers of a project go. kind: the tag in small letters; data_key: of the image in a
    task's data; labels: those of the tag."""

    kind: str
    from_name: str
    to_name: str
    data_key: str
    labels: tuple[str, ...]


def target_of(label_config: str) -> Target:
    """Read a project's labeling interface. Raises InvalidInputError where no mask has a place."""
    try:
        root = ElementTree.fromstring(label_config)
    except ElementTree.ParseError as error:
        raise InvalidInputError(f"labeling interface is no XML ({error}); save it again") from error
    images = {
        tag.get("name", ""): tag.get("value", "").removeprefix("$") for tag in root.iter("Image")
    }
    for name in ANSWERS:
        for tag in root.iter(name):
            to_name = tag.get("toName", "")
            if images.get(to_name):
                return Target(
                    kind=name.lower(),
                    from_name=tag.get("name", ""),
                    to_name=to_name,
                    data_key=images[to_name],
                    labels=tuple(label.get("value", "") for label in tag.iter("Label")),
                )
    raise InvalidInputError(
        f"labeling interface has none of {', '.join(ANSWERS)} on an Image with a value; add "
        '<BrushLabels name="mask" toName="image"> for masks to go to'
    )


def image_of(task: Document, target: Target) -> str:
    """The address of a task's image. Raises InvalidInputError."""
    url = task.get("data", {}).get(target.data_key)
    if not isinstance(url, str) or not url:
        raise InvalidInputError(
            f"task {task.get('id')} has {url!r} as {target.data_key!r}; its data needs the address "
            "of one image there"
        )
    return url


def prompt_of(regions: Sequence[Document], *, height: int, width: int) -> tuple[Prompt, str | None]:
    """Smart regions as a prompt in pixels of the image, with the label they carry, the last one's.

    Raises InvalidPromptError for other regions, and for an image that Label Studio sees otherwise.
    """
    points: list[Point] = []
    box: Box | None = None
    label: str | None = None
    for region in regions:
        kind, value = str(region.get("type")), region.get("value", {})
        _check_frame(region, height=height, width=width)
        x, y = _pixel(value, "x", width), _pixel(value, "y", height)
        if kind in _POINTS:
            # The right and lower edges of the image belong to its last pixels.
            x, y = min(x, width - 0.5), min(y, height - 0.5)
            points.append(Point(x=x, y=y, positive=bool(region.get("is_positive", True))))
        elif kind in _BOXES:
            right, bottom = x + _pixel(value, "width", width), y + _pixel(value, "height", height)
            box = Box(left=x, top=y, right=min(right, width), bottom=min(bottom, height))
        else:
            raise InvalidPromptError(
                f"region is of type {kind!r}; prompt with smart KeyPointLabels or RectangleLabels"
            )
        label = next(iter(value.get(kind, ())), label)
    return Prompt(points=tuple(points), box=box), label


def _check_frame(region: Document, *, height: int, width: int) -> None:
    seen = region.get("original_width", width), region.get("original_height", height)
    turned = region.get("image_rotation", 0), region.get("value", {}).get("rotation", 0)
    if seen != (width, height):
        raise InvalidPromptError(
            f"Label Studio sees {seen[0]} x {seen[1]} pixels, the file has {width} x {height}; "
            "save the image without an EXIF orientation"
        )
    if any(turned):
        raise InvalidPromptError(
            f"image and region are turned by {turned[0]} and {turned[1]} degrees; turn them back"
        )


def _pixel(value: Document, name: str, num_pixels: int) -> float:
    percent = value.get(name)
    if not isinstance(percent, int | float) or not -_ROUNDING <= percent <= 100 + _ROUNDING:
        raise InvalidPromptError(f"region has {name} {percent!r}; send 0 to 100 percent")
    return min(max(percent, 0.0), 100.0) * num_pixels / 100


def prediction_of(
    answers: Sequence[tuple[Segmentation, str | None]],
    target: Target,
    *,
    version: str,
    simplify_px: float,
) -> dict[str, Any]:
    """Answers, each with the label that its prompt had, as one prediction. An empty mask makes no
    region."""
    regions = [
        region
        for answer, label in answers
        if answer.mask.any()
        for region in _regions(answer, label, target, simplify_px)
    ]
    scores = [answer.score for answer, _ in answers]
    return {
        "result": regions,
        "score": sum(scores) / len(scores) if scores else 0.0,
        "model_version": version,
    }


def _regions(
    answer: Segmentation, label: str | None, target: Target, simplify_px: float
) -> list[dict[str, Any]]:
    """One region of a brush; of polygons one for each piece."""
    height, width = answer.mask.shape
    values: list[dict[str, Any]]
    if target.kind.startswith("brush"):
        values = [{"format": "rle", "rle": encode_brush(answer.mask)}]
    else:
        rings = _rings(answer.mask, simplify_px)
        values = [{"points": _percent(ring, height, width), "closed": True} for ring in rings]
    chosen = _label(label, answer.category, target)
    if chosen is not None:
        values = [{**value, target.kind: [chosen]} for value in values]
    return [
        {
            "id": uuid.uuid4().hex[:10],
            "type": target.kind,
            "from_name": target.from_name,
            "to_name": target.to_name,
            "original_width": width,
            "original_height": height,
            "image_rotation": 0,
            "value": value,
            "score": answer.score,
        }
        for value in values
    ]


def _label(given: str | None, category: str | None, target: Target) -> str | None:
    """What the prompt carried, else what the model says, else the first that the tag has."""
    if not target.labels:  # a tag without labels, or one that takes them from each task
        return given if target.kind.endswith("labels") else None
    return next((name for name in (given, category) if name in target.labels), target.labels[0])


def _rings(mask: NDArray[np.bool_], simplify_px: float) -> list[NDArray[np.int32]]:
    """Outlines int32 [N, 2] through the middles of the rim's pixels, none of fewer than 3."""
    rings = [np.array(ring, np.int32) for ring in json.loads(encode_polygons(mask))]
    if simplify_px > 0:
        simpler = (cv2.approxPolyDP(ring[:, None], simplify_px, True) for ring in rings)
        rings = [np.asarray(ring, np.int32)[:, 0] for ring in simpler]
    return [ring for ring in rings if len(ring) >= _CORNERS]


def _percent(ring: NDArray[np.int32], height: int, width: int) -> list[list[float]]:
    """The middles of pixels, as Label Studio counts: 0 and 100 are the edges of the image."""
    percent: list[list[float]] = ((ring + 0.5) * (100 / width, 100 / height)).round(4).tolist()
    return percent
