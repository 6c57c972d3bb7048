"""What a session's verbs do: one step at a time over a stream, and a new stream when it breaks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from apsam_serve.client.calls import Calls, Flow, Open, Step
from apsam_serve.client.flows import proposals, segmentations
from apsam_serve.client.requests import plain_mask_ids, propose_step, segment_step
from apsam_serve.contract.segmenter import Segmentation
from apsam_serve.engine.replies import Embedding
from apsam_serve.errors import (
    HandleGoneError,
    InvalidInputError,
    MaskGoneError,
    NotServingError,
    OverloadedError,
)
from apsam_serve.service import convert
from apsam_serve.service.convert_images import embedding_from
from apsam_serve.v1 import segmentation_pb2 as pb

Build = Callable[[], pb.SessionRequest]
"""A step for the current image."""


class SessionFlows:
    """The current image, and whether a stream is open that knows it."""

    def __init__(self, calls: Calls) -> None:
        self._calls = calls
        self._open = False
        self._address = ""
        self._image: pb.Image | None = None
        self._handle = ""

    def image(self, image: pb.Image) -> Flow[Embedding]:
        """Make an image the current one."""
        self._image = None
        deadline_s = self._calls.deadline_s()
        embedding = yield from self._attempts(lambda: pb.SessionRequest(image=image), deadline_s)
        self._image, self._handle = image, embedding.handle
        return embedding_from(embedding)

    def segment(self, request: pb.SegmentRequest) -> Flow[list[Segmentation]]:
        """Answer prompts about the current image."""

        def build() -> pb.SessionRequest:
            step = segment_step(request)
            plain_mask_ids(step.segment.prompts, self._handle)
            return step

        self._check_image()
        response = yield from self._attempts(build, self._calls.deadline_s())
        return segmentations(response, self._handle)

    def propose(self, request: pb.ProposeRequest) -> Flow[list[convert.Proposal]]:
        """Find objects in the current image."""
        self._check_image()
        deadline_s = self._calls.deadline_s()
        response = yield from self._attempts(lambda: propose_step(request), deadline_s)
        return proposals(response, self._handle)

    def _check_image(self) -> None:
        if self._image is None:
            raise InvalidInputError("session has no image yet; send one first")

    def _attempts(self, build: Build, deadline_s: float) -> Flow[Any]:
        attempt, shown_again = 1, False
        while True:
            try:
                if not self._open:
                    yield from self._reopen(deadline_s)
                return (yield from self._step(build(), deadline_s))
            except MaskGoneError:
                raise
            except HandleGoneError:
                if shown_again or self._image is None:
                    raise
                shown_again = True
                yield from self._show(self._image, deadline_s)
            except NotServingError as error:
                self._open = False
                self._calls.routes.silent(self._address)
                yield from self._calls.pause(error, attempt, deadline_s)
                attempt += 1
            except OverloadedError as error:
                yield from self._calls.pause(error, attempt, deadline_s)
                attempt += 1

    def _reopen(self, deadline_s: float) -> Flow[None]:
        """A stream to the next server, which is told the current image."""
        self._address = self._calls.routes.in_turn()[0]
        yield Open(address=self._address)
        self._open = True
        if self._image is not None:
            yield from self._show(self._image, deadline_s)

    def _show(self, image: pb.Image, deadline_s: float) -> Flow[None]:
        embedding = yield from self._step(pb.SessionRequest(image=image), deadline_s)
        self._handle = embedding.handle

    def _step(self, request: pb.SessionRequest, deadline_s: float) -> Flow[Any]:
        """The answer's message."""
        left_s = self._calls.left_s(deadline_s)
        request.timeout.CopyFrom(convert.duration_to(left_s))
        response: pb.SessionResponse = yield Step(request=request, timeout_s=left_s)
        self._calls.routes.answered(self._address)
        kind = response.WhichOneof("answer")
        answer = getattr(response, kind)
        return answer.embedding if kind == "embedding" else answer
