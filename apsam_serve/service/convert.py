"""Prompts, settings, masks and answers: protocol messages to the contract's values and back, for
the servicer and for the client. Images are in `convert_images`."""

from __future__ import annotations

import math
import uuid
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from google.protobuf.duration_pb2 import Duration
from google.protobuf.timestamp_pb2 import Timestamp
from numpy.typing import NDArray

from apsam_serve.contract import masks, polygons
from apsam_serve.contract.apg import ApgConfig, Fallback
from apsam_serve.contract.prompts import MAX_POINTS, MAX_PROMPTS, Box, Point, Prompt
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_serve.engine.proposals import AttentionMap
from apsam_serve.engine.replies import STAGES
from apsam_serve.errors import ApsamError, InvalidInputError, InvalidPromptError
from apsam_serve.v1 import segmentation_pb2 as pb

T = TypeVar("T")
Bits = NDArray[np.bool_]

STRATEGIES: Mapping[int, StrategyName] = {
    pb.STRATEGY_UNSPECIFIED: "apg",
    pb.STRATEGY_DIRECT: "direct",
    pb.STRATEGY_APG: "apg",
}
FALLBACKS: Mapping[int, Fallback] = {
    pb.APG_FALLBACK_UNSPECIFIED: "foreground",
    pb.APG_FALLBACK_FOREGROUND: "foreground",
    pb.APG_FALLBACK_BOX: "box",
}
BRANCHES = {
    "direct": pb.BRANCH_DIRECT,
    "clusters": pb.BRANCH_CLUSTERS,
    "fallback": pb.BRANCH_FALLBACK,
    "empty": pb.BRANCH_EMPTY,
}
_BRANCH_NAMES = {number: name for name, number in BRANCHES.items()}
_POSITIVE: Mapping[int, bool] = {
    pb.POINT_LABEL_UNSPECIFIED: True,
    pb.POINT_LABEL_POSITIVE: True,
    pb.POINT_LABEL_NEGATIVE: False,
}
AUGMENTED = (0.9, 1.1)
PACKERS: Mapping[int, Callable[[Bits], bytes]] = {
    pb.MASK_ENCODING_COCO_RLE: lambda mask: masks.encode_rle(mask).counts.encode("ascii"),
    pb.MASK_ENCODING_PACKED_BITS_ZLIB: masks.pack_bits,
    pb.MASK_ENCODING_PNG: masks.encode_png,
    pb.MASK_ENCODING_POLYGON: polygons.encode_polygons,
}
SLOW = frozenset([pb.MASK_ENCODING_POLYGON])
"""Of a mask of 512 x 512 with many pieces they take 20 ms, the other forms 0.1 to 6."""
_MAX_ID = 64
"""Characters of a request id, more than any UUID is written with."""
_MAX_DURATION_S = 315_576_000_000
"""10,000 years, the range of google.protobuf.Duration."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Proposal:
    """A suggested click and its answer. attention: at the click over that at the strongest peak, in
    (0, 1]."""

    click: Point
    attention: float
    segmentation: Segmentation


def prompts_from(messages: Sequence[pb.Prompt]) -> list[Prompt]:
    """Prompts of a request. Counts come first, so that a hostile request costs nothing.

    Raises InvalidPromptError.
    """
    if not 1 <= len(messages) <= MAX_PROMPTS:
        raise InvalidPromptError(f"call has {len(messages)} prompts; give 1 to {MAX_PROMPTS}")
    for message in messages:
        if len(message.points) > MAX_POINTS:
            raise InvalidPromptError(
                f"prompt has {len(message.points)} points; give at most {MAX_POINTS}"
            )
    return [_prompt_from(message) for message in messages]


def prompts_to(prompts: Sequence[Prompt]) -> list[pb.Prompt]:
    """Prompts as messages. Raises InvalidPromptError for `mask_logits`, which stay on a server."""
    for prompt in prompts:
        if prompt.mask_logits is not None:
            raise InvalidPromptError("a server takes no mask_logits; give an answer's mask_id")
    return [
        pb.Prompt(
            points=points_to(prompt.points),
            box=None
            if (box := prompt.box) is None
            else pb.Box(left=box.left, top=box.top, right=box.right, bottom=box.bottom),
            mask_id=prompt.mask_id,
        )
        for prompt in prompts
    ]


def points_to(points: Sequence[Point]) -> list[pb.Point]:
    """Points as messages."""
    positive, negative = pb.POINT_LABEL_POSITIVE, pb.POINT_LABEL_NEGATIVE
    return [pb.Point(x=p.x, y=p.y, label=positive if p.positive else negative) for p in points]


def apg_from(message: pb.ApgOptions) -> ApgConfig:
    """APG's settings, defaults where absent. Raises InvalidPromptError."""
    default = ApgConfig()
    tau = message.tau if message.HasField("tau") else default.tau
    if not (math.isfinite(tau) and tau >= 0):
        raise InvalidPromptError(f"apg.tau is {tau}; give model pixels, 0 or more")
    return ApgConfig(
        tau=tau,
        fallback=_known("apg.fallback", FALLBACKS, message.fallback),
        seed=message.seed,
        scale_range=AUGMENTED if message.augment else default.scale_range,
    )


