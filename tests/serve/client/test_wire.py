"""Both clients at a real port: what the logic decides reaches the wire, and errors come back."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from apsam_serve.client import AsyncClient, Client, Retries
from apsam_serve.contract.inputs import DualEnergyInput, FileInput, RgbInput
from apsam_serve.contract.prompts import Prompt
from apsam_serve.errors import (
    ApsamError,
    DeadlineExceededError,
    HandleGoneError,
    InvalidImageError,
    InvalidInputError,
    MaskGoneError,
    NotServingError,
    OutOfMemoryError,
    OverloadedError,
    RateLimitedError,
)
from apsam_serve.service.convert_images import image_to
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.client.scripted import ScriptedServicer, scripted_server
from tests.serve.client.virtual import created, gone, mask_gone, segmented

CLICK = [Prompt.click(1, 1)]
QUICK = Retries(first_pause_s=0.01, jitter=0.0)
Talk = Callable[[str], Any]


@pytest.fixture
def server() -> Iterator[tuple[str, ScriptedServicer]]:
    with scripted_server() as running:
        yield running


def blocking(address: str) -> Any:
    with Client(address, timeout_s=5, retries=QUICK) as client:
        one_shot = client.segment(b"picture", CLICK)
        with client.encode(b"picture", ttl_s=9) as held, client.session() as session:
            clicks = held.segment(CLICK)
            return [*one_shot, *clicks, session.image(b"picture"), *session.segment(CLICK)]


def with_asyncio(address: str) -> Any:
    async def talk() -> Any:
        async with AsyncClient(address, timeout_s=5, retries=QUICK) as client:
            one_shot = await client.segment(b"picture", CLICK)
            async with await client.encode(b"picture", ttl_s=9) as held:
                clicks = await held.segment(CLICK)
                async with client.session() as session:
                    shown = await session.image(b"picture")
                    return [*one_shot, *clicks, shown, *await session.segment(CLICK)]

    return asyncio.run(talk())


@pytest.mark.parametrize("talk", [blocking, with_asyncio])
def test_losses_and_refusals_of_every_verb_are_mended(
    server: tuple[str, ScriptedServicer], talk: Talk
) -> None:
    address, servicer = server
    fault = pb.Fault(code=8, reason="OVERLOADED", message="full")
    fault.retry_after.nanos = 10_000_000
    servicer.outcomes = [
        *(OutOfMemoryError("full", retry_after_s=0.01), grpc.StatusCode.UNAVAILABLE, segmented()),
        *(created("h1"), gone("OWNER_LOST"), created("h2"), segmented()),
        *(pb.SessionResponse(embedding=created("s1")), pb.SessionResponse(fault=fault)),
        grpc.StatusCode.UNAVAILABLE,
        *(pb.SessionResponse(embedding=created("s2")),),
        *(pb.SessionResponse(segmentations=segmented(["5"])),),
    ]
    one_shot, click, shown, in_session = talk(address)
    assert (one_shot.mask_id, click.mask_id) == ("", "h2/0")
    assert (shown.handle, in_session.mask_id) == ("s1", "s2/5")
    assert not servicer.outcomes
    assert len({request.request_id for request in servicer.requests[:3]}) == 1
    assert one_shot.mask.shape == (3, 4)


ERRORS = [
    (mask_gone(), MaskGoneError),
    (gone("EXPIRED"), HandleGoneError),
    (OverloadedError("full", retry_after_s=99), OverloadedError),
    (RateLimitedError("often", retry_after_s=99), RateLimitedError),
    (InvalidImageError("no picture"), InvalidImageError),
    (grpc.StatusCode.DATA_LOSS, ApsamError),
]


@pytest.mark.parametrize(("outcome", "kind"), ERRORS, ids=lambda one: str(one)[:16])
def test_other_errors_are_raised_as_the_packages_own(
    server: tuple[str, ScriptedServicer], outcome: Any, kind: type[ApsamError]
) -> None:
    address, servicer = server
    servicer.outcomes = [outcome] * 3
    with Client(address, timeout_s=2) as client, pytest.raises(kind) as caught:
        client.segment(b"picture", CLICK)
    assert type(caught.value) is kind
    if isinstance(caught.value, OverloadedError):
        assert caught.value.retry_after_s == 99
    assert len(servicer.requests) == 1


def test_a_mask_that_changed_on_the_way_is_no_mask(server: tuple[str, ScriptedServicer]) -> None:
    address, servicer = server
    reply = segmented()
    reply.segmentations[0].mask.data = zlib.compress(b"\xff\xff")
    servicer.outcomes = [reply]
    with Client(address) as client, pytest.raises(ApsamError, match="another CRC-32; ask again"):
        client.segment(b"picture", CLICK)


async def _late_step(address: str) -> None:
    async with AsyncClient(address, timeout_s=0.1) as client, client.session() as session:
        await session.image(b"picture")


def _late_step_blocking(address: str) -> None:
    with Client(address, timeout_s=0.1) as client, client.session() as session:
        session.image(b"picture")


def _late_call(address: str) -> None:
    with Client(address, timeout_s=0.1) as client:
        client.encode(b"picture")


@pytest.mark.parametrize(
    "late", [_late_call, _late_step_blocking, lambda address: asyncio.run(_late_step(address))]
)
def test_a_server_that_hangs_ends_with_the_deadline(
    server: tuple[str, ScriptedServicer], late: Talk, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in ("sync_session", "aio_session"):
        monkeypatch.setattr(f"apsam_serve.client.{module}.LATE_S", 0.1)
        monkeypatch.setattr(f"apsam_serve.client.{module}.FAREWELL_S", 0.1)
    address, servicer = server
    servicer.outcomes = [0.5, created("h")]
    with pytest.raises(DeadlineExceededError):
        late(address)


def test_a_cancelled_coroutine_asks_no_more(server: tuple[str, ScriptedServicer]) -> None:
    async def impatient(address: str) -> None:
        async with AsyncClient(address, retries=QUICK) as client:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(client.segment(b"picture", CLICK), 0.1)
            await asyncio.sleep(0.3)

    address, servicer = server
    servicer.outcomes = [0.2, OverloadedError("full", retry_after_s=0.01), segmented()]
    asyncio.run(impatient(address))
    assert len(servicer.requests) == 1


RGB = np.zeros((3, 4, 3), np.uint8)
READINGS = bytes(24)
DUAL = DualEnergyInput(width=4, height=3, high=READINGS, low=READINGS, detector_axis="columns")


@pytest.mark.parametrize(
    ("image", "sent"),
    [
        (b"picture", pb.Image(file=b"picture")),
        (FileInput(data=b"picture"), pb.Image(file=b"picture")),
        (RGB, pb.Image(raw_rgb=pb.RawRgb(width=4, height=3, data=bytes(36)))),
        (
            RgbInput(width=4, height=3, data=bytes(36)),
            image_to(RgbInput(width=4, height=3, data=bytes(36))),
        ),
        (DUAL, image_to(DUAL)),
    ],
    ids=["bytes", "file", "array", "raw", "dual energy"],
)
def test_every_form_of_image_is_sent_as_it_is(
    server: tuple[str, ScriptedServicer], image: Any, sent: pb.Image
) -> None:
    address, servicer = server
    servicer.outcomes = [created("h")]
    with Client(address) as client:
        client.encode(image, ttl_s=1.5)
    assert servicer.requests[0].image == sent
    assert servicer.requests[0].ttl.ToMilliseconds() == 1500


def test_an_array_too_large_for_a_message_goes_as_png(
    server: tuple[str, ScriptedServicer],
) -> None:
    address, servicer = server
    servicer.outcomes = [created("h")]
    flat = np.zeros((300, 300, 3), np.uint8)
    with Client(address, max_message_bytes=300_000) as client:
        client.encode(flat)
        assert servicer.requests[0].image.file.startswith(b"\x89PNG")
        with pytest.raises(InvalidInputError, match="message is too large"):
            client.encode(bytes(400_000))


@pytest.mark.parametrize("image", [RGB[0], RGB.astype(np.float32), "missing.png"])
def test_what_is_no_image_never_leaves(image: Any) -> None:
    with Client("127.0.0.1:1") as client, pytest.raises(InvalidImageError):
        client.encode(image)


def test_nobody_at_the_address_is_said_with_the_address() -> None:
    with scripted_server() as (address, _):
        pass
    with (
        Client(address, timeout_s=5, retries=QUICK) as client,
        pytest.raises(NotServingError, match=f"no server answers at {address}"),
    ):
        client.segment(b"picture", CLICK)
