"""Translates calls to the engine and replies to messages. Errors pass on to the interceptor."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from importlib.metadata import version

import grpc

from apsam_serve.config import ServeConfig
from apsam_serve.contract.inputs import palettes
from apsam_serve.contract.prompts import MAX_POINTS, MAX_PROMPTS
from apsam_serve.engine.calls import Call
from apsam_serve.engine.engine import Engine
from apsam_serve.engine.replies import LoadedModel
from apsam_serve.errors import InvalidInputError
from apsam_serve.service import convert
from apsam_serve.service.answers import Answers, Source
from apsam_serve.service.calls import Calls, Context, ledger
from apsam_serve.service.convert_images import image_from
from apsam_serve.service.replays import Replays
from apsam_serve.service.session import Session
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc

SessionContext = grpc.aio.ServicerContext[pb.SessionRequest, pb.SessionResponse]


class SegmentationServicer(pb_grpc.SegmentationServiceServicer):
    """SegmentationService over an engine."""

    def __init__(self, engine: Engine, *, calls: Calls, config: ServeConfig) -> None:
        self._engine = engine
        self._calls = calls
        self._config = config
        self._answers = Answers(engine, server_address=config.advertise)
        self._version = version("apsam")  # here: it is read from the disk
        self._replays = Replays(calls, max_bytes=config.replay_bytes)

    async def GetServerInfo(  # noqa: N802
        self, request: pb.GetServerInfoRequest, context: Context
    ) -> pb.GetServerInfoResponse:
        config = self._config
        return pb.GetServerInfoResponse(
            version=self._version,
            server_id=self._engine.server_id,
            server_address=config.advertise,
            models=[_model_to(model) for model in self._engine.models()],
            palettes=palettes(),
            max_pixels=config.max_pixels,
            max_message_bytes=config.max_message_bytes,
            max_prompts=MAX_PROMPTS,
            max_points=MAX_POINTS,
            max_ttl=convert.duration_to(config.max_ttl_s),
            masks_per_image=config.masks_per_image,
        )

    async def CreateEmbedding(  # noqa: N802
        self, request: pb.CreateEmbeddingRequest, context: Context
    ) -> pb.CreateEmbeddingResponse:
        request_id = convert.request_id_from(request.request_id)
        call = self._calls.call_of(context)
        work = self._answers.create(image_from(request.image), call, _ttl_s(request))
        forget = partial(self._forget, call)
        return await self._replays.answer(request_id, request, work, call, forget)

    async def GetEmbedding(  # noqa: N802
        self, request: pb.GetEmbeddingRequest, context: Context
    ) -> pb.GetEmbeddingResponse:
        held = self._engine.get(_noted(request.handle), self._calls.call_of(context))
        return pb.GetEmbeddingResponse(embedding=self._answers.embedding(held))

    async def RenewEmbedding(  # noqa: N802
        self, request: pb.RenewEmbeddingRequest, context: Context
    ) -> pb.RenewEmbeddingResponse:
        ttl_s, call = _ttl_s(request), self._calls.call_of(context)
        held = self._engine.renew(_noted(request.handle), call, ttl_s=ttl_s)
        return pb.RenewEmbeddingResponse(embedding=self._answers.embedding(held))

    async def DeleteEmbedding(  # noqa: N802
        self, request: pb.DeleteEmbeddingRequest, context: Context
    ) -> pb.DeleteEmbeddingResponse:
        call = self._calls.call_of(context)
        deleted = self._engine.delete(_noted(request.handle), call)
        return pb.DeleteEmbeddingResponse(deleted=deleted)

    async def Segment(self, request: pb.SegmentRequest, context: Context) -> pb.SegmentResponse:  # noqa: N802
        request_id = convert.request_id_from(request.request_id)
        call = self._calls.call_of(context)
        work = self._answers.segment(_source(request), request, call)
        return await self._replays.answer(request_id, request, work, call)

    async def Propose(self, request: pb.ProposeRequest, context: Context) -> pb.ProposeResponse:  # noqa: N802
        request_id = convert.request_id_from(request.request_id)
        call = self._calls.call_of(context)
        work = self._answers.propose(_source(request), request, call)
        return await self._replays.answer(request_id, request, work, call)

    async def Session(  # noqa: N802
        self, request_iterator: AsyncIterator[pb.SessionRequest], context: SessionContext
    ) -> None:
        # It writes by itself: a generator that the caller leaves in the middle is cleaned up late.
        stream = self._calls.call_of(context)
        session = Session(self._answers, self._calls, stream, hold_s=self._config.max_ttl_s)
        try:
            async for request in request_iterator:
                await context.write(await session.answer(request))
        finally:
            session.close()

    def _forget(self, call: Call, reply: pb.CreateEmbeddingResponse) -> None:
        self._engine.delete(reply.embedding.handle, call)


def _source(request: pb.SegmentRequest | pb.ProposeRequest) -> Source:
    chosen = request.WhichOneof("source")
    if chosen is None:
        raise InvalidInputError("request has no source; give a handle or an image")
    return request.handle if chosen == "handle" else image_from(request.image)


def _ttl_s(request: pb.CreateEmbeddingRequest | pb.RenewEmbeddingRequest) -> float | None:
    return convert.seconds_from("ttl", request.ttl) if request.HasField("ttl") else None


def _noted(handle: str) -> str:
    ledger().handle = handle
    return handle


def _model_to(model: LoadedModel) -> pb.Model:
    return pb.Model(
        digest=model.digest,
        preset=model.preset,
        form=model.form,
        precision=model.precision,
        verified=model.verified,
        categories=model.categories,
        current=model.current,
        num_embeddings=model.num_embeddings,
    )