def apg_to(config: ApgConfig) -> pb.ApgOptions:
    """APG's settings as a message. Raises InvalidPromptError for what the protocol lacks."""
    default = ApgConfig()
    if config.max_iterations != default.max_iterations or config.scale_range not in (
        default.scale_range,
        AUGMENTED,
    ):
        raise InvalidPromptError(
            f"{config} cannot be sent: a server takes max_iterations {default.max_iterations} and "
            f"scale_range {default.scale_range} or {AUGMENTED}"
        )
    box = config.fallback == "box"
    return pb.ApgOptions(
        tau=config.tau,
        fallback=pb.APG_FALLBACK_BOX if box else pb.APG_FALLBACK_FOREGROUND,
        seed=config.seed,
        augment=config.scale_range == AUGMENTED,
    )


def strategy_from(value: int) -> StrategyName:
    """Raises InvalidPromptError for a number this release does not know."""
    return _known("strategy", STRATEGIES, value)


def mask_encoding_from(value: pb.MaskEncoding) -> pb.MaskEncoding:
    """The encoding to use. Raises InvalidPromptError for a number this release does not know."""
    chosen = value or pb.MASK_ENCODING_COCO_RLE
    _known("mask_encoding", PACKERS, chosen)
    return chosen


def mask_to(
    data: bytes, encoding: pb.MaskEncoding, *, height: int, width: int, crc32: int | None = None
) -> pb.Mask:
    """A packed mask as a message. crc32: of the data, None to compute it."""
    checksum = zlib.crc32(data) if crc32 is None else crc32
    return pb.Mask(encoding=encoding, height=height, width=width, data=data, crc32=checksum)


def mask_from(message: pb.Mask) -> Bits:
    """bool [H, W]. Raises ApsamError when the bytes changed on the way or cannot be read."""
    if zlib.crc32(message.data) != message.crc32:
        raise ApsamError(f"mask of {len(message.data)} bytes has another CRC-32; ask again")
    height, width = message.height, message.width
    if message.encoding == pb.MASK_ENCODING_COCO_RLE:
        counts = message.data.decode("ascii")
        return masks.decode_rle(masks.Rle(height=height, width=width, counts=counts))
    if message.encoding == pb.MASK_ENCODING_PACKED_BITS_ZLIB:
        return masks.unpack_bits(message.data, height=height, width=width)
    if message.encoding == pb.MASK_ENCODING_PNG:
        return masks.decode_png(message.data)
    if message.encoding == pb.MASK_ENCODING_POLYGON:
        return polygons.decode_polygons(message.data, height=height, width=width)
    raise InvalidInputError(f"mask encoding {message.encoding} is unknown; update this client")


