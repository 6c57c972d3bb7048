"""Valid requests, and what chance makes of them: each from a seed, so that it can be made again."""

from __future__ import annotations

import random
import struct
import uuid
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from google.protobuf.duration_pb2 import Duration

from apsam_serve.v1 import segmentation_pb2 as pb
from tests.serve.contract.image_files import jpeg, png, tiff

Mutate = Callable[[random.Random, bytes, Sequence[bytes]], bytes]
"""mutate(chance, a valid message, all valid messages)."""
EDGES = (0, 1, -1, 2**31 - 1, -(2**31), 2**63 - 1, 2**32, 255, 256, 65535)
MAX_BYTES = 200_000


def images() -> dict[str, bytes]:
    """Small files of every kind that is read."""
    draw = np.random.default_rng(5)
    colour = draw.integers(0, 256, (24, 32, 3), np.uint8)
    grey, deep = colour[:, :, 0], colour.astype(np.uint16) * 257
    lines = b"".join(b"\0" + row.tobytes() for row in colour)
    deep_lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    return {
        "png": png(32, 24, 8, 2, lines),
        "png16": png(32, 24, 16, 2, deep_lines),
        "jpeg": jpeg(colour),
        "progressive": jpeg(colour, progressive=True),
        "tiff": tiff(colour),
        "tiff lzw": tiff(grey, compression=5, differences=True),
        "tiff deflate": tiff(deep, compression=8, order=">"),
        "tiff packbits": tiff(colour, compression=32773, tile=16),
        "tiff planar": tiff(deep, planar=True, rows_per_strip=7),
    }


def requests(handle: str, spare: str) -> Mapping[str, list[bytes]]:
    """Valid messages by method; those of Session are its steps. spare: another handle, whose life
    may become short."""
    files = [pb.Image(file=data) for data in images().values()]
    raw = pb.Image(raw_rgb=pb.RawRgb(width=8, height=6, data=bytes(144)))
    dual = pb.DualEnergy(width=8, height=6, high=bytes(96), low=bytes(96), detector_axis=2)
    dual.high_calibration.dark.append(7)
    dual.low_calibration.air.extend(range(60_000, 60_008))
    every = [*files, raw, pb.Image(dual_energy=dual)]
    ttl, request_id = Duration(seconds=5, nanos=7), str(uuid.UUID(int=7))
    points = [pb.Point(x=3, y=2.5), pb.Point(x=5, y=4, label=2)]
    prompts = [
        pb.Prompt(points=points),
        pb.Prompt(box=pb.Box(left=1, top=1, right=6, bottom=5), mask_id="0"),
    ]
    apg = pb.ApgOptions(tau=3, fallback=2, seed=9, augment=True)
    how = {"prompts": prompts, "strategy": 2, "apg": apg, "mask_encoding": 3}
    proposing = {"max_proposals": 3, "min_score": 0.1, "max_overlap": 0.5, "mask_encoding": 4}
    messages: Mapping[str, list[object]] = {
        "GetServerInfo": [pb.GetServerInfoRequest()],
        "CreateEmbedding": [
            pb.CreateEmbeddingRequest(image=one, ttl=ttl, request_id=request_id) for one in every
        ],
        "GetEmbedding": [pb.GetEmbeddingRequest(handle=handle)],
        "RenewEmbedding": [pb.RenewEmbeddingRequest(handle=spare, ttl=ttl)],
        "DeleteEmbedding": [pb.DeleteEmbeddingRequest(handle="none.such")],
        "Segment": [
            pb.SegmentRequest(handle=handle, request_id=request_id, **how),  # type: ignore[arg-type]
            *(pb.SegmentRequest(image=one, **how) for one in every),  # type: ignore[arg-type]
        ],
        "Propose": [
            pb.ProposeRequest(handle=handle, **proposing),  # type: ignore[arg-type]
            *(pb.ProposeRequest(image=one, **proposing) for one in every),  # type: ignore[arg-type]
        ],
        "Session": [
            *(pb.SessionRequest(image=one, timeout=ttl) for one in every),
            pb.SessionRequest(segment=pb.SessionSegment(**how)),  # type: ignore[arg-type]
            pb.SessionRequest(propose=pb.SessionPropose(**proposing)),  # type: ignore[arg-type]
        ],
    }
    return {
        method: [one.SerializeToString() for one in several]  # type: ignore[attr-defined]
        for method, several in messages.items()
    }


def mutated(chance: random.Random, valid: bytes, every: Sequence[bytes]) -> bytes:
    """One to three things go wrong; half of all messages can still be read."""
    if chance.random() < 0.5:
        for _ in range(chance.randint(1, 3)):
            valid = _change_a_field(chance, valid)
        return valid[:MAX_BYTES]
    for _ in range(chance.randint(1, 3)):
        valid = chance.choice(MUTATIONS)(chance, valid, every)[:MAX_BYTES]
    return valid


def _flip_bits(chance: random.Random, valid: bytes, every: Sequence[bytes]) -> bytes:
    data = bytearray(valid or b"\0")
    for _ in range(chance.choice((1, 1, 2, 8, 64))):
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    return bytes(data)


def _cut(chance: random.Random, valid: bytes, every: Sequence[bytes]) -> bytes:
    return valid[: chance.randint(0, len(valid))]


def _splice(chance: random.Random, valid: bytes, every: Sequence[bytes]) -> bytes:
    other = chance.choice(every)
    return valid[: chance.randint(0, len(valid))] + other[chance.randint(0, len(other)) :]


def _leave_out(chance: random.Random, valid: bytes, every: Sequence[bytes]) -> bytes:
    begin = chance.randint(0, len(valid))
    return valid[:begin] + valid[begin + chance.randint(1, 40) :]


