"""What the engine knows and does about images that it holds."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import replace

import numpy as np
import pytest

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import FileInput
from apsam_serve.contract.masks import pack_bits, unpack_bits
from apsam_serve.contract.prompts import Prompt
from apsam_serve.engine.calls import Call
from apsam_serve.engine.engine import Engine
from apsam_serve.engine.proposals import ProposeOptions
from apsam_serve.engine.replies import ProposeReply
from apsam_serve.errors import (
    HandleGoneError,
    InvalidPromptError,
    MaskGoneError,
)
from tests.serve.engine.gated import GatedRunner, click, create, opened


def test_an_image_that_comes_along_is_not_held(gated: GatedRunner, bag_png: bytes) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            reply = await click(engine, bag_png)
            assert (reply.height, reply.width, reply.expires_s) == (60, 80, None)
            assert engine.store.held_bytes == 0
            stages = {"queue", "image", "encode", "decode_1", "points", "mask", "serialise"}
            assert stages <= set(reply.timings_s)

    asyncio.run(scenario())


def test_what_is_known_of_a_held_image(gated: GatedRunner, bag_png: bytes) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            lane = Call(owner="lane-7")
            handle = await create(engine, bag_png, lane, ttl_s=30)
            known = engine.get(handle, lane)
            assert (known.owner, known.height, known.width) == ("lane-7", 60, 80)
            assert (known.ttl_s, known.model_digest) == (30, "model-1")
            assert known.image_digest == hashlib.sha256(bag_png).hexdigest()
            assert known.held_bytes == engine.store.held_bytes
            assert abs(known.created_s - time.time()) < 5
            assert known.expires_s == pytest.approx(known.created_s + 30, abs=0.01)
            assert engine.renew(handle, lane, ttl_s=90).expires_s > known.expires_s + 50
            with pytest.raises(HandleGoneError, match="unknown"):
                await click(engine, handle, call=Call(owner="lane-8"))

    asyncio.run(scenario())


def test_an_answers_mask_stays_to_be_refined_and_the_oldest_goes(
    gated: GatedRunner, bag_png: bytes
) -> None:
    async def scenario() -> None:
        async with opened(gated) as engine:
            held = await create(engine, bag_png)
            first = (await click(engine, held)).segmentations[0]
            point = Prompt.click(26, 26)
            refined = await click(engine, held, replace(point, mask_id=first.mask_id))
            plain = (await click(engine, held, point)).segmentations[0]
            assert refined.segmentations[0].data != plain.data
            assert len({first.mask_id, refined.segmentations[0].mask_id, plain.mask_id, ""}) == 4
            with pytest.raises(MaskGoneError, match=f"mask '{first.mask_id}' is no longer held"):
                await click(engine, held, replace(point, mask_id=first.mask_id))
            with pytest.raises(InvalidPromptError, match="an image sent along has no mask_id"):
                await click(engine, bag_png, replace(point, mask_id="0"))
            assert (await click(engine, bag_png)).segmentations[0].mask_id == ""

    asyncio.run(scenario())


def test_attention_becomes_clicks_with_masks_of_their_own(
    gated: GatedRunner, bag_png: bytes
) -> None:
    async def propose(engine: Engine, source: str | FileInput, most: int) -> ProposeReply:
        return await engine.propose(
            source,
            Call(),
            options=ProposeOptions(max_proposals=most),
            strategy="apg",
            apg=ApgConfig(),
            pack=pack_bits,
            include_attention=most == 1,
        )

    async def scenario() -> None:
        async with opened(gated) as engine:
            reply = await propose(engine, FileInput(data=bag_png), 3)
            assert reply.attention is None
            assert (reply.height, reply.width, reply.expires_s) == (60, 80, None)
            assert 1 <= len(reply.proposals) <= 3
            strongest = reply.proposals[0]
            assert strongest.attention == 1
            for one in reply.proposals:
                mask = unpack_bits(one.segmentation.data, height=60, width=80)
                assert mask.sum() == one.segmentation.area > 0
                assert one.attention <= strongest.attention
            held = await create(engine, bag_png)
            again = await propose(engine, held, 1)
            assert [one.click for one in again.proposals] == [strongest.click]
            assert again.attention is not None
            seen = again.attention
            row, column = np.unravel_index(seen.values.argmax(), seen.values.shape)
            assert (column + 0.5) * seen.cell_width == strongest.click.x
            assert (row + 0.5) * seen.cell_height == strongest.click.y

    asyncio.run(scenario())
