"""Broken requests and broken images of every kind: a declared status, nothing of the inside in any
message, and a server that goes on."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import grpc

from apsam_serve.service.server import SERVICE
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.reliability.asking import (
    Outcome,
    ask_aio,
    check_declared,
    click,
    connect,
    connect_aio,
    create,
    hold,
)
from tests.serve.reliability.conftest import Launch
from tests.serve.reliability.figures import report, scaled
from tests.serve.reliability.mutations import images, mutated, requests
from tests.serve.reliability.server_process import ServerProcess, until

_CALL = frozenset(("OK", "INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED"))
ALLOWED = {False: _CALL, True: _CALL | {"DEADLINE_EXCEEDED"}}
"""Of what the proto declares, by whether it is a session, whose steps have timeouts: a broken
request is its sender's fault, never the server's."""
NUM_WORKERS = 16
STEPS = 10
"""Of a session."""
NUM_MESSAGES = scaled(short=1400, full=70_000)
NUM_STEPS = scaled(short=300, full=10_000)
NUM_IMAGES = scaled(short=700, full=25_000)
_NAMES = {code.value[0]: code.name for code in grpc.StatusCode}
Attack = Callable[[random.Random, Any], Any]
"""attack(chance, channel): how the calls ended, as an awaitable."""


def test_mutated_requests_of_every_method_get_declared_answers(
    launch: Launch, bag_png: bytes
) -> None:
    server = launch("--backend", "fake", "--ttl-s", "3600", behaviour=None)
    channel, stub = connect(server.address)
    with channel:
        valid = requests(hold(stub, bag_png), hold(stub, bag_png))
    everything = [one for several in valid.values() for one in several]
    unary = [method for method in valid if method != "Session"]

    async def message(chance: random.Random, channel: Any) -> list[tuple[str, Outcome]]:
        method = chance.choice(unary)
        sent = mutated(chance, chance.choice(valid[method]), everything)
        asked = channel.unary_unary(f"/{SERVICE}/{method}")
        return [(method, await ask_aio(asked, sent))]

    async def session(chance: random.Random, channel: Any) -> list[tuple[str, Outcome]]:
        sent = [
            mutated(chance, one, everything) if chance.random() < 0.5 else one
            for one in chance.choices(valid["Session"], k=STEPS)
        ]
        return [("Session", one) for one in await _session(channel, sent)]

    started = time.monotonic()
    ends = asyncio.run(_attack(server, message, num=NUM_MESSAGES))
    messages_s = time.monotonic() - started
    steps = asyncio.run(_attack(server, session, num=NUM_STEPS // STEPS))
    _report("hostile_requests", ends, messages_s)
    _report("hostile_sessions", steps, time.monotonic() - started - messages_s)
    assert ends.total() == NUM_MESSAGES
    assert steps.total() >= NUM_STEPS / 4  # what is no message ends its stream
    for method in unary:
        assert sum(count for (known, _), count in ends.items() if known == method) > 50
    _require_alive(server, bag_png)


def test_mutated_images_are_refused_or_decoded(launch: Launch, bag_png: bytes) -> None:
    server = launch("--backend", "fake", behaviour=None)
    files = images()
    everything = list(files.values())

    async def image(chance: random.Random, channel: Any) -> list[tuple[str, Outcome]]:
        kind = chance.choice([*files, "raw", "dual"])
        given = _numbers(chance, kind)
        if given is None:
            given = pb.Image(file=mutated(chance, files[kind], everything))
        if chance.random() < 0.5:
            method, request = "CreateEmbedding", pb.CreateEmbeddingRequest(image=given)
        else:
            asked = pb.SegmentRequest(image=given, prompts=click("", 3, 3).prompts)
            method, request = "Segment", asked
        sent = request.SerializeToString()
        return [(kind, await ask_aio(channel.unary_unary(f"/{SERVICE}/{method}"), sent))]

    started = time.monotonic()
    ends = asyncio.run(_attack(server, image, num=NUM_IMAGES))
    _report("hostile_images", ends, time.monotonic() - started)
    assert ends.total() == NUM_IMAGES
    for kind in (*files, "raw", "dual"):
        assert sum(count for (known, _), count in ends.items() if known == kind) > 30
        assert ends[kind, "INVALID_ARGUMENT/INVALID_IMAGE"] > 0
    _require_alive(server, bag_png)


async def _attack(server: ServerProcess, attack: Attack, *, num: int) -> Counter[tuple[str, str]]:
    """(what was attacked, how the call ended) of `num` attacks from several stations."""
    ends: Counter[tuple[str, str]] = Counter()

    async def worker(first: int) -> None:
        channel, _ = connect_aio(server.address)
        async with channel:
            for seed in range(first, num, NUM_WORKERS):
                for what, outcome in await attack(random.Random(seed), channel):
                    assert outcome.code in ALLOWED[what == "Session"], (seed, what, outcome)
                    check_declared(outcome)
                    ends[what, outcome.label] += 1

    await asyncio.gather(*(worker(first) for first in range(NUM_WORKERS)))
    return ends


async def _session(channel: Any, sent: Sequence[bytes]) -> list[Outcome]:
    """What became of each step that was answered, and of the stream where it failed."""
    ends: list[Outcome] = []
    stream = channel.stream_stream(f"/{SERVICE}/Session")(timeout=30)

    async def steps(_: object, *, timeout: float) -> None:
        for one in sent:
            await stream.write(one)
            raw = await stream.read()
            if raw is grpc.aio.EOF:
                break
            ends.append(_step_outcome(pb.SessionResponse.FromString(raw)))
        await stream.done_writing()
        assert await stream.read() is grpc.aio.EOF

    whole = await ask_aio(steps, None)
    return ends if whole.code == "OK" else [*ends, whole]


def _step_outcome(response: pb.SessionResponse) -> Outcome:
    if response.WhichOneof("answer") != "fault":
        return Outcome(code="OK")
    fault = response.fault
    return Outcome(code=_NAMES[fault.code], reason=fault.reason, message=fault.message)


def _numbers(chance: random.Random, kind: str) -> pb.Image | None:
    """Pixels without a file, whose sizes agree or do not."""
    width, height = chance.choice((1, 7, 8, 0, -3, 2**31 - 1)), chance.choice((1, 6, 0, 70_000))
    size = chance.choice((0, 1, 144, abs(width * height) % 10_000))
    if kind == "raw":
        data = chance.randbytes(3 * size)
        return pb.Image(raw_rgb=pb.RawRgb(width=width, height=height, data=data))
    if kind != "dual":
        return None
    dual = pb.DualEnergy(
        width=width,
        height=height,
        high=chance.randbytes(2 * size),
        low=chance.randbytes(2 * size),
        detector_axis=chance.choice((0, 1, 2, 9)),  # type: ignore[arg-type]
        palette=chance.choice(("", "", "sniper", "\0", "x" * 5000)),
    )
    for calibration in (dual.high_calibration, dual.low_calibration):
        calibration.dark.extend(chance.choice(([], [0], [65_535], [2**32 - 1], [5] * 8)))
        calibration.air.extend(chance.choice(([], [0], [65_535], [9] * 6, [1] * 70_001)))
    return pb.Image(dual_energy=dual)


def _report(name: str, ends: Counter[tuple[str, str]], seconds: float) -> None:
    labels: Counter[str] = Counter()
    for (_, label), count in ends.items():
        labels[label] += count
    report(name, num=ends.total(), per_s=ends.total() / seconds, seconds=seconds, **labels)


def _require_alive(server: ServerProcess, image: bytes) -> None:
    assert server.alive
    assert server.health() == "SERVING"
    channel, stub = connect(server.address)
    with channel:
        asked = pb.SegmentRequest(image=create(image).image, prompts=click("", 20, 20).prompts)
        assert stub.Segment(asked, timeout=10).segmentations[0].mask.data
    at_rest = ('apsam_queue_depth{class="click"}', 'apsam_queue_depth{class="encode"}')
    until(lambda: not any(map(server.metric, at_rest)), "empty queues")
    assert server.metric('apsam_store_bytes{state="reserved"}') == 0
    assert not any(key.startswith("apsam_faults_total") for key in server.metrics())
    assert "incident" not in server.said()