def _repeat(chance: random.Random, valid: bytes, every: Sequence[bytes]) -> bytes:
    begin = chance.randint(0, len(valid))
    part = valid[begin : begin + chance.randint(1, 60)]
    return valid[:begin] + part * chance.choice((2, 50, 2000)) + valid[begin:]


def _lie_about_a_length(chance: random.Random, valid: bytes, every: Sequence[bytes]) -> bytes:
    """Where a length may stand, another one, up to more than there can be."""
    place = chance.randint(0, min(12, len(valid)))
    told = chance.choice((0, 1, len(valid), len(valid) + 1, 2**21, 2**31 - 1, 2**35, 2**63 - 1))
    return valid[:place] + varint(told) + valid[place + 1 :]


def _nest(chance: random.Random, valid: bytes, every: Sequence[bytes]) -> bytes:
    """The message as a field of itself, over and over."""
    field = chance.randint(1, 7)
    for _ in range(chance.choice((3, 99, 101, 3000))):
        valid = key(field, 2) + varint(len(valid)) + valid
        if len(valid) > MAX_BYTES:
            break
    return valid


def _add_a_field(chance: random.Random, valid: bytes, every: Sequence[bytes]) -> bytes:
    """Any number, any type, among them those that do not fit and groups that do not end."""
    field, kind = chance.choice((*range(1, 9), 15, 16, 2**29 - 1)), chance.randrange(8)
    content = {
        0: varint(chance.choice(EDGES) & (2**64 - 1)),
        1: struct.pack("<d", chance.choice((float("nan"), float("inf"), -1e308, 1e-320))),
        2: varint(5) + chance.randbytes(5),
        5: chance.randbytes(4),
    }.get(kind, b"")
    return valid + key(field, kind) + content


def _put_in_a_number(chance: random.Random, valid: bytes, every: Sequence[bytes]) -> bytes:
    """An edge of some type over whatever stands there, in either byte order."""
    value = chance.choice(EDGES) & (2**64 - 1)
    size = chance.choice((1, 2, 4, 8))
    order = chance.choice(("little", "big"))
    packed = (value & (256**size - 1)).to_bytes(size, order)  # type: ignore[arg-type]
    place = chance.randint(0, len(valid))
    return valid[:place] + packed + valid[place + size :]


def _make_up(chance: random.Random, valid: bytes, every: Sequence[bytes]) -> bytes:
    return chance.randbytes(chance.choice((1, 20, 400, 60_000)))


def _grow_a_field(chance: random.Random, valid: bytes, every: Sequence[bytes]) -> bytes:
    """A field with tens of thousands of bytes, or as many times."""
    field = chance.randint(1, 7)
    if chance.random() < 0.5:
        size = chance.choice((65, 5000, 100_000))
        return valid + key(field, 2) + varint(size) + chance.randbytes(1) * size
    return valid + (key(field, 2) + varint(2) + chance.randbytes(2)) * 20_000


def _change_a_field(chance: random.Random, valid: bytes) -> bytes:
    """Somewhere in the tree, with all lengths around it made right."""
    fields = _fields(valid)
    if not fields:
        return valid
    place = chance.randrange(len(fields))
    field, kind, content = fields[place]
    if kind == 2 and chance.random() < 0.7 and _fields(content):
        content = _change_a_field(chance, content)
    elif chance.random() < 0.3:
        return _joined(fields[:place] + fields[place:] * chance.choice((0, 2, 30)))
    elif kind == 0:
        content = varint(chance.choice(EDGES) & (2**64 - 1))
    elif kind == 2:
        content = chance.choice((_flip_bits, _cut, _repeat, _make_up))(chance, content, [content])
    else:
        values = (float("nan"), float("inf"), -1e300, -0.0, 1e9)
        content = struct.pack({1: "<d", 5: "<f"}[kind], chance.choice(values[: 5 - kind // 5 * 3]))
    fields[place] = field, kind, content
    return _joined(fields)


def _fields(message: bytes) -> list[tuple[int, int, bytes]]:
    """(field, kind, content without its length) of a message, none where it is not one."""
    found, place = [], 0
    try:
        while place < len(message):
            told, place = _read_varint(message, place)
            field, kind = told >> 3, told & 7
            if kind == 0:
                _, end = _read_varint(message, place)
            elif kind == 2:
                size, place = _read_varint(message, place)
                end = place + size
            else:
                end = place + {1: 8, 5: 4}[kind]
            if end > len(message) or not field:
                return []
            found.append((field, kind, message[place:end]))
            place = end
    except (IndexError, KeyError):
        return []
    return found


def _read_varint(message: bytes, place: int) -> tuple[int, int]:
    """(value, place after it). Raises IndexError at the end."""
    value = shift = 0
    while True:
        byte = message[place]
        place, value, shift = place + 1, value | (byte & 127) << shift, shift + 7
        if byte < 128:
            return value, place


def _joined(fields: Sequence[tuple[int, int, bytes]]) -> bytes:
    return b"".join(
        key(field, kind) + (varint(len(content)) if kind == 2 else b"") + content
        for field, kind, content in fields
    )


def varint(value: int) -> bytes:
    """Seven bits a byte."""
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def key(field: int, kind: int) -> bytes:
    """What begins a field."""
    return varint(field << 3 | kind)


MUTATIONS: tuple[Mutate, ...] = (
    *(_flip_bits, _cut, _splice, _leave_out, _repeat, _lie_about_a_length, _nest, _add_a_field),
    *(_put_in_a_number, _make_up, _grow_a_field),
)
