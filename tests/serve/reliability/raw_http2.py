"""HTTP/2 by hand, so that every frame can be wrong."""

from __future__ import annotations

import random
import socket
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from apsam_serve.service.server import SERVICE

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST, SETTINGS, PUSH, PING, GOAWAY, WINDOW, CONTINUATION = range(10)
END_STREAM, END_HEADERS, ACK = 0x1, 0x4, 0x1
CANCEL = struct.pack(">I", 8)
Answer = Literal["status", "reset", "goaway", "closed", "silence"]
Attack = Callable[[random.Random], bytes]


def frame(kind: int, flags: int, stream: int, payload: bytes, *, told: int | None = None) -> bytes:
    """told: length that the header says, None for the true one."""
    size = len(payload) if told is None else told
    return struct.pack(">I", size)[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


def headers(method: str, **more: bytes) -> bytes:
    """Plain header fields of a call, without Huffman codes or indices."""
    fields = {
        b":method": b"POST",
        b":scheme": b"http",
        b":path": f"/{SERVICE}/{method}".encode(),
        b":authority": b"localhost",
        b"content-type": b"application/grpc",
        b"te": b"trailers",
        **{name.replace("_", "-").encode(): value for name, value in more.items()},
    }
    return b"".join(b"\0" + _text(name) + _text(value) for name, value in fields.items())


def message(content: bytes, *, compressed: int = 0, told: int | None = None) -> bytes:
    """A gRPC message with its prefix."""
    return struct.pack(">BI", compressed, len(content) if told is None else told) + content


def call(stream: int, body: bytes, *, method: str = "GetServerInfo", **more: bytes) -> bytes:
    """A whole call: headers, then one DATA frame that ends it."""
    opened = frame(HEADERS, END_HEADERS, stream, headers(method, **more))
    return opened + frame(DATA, END_STREAM, stream, body)


def hello() -> bytes:
    """What a connection begins with."""
    return PREFACE + frame(SETTINGS, 0, 0, b"")


def _bad_preface(chance: random.Random) -> bytes:
    changed = bytearray(PREFACE)
    changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(7)
    return bytes(changed) + frame(SETTINGS, 0, 0, b"") + call(1, message(b""))


def _http_1(chance: random.Random) -> bytes:
    return b"GET / HTTP/1.1\r\nHost: x\r\n" + b"A: b\r\n" * chance.choice((1, 1000)) + b"\r\n"


def _tls(chance: random.Random) -> bytes:
    return b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(500)


def _noise(chance: random.Random) -> bytes:
    return chance.randbytes(chance.choice((1, 100, 20_000)))


def _random_frames(chance: random.Random) -> bytes:
    frames = [
        frame(
            chance.randrange(14),
            chance.randrange(256),
            chance.choice((0, 1, 2, 3, 2**31 - 1)),
            chance.randbytes(chance.choice((0, 1, 4, 5, 8, 9, 100))),
            told=chance.choice((None, None, None, 0, 7, 2**14, 2**24 - 1)),
        )
        for _ in range(chance.randint(1, 30))
    ]
    return hello() + b"".join(frames)


def _broken_header_block(chance: random.Random) -> bytes:
    block = bytearray(headers("Segment"))
    for _ in range(chance.randint(1, 8)):
        block[chance.randrange(len(block))] = chance.randrange(256)
    return hello() + frame(HEADERS, END_HEADERS | END_STREAM, 1, bytes(block))


def _large_headers(chance: random.Random) -> bytes:
    block = headers("GetServerInfo", x_large=b"a" * 64 * 2**10)
    parts = [block[i : i + 2**14] for i in range(0, len(block), 2**14)]
    sent = frame(HEADERS, 0, 1, parts[0])
    for index, part in enumerate(parts[1:], 2):
        sent += frame(CONTINUATION, END_HEADERS if index == len(parts) else 0, 1, part)
    return hello() + sent + frame(DATA, END_STREAM, 1, message(b""))


def _endless_continuation(chance: random.Random) -> bytes:
    part = b"\0" + _text(b"x-a") + _text(b"b" * 100)
    opened = frame(HEADERS, 0, 1, headers("GetServerInfo"))
    return hello() + opened + frame(CONTINUATION, 0, 1, part * 10) * chance.choice((10, 500))


def _wrong_prefix(chance: random.Random) -> bytes:
    told = chance.choice((1, 100, 2**24, 2**31, 2**32 - 1))
    return hello() + call(1, message(b"", told=told), method="Segment")


def _short_prefix(chance: random.Random) -> bytes:
    return hello() + call(1, message(b"")[: chance.randint(0, 4)], method="Segment")


def _compressed_without_saying(chance: random.Random) -> bytes:
    return hello() + call(1, message(b"\x0a\x01x", compressed=chance.choice((1, 2, 255))))


def _bad_gzip(chance: random.Random) -> bytes:
    body = message(chance.randbytes(50), compressed=1)
    return hello() + call(1, body, method="GetEmbedding", grpc_encoding=b"gzip")


def _gzip_bomb(chance: random.Random) -> bytes:
    """64 MB of zeros, four times what a message may have."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    again = zlib.compressobj(9, zlib.DEFLATED, -15)
    more = again.compress(bytes(2**20)) + again.flush(zlib.Z_FULL_FLUSH)
    body = message(block + more * 63, compressed=1)
    opened = frame(HEADERS, END_HEADERS, 1, headers("GetEmbedding", grpc_encoding=b"gzip"))
    parts = [body[i : i + 2**14] for i in range(0, min(len(body), 60_000), 2**14)]
    return hello() + opened + b"".join(frame(DATA, 0, 1, part) for part in parts)


def _unknown_coding(chance: random.Random) -> bytes:
    body = message(b"x", compressed=1)
    return hello() + call(1, body, grpc_encoding=chance.choice((b"zstd", b"", b"\xff" * 300)))


def _strange_timeouts(chance: random.Random) -> bytes:
    told = chance.choice((b"-1S", b"0n", b"99999999999999999999H", b"1", b"S", b"\xff"))
    return hello() + call(1, message(b""), grpc_timeout=told)


def _strange_metadata(chance: random.Random) -> bytes:
    told = chance.choice((b"%%%", b"\0\r\n", b"a" * 8000))
    return hello() + call(1, message(b""), x_test_bin=told, traceparent=told)


def _reset_flood(chance: random.Random) -> bytes:
    """Calls that are begun and taken back at once, as many as one connection has numbers for."""
    sent = [hello()]
    block = headers("Segment")
    for stream in range(1, 2 * chance.choice((50, 500)), 2):
        sent.append(frame(HEADERS, END_HEADERS, stream, block) + frame(RST, 0, stream, CANCEL))
    return b"".join(sent)


def _ping_flood(chance: random.Random) -> bytes:
    return hello() + frame(PING, 0, 0, bytes(8)) * chance.choice((10, 3000))


def _settings_flood(chance: random.Random) -> bytes:
    changed = frame(
        SETTINGS, 0, 0, struct.pack(">HI", chance.randrange(9), chance.randrange(2**32))
    )
    return hello() + changed * chance.choice((1, 1000))


def _window_games(chance: random.Random) -> bytes:
    """A window that overflows, or one that never lets the reply out."""
    if chance.random() < 0.5:
        return hello() + frame(WINDOW, 0, 0, struct.pack(">I", 2**31 - 1)) * 3
    shut = frame(SETTINGS, 0, 0, struct.pack(">HI", 4, 0))
    return PREFACE + shut + b"".join(call(stream, message(b"")) for stream in range(1, 40, 2))


def _half_a_call(chance: random.Random) -> bytes:
    whole = hello() + call(1, message(bytes(500)), method="CreateEmbedding")
    return whole[: chance.randint(1, len(whole))]


ATTACKS: Mapping[str, Attack] = {
    attack.__name__.strip("_"): attack
    for attack in (
        *(_bad_preface, _http_1, _tls, _noise, _random_frames, _broken_header_block),
        *(_large_headers, _endless_continuation, _wrong_prefix, _short_prefix),
        *(_compressed_without_saying, _bad_gzip, _gzip_bomb, _unknown_coding, _strange_timeouts),
        *(_strange_metadata, _reset_flood, _ping_flood, _settings_flood, _window_games),
        _half_a_call,
    )
}
ANSWERED = frozenset(
    (
        *("bad_preface", "http_1", "tls", "large_headers", "compressed_without_saying"),
        *("bad_gzip", "unknown_coding", "strange_timeouts", "strange_metadata"),
    )
)
"""Attacks that end a call or break the protocol, so that the server has to say something. For the
rest of a message that was announced gRPC waits until its connection ends."""


def answer_to(connection: socket.socket) -> Answer:
    """How the server answers what was sent, within the connection's time."""
    received = b""
    try:
        while True:
            data = connection.recv(65_536)
            if not data:
                return "closed"
            received += data
            for kind, flags in _frames(received):
                if kind == GOAWAY:
                    return "goaway"
                if kind == RST:
                    return "reset"
                if kind in (HEADERS, DATA) and flags & END_STREAM:
                    return "status"
    except TimeoutError:
        return "silence"
    except ConnectionError:
        return "closed"


def _frames(received: bytes) -> Iterator[tuple[int, int]]:
    """(type, flags) of each whole frame."""
    place = 0
    while place + 9 <= len(received):
        size = int.from_bytes(received[place : place + 3], "big")
        if place + 9 + size > len(received):
            return
        yield received[place + 3], received[place + 4]
        place += 9 + size


def _text(text: bytes) -> bytes:
    """A string of a header block: length with a prefix of 7 bits, then itself."""
    if len(text) < 127:
        return bytes([len(text)]) + text
    rest, size = len(text) - 127, b"\x7f"
    while rest > 127:
        size, rest = size + bytes([rest & 127 | 128]), rest >> 7
    return size + bytes([rest]) + text
