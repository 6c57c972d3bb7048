"""Small files that are large inside, or laborious, or neither whole nor wholly wrong."""

from __future__ import annotations

import itertools
import struct
import zlib

import numpy as np

from tests.serve.contract.image_files import END, PNG_SIGNATURE, chunk, jpeg, lzw_bits, tiff
from tests.serve.reliability.figures import scaled

BLOCK = 2**20
WIDE, HIGH = scaled(short=(3000, 2000), full=(6000, 4000))
"""The most pixels that the server takes; in the full form that is its default, 24 million."""
_ADAM7 = ((8, 8, 0, 0), (8, 8, 4, 0), (4, 8, 0, 4), (4, 4, 2, 0), (2, 4, 0, 2), (2, 2, 1, 0))
_INTERLACED = (*_ADAM7, (1, 2, 0, 1))
"""Step in x, step in y, first x, first y of each pass."""


def zeros(num_bytes: int) -> bytes:
    """A zlib stream of zeros, as fast as it is short."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(BLOCK)) + packer.flush(zlib.Z_FULL_FLUSH)
    last = zlib.compressobj(9, zlib.DEFLATED, -15)
    rest = last.compress(bytes(num_bytes % BLOCK)) + last.flush()
    adler = (num_bytes % 65521) << 16 | 1
    return b"\x78\xda" + block * (num_bytes // BLOCK) + rest + struct.pack(">I", adler)


def black_png(
    width: int,
    height: int,
    *,
    bits: int = 8,
    color: int = 2,
    interlaced: bool = False,
    before: bytes = b"",
    inside: int | None = None,
) -> bytes:
    """inside: bytes that the pixels unpack to, None for as many as there must be."""
    bits_per_pixel = bits * {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[color]
    passes = _INTERLACED if interlaced else ((1, 1, 0, 0),)
    needed = sum(
        -(-(height - y) // dy) * (1 + (-(-(width - x) // dx) * bits_per_pixel + 7) // 8)
        for dx, dy, x, y in passes
    )
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced))
    body = chunk(b"IDAT", zeros(needed if inside is None else inside))
    return PNG_SIGNATURE + chunk(b"IHDR", header) + before + body + END


def progressive(num_bands: int) -> bytes:
    """A black JPEG of 1 + 14 * num_bands scans, which refine every coefficient 13 times over, each
    in a few bytes: 15 runs of blocks in which nothing changes."""
    num_blocks = WIDE * HIGH // 64
    run = num_blocks // 15
    size = run.bit_length() - 1
    assert run * 15 * 64 == WIDE * HIGH, "the runs do not come out even"
    tables = b"\xff\xdb\x00\x43\x00" + bytes([1] * 64)
    for table, symbol in ((0x00, 0x00), (0x10, size << 4)):
        tables += b"\xff\xc4\x00\x14" + bytes([table, 1]) + bytes(15) + bytes([symbol])
    frame = struct.pack(">BHHB", 8, HIGH, WIDE, 1) + b"\x01\x11\x00"
    bits = f"0{run - 2**size:0{size}b}" * 15
    bits += "1" * (-len(bits) % 8)
    runs = int(bits, 2).to_bytes(len(bits) // 8, "big").replace(b"\xff", b"\xff\x00")

    def scan(first: int, last: int, high: int, low: int) -> bytes:
        return b"\xff\xda\x00\x08\x01\x01\x00" + bytes([first, last, high << 4 | low])

    data = b"\xff\xd8" + tables + b"\xff\xc2\x00\x0b" + frame
    data += scan(0, 0, 0, 0) + bytes(num_blocks // 8 + 1)
    edges = [1 + 63 * band // num_bands for band in range(num_bands + 1)]
    for first, end in itertools.pairwise(edges):
        data += scan(first, end - 1, 0, 13) + runs
        for low in reversed(range(13)):
            data += scan(first, end - 1, low + 1, low) + runs
    return data + b"\xff\xd9"


def many_segments(num: int) -> bytes:
    """A JPEG that begins with so many empty comments."""
    whole = jpeg(np.zeros((8, 8), np.uint8))
    return whole[:2] + b"\xff\xfe\x00\x02" * num + whole[2:]


def many_chunks(num: int) -> bytes:
    """A PNG that begins with so many empty texts."""
    return black_png(8, 8, before=chunk(b"tEXt", b"") * num)


def apng(num_frames: int) -> bytes:
    """An animation with frames larger than the picture says."""
    control = chunk(b"acTL", struct.pack(">II", num_frames, 0))
    frame = chunk(b"fcTL", struct.pack(">IIIIIHHBB", 0, 60000, 60000, 0, 0, 1, 1, 0, 0))
    data = chunk(b"fdAT", struct.pack(">I", 1) + zeros(10 * BLOCK))
    return black_png(8, 8, before=control + (frame + data) * num_frames)


def strip_tiff(
    strip: bytes,
    compression: int,
    *,
    width: int = WIDE,
    height: int = HIGH,
    samples: int = 1,
    bits: int = 8,
) -> bytes:
    """A page of one strip that holds whatever is given."""
    return tiff(
        np.frombuffer(strip, np.uint8).reshape(1, -1, 1),
        compression=7,
        tag_256=(width,),
        tag_257=(height,),
        tag_258=(bits,) * samples,
        tag_259=(compression,),
        tag_262=(2 if samples >= 3 else 1,),
        tag_277=(samples,),
        tag_278=(height,),
    )


def zeros_lzw(num_bytes: int) -> bytes:
    """Each code one byte longer than the one before, until the table is full."""
    codes: list[int] = []
    while num_bytes:
        codes.append(256)
        for length in range(1, 3838):
            length = min(length, num_bytes)
            codes.append(0 if length == 1 else 256 + length)
            num_bytes -= length
            if not num_bytes:
                break
    return lzw_bits([*codes, 257])
