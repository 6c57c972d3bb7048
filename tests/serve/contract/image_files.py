"""Image files built by hand, so that every field can be wrong."""

from __future__ import annotations

import struct
import zlib
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

Order = Literal["<", ">"]
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def chunk(kind: bytes, content: bytes) -> bytes:
    checked = kind + content
    return struct.pack(">I", len(content)) + checked + struct.pack(">I", zlib.crc32(checked))


def png(
    width: int, height: int, bits: int, color: int, lines: bytes, *, before: bytes = b""
) -> bytes:
    """lines: each line's filter byte and samples; before: chunks between IHDR and IDAT."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    return PNG_SIGNATURE + header + before + chunk(b"IDAT", zlib.compress(lines)) + END


def jpeg(image: NDArray[np.uint8], *, progressive: bool = False) -> bytes:
    flags = [cv2.IMWRITE_JPEG_PROGRESSIVE, int(progressive), cv2.IMWRITE_JPEG_QUALITY, 95]
    return cv2.imencode(".jpg", image, flags)[1].tobytes()


def tiff(
    image: NDArray[np.unsignedinteger],
    *,
    order: Order = "<",
    rows_per_strip: int = 1000,
    tile: int = 0,
    deflated: bool = False,
    differences: bool = False,
    next_page: int = 0,
    **changes: tuple[int, ...] | None,
) -> bytes:
    """One page. changes: `tag_258=(4,)` replaces the values of field 258, None leaves it out."""
    height, width = image.shape[:2]
    samples = image.reshape(height, width, -1)
    shape = (tile, tile) if tile else (min(rows_per_strip, height), width)
    blocks = [
        _block(samples[top : top + shape[0], left : left + shape[1]], tile, order, differences)
        for top in range(0, height, shape[0])
        for left in range(0, width, shape[1])
    ]
    if deflated:
        blocks = [zlib.compress(block) for block in blocks]
    offsets = tuple(8 + sum(map(len, blocks[:index])) for index in range(len(blocks)))
    sizes = tuple(map(len, blocks))
    channels = samples.shape[2]
    fields: dict[int, tuple[int, ...] | None] = {
        256: (width,),
        257: (height,),
        258: (8 * image.dtype.itemsize,) * channels,
        259: (8 if deflated else 1,),
        262: (2 if channels == 3 else 1,),
        277: (channels,),
        317: (2,) if differences else None,
    }
    if tile:
        fields |= {322: (tile,), 323: (tile,), 324: offsets, 325: sizes}
    else:
        fields |= {273: offsets, 278: (shape[0],), 279: sizes}
    fields |= {int(name.removeprefix("tag_")): values for name, values in changes.items()}
    return _tiff_file(b"".join(blocks), fields, order, next_page)


def _block(part: NDArray[np.unsignedinteger], tile: int, order: Order, differences: bool) -> bytes:
    if tile:
        missing = [(0, tile - part.shape[0]), (0, tile - part.shape[1]), (0, 0)]
        part = np.pad(part, missing, mode="edge")
    if differences:
        part = np.concatenate([part[:, :1], part[:, 1:] - part[:, :-1]], axis=1)
    return part.astype(part.dtype.newbyteorder(order)).tobytes()


def _tiff_file(
    pixels: bytes, fields: dict[int, tuple[int, ...] | None], order: Order, next_page: int
) -> bytes:
    present = [(tag, values) for tag, values in sorted(fields.items()) if values is not None]
    directory_at = 8 + len(pixels)
    far_at = directory_at + 6 + 12 * len(present)
    directory, far = struct.pack(order + "H", len(present)), b""
    for tag, values in present:
        packed = struct.pack(f"{order}{len(values)}I", *values)
        if len(packed) > 4:
            packed, far = struct.pack(order + "I", far_at + len(far)), far + packed
        directory += struct.pack(order + "HHI", tag, 4, len(values)) + packed
    head = struct.pack(order + "2sHI", b"II" if order == "<" else b"MM", 42, directory_at)
    return head + pixels + directory + struct.pack(order + "I", next_page) + far
