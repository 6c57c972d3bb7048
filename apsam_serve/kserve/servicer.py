"""GRPCInferenceService over the engine. Errors pass on to the interceptor."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import grpc

from apsam_serve.contract.segmenter import StrategyName
from apsam_serve.engine.calls import Call
from apsam_serve.errors import InvalidInputError, InvalidPromptError
from apsam_serve.kserve import inference, tensors
from apsam_serve.kserve import open_inference_pb2 as pb
from apsam_serve.kserve import open_inference_pb2_grpc as pb_grpc
from apsam_serve.kserve.inference import Answered, Engine, handle_from
from apsam_serve.kserve.models import ENCODE, MODELS, VERSION, Model, find
from apsam_serve.kserve.statistics import Statistics
from apsam_serve.kserve.tensors import Sent
from apsam_serve.service.calls import Calls, ledger, sha256

SERVICE: str = pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].full_name
METHODS = tuple(
    method.name for method in pb.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods
)
_NAME = "apsam-serve"
_EXTENSIONS = ("model_configuration", "statistics", "model_repository")
_STRATEGIES: dict[str, StrategyName] = {"apg": "apg", "direct": "direct"}
_PARAMETERS = ("strategy", "timeout", "priority")
_RESERVED = "triton_"
"""Parameters that Triton's clients add by themselves; perf_analyzer sends one about streams."""

Context = grpc.aio.ServicerContext[Any, Any]


@dataclass(frozen=True, kw_only=True)
class Info:
    """version: of the software; max_message_bytes: of a response; serving: whether calls are
    welcome, as health tells it."""

    version: str
    max_message_bytes: int
    serving: Callable[[], bool]


def add_to(server: grpc.aio.Server, engine: Engine, *, calls: Calls, info: Info) -> str:
    """Register the service. Returns its full name."""
    servicer = InferenceServicer(engine, calls=calls, info=info)
    pb_grpc.add_GRPCInferenceServiceServicer_to_server(servicer, server)  # type: ignore[no-untyped-call]
    return SERVICE


class InferenceServicer(pb_grpc.GRPCInferenceServiceServicer):
    """The models `apsam_encode` and `apsam_segment` over one engine."""

    def __init__(self, engine: Engine, *, calls: Calls, info: Info) -> None:
        self._engine = engine
        self._calls = calls
        self._info = info
        self._statistics = {name: Statistics(name) for name in MODELS}

    async def ServerLive(  # noqa: N802
        self, request: pb.ServerLiveRequest, context: Context
    ) -> pb.ServerLiveResponse:
        return pb.ServerLiveResponse(live=True)

    async def ServerReady(  # noqa: N802
        self, request: pb.ServerReadyRequest, context: Context
    ) -> pb.ServerReadyResponse:
        return pb.ServerReadyResponse(ready=self._info.serving())

    async def ModelReady(  # noqa: N802
        self, request: pb.ModelReadyRequest, context: Context
    ) -> pb.ModelReadyResponse:
        known = request.name in MODELS and request.version in ("", VERSION)
        return pb.ModelReadyResponse(ready=known and self._info.serving())

    async def ServerMetadata(  # noqa: N802
        self, request: pb.ServerMetadataRequest, context: Context
    ) -> pb.ServerMetadataResponse:
        return pb.ServerMetadataResponse(
            name=_NAME, version=self._info.version, extensions=_EXTENSIONS
        )

    async def ModelMetadata(  # noqa: N802
        self, request: pb.ModelMetadataRequest, context: Context
    ) -> pb.ModelMetadataResponse:
        return find(request.name, request.version).metadata(named=self._named())

    async def ModelConfig(  # noqa: N802
        self, request: pb.ModelConfigRequest, context: Context
    ) -> pb.ModelConfigResponse:
        config = find(request.name, request.version).config(named=self._named())
        return pb.ModelConfigResponse(config=config)

    async def ModelStatistics(  # noqa: N802
        self, request: pb.ModelStatisticsRequest, context: Context
    ) -> pb.ModelStatisticsResponse:
        names = [find(request.name, request.version).name] if request.name else list(MODELS)
        return pb.ModelStatisticsResponse(
            model_stats=[self._statistics[name].message() for name in names]
        )

    async def RepositoryIndex(  # noqa: N802
        self, request: pb.RepositoryIndexRequest, context: Context
    ) -> pb.RepositoryIndexResponse:
        if request.repository_name:
            raise InvalidInputError(
                f"repository {request.repository_name[:64]!r} is unknown; leave the name empty"
            )
        serving = self._info.serving()
        state = "READY" if serving else "UNAVAILABLE"
        reason = "" if serving else "the server is loading or draining"
        describe = pb.RepositoryIndexResponse.ModelIndex
        return pb.RepositoryIndexResponse(
            models=[
                describe(name=name, version=VERSION, state=state, reason=reason)
                for name in MODELS
                if serving or not request.ready
            ]
        )

    async def ModelInfer(  # noqa: N802
        self, request: pb.ModelInferRequest, context: Context
    ) -> pb.ModelInferResponse:
        model = find(request.model_name, request.model_version)
        statistics, started_s = self._statistics[model.name], time.perf_counter()
        call = self._calls.call_of(context)
        try:
            response: pb.ModelInferResponse = await self._calls.run(
                partial(self._infer, model, request, call),
                call,
                partial(self._forget, call) if model is ENCODE else None,
            )
        except BaseException:  # a caller that has gone counts too
            statistics.failed(seconds=time.perf_counter() - started_s)
            raise
        statistics.answered(ledger().timings_s, seconds=time.perf_counter() - started_s)
        return response

    async def _infer(
        self, model: Model, request: pb.ModelInferRequest, call: Call
    ) -> pb.ModelInferResponse:
        strategy = _parameters_to(call, request)
        wanted = tensors.wanted_from(request, model.given(named=self._named()))
        sent = await _sent(request, model)
        _note(sent, strategy)
        if model is ENCODE:
            answered = await inference.encode(self._engine, sent, wanted, call)
        else:
            answered = await inference.segment(
                self._engine,
                sent,
                wanted,
                call,
                strategy=strategy,
                max_bytes=self._info.max_message_bytes,
            )
        _learn(answered)
        return tensors.response_to(request, VERSION, answered.outputs, answered.model_digest)

    def _forget(self, call: Call, response: pb.ModelInferResponse) -> None:
        """An image that nobody has the handle of would be held for its whole life."""
        self._engine.delete(ledger().handle, call)

    def _named(self) -> bool:
        """Whether the current model names categories."""
        return any(model.categories for model in self._engine.models() if model.current)


