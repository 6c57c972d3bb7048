"""Models that change while the engine serves, and devices that fail."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.engine import engine as engine_module
from apsam_serve.engine.calls import Call
from apsam_serve.errors import (
    BackendUnavailableError,
    DeviceFaultError,
    HandleGoneError,
    ModelFaultError,
)
from tests.serve.engine.gated import GatedRunner, click, create, opened, until


def test_a_fault_of_the_device_fails_the_call_and_the_next_one_works(
    gated: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            held = await create(engine, bag_png)
            gated.fault = MemoryError("device lost at 0xdead")
            with pytest.raises(MemoryError):
                await click(engine, held)
            with pytest.raises(MemoryError):
                await create(engine, bag_png)
            gated.fault = None
            await click(engine, held)

    asyncio.run(scenario())


def test_a_runner_that_cannot_open_stops_the_start(gated: GatedRunner) -> None:
    async def scenario() -> None:
        async with opened(gated):
            pass

    gated.opens = False
    with pytest.raises(BackendUnavailableError, match="no device"):
        asyncio.run(scenario())


def test_a_new_model_takes_over_and_the_old_one_answers_for_its_images(
    gated: GatedRunner, model: ModelSpec, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            old = await create(engine, bag_png)
            newer = GatedRunner(model)
            await engine.switch(newer, "model-2")
            new = await create(engine, bag_png)
            assert engine.get(new, Call()).model_digest == "model-2"
            assert (await click(engine, old)).model_digest == "model-1"
            assert (await click(engine, new)).model_digest == "model-2"
            assert [(m.digest, m.current, m.num_embeddings) for m in engine.models()] == [
                ("model-2", True, 1),
                ("model-1", False, 1),
            ]
            engine.delete(old, Call())
            await until(lambda: not gated.is_open)
            assert newer.is_open
            assert len(engine.models()) == 1
            await click(engine, new)

    asyncio.run(scenario())


def test_calls_in_flight_survive_a_switch_and_a_third_model_makes_the_first_forget(
    gated: GatedRunner, model: ModelSpec, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated, images=8) as engine:
            first = await create(engine, bag_png)
            calls = []
            for number in (2, 3):
                calls += [asyncio.ensure_future(create(engine, bag_png)) for _ in range(2)]
                await engine.switch(GatedRunner(model), f"model-{number}")
            await asyncio.gather(*calls)
            with pytest.raises(HandleGoneError) as caught:
                await click(engine, first)
            assert caught.value.reason == "MODEL_CHANGED"
            await until(lambda: not gated.is_open)

    asyncio.run(scenario())


def test_a_bad_new_model_changes_nothing(
    gated: GatedRunner, model: ModelSpec, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            held = await create(engine, bag_png)
            closed, broken = GatedRunner(model), GatedRunner(model)
            closed.opens = False
            with pytest.raises(BackendUnavailableError, match="no device"):
                await engine.switch(closed, "model-2")
            broken.fault = ModelFaultError("no numbers")
            with pytest.raises(ModelFaultError):
                await engine.switch(broken, "model-3")
            assert not broken.is_open
            big = GatedRunner(replace(model, embed_dim=model.embed_dim * 100))
            with pytest.raises(BackendUnavailableError, match="holds no image; each takes"):
                await engine.switch(big, "model-4")
            assert [one.digest for one in engine.models()] == ["model-1"]
            await click(engine, held)

    asyncio.run(scenario())


def test_a_broken_device_is_told_and_so_is_that_it_works_again(
    gated: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            told: list[bool] = []
            engine.on_health(told.append)
            gated.fault = DeviceFaultError("lost")
            with pytest.raises(DeviceFaultError):
                await create(engine, bag_png)
            await until(lambda: told == [False])
            gated.fault = None
            await until(lambda: told == [False, True])
            assert engine.faults["DEVICE_FAULT"] >= 2
            await create(engine, bag_png)

    asyncio.run(scenario())


def test_a_device_that_hangs_is_told_while_it_hangs(
    gated: GatedRunner, bag_png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_STUCK_S", 0.5)

    async def scenario() -> None:
        async with opened(gated) as engine:
            told: list[bool] = []
            engine.on_health(told.append)
            gated.gate.clear()
            hanging = asyncio.ensure_future(create(engine, bag_png))
            await until(lambda: told == [False])
            assert not hanging.done()
            gated.gate.set()
            await until(lambda: told == [False, True])
            await hanging

    asyncio.run(scenario())
