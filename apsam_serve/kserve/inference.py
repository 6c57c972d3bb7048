"""What the two models do: inputs to the engine's values, its replies to outputs."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.images import probe
from apsam_serve.contract.inputs import FileInput, ImageInput, RgbInput
from apsam_serve.contract.prompts import MAX_POINTS, MAX_PROMPTS, Point, Prompt
from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.engine.calls import Call
from apsam_serve.engine.replies import (
    CreateReply,
    Embedding,
    LoadedModel,
    Pack,
    PackedSegmentation,
    SegmentReply,
    Timings,
)
from apsam_serve.errors import InvalidImageError, InvalidInputError, InvalidPromptError
from apsam_serve.kserve.tensors import Output, Sent

_NO_POINT = -1
_MIN_POINTS = 2
_REST_BYTES = 2**16
"""More than a response has beside its masks: at most 64 answers of 18 points."""


class Engine(Protocol):
    """What is used of `engine.engine.Engine`."""

    def models(self) -> list[LoadedModel]:
        """What is loaded, the current model first."""
        ...

    def get(self, handle: str, call: Call) -> Embedding:
        """What is known of a held image."""
        ...

    def delete(self, handle: str, call: Call) -> bool:
        """Forget a held image."""
        ...

    async def create(
        self, image: ImageInput, call: Call, *, ttl_s: float | None = None
    ) -> CreateReply:
        """Encode an image and hold it."""
        ...

    async def segment(
        self,
        source: str | ImageInput,
        prompts: Sequence[Prompt],
        call: Call,
        *,
        strategy: StrategyName,
        apg: ApgConfig,
        pack: Pack,
    ) -> SegmentReply:
        """Answer prompts about a held image, or about one that is sent along."""
        ...


@dataclass(frozen=True, kw_only=True, eq=False)
class Answered:
    """Of one call, whichever model. outputs: what was asked for; handle: "" where nothing is held;
    mask_digests: SHA-256 of each mask that is sent."""

    outputs: Mapping[str, Output]
    handle: str
    image_digest: str
    model_digest: str
    timings_s: Timings
    mask_digests: tuple[str, ...] = ()


async def encode(
    engine: Engine, sent: Mapping[str, Sent], wanted: Sequence[str], call: Call
) -> Answered:
    """`models.ENCODE`. Raises InvalidInputError, and what `Engine.create` raises."""
    image = image_from(sent)
    if isinstance(image, str):
        raise InvalidImageError("apsam_encode takes an image; send IMAGE or FILE")
    reply = await engine.create(image, call)
    held = reply.embedding
    outputs = {
        "HANDLE": Output.of_texts([held.handle]),
        "SIZE": Output.of(np.array([held.height, held.width], np.int32)),
    }
    return Answered(
        outputs={name: outputs[name] for name in wanted},
        handle=held.handle,
        image_digest=held.image_digest,
        model_digest=held.model_digest,
        timings_s=reply.timings_s,
    )


async def segment(
    engine: Engine,
    sent: Mapping[str, Sent],
    wanted: Sequence[str],
    call: Call,
    *,
    strategy: StrategyName,
    max_bytes: int,
) -> Answered:
    """`models.SEGMENT`. max_bytes: of the response.

    Raises InvalidInputError, and what `Engine.segment` raises.
    """
    source = image_from(sent)
    prompts = prompts_from(sent)
    with_masks = "MASK" in wanted
    if with_masks:
        _check_room(len(prompts), _size(engine, source, call), max_bytes)
    reply = await engine.segment(
        source,
        prompts,
        call,
        strategy=strategy,
        apg=ApgConfig(),
        pack=NDArray.tobytes if with_masks else _nothing,
    )
    # Masks as they are take megabytes, too many to copy and to hash on the event loop.
    return await asyncio.to_thread(
        _answered, reply, wanted, handle=source if isinstance(source, str) else ""
    )


def image_from(sent: Mapping[str, Sent]) -> str | ImageInput:
    """A handle or an image. Raises InvalidImageError for none of them, and for two."""
    given = [name for name in ("HANDLE", "IMAGE", "FILE") if name in sent]
    if len(given) != 1:
        raise InvalidImageError(
            f"request has {' and '.join(given) or 'no image'}; send one of HANDLE, IMAGE and FILE"
        )
    one = sent[given[0]]
    if given[0] == "HANDLE":
        return handle_from(one)
    if given[0] == "FILE":
        return FileInput(data=one.data)
    height, width, _ = one.shape
    return RgbInput(width=width, height=height, data=one.data)


def handle_from(sent: Sent) -> str:
    """A handle as sent; what is no UTF-8 is no handle of ours, and stays readable."""
    return sent.data.decode("utf-8", errors="replace")


def prompts_from(sent: Mapping[str, Sent]) -> list[Prompt]:
    """One prompt per row of POINTS. Raises InvalidPromptError."""
    num_prompts, num_points, _ = sent["POINTS"].shape
    if num_prompts > MAX_PROMPTS or num_points > MAX_POINTS:
        raise InvalidPromptError(
            f"POINTS has {num_prompts} prompts of {num_points} points; give at most {MAX_PROMPTS} "
            f"of at most {MAX_POINTS}"
        )
    labels = np.ones((num_prompts, num_points), np.int32)
    if "LABELS" in sent:
        if sent["LABELS"].shape != labels.shape:
            raise InvalidPromptError(
                f"LABELS has shape {list(sent['LABELS'].shape)}; POINTS needs {list(labels.shape)}"
            )
        labels = sent["LABELS"].array("<i4")
    wrong = labels[~np.isin(labels, (0, 1, _NO_POINT))]
    if len(wrong):
        raise InvalidPromptError(
            f"LABELS holds {wrong[0]}; give 1 on the object, 0 beside it, {_NO_POINT} for no point"
        )
    points = sent["POINTS"].array("<f4")
    return [
        Prompt(
            points=tuple(
                Point(x=float(x), y=float(y), positive=bool(label))
                for (x, y), label in zip(row, row_labels, strict=True)
                if label != _NO_POINT
            )
        )
        for row, row_labels in zip(points, labels, strict=True)
    ]


def _size(engine: Engine, source: str | ImageInput, call: Call) -> tuple[int, int]:
    """(height, width), before any pixel is touched."""
    if isinstance(source, str):
        held = engine.get(source, call)
        return held.height, held.width
    if isinstance(source, FileInput):
        header = probe(source.data)
        return header.height, header.width
    return source.height, source.width


def _check_room(num_prompts: int, size: tuple[int, int], max_bytes: int) -> None:
    height, width = size
    needed = num_prompts * height * width + _REST_BYTES
    if needed > max_bytes:
        raise InvalidInputError(
            f"MASK [{num_prompts}, {height}, {width}] makes a response of {needed} bytes, at most "
            f"{max_bytes} can be sent; ask about fewer prompts, without MASK, or over "
            "apsam_serve.v1, which packs masks"
        )


def _answered(reply: SegmentReply, wanted: Sequence[str], *, handle: str) -> Answered:
    return Answered(
        outputs={name: _output(name, reply) for name in wanted},
        handle=handle,
        image_digest=reply.image_digest,
        model_digest=reply.model_digest,
        timings_s=reply.timings_s,
        mask_digests=tuple(one.sha256 for one in reply.segmentations if one.data),
    )


def _nothing(mask: NDArray[np.bool_]) -> bytes:
    return b""


def _output(name: str, reply: SegmentReply) -> Output:
    answers = reply.segmentations
    if name == "MASK":
        shape = (len(answers), reply.height, reply.width)
        return Output(datatype="BOOL", shape=shape, data=b"".join(one.data for one in answers))
    if name == "SCORE":
        return Output.of(np.array([one.score for one in answers], np.float32))
    if name == "BRANCH":
        return Output.of_texts([one.branch for one in answers])
    if name == "CATEGORY":
        return Output.of_texts([one.category or "" for one in answers])
    return _points(name, answers)


def _points(name: str, answers: Sequence[PackedSegmentation]) -> Output:
    """POINTS [P, M, 2] or LABELS [P, M] of the last decode."""
    num_points = max(_MIN_POINTS, *(len(one.points) for one in answers))
    coords = np.full((len(answers), num_points, 2), np.nan, np.float32)
    labels = np.full((len(answers), num_points), _NO_POINT, np.int32)
    for row, one in enumerate(answers):
        for column, point in enumerate(one.points):
            coords[row, column] = point.x, point.y
            labels[row, column] = point.positive
    return Output.of(coords if name == "POINTS" else labels)