async def _sent(request: pb.ModelInferRequest, model: Model) -> dict[str, Sent]:
    """The inputs by name. A photograph in typed contents takes a second to convert, so that is not
    done on the event loop."""
    if tensors.is_raw(request):
        return tensors.inputs_from(request, model)
    return await asyncio.to_thread(tensors.inputs_from, request, model)


def _parameters_to(call: Call, request: pb.ModelInferRequest) -> StrategyName:
    """The strategy; "timeout" goes to the call. Raises InvalidInputError."""
    given = request.parameters
    unknown = sorted(n for n in given if n not in _PARAMETERS and not n.startswith(_RESERVED))
    if unknown:
        raise InvalidInputError(
            f"parameter {unknown[0][:64]!r} is unknown; give {', '.join(_PARAMETERS)} or none"
        )
    if "timeout" in given:
        timeout_us = given["timeout"].int64_param
        if timeout_us < 1:
            raise InvalidInputError("parameter timeout must be microseconds, a whole number from 1")
        ends_s = time.monotonic() + timeout_us / 1e6
        call.deadline_s = ends_s if call.deadline_s is None else min(call.deadline_s, ends_s)
    if "strategy" not in given:
        return "apg"
    strategy = given["strategy"].string_param
    if strategy not in _STRATEGIES:
        raise InvalidPromptError(
            f"strategy {strategy[:64]!r} is unknown; give the string 'apg' or 'direct'"
        )
    return _STRATEGIES[strategy]


def _note(sent: dict[str, Sent], strategy: StrategyName) -> None:
    """What is asked, for metrics and the audit log."""
    opened = ledger()
    if "HANDLE" in sent:
        opened.handle = handle_from(sent["HANDLE"])
    if "POINTS" in sent:
        parts = [sent[name].data for name in ("POINTS", "LABELS") if name in sent]
        opened.prompt_digest = sha256(b"".join([strategy.encode(), *parts]))


def _learn(answered: Answered) -> None:
    """What came of it."""
    opened = ledger()
    opened.handle = answered.handle
    opened.image_digest = answered.image_digest
    opened.model_digest = answered.model_digest
    opened.timings_s = answered.timings_s
    opened.mask_digests = answered.mask_digests
