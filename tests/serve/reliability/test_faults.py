"""A device or a model that fails: a named error for those it concerns, never a mask, and everybody
else goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.reliability.asking import (
    Outcome,
    ask,
    ask_aio,
    check_declared,
    click,
    connect,
    connect_aio,
    create,
    hold,
)
from tests.serve.reliability.behaviour import Behaviour
from tests.serve.reliability.conftest import Launch
from tests.serve.reliability.figures import BUSY, report, scaled
from tests.serve.reliability.rest import CLICKS, PROMPTS, Rest
from tests.serve.reliability.server_process import ServerProcess, until

NOTICED_S = 2.0 + 0.5
"""A sweep each second, and a trial; half a second for whoever asks."""
GOOD, BAD = (60.0, 30.0), (2.0, 30.0)
"""Clicks (x, y); the fault hits those left of x = 8 pixels of the model."""
LEFT_OF = 8.0


def test_only_the_callers_whose_masks_are_no_numbers_are_refused(
    launch: Launch, bag_png: bytes
) -> None:
    server = launch()
    alone, batched = asyncio.run(_one_batch(server, bag_png, fault="nan"))
    good, bad = batched[0::2], batched[1::2]
    largest = server.metric('probe_device{what="largest_batch"}')
    faults = server.metric('apsam_faults_total{reason="MODEL_FAULT"}')
    report("nan_masks", num_bad=len(bad), num_unaffected=len(good), batch=largest)
    assert largest >= len(batched)  # they really shared a batch
    assert [one.label for one in bad] == ["INTERNAL/MODEL_FAULT"] * len(bad)
    assert [one.code for one in good] == ["OK"] * len(good)
    masks = {one.reply.segmentations[0].mask.data for one in good}
    assert masks == {alone.reply.segmentations[0].mask.data}
    assert faults == len(bad)
    _require_clean(bad)
    assert server.health() == "SERVING"


def test_callers_without_memory_are_told_when_to_come_again(launch: Launch, bag_png: bytes) -> None:
    server = launch()
    _, batched = asyncio.run(_one_batch(server, bag_png, fault="oom"))
    good, bad = batched[0::2], batched[1::2]
    assert [one.label for one in bad] == ["RESOURCE_EXHAUSTED/OUT_OF_MEMORY"] * len(bad)
    assert [one.retry_s for one in bad] == [0.25] * len(bad)
    assert [one.code for one in good] == ["OK"] * len(good)
    assert server.metric('apsam_faults_total{reason="OUT_OF_MEMORY"}') == len(bad)
    _require_clean(bad)


def test_an_image_whose_encoding_fails_is_not_held(launch: Launch, bag_png: bytes) -> None:
    server = launch()
    channel, stub = connect(server.address)
    with channel:
        stub.DeleteEmbedding(pb.DeleteEmbeddingRequest(handle=hold(stub, bag_png)))
        before, outcomes = Rest.of(server), []
        for fault in ("nan", "oom", "device"):
            server.behave(Behaviour(fault=fault))
            outcomes.append(ask(stub.CreateEmbedding, create(bag_png)))
        server.behave(Behaviour())
        until(lambda: server.health() == "SERVING", "health")
        before.require_again(server)
        assert ask(stub.CreateEmbedding, create(bag_png)).code == "OK"
    assert [one.label for one in outcomes] == [
        "INTERNAL/MODEL_FAULT",
        "RESOURCE_EXHAUSTED/OUT_OF_MEMORY",
        "INTERNAL/DEVICE_FAULT",
    ]
    _require_clean(outcomes)


def test_health_follows_a_device_that_fails_and_works_again(launch: Launch, bag_png: bytes) -> None:
    server = launch()
    channel, stub = connect(server.address)
    with channel:
        handle = hold(stub, bag_png)
        away_s, back_s = [], []
        for _ in range(scaled(short=1, full=5)):
            server.behave(Behaviour(fault="device"))
            failed = ask(stub.Segment, click(handle))
            away_s.append(until(lambda: server.health() == "NOT_SERVING", "NOT_SERVING"))
            server.behave(Behaviour())
            back_s.append(until(lambda: server.health() == "SERVING", "SERVING"))
            assert failed.label == "INTERNAL/DEVICE_FAULT"
            _require_clean([failed])
            assert ask(stub.Segment, click(handle)).code == "OK"
    report("device_fault", not_serving_max_s=max(away_s), serving_again_max_s=max(back_s))
    assert server.metric('apsam_faults_total{reason="DEVICE_FAULT"}') >= len(away_s)
    assert max(away_s) < NOTICED_S * BUSY
    assert max(back_s) < NOTICED_S * BUSY


async def _one_batch(
    server: ServerProcess, image: bytes, *, fault: str
) -> tuple[Outcome, list[Outcome]]:
    """(a good click alone, good and bad clicks in turn which shared a batch)."""
    channel, stub = connect_aio(server.address)
    async with channel:
        created = await ask_aio(stub.CreateEmbedding, create(image))
        handle = created.reply.embedding.handle
        good, bad = click(handle, *GOOD), click(handle, *BAD)
        alone = await ask_aio(stub.Segment, good)
        broken = Behaviour(fault=fault, only_left_of=LEFT_OF)  # type: ignore[arg-type]
        server.behave(Behaviour(closed=True))
        prompts = server.metric(PROMPTS)
        first = asyncio.create_task(ask_aio(stub.Segment, good))
        await asyncio.to_thread(until, lambda: server.metric(PROMPTS) > prompts, "a held device")
        calls = [asyncio.create_task(ask_aio(stub.Segment, one)) for one in [good, bad] * 4]
        await asyncio.to_thread(
            until, lambda: server.metric(CLICKS) == 1 + len(calls), "queued clicks"
        )
        server.behave(broken)
        batched = await asyncio.gather(*calls)
        assert (await first).code == "OK"
    return alone, list(batched)


def _require_clean(outcomes: Sequence[Outcome]) -> None:
    """Nothing of the fault's own text, nothing of the server's inside."""
    for outcome in outcomes:
        check_declared(outcome)
        assert "secret" not in outcome.message
        assert outcome.reply is None
