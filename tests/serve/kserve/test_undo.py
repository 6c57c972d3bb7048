"""An image whose handle nobody gets is not held."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from apsam_serve.contract.inputs import ImageInput
from apsam_serve.engine.calls import Call
from apsam_serve.engine.replies import CreateReply, Embedding, LoadedModel
from apsam_serve.kserve.servicer import InferenceServicer, Info
from apsam_serve.service.calls import Calls, Ledger, enter
from tests.serve.kserve import asking


class SlowEngine:
    """Encodes until it is told to go on, and remembers what it forgot."""

    def __init__(self) -> None:
        self.started, self.go = asyncio.Event(), asyncio.Event()
        self.deleted: list[str] = []

    def models(self) -> list[LoadedModel]:
        return []

    async def create(
        self, image: ImageInput, call: Call, *, ttl_s: float | None = None
    ) -> CreateReply:
        self.started.set()
        await self.go.wait()
        held = Embedding(
            **{"handle": "5e.a", "height": 1, "width": 1, "created_s": 0.0, "expires_s": 1.0},
            **{"ttl_s": 1.0, "held_bytes": 1, "owner": call.owner},
            **{"model_digest": "d", "image_digest": "i"},
        )
        return CreateReply(embedding=held, timings_s={})

    def delete(self, handle: str, call: Call) -> bool:
        self.deleted.append(handle)
        return True


class Context:
    """As much of gRPC's as a call looks at."""

    def time_remaining(self) -> None:
        return None

    def peer(self) -> str:
        return "ipv4:127.0.0.1:9"


async def deleted_after(*, cancel: bool) -> list[str]:
    engine, calls = SlowEngine(), Calls()
    info = Info(version="1", max_message_bytes=2**20, serving=lambda: True)
    double: Any = engine
    servicer = InferenceServicer(double, calls=calls, info=info)
    context: Any = Context()
    enter(Ledger(method="ModelInfer", peer=context.peer()))
    request = asking.encode(asking.tensor("IMAGE", "UINT8", [1, 1, 3], b"abc"))
    task = asyncio.create_task(servicer.ModelInfer(request, context))
    await engine.started.wait()
    if cancel:
        task.cancel()
        await asyncio.sleep(0)
    engine.go.set()
    with suppress(asyncio.CancelledError):
        await task
    await calls.close()
    return engine.deleted


def test_a_caller_that_goes_while_the_device_works_leaves_no_image_behind() -> None:
    assert asyncio.run(deleted_after(cancel=True)) == ["5e.a"]


def test_a_caller_that_stays_keeps_its_image() -> None:
    assert asyncio.run(deleted_after(cancel=False)) == []
