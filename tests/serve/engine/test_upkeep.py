"""What the engine does for its models beside the calls: giving back, closing, going on."""

from __future__ import annotations

import asyncio
import threading
import time

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.contract.masks import pack_bits
from apsam_serve.contract.prompts import Prompt
from apsam_serve.engine.batcher import Kind
from apsam_serve.engine.calls import Call
from tests.serve.engine.gated import GatedRunner, click, create, opened, until


def test_a_model_that_cannot_be_closed_does_not_stop_what_else_is_looked_after(
    gated: GatedRunner,
    model: ModelSpec,
    bag_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken() -> None:
        raise OSError("the driver is gone")

    async def scenario() -> None:
        async with opened(gated) as engine:
            monkeypatch.setattr(gated, "close", broken)
            await engine.switch(GatedRunner(model), "model-2")
            await until(lambda: "could not look after its models" in caplog.text)
            await create(engine, bag_png, ttl_s=0.05)
            await until(lambda: len(engine.store) == 0)

    asyncio.run(scenario())


def test_an_image_that_was_being_encoded_does_not_keep_a_third_model(
    gated: GatedRunner, model: ModelSpec, bag_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario() -> None:
        async with opened(gated, images=8) as engine:
            switched, encode = asyncio.Event(), engine._pipeline.encode

            async def late(version, *given):  # type: ignore[no-untyped-def]
                encoded = await encode(version, *given)
                if version.digest == "model-1":
                    await switched.wait()
                return encoded

            monkeypatch.setattr(engine._pipeline, "encode", late)
            caller = asyncio.ensure_future(create(engine, bag_png))
            await until(lambda: "encode 1" in gated.calls)
            for number in (2, 3):
                await engine.switch(GatedRunner(model), f"model-{number}")
                await create(engine, bag_png)
            switched.set()
            await caller
            assert len(engine.models()) == 3
            await until(lambda: not gated.is_open)
            assert [one.digest for one in engine.models()] == ["model-3", "model-2"]

    asyncio.run(scenario())


def test_a_model_stays_open_while_its_masks_are_packed(gated: GatedRunner, bag_png: bytes) -> None:
    packing, go_on = threading.Event(), threading.Event()

    def slow(mask: NDArray[np.bool_]) -> bytes:
        packing.set()
        assert go_on.wait(5)
        return pack_bits(mask) if gated.is_open else b"freed"

    async def scenario() -> bytes:
        async with opened(gated) as engine:
            source, prompts = await create(engine, bag_png), [Prompt.click(20, 20)]
            engine.batcher.admit(Kind.CLICK, now_s=0.0)  # with others there, a thread packs
            asked = engine.segment(
                source, prompts, Call(), strategy="direct", apg=ApgConfig(), pack=slow
            )
            caller = asyncio.ensure_future(asked)
            await until(packing.is_set)
            closing = asyncio.ensure_future(engine.close())
            await asyncio.sleep(0.05)
            assert (gated.is_open, closing.done()) == (True, False)
            go_on.set()
            await closing
            engine.batcher.leave(Kind.CLICK)
            return (await caller).segmentations[0].data

    assert asyncio.run(scenario()) != b"freed"


def test_an_answer_names_the_life_that_its_handle_was_given_meanwhile(
    gated: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            handle = await create(engine, bag_png, ttl_s=600)
            gated.gate.clear()
            caller = asyncio.ensure_future(click(engine, handle))
            await until(lambda: "decode 1" in gated.calls)
            engine.renew(handle, Call(), ttl_s=5)
            gated.gate.set()
            assert (await caller).expires_s == pytest.approx(time.time() + 5, abs=2)

    asyncio.run(scenario())
