"""Image files built by hand, so that every field can be wrong."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
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
    compression: int = 1,
    differences: bool = False,
    planar: bool = False,
    next_page: int = 0,
    **changes: tuple[int, ...] | None,
) -> bytes:
    """One page. changes: `tag_258=(4,)` replaces the values of field 258, None leaves it out."""
    height, width = image.shape[:2]
    samples = image.reshape(height, width, -1)
    shape = (tile, tile) if tile else (min(rows_per_strip, height), width)
    planes = [samples[:, :, s : s + 1] for s in range(samples.shape[2])] if planar else [samples]
    blocks = [
        _block(plane[top : top + shape[0], left : left + shape[1]], tile, order, differences)
        for plane in planes
        for top in range(0, height, shape[0])
        for left in range(0, width, shape[1])
    ]
    blocks = [PACK[compression](block) for block in blocks]
    offsets = tuple(8 + sum(map(len, blocks[:index])) for index in range(len(blocks)))
    sizes = tuple(map(len, blocks))
    channels = samples.shape[2]
    fields: dict[int, tuple[int, ...] | None] = {
        256: (width,),
        257: (height,),
        258: (8 * image.dtype.itemsize,) * channels,
        259: (compression,),
        262: (2 if channels >= 3 else 1,),
        277: (channels,),
        284: (2 if planar else 1,),
        317: (2,) if differences else None,
    }
    if tile:
        fields |= {322: (tile,), 323: (tile,), 324: offsets, 325: sizes}
    else:
        fields |= {273: offsets, 278: (shape[0],), 279: sizes}
    fields |= {int(name.removeprefix("tag_")): values for name, values in changes.items()}
    return _tiff_file(b"".join(blocks), fields, order, next_page)


def lzw(data: bytes) -> bytes:
    """The textbook's encoder: Clear first and when the table is full, END last."""
    single = {bytes([value]): value for value in range(256)}
    codes, table, string = [256], dict(single), b""
    for byte in data:
        longer = string + bytes([byte])
        if longer in table:
            string = longer
            continue
        codes.append(table[string])
        table[longer] = len(table) + 2
        string = longer[-1:]
        if len(table) + 2 == 4094:
            codes.append(256)
            table = dict(single)
    return lzw_bits([*codes, table[string], 257])


def lzw_bits(codes: Sequence[int]) -> bytes:
    """Codes in TIFF's widths, which grow with their number since the last Clear."""
    bits, number = "", 0
    for code in codes:
        bits += f"{code:0{9 + sum(number >= bound for bound in (254, 766, 1790))}b}"
        number = 0 if code == 256 else number + 1
    return bytes(int(bits[i : i + 8].ljust(8, "0"), 2) for i in range(0, len(bits), 8))


def packbits(data: bytes) -> bytes:
    """Literal runs of 5 bytes, repeats of 3 where there are, and a no-operation before each."""
    packed, place = b"", 0
    while place < len(data):
        part = data[place : place + 3]
        repeats = len(part) == 3 and len(set(part)) == 1
        run = part[:1] if repeats else data[place : place + 5]
        packed += b"\x80" + bytes([254 if repeats else len(run) - 1]) + run
        place += 3 if repeats else len(run)
    return packed


PACK = {1: bytes, 5: lzw, 7: bytes, 8: zlib.compress, 32773: packbits, 32946: zlib.compress}


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
