"""Servers that exist in a list only, and a clock that moves when a client waits."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from apsam_serve.client.calls import Calls, Effect, Open, Pause, Send, Step
from apsam_serve.client.retries import Retries
from apsam_serve.contract.masks import pack_bits
from apsam_serve.errors import (
    HandleGoneError,
    InvalidPromptError,
    MaskGoneError,
    NotServingError,
    OverloadedError,
    RateLimitedError,
)
from apsam_serve.service.convert import mask_to
from apsam_serve.v1 import segmentation_pb2 as pb

ANSWER_S = 0.01
"""How long every answer takes."""
Outcome = Any
"""What a server answers: a message, or an error that is thrown."""


@dataclass(kw_only=True)
class Network:
    """Servers answer from `script`, by address, one outcome per call; `log` tells what happened."""

    script: dict[str, list[Outcome]]
    now_s: float = 0.0
    log: list[str] = field(default_factory=list)
    requests: list[Any] = field(default_factory=list)
    timeouts_s: list[float] = field(default_factory=list)
    _stream: str = ""

    def calls(self, *, timeout_s: float = 30.0, chance: float = 0.0, **retries: Any) -> Calls:
        return Calls(
            list(self.script),
            timeout_s=timeout_s,
            retries=Retries(**retries),
            now=lambda: self.now_s,
            chance=lambda: chance,
        )

    def do(self, effect: Effect) -> Any:
        if isinstance(effect, Pause):
            self.now_s += effect.seconds
            self.log.append(f"pause {effect.seconds:.3f}")
            return None
        if isinstance(effect, Open):
            self._stream = effect.address
            self.log.append(f"{effect.address} opens")
            return None
        if isinstance(effect, Step):
            return self._answer(self._stream, str(effect.request.WhichOneof("step")), effect)
        return self._answer(effect.address, effect.method, effect)

    def _answer(self, address: str, what: str, effect: Send | Step) -> Any:
        self.now_s += ANSWER_S
        self.log.append(f"{address} {what}")
        self.requests.append(copy.deepcopy(effect.request))  # clients change and reuse theirs
        self.timeouts_s.append(effect.timeout_s)
        outcome = self.script[address].pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


def away() -> NotServingError:
    return NotServingError("no server answers at ...")


def full(retry_after_s: float = 0.5) -> OverloadedError:
    return OverloadedError("queue is full", retry_after_s=retry_after_s)


def limited(retry_after_s: float = 2.0) -> RateLimitedError:
    return RateLimitedError("too often", retry_after_s=retry_after_s)


def gone(reason: str = "EVICTED") -> HandleGoneError:
    return HandleGoneError("handle is gone", reason=reason)


def mask_gone() -> MaskGoneError:
    return MaskGoneError("mask '0' is no longer held")


def bad_prompt() -> InvalidPromptError:
    return InvalidPromptError("click (-1, 0) lies outside the image")


def created(handle: str, *, server_address: str = "") -> pb.CreateEmbeddingResponse:
    """Of an image of 4 x 3 pixels."""
    embedding = pb.Embedding(handle=handle, width=4, height=3, server_address=server_address)
    return pb.CreateEmbeddingResponse(embedding=embedding)


def segmented(mask_ids: Sequence[str] = ("0",)) -> pb.SegmentResponse:
    """Answers with an empty mask of 4 x 3 pixels each."""
    data = pack_bits(np.zeros((3, 4), bool))
    mask = mask_to(data, pb.MASK_ENCODING_PACKED_BITS_ZLIB, height=3, width=4)
    return pb.SegmentResponse(
        segmentations=[
            pb.Segmentation(mask=mask, branch=pb.BRANCH_DIRECT, mask_id=one) for one in mask_ids
        ]
    )
