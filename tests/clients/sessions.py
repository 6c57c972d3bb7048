"""One session per client. Each installs its client, runs it against a server, and tells what was
done; what it could not do raises."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.clients import frames
from tests.clients.environments import (
    ROOT,
    ClientError,
    debian_with,
    needed_tool,
    node_with,
    python_with,
    run,
)

HERE = Path(__file__).parent
SERVICE = "apsam_serve.v1.SegmentationService"
NUM_CHECKS = 2000
REFUSALS = ("3", "8", "13")
"""INVALID_ARGUMENT, RESOURCE_EXHAUSTED, INTERNAL."""
_RESET_S = 3
"""How long curl is left alone with a stream that may have been reset: it does not always notice."""
GRPC_HEADERS = ("-H", "content-type: application/grpc", "-H", "te: trailers")


@dataclass(frozen=True, kw_only=True)
class Target:
    """address: HOST:PORT of the server; folder: for files of the session."""

    address: str
    folder: Path

    def url(self, path: str) -> str:
        """Of a method, without TLS."""
        return f"http://{self.address}{path}"


@dataclass(frozen=True, kw_only=True)
class Client:
    """version: pinned, or "" for the machine's own; talk: the session."""

    name: str
    version: str
    talk: Callable[[Target], str]


def expect(found: object, wanted: object, what: str) -> None:
    """Raise ClientError where an answer is another one."""
    if found != wanted:
        raise ClientError(f"{what}: {found!r}, and {wanted!r} was expected")


def require_health(target: Target) -> None:
    """Raise ClientError unless the server says SERVING."""
    with grpc.insecure_channel(target.address) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        answer = stub.Check(health_pb2.HealthCheckRequest(), timeout=10)
    expect(answer.status, health_pb2.HealthCheckResponse.SERVING, "health")


def buf(target: Target) -> str:
    """Lint of the protocol files; calls over gRPC, gRPC-reflection and Connect's stack."""
    program = node_with("buf", {"@bufbuild/buf": "1.75.0"}) / "node_modules/.bin/buf"
    run(program, "lint")
    run(program, "format", "--diff", "--exit-code")

    def curl(path: str, body: Mapping[str, object] | None, *options: str) -> str:
        data = () if body is None else ("--data", json.dumps(body))
        common = ("curl", "--http2-prior-knowledge", "--protocol", "grpc")
        return run(program, *common, *options, *data, target.url(path), may_fail=True)

    def ask(method: str, body: Mapping[str, object]) -> dict[str, object]:
        answer: dict[str, object] = json.loads(curl(f"/{SERVICE}/{method}", body))
        return answer

    listed = curl("", None, "--list-services").split()
    for service in (SERVICE, "inference.GRPCInferenceService", "grpc.health.v1.Health"):
        expect(service in listed, True, f"{service} in {listed}")
    expect(json.loads(curl(frames.HEALTH, {})), {"status": "SERVING"}, "health")
    pixels = base64.b64encode(bytes([40, 60, 90]) * 60 * 80).decode()
    image = {"rawRgb": {"width": 80, "height": 60, "data": pixels}}
    held: dict[str, object] = ask("CreateEmbedding", {"image": image})["embedding"]  # type: ignore[assignment]
    click = {"prompts": [{"points": [{"x": 20, "y": 20}]}]}
    answer = ask("Segment", {"handle": held["handle"], **click})
    (one,) = answer["segmentations"]  # type: ignore[misc]
    expect(one["branch"], "BRANCH_CLUSTERS", "branch")
    expect(ask("Segment", {"handle": "x", **click})["code"], "not_found", "a foreign handle")
    return "lint and format clean; list, health, CreateEmbedding, Segment, a foreign handle"


def grpc_js(target: Target) -> str:
    """The JavaScript implementation: see session.js."""
    packages = {
        "@grpc/grpc-js": "1.14.7",
        "@grpc/proto-loader": "0.8.1",
        "grpc-health-check": "2.1.0",
    }
    folder = node_with("grpc-js", packages)
    script = folder / "session.js"  # beside its node_modules, or it would not find them
    script.write_bytes((HERE / "session.js").read_bytes())
    return run("node", script, target.address, ROOT / "protos").strip().splitlines()[-1]


def triton(target: Target) -> str:
    """Triton's Python client; and our descriptors against its own."""
    python = python_with("tritonclient", "tritonclient[grpc]==2.73.0") / "bin/python"
    ours = target.folder / "ours.bin"
    protoc = (sys.executable, "-m", "grpc_tools.protoc", "--proto_path=protos")
    run(*protoc, f"--descriptor_set_out={ours}", "protos/apsam_serve/kserve/open_inference.proto")
    compared = run(python, HERE / "descriptors.py", ours).strip().splitlines()[-1]
    done = run(python, HERE / "triton_session.py", target.address).strip().splitlines()[-1]
    return f"{done}; {compared}"


