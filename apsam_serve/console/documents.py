"""Between the page's JSON and the package's values."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeVar, get_args

from aiohttp import web

from apsam_serve.client import Proposal
from apsam_serve.console.leases import Reply
from apsam_serve.console.rows import NewObject, rle_document
from apsam_serve.contract.masks import Rle, encode_rle
from apsam_serve.contract.polygons import encode_polygons
from apsam_serve.contract.prompts import Box, Point, Prompt
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_serve.errors import InvalidInputError, InvalidPromptError

Document = dict[str, Any]
T = TypeVar("T")
_WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false"}
_WORDS |= {list: "a list", dict: "an object"}


async def read_json(request: web.Request) -> Document:
    """The object that a request holds. Raises InvalidInputError."""
    try:
        document = json.loads(await request.read())
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(f"request is no JSON ({error}); send an object") from error
    if not isinstance(document, dict):
        raise InvalidInputError(f"request is a JSON {type(document).__name__}; send an object")
    return document


def field(document: Mapping[str, Any], name: str, kind: type[T], default: T | None = None) -> T:
    """A field of that kind; whole numbers will do for float. Raises InvalidInputError where it is
    another kind, or is missing and has no default."""
    value = document.get(name)
    if value is None and default is not None:
        return default
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 2**53 else math.inf
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise InvalidInputError(f"{name} is {str(value)[:80]!r}; send {_WORDS[kind]}")
    return value


def optional(document: Mapping[str, Any], name: str, kind: type[T]) -> T | None:
    """Likewise, None where it is missing or null."""
    return None if document.get(name) is None else field(document, name, kind)


def prompt_of(document: Mapping[str, Any]) -> Prompt:
    """{points: [{x, y, positive}], box: {left, top, right, bottom}, refine: mask id}."""
    points = field(document, "points", list, [])
    box = optional(document, "box", dict)
    return Prompt(
        points=tuple(map(_point_of, points)),
        box=None if box is None else _box_of(box),
        mask_id=field(document, "refine", str, ""),
    )


def strategy_of(document: Mapping[str, Any]) -> StrategyName:
    """Adaptive points unless asked otherwise."""
    for name in get_args(StrategyName):
        if field(document, "strategy", str, "apg") == name:
            return name  # type: ignore[no-any-return]
    choices = " or ".join(get_args(StrategyName))
    raise InvalidPromptError(f"strategy is {document['strategy']!r}; send {choices}")


def rle_of(value: object) -> Rle:
    """COCO's compressed form of a mask. Raises InvalidInputError for anything else."""
    match value:
        case {"size": [int(height), int(width)], "counts": str(counts)}:
            return Rle(height=height, width=width, counts=counts)
    raise InvalidInputError(
        f'mask is {str(value)[:80]!r}; send {{"size": [H, W], "counts": "..."}} with COCO\'s '
        "compressed counts"
    )


def new_object_of(
    document: Mapping[str, Any], *, reviewer: str, number: int, model_digest: str
) -> NewObject:
    """An object to be saved. reviewer, number of the round, model_digest: where it names none."""
    plain = NewObject(mask=rle_of(document.get("mask")))
    return NewObject(
        mask=plain.mask,
        category=optional(document, "category", str),
        score=optional(document, "score", float),
        source=field(document, "source", str, plain.source),  # type: ignore[arg-type]
        verdict=field(document, "verdict", str, plain.verdict),  # type: ignore[arg-type]
        reviewer=field(document, "reviewer", str, reviewer),
        round=field(document, "round", int, number),
        prompt=optional(document, "prompt", dict),
        model_digest=field(document, "model_digest", str, model_digest),
    )


def changes_of(document: Document) -> Document:
    """Fields of an object as `Project.change_object` takes them. Raises InvalidInputError."""
    if not document:
        raise InvalidInputError("request changes nothing; send fields of the object")
    kinds = {"category": str, "verdict": str, "source": str, "reviewer": str, "round": int}
    kinds |= {"score": float, "prompt": dict, "model_digest": str}
    changes: Document = {}
    for name, value in document.items():
        if name == "mask":
            changes[name] = rle_of(value)
        elif name not in kinds:
            raise InvalidInputError(
                f"an object's {name[:80]} cannot be changed; change mask, {', '.join(kinds)}"
            )
        elif value is None and name in ("category", "score", "prompt"):
            changes[name] = None
        else:
            changes[name] = field(document, name, kinds[name])
    return changes


def reply_document(reply: Reply, timings_s: Mapping[str, float]) -> Document:
    """What every answer tells. timings_s: by stage, empty where the service told none."""
    return {
        "lease": asdict(reply.lease),
        "timings_ms": timings_document(reply.round_trip_s, timings_s),
        "encoded_again": reply.encoded_again,
        "refine_lost": reply.refine_lost,
        "model_digest": reply.model_digest,
    }


def timings_document(round_trip_s: float, stages_s: Mapping[str, float]) -> Document:
    """Milliseconds. device: what the service worked, waiting not counted; network: what the round
    trip took beside that, packing and unpacking at both ends too. Without stages nobody knows."""
    if not stages_s:
        return {"total": _ms(round_trip_s), "stages": {}}
    queue_s = stages_s.get("queue", 0.0)
    device_s = sum(stages_s.values()) - queue_s
    times = {
        "total": round_trip_s,
        "queue": queue_s,
        "device": device_s,
        "network": max(0.0, round_trip_s - queue_s - device_s),
    }
    stages = {stage: _ms(seconds) for stage, seconds in stages_s.items()}
    return {**{name: _ms(seconds) for name, seconds in times.items()}, "stages": stages}


def segmentation_document(answer: Segmentation) -> Document:
    """An answer without its times. mask: COCO's run lengths; polygon: rings of pixels on its rim,
    see `contract.polygons`."""
    return {
        "mask": rle_document(encode_rle(answer.mask)),
        "polygon": json.loads(encode_polygons(answer.mask)),
        "area": int(answer.mask.sum()),
        "points": [asdict(point) for point in answer.points],
        "branch": answer.branch,
        "score": answer.score,
        "category": answer.category,
        "category_probability": answer.category_probability,
        "mask_id": answer.mask_id,
    }


def proposal_document(proposal: Proposal) -> Document:
    """The suggested click and its answer."""
    return {
        "click": {"x": proposal.click.x, "y": proposal.click.y},
        "attention": proposal.attention,
        **segmentation_document(proposal.segmentation),
    }


def _point_of(value: object) -> Point:
    if not isinstance(value, dict):
        raise InvalidPromptError(f"point is {str(value)[:80]!r}; send {{x, y, positive}}")
    return Point(
        x=field(value, "x", float),
        y=field(value, "y", float),
        positive=field(value, "positive", bool, True),
    )


def _box_of(value: Mapping[str, Any]) -> Box:
    return Box(
        left=field(value, "left", float),
        top=field(value, "top", float),
        right=field(value, "right", float),
        bottom=field(value, "bottom", float),
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)
