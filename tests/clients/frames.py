"""gRPC messages as they lie on the wire, right and wrong, for clients that only speak HTTP/2."""

from __future__ import annotations

import random
import struct
from pathlib import Path

HEALTH = "/grpc.health.v1.Health/Check"
HEALTHY = b"\x00\x00\x00\x00\x02\x08\x01"
"""The answer SERVING."""
SEGMENT = "/apsam_serve.v1.SegmentationService/Segment"
INFER = "/inference.GRPCInferenceService/ModelInfer"


def frame(message: bytes, *, compressed: int = 0, length: int | None = None) -> bytes:
    """A message after its flag and its length, or after a wrong length."""
    return struct.pack(">BI", compressed, len(message) if length is None else length) + message


def garbage() -> dict[str, bytes]:
    """Bodies that are no call, by what is wrong with them."""
    noise = random.Random(7).randbytes
    return {
        "no frame at all": noise(333),
        "a frame of noise": frame(noise(4096)),
        "a length beyond the body": frame(noise(100), length=2**31),
        "a length beyond the limit": frame(noise(64), length=2**25),
        "compressed, and not so": frame(noise(256), compressed=1),
        "an unknown flag": frame(noise(16), compressed=7),
        "a short header": b"\x00\x00",
        "two messages": frame(b"") + frame(b""),
    }


def written(folder: Path, name: str, body: bytes) -> Path:
    """A file with that body."""
    path = folder / name
    path.write_bytes(body)
    return path
