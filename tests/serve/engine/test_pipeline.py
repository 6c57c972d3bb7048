"""Which thread packs a mask, and what becomes of work whose waiter is cancelled."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest

from apsam_serve.engine.batcher import Batcher, Kind, Limits
from apsam_serve.engine.calls import Call
from apsam_serve.engine.pipeline import Pipeline
from apsam_serve.engine.worker import AnyJob, Worker

SMALL = 512 * 512
VERSION: Any = SimpleNamespace(compute=None, digest="model-1")


@pytest.fixture
def batcher() -> Batcher[AnyJob]:
    return Batcher(Limits())


@pytest.fixture
def pipeline(batcher: Batcher[AnyJob]) -> Iterator[Pipeline]:
    """Over a device that never starts."""
    worker = Worker(batcher, lambda kind, queued_s, faults: None)
    made = Pipeline(worker, threads=1, max_pixels=1, masks_per_image=0)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("num_pixels", "admitted", "packed_by"),
    [
        (SMALL, [Kind.CLICK], "MainThread"),
        (SMALL + 1, [Kind.CLICK], "apsam-masks_0"),
        (None, [Kind.CLICK], "apsam-masks_0"),
        (SMALL, [Kind.CLICK, Kind.CLICK], "apsam-masks_0"),
        (SMALL, [Kind.CLICK, Kind.ENCODE], "apsam-masks_0"),
    ],
)
def test_the_event_loop_packs_only_a_small_mask_and_only_while_nobody_else_is_there(
    pipeline: Pipeline,
    batcher: Batcher[AnyJob],
    num_pixels: int | None,
    admitted: list[Kind],
    packed_by: str,
) -> None:
    for kind in admitted:
        batcher.admit(kind, now_s=0.0)
    work = pipeline.pack(lambda: threading.current_thread().name, num_pixels=num_pixels)
    assert asyncio.run(work) == packed_by


def test_a_job_whose_waiter_is_cancelled_in_the_queue_is_cancelled_too(
    pipeline: Pipeline, batcher: Batcher[AnyJob]
) -> None:
    async def scenario() -> None:
        pixels: Any = None
        waiter = asyncio.create_task(pipeline.encode_frame(VERSION, pixels, Call()))
        await asyncio.sleep(0)
        waiter.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiter

    asyncio.run(scenario())
    (job,) = batcher.drain()
    assert job.future.cancelled()