def perf_analyzer(target: Target) -> str:
    """Triton's load generator, which asks for metadata, configuration and statistics as well."""
    packages = ("tritonclient==2.50.0", "nvidia-cuda-runtime-cu12==12.9.79")
    python = python_with("perf_analyzer", *packages, options=["--no-deps"])
    base64_lib = debian_with("libb64", "libb64-0d")
    (cuda_lib,) = python.glob("lib/python*/site-packages/nvidia/cuda_runtime/lib")
    (other_lib,) = base64_lib.glob("usr/lib/*-linux-gnu")
    env = {**os.environ, "LD_LIBRARY_PATH": f"{other_lib}:{cuda_lib}"}
    image = {"content": [255, 240, 200] * 60 * 80, "shape": [60, 80, 3]}
    points = {"content": [25.0, 25.0], "shape": [1, 1, 2]}
    told = []
    for model, tensors in (
        ("apsam_encode", {"IMAGE": image}),
        ("apsam_segment", {"IMAGE": image, "POINTS": points}),
    ):
        given = target.folder / f"{model}.json"
        given.write_text(json.dumps({"data": [tensors]}))
        printed = run(
            *(python / "bin/perf_analyzer", "-m", model, "-i", "grpc", "-u", target.address),
            *("--input-data", given, "--concurrency-range", "1:4:3", "--percentile=99"),
            *("-p", "1000", "-r", "4", "-s", "999"),  # or a busy machine ends it as unstable
            env=env,
        )
        found = re.findall(
            r"^Concurrency: (\d+), throughput: ([\d.]+) infer/sec, latency (\d+) usec",
            printed,
            re.MULTILINE,
        )
        expect([concurrency for concurrency, *_ in found], ["1", "4"], printed[-1000:])
        told += [
            f"{model} c={c} {float(rate):.0f}/s p99 {int(us) / 1e3:.1f} ms" for c, rate, us in found
        ]
    return "; ".join(told)


def grpc_requests(target: Target) -> str:
    """A Python client that knows the server's protocol from reflection alone."""
    python = python_with("grpc_requests", "grpc_requests==0.1.21") / "bin/python"
    return run(python, HERE / "reflection_session.py", target.address).strip().splitlines()[-1]


def h2load(target: Target) -> str:
    """Health at full speed, then bodies that are no calls; health after each of them."""
    program = needed_tool("h2load")
    body = frames.written(target.folder, "health", frames.frame(b""))
    load = ("-n", str(NUM_CHECKS), "-c", "4", "-m", "8", *GRPC_HEADERS)
    printed = run(program, *load, "-d", body, target.url(frames.HEALTH))
    # Answers are counted by their bytes too: gRPC's errors have status 200 and no frame.
    found = re.search(r"([\d.]+) req/s.* (\d+) succeeded.*\((\d+)\) data", printed, re.DOTALL)
    assert found is not None, printed
    answered = (NUM_CHECKS, NUM_CHECKS * len(frames.HEALTHY))
    expect((int(found[2]), int(found[3])), answered, "health checks and their bytes")
    for wrong in frames.garbage().values():
        for path in (frames.SEGMENT, frames.INFER, frames.HEALTH, "/no/Method"):
            body = frames.written(target.folder, "garbage", wrong)
            few = ("-n", "20", "-c", "2", "-m", "2", "-N", "5", *GRPC_HEADERS)
            run(program, *few, "-d", body, target.url(path))
            require_health(target)
    num_wrong = len(frames.garbage())
    return (
        f"health {NUM_CHECKS} of {NUM_CHECKS} at {float(found[1]):.0f}/s; {num_wrong} wrong bodies "
        "at 4 paths, health after each"
    )


def curl(target: Target) -> str:
    """The wire as it is: frames, trailers, and other HTTP than gRPC."""
    program = needed_tool("curl")
    if "HTTP2" not in run(program, "--version"):
        raise ClientError("this curl speaks no HTTP/2")
    headers, answer = target.folder / "headers", target.folder / "answer"

    def post(path: str, body: bytes, *options: str, patience_s: int = 20) -> str:
        sent = frames.written(target.folder, "body", body)
        limit = ("--max-time", str(patience_s))
        common = ("--silent", "--http2-prior-knowledge", *limit, "-D", headers)
        data = ("-o", answer, "--data-binary", f"@{sent}")
        run(program, *common, *data, *options, target.url(path), may_fail=True)
        return headers.read_text().lower()

    expect(
        "grpc-status: 0" in post(frames.HEALTH, frames.frame(b""), *GRPC_HEADERS), True, "health"
    )
    expect(answer.read_bytes(), frames.HEALTHY, "the frame of health")
    # gRPC's core answers before the body is read and resets the stream. Where the reset comes along
    # with the answer, this curl sometimes loses both (its exit code is 92), so it asks again.
    unknown = (
        post("/no.such.Service/Method", frames.frame(b""), *GRPC_HEADERS, patience_s=_RESET_S)
        for _ in range(20)
    )
    told = next(filter(None, unknown), "")
    expect("grpc-status: 12" in told, True, f"UNIMPLEMENTED in {told}")
    told = post(frames.SEGMENT, frames.frame(b"\xff\xff"), *GRPC_HEADERS)
    expect("apsam-reason: invalid_input" in told, True, f"a reason in {told}")
    for what, wrong in {**frames.garbage(), "nothing": b""}.items():
        for path in (frames.SEGMENT, frames.INFER):
            told = post(path, wrong, *GRPC_HEADERS, patience_s=_RESET_S)
            status = re.search(r"grpc-status: (\d+)", told)
            if status is not None and status[1] not in REFUSALS:  # None: the stream was reset
                raise ClientError(f"{what} at {path} was answered with status {status[1]}")
    post(frames.SEGMENT, b'{"handle": "x"}', "-H", "content-type: application/json")
    large = ("-H", "x-large: " + "x" * 60_000)
    post(frames.HEALTH, frames.frame(b""), *GRPC_HEADERS, *large)
    require_health(target)
    return (
        "health frame and trailers, an unknown method, wrong bodies (refused or reset), JSON, "
        "60 KB of metadata"
    )


CLIENTS = (
    Client(name="buf", version="1.75.0", talk=buf),
    Client(name="grpc-js", version="1.14.7", talk=grpc_js),
    Client(name="tritonclient", version="2.73.0", talk=triton),
    Client(name="perf_analyzer", version="2.50.0", talk=perf_analyzer),
    Client(name="grpc_requests", version="0.1.21", talk=grpc_requests),
    Client(name="h2load", version="", talk=h2load),
    Client(name="curl", version="", talk=curl),
)
