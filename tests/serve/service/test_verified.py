"""Which build is served, and that everybody can see whether it was held to its checkpoint."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from apsam_serve.client import Client
from apsam_serve.contract.manifest import Gate, open_bundle, write_manifest
from apsam_serve.contract.prompts import Prompt
from apsam_serve.errors import BundleError, UnverifiedBuildError
from apsam_serve.service.background import BackgroundServer
from apsam_serve.service.health import VERIFIED
from tests.serve.service.asking import metrics

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
Serve = Callable[..., BackgroundServer]


@pytest.fixture
def half_verified(fresh_bundle: Path) -> Path:
    """A bundle with a second build that nobody has run yet."""
    manifest = open_bundle(fresh_bundle).manifest
    fp32 = manifest.builds["fp32"]
    untried = replace(fp32, gate=Gate(passed=False, detail="not run: no GPU"))
    write_manifest(fresh_bundle, replace(manifest, builds={"fp32": fp32, "other": untried}))
    return fresh_bundle


def health(server: BackgroundServer) -> tuple[int, int]:
    """Of the server, and of `VERIFIED`."""
    with grpc.insecure_channel(server.address) as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        overall, verified = (
            check(health_pb2.HealthCheckRequest(service=name)).status for name in ("", VERIFIED)
        )
    return overall, verified


def verified_metric(server: BackgroundServer) -> str:
    found = re.search(r'apsam_model_verified\{digest="[0-9a-f]{64}"\} (.*)', metrics(server))
    assert found is not None
    return found[1]


def test_an_unverified_build_is_refused_with_what_to_do(serve: Serve, half_verified: Path) -> None:
    with pytest.raises(
        UnverifiedBuildError,
        match=r"build 'other' .* not passed its gate \(not run: no GPU\); run "
        r"apsam-export --verify --record .*--allow-unverified",
    ):
        serve(bundle=half_verified, backend="onnxruntime", build="other")


def test_an_unverified_build_is_served_when_allowed_and_health_and_metrics_say_so(
    serve: Serve, half_verified: Path, bag_png: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(
        bundle=half_verified, backend="onnxruntime", build="other", allow_unverified=True
    )
    assert health(server) == (SERVING, NOT_SERVING)
    assert verified_metric(server) == "0.0"
    assert "serving an unverified build: not run: no GPU" in caplog.text
    with Client(server.address) as client:
        assert client.segment(bag_png, [Prompt.click(20, 20)])[0].mask.any()


def test_a_verified_build_is_served_as_such_whatever_others_there_are(
    serve: Serve, half_verified: Path
) -> None:
    for build in ("", "fp32"):
        server = serve(bundle=half_verified, backend="onnxruntime", build=build)
        assert health(server) == (SERVING, SERVING)
        assert verified_metric(server) == "1.0"


def test_an_unknown_build_is_refused_with_those_there_are(
    serve: Serve, half_verified: Path
) -> None:
    with pytest.raises(BundleError, match="no build 'trt'; it has fp32, other"):
        serve(bundle=half_verified, backend="onnxruntime", build="trt")
