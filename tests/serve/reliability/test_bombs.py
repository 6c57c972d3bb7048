"""Bombs: refused quickly where they are over the limits or not whole, decoded within a bounded
memory where they are not, and nobody else waits meanwhile."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from apsam_serve.contract.images import MAX_PIXELS
from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.contract.image_files import chunk, jpeg, lzw_bits, tiff
from tests.serve.reliability.asking import (
    Outcome,
    ask_aio,
    check_declared,
    connect_aio,
)
from tests.serve.reliability.bombs import (
    BLOCK,
    HIGH,
    WIDE,
    apng,
    black_png,
    many_chunks,
    many_segments,
    progressive,
    strip_tiff,
    zeros,
    zeros_lzw,
)
from tests.serve.reliability.conftest import Launch
from tests.serve.reliability.figures import BUSY, percentile, report, scaled
from tests.serve.reliability.load import poll_health
from tests.serve.reliability.server_process import ServerProcess

MAX_GROWTH_BYTES = {"refused": 2 * MAX_PIXELS * 3, "decoded": 5 * MAX_PIXELS * 8 // 2}
"""Two of the largest images in 8-bit RGB; two and a half in 16-bit RGBA, the widest there is."""
REFUSED_S, DECODED_S = 1.0, 5.0
PIXELS = WIDE * HIGH
MEGABYTES = scaled(short=2, full=15)
"""Of the bombs that are large themselves."""
End = Literal["refused", "decoded", "either"]


@dataclass(frozen=True, kw_only=True)
class Bomb:
    """end: either, where it depends on the decoder whether it is still an image."""

    image: Callable[[], pb.Image]
    end: End = "refused"


def _file(make: Callable[[], bytes], end: End = "refused") -> Bomb:
    return Bomb(image=lambda: pb.Image(file=make()), end=end)


def _half(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _exif(num_segments: int) -> bytes:
    whole = jpeg(np.zeros((8, 8), np.uint8))
    segment = b"\xff\xe1\xff\xff" + bytes(65_533)
    return whole[:2] + segment * num_segments + whole[2:]


def _huge_jpeg() -> bytes:
    whole = bytearray(jpeg(np.zeros((8, 8), np.uint8)))
    frame = whole.index(b"\xff\xc0")
    whole[frame + 5 : frame + 9] = struct.pack(">HH", 65_500, 65_500)
    return bytes(whole)


def _raw(width: int, height: int) -> pb.Image:
    return pb.Image(raw_rgb=pb.RawRgb(width=width, height=height, data=bytes(12)))


def _dual(width: int, height: int, num_bytes: int, *, num_air: int = 0) -> pb.Image:
    plane = bytes(num_bytes)
    air = pb.Calibration(air=[65_535] * num_air)
    return pb.Image(
        dual_energy=pb.DualEnergy(
            width=width,
            height=height,
            high=plane,
            low=plane,
            high_calibration=air,
            low_calibration=air,
        )
    )


MOST = 2**31 - 1
BOMBS: Mapping[str, Bomb] = {
    "png of 400 million pixels": _file(lambda: black_png(20_000, 20_000)),
    "png of 10^10 pixels, 1 bit": _file(lambda: black_png(100_000, 100_000, bits=1, color=0)),
    "png of 2^31 pixels a line": _file(lambda: black_png(MOST, 1, inside=8)),
    "png of the most pixels": _file(lambda: black_png(WIDE, HIGH), "decoded"),
    "png, 16 bits and alpha": _file(lambda: black_png(WIDE, HIGH, bits=16, color=6), "decoded"),
    "png with a palette": _file(
        lambda: black_png(WIDE, HIGH, color=3, before=chunk(b"PLTE", bytes(768))), "decoded"
    ),
    "png, interlaced": _file(lambda: black_png(WIDE, HIGH, interlaced=True), "decoded"),
    "png of one line": _file(lambda: black_png(PIXELS, 1, color=0)),
    "png of one column": _file(lambda: black_png(1, PIXELS, color=0)),
    "png, cut": _file(lambda: _half(black_png(WIDE, HIGH))),
    "png, pixels missing": _file(lambda: black_png(WIDE, HIGH, inside=BLOCK)),
    "png, gigabytes too many": _file(
        lambda: black_png(64, 64, inside=MEGABYTES * 250 * BLOCK), "either"
    ),
    "apng": _file(lambda: apng(100), "decoded"),
    "png with a profile of gigabytes": _file(
        lambda: black_png(8, 8, before=chunk(b"iCCP", b"x\0\0" + zeros(8000 * BLOCK))), "decoded"
    ),
    "png with text of gigabytes": _file(
        lambda: black_png(8, 8, before=chunk(b"zTXt", b"x\0\0" + zeros(8000 * BLOCK))), "decoded"
    ),
    "png with large exif": _file(
        lambda: black_png(8, 8, before=chunk(b"eXIf", bytes(MEGABYTES * 10**6))), "decoded"
    ),
    "png of many chunks": _file(lambda: many_chunks(MEGABYTES * 80_000), "either"),
    "jpeg of 4 billion pixels": _file(_huge_jpeg),
    "jpeg of 57 scans": _file(lambda: progressive(4), "decoded"),
    "jpeg of 113 scans": _file(lambda: progressive(8)),
    "jpeg, cut": _file(lambda: _half(progressive(4))),
    "jpeg with large exif": _file(lambda: _exif(MEGABYTES * 15), "decoded"),
    "jpeg of many segments": _file(lambda: many_segments(MEGABYTES * 250_000), "either"),
    "tiff of 4 billion pixels": _file(
        lambda: strip_tiff(zeros(BLOCK), 8, width=65_000, height=65_000)
    ),
    "tiff, deflate": _file(lambda: strip_tiff(zeros(3 * PIXELS), 8, samples=3), "decoded"),
    "tiff, 16 bits and alpha": _file(
        lambda: strip_tiff(zeros(8 * PIXELS), 8, samples=4, bits=16), "decoded"
    ),
    "tiff, a gigabyte too many": _file(
        lambda: strip_tiff(zeros(1000 * BLOCK), 8, width=64, height=64)
    ),
    "tiff, lzw": _file(lambda: strip_tiff(zeros_lzw(PIXELS), 5), "decoded"),
    "tiff, lzw, too many": _file(lambda: strip_tiff(zeros_lzw(PIXELS), 5, width=64, height=64)),
    "tiff, lzw of nothing": _file(lambda: strip_tiff(lzw_bits([256] * 100_000), 5)),
    "tiff, packbits of nothing": _file(lambda: strip_tiff(b"\x80" * MEGABYTES * 10**6, 32773)),
    "tiff, packbits byte by byte": _file(lambda: strip_tiff(b"\0\0" * MEGABYTES * 500_000, 32773)),
    "tiff of 20000 strips": _file(
        lambda: tiff(np.zeros((20_000, 1), np.uint8), rows_per_strip=1), "decoded"
    ),
    "raw of 2^31 by 2^31": Bomb(image=lambda: _raw(MOST, MOST)),
    "raw of negative size": Bomb(image=lambda: _raw(-2, -2)),
    "raw that is not there": Bomb(image=lambda: _raw(WIDE, HIGH)),
    "dual energy of 2^31 by 2^31": Bomb(image=lambda: _dual(MOST, MOST, 8)),
    "dual energy of negative size": Bomb(image=lambda: _dual(-2, -2, 8)),
    "dual energy of too many values": Bomb(image=lambda: _dual(2, 2, 8, num_air=1_000_000)),
    "dual energy of one line": Bomb(
        image=lambda: _dual(MEGABYTES * 250_000, 1, MEGABYTES * 500_000), end="decoded"
    ),
}


@dataclass(frozen=True, kw_only=True)
class Blast:
    """What a bomb did. growth_bytes: of the server's peak memory over what it had at first."""

    outcome: Outcome
    growth_bytes: int


