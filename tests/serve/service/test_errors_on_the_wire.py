"""What callers learn of each error, and that they learn nothing else."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from apsam_serve.engine.engine import Engine
from apsam_serve.errors import (
    ApsamError,
    AuditFailedError,
    BackendUnavailableError,
    DeadlineExceededError,
    DeviceFaultError,
    HandleGoneError,
    InvalidImageError,
    InvalidInputError,
    InvalidPromptError,
    MaskGoneError,
    ModelFaultError,
    NotServingError,
    OutOfMemoryError,
    OverloadedError,
    PermissionDeniedError,
    RateLimitedError,
    RequestIdReusedError,
    UnauthenticatedError,
)
from apsam_serve.service.background import BackgroundServer
from apsam_serve.service.calls import CallRecord
from apsam_serve.service.trailers import error_named, error_of
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.service.asking import SEGMENT, image_step, metrics, refused, steps

TOLD = [
    (InvalidInputError("why"), "INVALID_ARGUMENT", "INVALID_INPUT"),
    (InvalidImageError("why"), "INVALID_ARGUMENT", "INVALID_IMAGE"),
    (InvalidPromptError("why"), "INVALID_ARGUMENT", "INVALID_PROMPT"),
    (RequestIdReusedError("why"), "INVALID_ARGUMENT", "REQUEST_ID_REUSED"),
    (UnauthenticatedError("why"), "UNAUTHENTICATED", "UNAUTHENTICATED"),
    (PermissionDeniedError("why"), "PERMISSION_DENIED", "PERMISSION_DENIED"),
    (HandleGoneError("why", reason="MODEL_CHANGED"), "NOT_FOUND", "MODEL_CHANGED"),
    (MaskGoneError("why"), "NOT_FOUND", "MASK_GONE"),
    (OverloadedError("why", retry_after_s=1.5), "RESOURCE_EXHAUSTED", "OVERLOADED"),
    (RateLimitedError("why", retry_after_s=1.5), "RESOURCE_EXHAUSTED", "RATE_LIMITED"),
    (OutOfMemoryError("why", retry_after_s=1.5), "RESOURCE_EXHAUSTED", "OUT_OF_MEMORY"),
    (DeadlineExceededError("why"), "DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED"),
    (NotServingError("why"), "UNAVAILABLE", "NOT_SERVING"),
]
UNTOLD = [
    (AuditFailedError("/secret/disk"), "UNAVAILABLE", "AUDIT_FAILED"),
    (ModelFaultError("/secret/model"), "INTERNAL", "MODEL_FAULT"),
    (DeviceFaultError("/secret/device"), "INTERNAL", "DEVICE_FAULT"),
    (BackendUnavailableError("/secret/library"), "INTERNAL", "INTERNAL"),
    (RuntimeError("/secret/anything"), "INTERNAL", "INTERNAL"),
]


def by_reason(case: object) -> str:
    return type(case).__name__ if isinstance(case, Exception) else str(case)


@pytest.fixture
def fail(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Makes every `create` of an engine fail."""

    def with_error(error: Exception) -> None:
        async def create(*given: Any, **options: Any) -> None:
            raise error

        monkeypatch.setattr(Engine, "create", create)

    return with_error


@pytest.mark.parametrize(("error", "code", "reason"), TOLD, ids=by_reason)
def test_an_expected_error_arrives_as_what_it_was(
    stub: Any,
    bag_png: bytes,
    fail: Callable[[Exception], None],
    error: ApsamError,
    code: str,
    reason: str,
) -> None:
    fail(error)
    with pytest.raises(grpc.RpcError) as caught:
        stub.CreateEmbedding(pb.CreateEmbeddingRequest(image=pb.Image(file=bag_png)))
    status = rpc_status.from_call(caught.value)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    assert status.details[0].Unpack(info)
    assert (caught.value.code().name, info.reason, info.domain) == (code, reason, "apsam")
    assert caught.value.details() == "why"
    found = error_of(caught.value, "the server")
    assert (type(found), found.reason, str(found)) == (type(error), error.reason, "why")
    assert any(detail.Unpack(retry) for detail in status.details) == isinstance(
        error, OverloadedError
    )
    if isinstance(found, OverloadedError):
        assert found.retry_after_s == retry.retry_delay.ToMilliseconds() / 1000 == 1.5


