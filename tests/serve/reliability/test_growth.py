"""Thousands of images and clicks through real graphs: memory, files and threads stay what they were
when the store was full for the first time."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.reliability.asking import ask, ask_aio, click, connect, connect_aio, create
from tests.serve.reliability.conftest import Launch
from tests.serve.reliability.figures import report, scaled
from tests.serve.reliability.server_process import ServerProcess, until

NUM_CLICKS, NUM_ENCODES = scaled(short=1000, full=10_000), scaled(short=200, full=2000)
CLICKS_PER_IMAGE = NUM_CLICKS // NUM_ENCODES
NUM_STATIONS = 4
BUDGET_BYTES, REPLAY_BYTES = 2**18, 2**16
"""Small, so that a warm-up fills what is held, and what is kept for callers who come again."""
MAX_GROWTH_BYTES = 20_000_000
NO_IMAGE_BYTES = 15_000_000
MAX_FAILED_GROWTH_BYTES = 8 * NO_IMAGE_BYTES
"""What the heap keeps of a few messages, whatever their number."""


def test_thousands_of_clicks_and_encodes_leave_the_server_as_large_as_it_was(
    launch: Launch, bag_png: bytes
) -> None:
    server = launch(
        *("--threads", "1", "--budget-bytes", str(BUDGET_BYTES)),
        *("--replay-bytes", str(REPLAY_BYTES)),
        behaviour=None,
    )
    asyncio.run(_work(server, bag_png, num_encodes=scaled(short=80, full=400)))
    evicted = 'apsam_store_events_total{event="evicted"}'
    num_evicted = server.metric(evicted)
    before = server.rss_bytes, server.num_fds, server.num_threads
    num_answered = asyncio.run(_work(server, bag_png, num_encodes=NUM_ENCODES))
    until(lambda: server.num_fds <= before[1], "no more open files than before")
    growth = server.rss_bytes - before[0]
    report(
        "growth",
        num_clicks=num_answered - NUM_ENCODES,
        num_encodes=NUM_ENCODES,
        rss_before_mb=before[0] / 1e6,
        growth_mb=growth / 1e6,
        bar_mb=MAX_GROWTH_BYTES / 1e6,
        fds_more=server.num_fds - before[1],
        threads_more=server.num_threads - before[2],
    )
    assert num_answered == NUM_CLICKS + NUM_ENCODES
    assert num_evicted > 0  # the warm-up had filled the store
    assert server.metric(evicted) >= num_evicted + NUM_ENCODES
    assert growth < MAX_GROWTH_BYTES
    assert server.num_threads <= before[2]


@pytest.mark.parametrize("in_session", [False, True], ids=["calls", "steps of a session"])
def test_large_requests_that_fail_leave_no_memory(launch: Launch, in_session: bool) -> None:
    server = launch("--backend", "fake", behaviour=None)
    _fail(server, num=5, in_session=in_session)
    before = server.rss_bytes
    num = scaled(short=15, full=200)
    _fail(server, num=num, in_session=in_session)
    growth = server.rss_bytes - before
    report(
        f"failed_{'steps' if in_session else 'calls'}",
        num=num,
        mb_each=NO_IMAGE_BYTES / 1e6,
        growth_mb=growth / 1e6,
        bar_mb=MAX_FAILED_GROWTH_BYTES / 1e6,
    )
    assert growth < MAX_FAILED_GROWTH_BYTES


def _fail(server: ServerProcess, *, num: int, in_session: bool) -> None:
    """Images that are none, as large as a message may be."""
    image = pb.Image(file=b"\x89PNG\r\n\x1a\n" + bytes(NO_IMAGE_BYTES))
    channel, stub = connect(server.address)
    with channel:
        if in_session:
            answers = stub.Session(pb.SessionRequest(image=image) for _ in range(num))
            assert [one.fault.reason for one in answers] == ["INVALID_IMAGE"] * num
            return
        for _ in range(num):
            outcome = ask(stub.CreateEmbedding, pb.CreateEmbeddingRequest(image=image))
            assert outcome.label == "INVALID_ARGUMENT/INVALID_IMAGE"


async def _work(server: ServerProcess, image: bytes, *, num_encodes: int) -> int:
    """Images with clicks on each, from several stations, as our client sends them. Returns how many
    calls were answered."""
    per_station = num_encodes // NUM_STATIONS
    counts = await asyncio.gather(
        *(_station(server, image, per_station) for _ in range(NUM_STATIONS))
    )
    return sum(counts)


async def _station(server: ServerProcess, image: bytes, num_encodes: int) -> int:
    channel, stub = connect_aio(server.address)
    num_answered = 0
    async with channel:
        for _ in range(num_encodes):
            created = await ask_aio(stub.CreateEmbedding, _named(create(image)))
            assert created.code == "OK", created
            handle = created.reply.embedding.handle
            for number in range(CLICKS_PER_IMAGE):
                asked = _named(click(handle, x=10 + number % 40))
                outcome = await ask_aio(stub.Segment, asked)
                assert outcome.code == "OK", outcome
                num_answered += 1
            num_answered += 1
    return num_answered


def _named(request: Any) -> Any:
    """With a request id, so that its reply is kept."""
    request.request_id = str(uuid.uuid4())
    return request