@dataclass(kw_only=True, eq=False)
class Blasts:
    """What bombs did, and how long health checks took meanwhile, in seconds."""

    by_name: dict[str, Blast] = field(default_factory=dict)
    checks: list[float] = field(default_factory=list)


def test_bombs_over_the_limits_are_refused_quickly_and_cheaply(
    launch: Launch, bag_png: bytes
) -> None:
    server = launch("--backend", "fake", "--max-pixels", str(PIXELS), behaviour=None)
    blasts = _thrown(server, bag_png, lambda bomb: bomb.end != "decoded")
    _report("bombs_refused", blasts, MAX_GROWTH_BYTES["refused"])
    assert not _wrong(blasts)


def test_images_at_the_limits_are_decoded_in_bounded_time_and_memory(
    launch: Launch, bag_png: bytes
) -> None:
    server = launch("--backend", "fake", "--max-pixels", str(PIXELS), behaviour=None)
    blasts = _thrown(server, bag_png, lambda bomb: bomb.end == "decoded")
    _report("bombs_decoded", blasts, MAX_GROWTH_BYTES["decoded"])
    assert not _wrong(blasts)


def _report(name: str, blasts: Blasts, bar_bytes: int) -> None:
    for bomb, blast in blasts.by_name.items():
        outcome, growth_mb = blast.outcome, blast.growth_bytes / 1e6
        print(f"  {bomb}: {outcome.label}, {outcome.seconds:.2f} s, {growth_mb:.0f} MB")
    slowest = max(blasts.by_name, key=lambda bomb: blasts.by_name[bomb].outcome.seconds)
    largest = max(blasts.by_name, key=lambda bomb: blasts.by_name[bomb].growth_bytes)
    report(
        name,
        num=len(blasts.by_name),
        max_s=blasts.by_name[slowest].outcome.seconds,
        slowest=slowest,
        growth_max_mb=blasts.by_name[largest].growth_bytes / 1e6,
        growth_bar_mb=bar_bytes / 1e6,
        largest=largest,
        num_health_checks=len(blasts.checks),
        health_p99_ms=1000 * percentile(blasts.checks, 0.99),
        health_max_ms=1000 * max(blasts.checks),
    )