@pytest.mark.parametrize(("error", "code", "reason"), UNTOLD, ids=by_reason)
def test_of_a_fault_callers_learn_an_incident_number_and_the_log_the_rest(
    stub: Any,
    bag_png: bytes,
    fail: Callable[[Exception], None],
    error: Exception,
    code: str,
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    fail(error)
    with pytest.raises(grpc.RpcError) as caught:
        stub.CreateEmbedding(pb.CreateEmbeddingRequest(image=pb.Image(file=bag_png)))
    assert caught.value.code().name == code
    assert dict(caught.value.trailing_metadata())["apsam-reason"] == reason
    assert "secret" not in str(caught.value)
    number = caught.value.details().split()[-1]
    assert f"incident {number}" in caplog.text
    assert "/secret/" in caplog.text


@pytest.mark.parametrize(("error", "code", "reason"), TOLD + UNTOLD, ids=by_reason)
def test_a_session_tells_the_same_in_a_fault(
    stub: Any,
    bag_png: bytes,
    fail: Callable[[Exception], None],
    error: Exception,
    code: str,
    reason: str,
) -> None:
    fail(error)
    fault = steps(stub, [image_step(bag_png), SEGMENT])[0].fault
    assert (fault.code, fault.reason) == (grpc.StatusCode[code].value[0], reason)
    assert "secret" not in fault.message
    assert fault.HasField("retry_after") == isinstance(error, OverloadedError)
    named = error_named(fault.reason, fault.message, retry_after_s=1.5)
    assert reason == "INTERNAL" or type(named) is type(error)


def test_a_caller_that_is_not_known_is_refused_on_calls_and_streams(
    serve: Callable[..., BackgroundServer],
    connect: Callable[[BackgroundServer], Any],
    bag_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nobody(context: object) -> str:
        raise UnauthenticatedError("the certificate names nobody")

    monkeypatch.setattr("apsam_serve.service.server.owner_of", nobody)
    server = serve()
    stub = connect(server)
    assert isinstance(refused(stub.GetServerInfo, pb.GetServerInfoRequest()), UnauthenticatedError)
    with pytest.raises(grpc.RpcError) as caught:
        steps(stub, [image_step(bag_png)])
    assert caught.value.code() is grpc.StatusCode.UNAUTHENTICATED
    expected = 'code="UNAUTHENTICATED",method="Session",reason="UNAUTHENTICATED"} 1.0'
    assert expected in metrics(server)


def test_while_answers_cannot_be_recorded_no_work_is_done(
    serve: Callable[..., BackgroundServer],
    connect: Callable[[BackgroundServer], Any],
    bag_png: bytes,
    tmp_path: Any,
    fail: Callable[[Exception], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve(audit_log=tmp_path / "audit.jsonl")

    def broken() -> None:
        raise AuditFailedError("/secret/disk is full")

    monkeypatch.setattr(server.server.audit, "require_writable", broken)
    fail(ModelFaultError("the engine was asked"))
    stub = connect(server)
    create = pb.CreateEmbeddingRequest(image=pb.Image(file=bag_png))
    assert refused(stub.CreateEmbedding, create).reason == "AUDIT_FAILED"
    with pytest.raises(grpc.RpcError) as caught:
        steps(stub, [image_step(bag_png)])
    assert caught.value.code() is grpc.StatusCode.UNAVAILABLE


def test_an_answer_that_cannot_be_recorded_is_not_given(
    serve: Callable[..., BackgroundServer],
    connect: Callable[[BackgroundServer], Any],
    bag_png: bytes,
    tmp_path: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = serve(audit_log=tmp_path / "audit.jsonl")
    stub = connect(server)

    def full(record: CallRecord) -> None:
        raise AuditFailedError("/secret/disk is full")

    monkeypatch.setattr(server.server.audit, "finished", full)
    create = pb.CreateEmbeddingRequest(image=pb.Image(file=bag_png))
    with caplog.at_level(logging.ERROR):
        for method, request in (
            (stub.CreateEmbedding, create),
            (stub.GetEmbedding, pb.GetEmbeddingRequest(handle="x")),
            (stub.Segment, pb.SegmentRequest(handle="x")),
        ):
            error = refused(method, request)
            assert isinstance(error, AuditFailedError)
            assert "secret" not in str(error)
        (fault,) = steps(stub, [image_step(bag_png)])
    assert fault.fault.reason == "AUDIT_FAILED"
    assert len(server.server.engine.store) == 0
    assert "/secret/disk is full" in caplog.text
