"""An engine whose runner waits until the test lets it go on."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import FileInput
from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.contract.masks import pack_bits
from apsam_serve.contract.prompts import Prompt
from apsam_serve.engine.batcher import Kind, Limits
from apsam_serve.engine.calls import Call
from apsam_serve.engine.engine import Engine
from apsam_serve.engine.host_compute import HostCompute
from apsam_serve.engine.replies import SegmentReply
from apsam_serve.engine.store import Store
from apsam_serve.errors import (
    BackendUnavailableError,
)
from apsam_serve.runtime.base import EncodedBatch
from apsam_serve.runtime.fake import FakeRunner


class GatedRunner:
    """A double that logs its calls and can be held at its gate."""

    def __init__(self, model: ModelSpec) -> None:
        self.model = model
        self.inner = FakeRunner(model)
        self.build = self.inner.build
        self.device = None
        self.opens = True
        self.is_open = False
        self.gate = threading.Event()
        self.gate.set()
        self.calls: list[str] = []
        self.threads: set[str] = set()
        self.fault: Exception | None = None

    def open(self) -> None:
        if not self.opens:
            raise BackendUnavailableError("no device")
        self.is_open = True

    def close(self) -> None:
        self.is_open = False

    def encode(
        self, images: NDArray[np.uint8], energy: NDArray[np.uint8] | None = None
    ) -> EncodedBatch:
        self._pass(f"encode {len(images)}")
        return self.inner.encode(images, energy)

    def decode(self, **inputs: Any) -> Any:
        self._pass(f"decode {len(inputs['coords'])}")
        return self.inner.decode(**inputs)

    def _pass(self, call: str) -> None:
        self.calls.append(call)
        self.threads.add(threading.current_thread().name)
        assert self.gate.wait(10)
        if self.fault is not None:
            raise self.fault


@asynccontextmanager
async def opened(
    runner: GatedRunner, *, images: int = 4, limits: Limits | None = None
) -> AsyncIterator[Engine]:
    """An engine with room for a few images. Its books must balance in the end."""
    held_bytes = HostCompute(runner, num_masks=2).held_bytes
    engine = Engine(
        store=Store(budget_bytes=images * held_bytes, ttl_s=60),
        limits=limits or Limits(max_batch_images=4),
        host_threads=2,
        max_pixels=10_000,
        masks_per_image=2,
    )
    try:
        await engine.open(runner, "model-1")
        runner.calls.clear()
        yield engine
    finally:
        runner.gate.set()
        await engine.close()
        await asyncio.sleep(0)
        engine.store.check_integrity()
        assert engine.store.reserved_bytes == 0
        assert [engine.batcher.depth(kind) for kind in Kind] == [0, 0]


async def create(engine: Engine, png: bytes, call: Call | None = None, **more: Any) -> str:
    """The handle of a new image."""
    reply = await engine.create(FileInput(data=png), call or Call(), **more)
    return reply.embedding.handle


def click(
    engine: Engine,
    source: str | bytes,
    prompt: Prompt | None = None,
    call: Call | None = None,
) -> Coroutine[Any, Any, SegmentReply]:
    return engine.segment(
        source if isinstance(source, str) else FileInput(data=source),
        [prompt or Prompt.click(20, 20)],
        call or Call(),
        strategy="direct",
        apg=ApgConfig(),
        pack=pack_bits,
    )


async def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        await asyncio.sleep(0.005)
    raise AssertionError("waited 5 s in vain")