def _wrong(blasts: Blasts) -> list[str]:
    """What any bomb did that it must not."""
    found = []
    for name, blast in blasts.by_name.items():
        outcome = blast.outcome
        check_declared(outcome)
        is_refused = outcome.label == "INVALID_ARGUMENT/INVALID_IMAGE"
        meant = {"refused": is_refused, "decoded": outcome.code == "OK"}
        if not meant.get(BOMBS[name].end, is_refused or outcome.code == "OK"):
            found.append(f"{name}: {outcome}")
        if outcome.seconds > (REFUSED_S if BOMBS[name].end != "decoded" else DECODED_S) * BUSY:
            found.append(f"{name}: took {outcome.seconds:.2f} s")
        if blast.growth_bytes > MAX_GROWTH_BYTES["refused" if is_refused else "decoded"]:
            found.append(f"{name}: {blast.growth_bytes / 1e6:.0f} MB more")
    return found


def _thrown(server: ServerProcess, image: bytes, chosen: Callable[[Bomb], bool]) -> Blasts:
    """What the chosen bombs did, one after the other."""
    blasts = asyncio.run(_throw(server, image, [name for name in BOMBS if chosen(BOMBS[name])]))
    assert len(blasts.by_name) > 10
    assert server.health() == "SERVING"
    return blasts


async def _throw(server: ServerProcess, image: bytes, names: Sequence[str]) -> Blasts:
    blasts = Blasts()
    channel, stub = connect_aio(server.address)
    async with channel:
        whole = pb.CreateEmbeddingRequest(image=pb.Image(file=image))
        assert (await ask_aio(stub.CreateEmbedding, whole)).code == "OK"
        before = server.rss_bytes
        for name in names:
            request = pb.CreateEmbeddingRequest(image=BOMBS[name].image())
            server.reset_peak()
            polling = asyncio.create_task(poll_health(server.address, blasts.checks))
            outcome = await ask_aio(stub.CreateEmbedding, request, timeout_s=120)
            polling.cancel()
            growth_bytes = server.peak_bytes - before
            blasts.by_name[name] = Blast(outcome=outcome, growth_bytes=growth_bytes)
        assert (await ask_aio(stub.CreateEmbedding, whole)).code == "OK"
    return blasts