def segmentation_from(message: pb.Segmentation, timings: pb.StageTimings) -> Segmentation:
    """An answer as the contract's value."""
    return Segmentation(
        mask=mask_from(message.mask),
        score=message.score,
        points=tuple(_point_from(point) for point in message.points),
        branch=_BRANCH_NAMES.get(message.branch, f"branch_{message.branch}"),
        category=message.category or None,
        category_probability=message.category_probability
        if message.HasField("category_probability")
        else None,
        mask_id=message.mask_id,
        timings_s=timings_from(timings),
    )


def proposals_from(response: pb.ProposeResponse) -> list[Proposal]:
    """Proposals as values, the strongest peak first."""
    return [
        Proposal(
            click=_point_from(one.click),
            attention=one.attention,
            segmentation=segmentation_from(one.segmentation, response.timings),
        )
        for one in response.proposals
    ]


def attention_to(attention: AttentionMap) -> pb.AttentionMap:
    """Attention as a message."""
    height, width = attention.values.shape
    return pb.AttentionMap(
        height=height,
        width=width,
        data=attention.values.astype("<f4").tobytes(),
        cell_height=attention.cell_height,
        cell_width=attention.cell_width,
    )


def attention_from(message: pb.AttentionMap) -> AttentionMap:
    """Attention as a value. Raises ApsamError when its bytes are not those of its size."""
    height, width = message.height, message.width
    if min(height, width) < 1 or len(message.data) != 4 * height * width:
        raise ApsamError(
            f"attention of {len(message.data)} bytes is no map of {width} x {height}; ask again"
        )
    values = np.frombuffer(message.data, "<f4").astype(np.float32).reshape(height, width)
    return AttentionMap(
        values=values, cell_height=message.cell_height, cell_width=message.cell_width
    )


def timings_to(timings_s: Mapping[str, float]) -> pb.StageTimings:
    """Seconds by stage as a message."""
    return pb.StageTimings(**{f"{s}_us": round(timings_s.get(s, 0.0) * 1e6) for s in STAGES})


def timings_from(message: pb.StageTimings) -> dict[str, float]:
    """Seconds by stage."""
    return {stage: getattr(message, f"{stage}_us") / 1e6 for stage in STAGES}


def request_id_from(text: str) -> str:
    """A UUID, or "" for none. Raises InvalidInputError."""
    if not text:
        return ""
    try:
        if len(text) > _MAX_ID:
            raise ValueError(text[:_MAX_ID])
        return str(uuid.UUID(text))
    except ValueError:
        raise InvalidInputError(
            f"request_id {text[:64]!r} is no UUID; give a new UUID per request, or leave it empty"
        ) from None


def seconds_from(what: str, message: Duration) -> float:
    """A duration in seconds, above 0. Raises InvalidInputError."""
    seconds = message.seconds + message.nanos / 1e9
    if abs(message.nanos) >= 10**9 or not 0 < seconds <= _MAX_DURATION_S:
        raise InvalidInputError(
            f"{what} of {message.seconds} s and {message.nanos} ns is no time; give one above 0"
        )
    return seconds


def duration_to(seconds: float) -> Duration:
    """Seconds as a message."""
    message = Duration()
    message.FromNanoseconds(round(seconds * 1e9))
    return message


def time_to(seconds: float) -> Timestamp:
    """Seconds since the epoch, UTC, as a message."""
    message = Timestamp()
    message.FromMicroseconds(round(seconds * 1e6))  # a float has no more of today's dates
    return message


def time_from(message: Timestamp) -> float:
    """Seconds since the epoch, UTC."""
    return message.seconds + message.nanos / 1e9


def _prompt_from(message: pb.Prompt) -> Prompt:
    box = message.box
    return Prompt(
        points=tuple(_point_from(point) for point in message.points),
        box=Box(left=box.left, top=box.top, right=box.right, bottom=box.bottom)
        if message.HasField("box")
        else None,
        mask_id=message.mask_id,
    )


def _point_from(message: pb.Point) -> Point:
    return Point(x=message.x, y=message.y, positive=_known("label", _POSITIVE, message.label))


def _known(what: str, table: Mapping[int, T], value: int) -> T:
    if value not in table:
        raise InvalidPromptError(f"{what} {value} is unknown; give one of {sorted(table)}")
    return table[value]
