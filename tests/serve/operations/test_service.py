"""Certificates, access, audit and logs around a live server."""

from __future__ import annotations

import json
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from apsam_serve.audit_cli import main
from apsam_serve.service.background import BackgroundServer
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc
from tests.serve.operations.certificates import Authority

CLICK = pb.Prompt(points=[pb.Point(x=20, y=20)])
Serve = Callable[..., BackgroundServer]


@contextmanager
def station(address: str, authority: Authority, name: str) -> Iterator[Any]:
    """(stub, channel) of a caller with a certificate of that name."""
    pair = authority.issue(name)
    given = grpc.ssl_channel_credentials(authority.pem, pair.key, pair.certificate)
    with grpc.secure_channel(address, given) as channel:
        yield pb_grpc.SegmentationServiceStub(channel), channel  # type: ignore[no-untyped-call]


def create(stub: Any, bag_png: bytes) -> str:
    request = pb.CreateEmbeddingRequest(image=pb.Image(file=bag_png))
    handle: str = stub.CreateEmbedding(request).embedding.handle
    return handle


def click(stub: Any, handle: str) -> pb.SegmentResponse:
    answer: pb.SegmentResponse = stub.Segment(pb.SegmentRequest(handle=handle, prompts=[CLICK]))
    return answer


def refusal(call: Callable[[], object]) -> tuple[str, str]:
    """(status code, reason) of a call that fails."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    trailers = dict(caught.value.trailing_metadata())
    return caught.value.code().name, str(trailers.get("apsam-reason"))


def health(channel: grpc.Channel) -> int:
    check = health_pb2_grpc.HealthStub(channel).Check
    status: int = check(health_pb2.HealthCheckRequest()).status
    return status


def eventually(holds: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 5
    while not holds():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_no_station_uses_what_another_one_holds(
    serve: Serve, tls: dict[str, Path], authority: Authority, bag_png: bytes
) -> None:
    address = serve(**tls).address
    with station(address, authority, "a") as (a, _), station(address, authority, "b") as (b, _):
        handle = create(a, bag_png)
        assert a.GetEmbedding(pb.GetEmbeddingRequest(handle=handle)).embedding.owner == "a"
        for call in (
            lambda: click(b, handle),
            lambda: b.GetEmbedding(pb.GetEmbeddingRequest(handle=handle)),
            lambda: b.RenewEmbedding(pb.RenewEmbeddingRequest(handle=handle)),
            lambda: b.Propose(pb.ProposeRequest(handle=handle)),
        ):
            assert refusal(call) == ("NOT_FOUND", "UNKNOWN")
        assert not b.DeleteEmbedding(pb.DeleteEmbeddingRequest(handle=handle)).deleted
        assert click(a, handle).segmentations


def test_the_access_file_is_kept_by_calls_and_streams(
    serve: Serve, tls: dict[str, Path], authority: Authority, bag_png: bytes, tmp_path: Path
) -> None:
    rules = tmp_path / "access.toml"
    rules.write_text(
        '[identity.a]\nmethods = ["CreateEmbedding", "Session"]\nrate = 0.001\nburst = 2\n'
    )
    log = tmp_path / "audit.jsonl"
    address = serve(**tls, access=rules, audit_log=log).address
    image = pb.Image(file=bag_png)
    segment = pb.SessionSegment(prompts=[CLICK])
    steps = [pb.SessionRequest(image=image), *[pb.SessionRequest(segment=segment)] * 5]
    with station(address, authority, "a") as (a, channel):
        handle = create(a, bag_png)
        assert refusal(lambda: click(a, handle)) == ("PERMISSION_DENIED", "PERMISSION_DENIED")
        assert len(list(a.Session(iter(steps)))) == 6  # counts once
        with pytest.raises(grpc.RpcError) as caught:
            create(a, bag_png)
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        trailers = dict(caught.value.trailing_metadata())
        assert trailers["apsam-reason"] == "RATE_LIMITED"
        assert 900_000 < int(trailers["apsam-retry-after-ms"]) <= 1_000_000
        assert refusal(lambda: list(a.Session(iter(steps))))[1] == "RATE_LIMITED"
        assert health(channel) == health_pb2.HealthCheckResponse.SERVING
    with station(address, authority, "b") as (b, _):
        assert refusal(lambda: create(b, bag_png))[0] == "PERMISSION_DENIED"
    eventually(lambda: '"owner":"b"' in log.read_text())
    records = [json.loads(line) for line in log.read_text().splitlines()]
    denied = [(r["owner"], r["method"]) for r in records[1:] if r["reason"] == "PERMISSION_DENIED"]
    assert denied == [("a", "Segment"), ("b", "CreateEmbedding")]


def test_callers_without_a_certificate_are_asked_for_one(
    serve: Serve, bag_png: bytes, tmp_path: Path
) -> None:
    rules = tmp_path / "access.toml"
    rules.write_text('[identity.a]\nmethods = "*"\n')
    with grpc.insecure_channel(serve(access=rules).address) as channel:
        stub = pb_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
        assert refusal(lambda: create(stub, bag_png)) == ("UNAUTHENTICATED", "UNAUTHENTICATED")


def test_every_answer_is_in_the_audit_log_before_its_caller_has_it(
    serve: Serve, bag_png: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    log = tmp_path / "audit.jsonl"
    running = serve(audit_log=log)
    with grpc.insecure_channel(running.address) as channel:
        stub = pb_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
        handle = create(stub, bag_png)
        for _ in range(3):
            click(stub, handle)
        assert running.server.audit is not None
        assert running.server.audit.num_records == 4
        running.server.audit.flush()
    assert main(["verify", str(log)]) == 0
    assert "sound, 4 records" in capsys.readouterr().out
    last = json.loads(log.read_text().splitlines()[-1])
    assert (last["handle"], last["method"], last["code"]) == (handle, "Segment", "OK")
    assert last["model_digest"] == running.server.digest
    assert len(last["mask_digests"]) == 1
    assert len(last["prompt_digest"]) == len(last["image_digest"]) == 64


def test_while_the_audit_log_cannot_be_written_nothing_is_answered(
    serve: Serve, bag_png: bytes, tmp_path: Path
) -> None:
    log = tmp_path / "audit.jsonl"
    running = serve(audit_log=log)
    with grpc.insecure_channel(running.address) as channel:
        stub = pb_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
        handle = create(stub, bag_png)
        assert running.server.audit is not None
        running.server.audit.flush()
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size, limits[1]))
        try:
            click(stub, handle)  # its record is kept; writing it fails
            eventually(lambda: health(channel) == health_pb2.HealthCheckResponse.NOT_SERVING)
            assert refusal(lambda: click(stub, handle)) == ("UNAVAILABLE", "AUDIT_FAILED")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        eventually(lambda: health(channel) == health_pb2.HealthCheckResponse.SERVING)
        click(stub, handle)
        running.server.audit.flush()
    assert main(["verify", str(log)]) == 0
    assert len(log.read_text().splitlines()) == 1 + 3
