"""Image files: refuse what is dangerous, broken or foreign before a decoder sees one pixel.

`probe` reads a header with `struct` alone, so that 400 KB that unpack to a gigabyte cost nothing.
`decode` then proves that the file is whole (decoders fill what is missing with grey, and a screener
must not look at grey), and hands OpenCV a file it cannot be surprised by. PNG, JPEG and TIFF only.
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.tiff import TiffPage, read_page, read_pixels
from apsam_serve.errors import InvalidImageError

MAX_PIXELS = 24_000_000
"""Pixels of one image; an X-ray view has 1 to 4 million."""
MAX_BYTES = 16 * 2**20
"""Bytes of one file."""
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}
_PNG_BITS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_PNG_PIXEL_CHUNKS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT")
_JPEG_FRAMES = {0xC0: "baseline", 0xC1: "extended", 0xC2: "progressive"}
_JPEG_REFUSED_FRAMES = {*range(0xC3, 0xD0)} - {0xC4, 0xC8, 0xCC}
_JPEG_SCAN, _JPEG_END = 0xDA, 0xD9
_JPEG_NEXT_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")
_JPEG_MAX_SEGMENTS = 4096
"""Profiles and EXIF take hundreds; empty comments would take a step of Python each."""
_PNG_MAX_CHUNKS = 2**16
_BAND_PIXELS = 2**20
"""What is converted at once: whole planes of the largest image would take half a gigabyte."""
_JPEG_MAX_SCANS = 64
"""A progressive JPEG of camera or scanner has about ten; each is a pass over the whole image."""


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """What a file claims to be. bits: per sample, as stored; channels: of the decoded pixels, so 3
    for a palette, and 2 or 4 with alpha."""

    format: Literal["png", "jpeg", "tiff"]
    width: int
    height: int
    channels: int
    bits: int


def probe(data: bytes) -> ImageHeader:
    """Read the header alone. Raises InvalidImageError for another format or a broken header."""
    if data.startswith(_PNG_SIGNATURE):
        return _probe_png(data)
    if data.startswith(b"\xff\xd8\xff"):
        return _probe_jpeg(data)
    if data[:2] in (b"II", b"MM"):
        return _tiff_header(read_page(data))
    raise InvalidImageError(
        f"image of {len(data)} bytes starts with {data[:8].hex(' ') or 'nothing'}; "
        "send a PNG, JPEG or TIFF file"
    )


def decode(
    data: bytes, *, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> NDArray[np.uint8]:
    """Decode a file to RGB uint8 [H, W, 3].

    Grey becomes three equal channels. Alpha is composited on white, which is air in an X-ray image.
    16 bits become 8 by the full range, round(v / 257): stretching to the darkest and brightest
    pixel found would make the same knife look different in every bag. The EXIF orientation is
    ignored, because scanners do not rotate. Of several pages or frames it takes the first.

    Raises InvalidImageError for everything that is not a whole image within the limits.
    """
    if len(data) > max_bytes:
        raise InvalidImageError(
            f"image file has {len(data)} bytes; send at most {max_bytes}, compressed if need be"
        )
    header = probe(data)
    if header.width * header.height > max_pixels:
        raise InvalidImageError(
            f"image is {header.width} x {header.height} pixels; send at most {max_pixels} pixels: "
            "crop it or scale it down"
        )
    if header.format == "tiff":
        return _decode_tiff(data)
    whole = _whole_png(data, header) if header.format == "png" else _whole_jpeg(data)
    pixels = cv2.imdecode(np.frombuffer(whole, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[:2] != (header.height, header.width):
        raise InvalidImageError(
            f"{header.format} image of {header.width} x {header.height} pixels has damaged pixel "
            "data; send the file again"
        )
    return _to_rgb(pixels.reshape(header.height, header.width, -1))


def _decode_tiff(data: bytes) -> NDArray[np.uint8]:
    page = read_page(data)
    pixels = read_pixels(data, page)
    order = {1: (0,), 3: (2, 1, 0), 4: (2, 1, 0, 3)}[pixels.shape[2]]
    return _to_rgb(pixels, order=order, premultiplied=page.alpha == "premultiplied")


def _to_rgb(
    pixels: NDArray[np.integer | np.floating],
    *,
    order: Sequence[int] | None = None,
    premultiplied: bool = False,
) -> NDArray[np.uint8]:
    """Grey, BGR or BGRA of 8 or 16 bits, [H, W, 1 | 3 | 4], to RGB uint8 [H, W, 3].

    order: of the channels that make it BGR or BGRA, None where it is; premultiplied: the colours
    hold their share of the alpha already.
    """
    height, width = pixels.shape[:2]
    rgb = np.empty((height, width, 3), np.uint8)
    rows = max(1, _BAND_PIXELS // width)
    for top in range(0, height, rows):
        band = pixels[top : top + rows]
        band = np.ascontiguousarray(band if order is None else band[:, :, list(order)])
        rgb[top : top + rows] = _band_to_rgb(band, premultiplied=premultiplied)
    return rgb


def _band_to_rgb(
    pixels: NDArray[np.integer | np.floating], *, premultiplied: bool
) -> NDArray[np.uint8]:
    channels = pixels.shape[2]
    if pixels.dtype == np.uint16:
        reduced = np.asarray(cv2.convertScaleAbs(pixels, alpha=1 / 257), np.uint8)
    else:
        reduced = pixels.astype(np.uint8, copy=False)
    if channels == 1:
        return np.asarray(cv2.cvtColor(reduced, cv2.COLOR_GRAY2RGB), np.uint8)
    code = cv2.COLOR_BGR2RGB if channels == 3 else cv2.COLOR_BGRA2RGB
    rgb = np.asarray(cv2.cvtColor(reduced, code), np.uint8)
    if channels == 4:
        alpha = np.asarray(cv2.cvtColor(reduced[:, :, 3], cv2.COLOR_GRAY2RGB), np.uint8)
        if premultiplied:
            return np.asarray(cv2.add(rgb, ~alpha), np.uint8)
        # Air minus what the object takes away from it.
        rgb = ~np.asarray(cv2.multiply(~rgb, alpha, scale=1 / 255), np.uint8)
    return rgb


def _probe_png(data: bytes) -> ImageHeader:
    if len(data) < 33 or data[12:16] != b"IHDR":
        raise InvalidImageError(
            f"PNG of {len(data)} bytes has no complete IHDR chunk first; send the whole file"
        )
    width, height, bits, color = struct.unpack_from(">IIBB", data, 16)
    if not (1 <= width < 2**31 and 1 <= height < 2**31 and bits in _PNG_BITS.get(color, ())):
        raise InvalidImageError(
            f"PNG header says {width} x {height} pixels, {bits} bits, colour type {color}, which "
            "no PNG has; send the file again"
        )
    return ImageHeader(
        format="png", width=width, height=height, channels=_PNG_CHANNELS[color], bits=bits
    )


def _whole_png(data: bytes, header: ImageHeader) -> bytes:
    """Check every chunk, and keep only those that carry pixels: no animation, text or profile."""
    # libpng unpacks to the end whatever is there, a gigabyte in 2 s, for however small an image.
    line_bytes = 2 + header.width * 4 * header.bits // 8
    room = 2**16 + 2 * header.height * line_bytes
    kept = [_PNG_SIGNATURE]
    begin = len(_PNG_SIGNATURE)
    for _ in range(_PNG_MAX_CHUNKS):
        if begin + 12 > len(data):
            break
        size, kind = struct.unpack_from(">I4s", data, begin)
        end = begin + 12 + size
        if end > len(data):
            break
        (stored,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(data[begin + 4 : end - 4]) != stored:
            raise InvalidImageError(
                f"PNG chunk {kind!r} at byte {begin} is damaged (its CRC differs); send it again"
            )
        if kind == b"IHDR" and len(kept) > 1:
            raise InvalidImageError("PNG has a second IHDR chunk; send one image per file")
        room -= size if kind == b"IDAT" else 0
        if room < 0:
            raise InvalidImageError(
                f"PNG has more pixel data than {header.width} x {header.height} pixels can need; "
                "send the file again"
            )
        if kind in _PNG_PIXEL_CHUNKS or kind == b"IEND":
            kept.append(data[begin:end])
        if kind == b"IEND":
            return b"".join(kept)
        begin = end
    raise InvalidImageError(
        f"PNG of {len(data)} bytes is cut off in the chunk at byte {begin}, or has more than "
        f"{_PNG_MAX_CHUNKS} of them; send the whole file"
    )


def _probe_jpeg(data: bytes) -> ImageHeader:
    for marker, begin, end in _jpeg_segments(data):
        if marker in _JPEG_REFUSED_FRAMES:
            raise InvalidImageError(
                f"JPEG has frame type 0x{marker:02X} (lossless, arithmetic or hierarchical); "
                "save it as baseline or progressive JPEG, or as PNG"
            )
        if marker in _JPEG_FRAMES and end - begin >= 6:
            bits, height, width, channels = struct.unpack_from(">BHHB", data, begin)
            if bits != 8 or channels not in (1, 3) or not (height and width):
                raise InvalidImageError(
                    f"JPEG is {width} x {height} pixels with {channels} channels of {bits} bits; "
                    "send grey or RGB with 8 bits, at least 1 x 1 pixels"
                )
            return ImageHeader(
                format="jpeg", width=width, height=height, channels=channels, bits=bits
            )
        if marker in (_JPEG_SCAN, _JPEG_END):
            break
    raise InvalidImageError("JPEG has no frame header before its pixels; send the whole file")


def _whole_jpeg(data: bytes) -> bytes:
    """Check that the file reaches its end, and drop EXIF, colour profiles and what follows it."""
    kept = [data[:2]]
    num_frames = num_scans = 0
    for marker, begin, end in _jpeg_segments(data):
        num_frames += marker in _JPEG_FRAMES
        num_scans += marker == _JPEG_SCAN
        if not 0xE1 <= marker <= 0xED:
            kept.append(b"\xff" + data[begin - 3 : end] if begin < end else b"\xff\xd9")
    if num_frames != 1 or not 1 <= num_scans <= _JPEG_MAX_SCANS:
        raise InvalidImageError(
            f"JPEG has {num_frames} frames and {num_scans} scans; send one frame of 1 to "
            f"{_JPEG_MAX_SCANS} scans"
        )
    return b"".join(kept)


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """(marker, begin, end of its content) up to the end marker. A scan's content holds its pixels.

    Raises InvalidImageError where the file is cut off.
    """
    place = 2
    for _ in range(_JPEG_MAX_SEGMENTS):
        found = _JPEG_NEXT_MARKER.search(data, place)
        if found is None:
            break
        marker = found[0][1]
        begin = found.end() + 2
        if marker == _JPEG_END:
            yield marker, begin, begin
            return
        if begin > len(data):
            break
        end = begin - 2 + int.from_bytes(data[begin - 2 : begin], "big")
        if end < begin or end > len(data):
            break
        if marker == _JPEG_SCAN:
            following = _JPEG_NEXT_MARKER.search(data, end)
            end = following.start() if following else len(data)
        yield marker, begin, end
        place = end
    raise InvalidImageError(
        f"JPEG of {len(data)} bytes is cut off after byte {place}, or has more than "
        f"{_JPEG_MAX_SEGMENTS} segments; send the whole file"
    )


def _tiff_header(page: TiffPage) -> ImageHeader:
    return ImageHeader(
        format="tiff",
        width=page.width,
        height=page.height,
        channels=page.channels,
        bits=8 * page.dtype.itemsize,
    )
