"""Translates calls to the engine and replies to messages. Errors pass on to the interceptor."""

from __future__ import annotations

import time

import grpc

from apsam_serve.engine.engine import Engine
from apsam_serve.errors import InvalidInputError
from apsam_serve.service import convert
from apsam_serve.service.metrics import Metrics
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc

Encode = grpc.aio.ServicerContext[pb.EncodeRequest, pb.EncodeResponse]
Segment = grpc.aio.ServicerContext[pb.SegmentRequest, pb.SegmentResponse]
Release = grpc.aio.ServicerContext[pb.ReleaseRequest, pb.ReleaseResponse]


class SegmentationServicer(pb_grpc.SegmentationServiceServicer):
    """SegmentationService over an engine. model_digest: the bundle's."""

    def __init__(self, engine: Engine, *, model_digest: str, metrics: Metrics) -> None:
        self._engine = engine
        self._digest = model_digest
        self._metrics = metrics

    async def Encode(self, request: pb.EncodeRequest, context: Encode) -> pb.EncodeResponse:  # noqa: N802
        reply = await self._engine.encode(request.image, deadline_s=_deadline_s(context))
        self._metrics.stages(reply.timings_s)
        return pb.EncodeResponse(
            handle=reply.handle,
            width=reply.width,
            height=reply.height,
            expire_time=convert.expire_time(reply.ttl_s),
            held_bytes=reply.held_bytes,
            model_digest=self._digest,
            timings=convert.timings_to(reply.timings_s),
        )

    async def Segment(self, request: pb.SegmentRequest, context: Segment) -> pb.SegmentResponse:  # noqa: N802
        encoding = convert.mask_encoding_from(request.mask_encoding)
        reply = await self._engine.segment(
            _source(request),
            convert.prompts_from(request.prompts),
            strategy=convert.strategy_from(request.strategy),
            apg=convert.apg_from(request.apg),
            pack=convert.PACKERS[encoding],
            deadline_s=_deadline_s(context),
        )
        self._metrics.stages(reply.timings_s)
        return pb.SegmentResponse(
            segmentations=[
                pb.Segmentation(
                    mask=convert.mask_to(
                        one.data, encoding, height=reply.height, width=reply.width
                    ),
                    score=one.score,
                    points=convert.points_to(one.points),
                    branch=convert.BRANCHES[one.branch],
                    category=one.category or "",
                    category_probability=one.category_probability,
                )
                for one in reply.segmentations
            ],
            timings=convert.timings_to(reply.timings_s),
            model_digest=self._digest,
            width=reply.width,
            height=reply.height,
            expire_time=None if reply.ttl_s is None else convert.expire_time(reply.ttl_s),
        )

    async def Release(self, request: pb.ReleaseRequest, context: Release) -> pb.ReleaseResponse:  # noqa: N802
        return pb.ReleaseResponse(released=self._engine.release(request.handle))


def _source(request: pb.SegmentRequest) -> str | bytes:
    chosen = request.WhichOneof("source")
    if chosen is None:
        raise InvalidInputError("request has no source; give a handle or an image")
    source: str | bytes = getattr(request, chosen)
    return source


def _deadline_s(context: Encode | Segment) -> float | None:
    """The caller's deadline on the clock of time.monotonic."""
    remaining = context.time_remaining()
    return None if remaining is None else time.monotonic() + remaining
