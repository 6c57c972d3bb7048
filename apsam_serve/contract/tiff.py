"""TIFF as scanners export it, read with NumPy and zlib: the first page, grey or RGB, 8 or 16 bits.

Not through libtiff, because a screener must not look at a half blank bag: OpenCV 5.0 returns 8-bit
pages with damaged strips as if they were whole, and 16-bit planar pages with mixed-up pixels. Here
a strip that does not unpack to exactly its size is an error, and nothing is unpacked beyond it.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsam_serve.errors import InvalidImageError

_MAX_BLOCKS = 100_000
_MAX_TILE_SIDE = 1024
_VALUE_KINDS = {1: "B", 3: "H", 4: "I"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES, _PLANAR = 273, 277, 278, 279, 284
_PREDICTOR, _TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES = 317, 322, 323, 324, 325
_SAMPLE_FORMAT = 339
_ACCEPTED = {
    _BITS: ({8, 16}, "bits per sample"),
    _COMPRESSION: ({1, 8, 32946}, "compression (1 is none, 8 and 32946 are deflate)"),
    _PHOTOMETRIC: ({0, 1, 2}, "photometric interpretation (0 and 1 are grey, 2 is RGB)"),
    _SAMPLES: ({1, 3}, "samples per pixel"),
    _PLANAR: ({1}, "planar configuration"),
    _PREDICTOR: ({1, 2}, "predictor"),
    _SAMPLE_FORMAT: ({1}, "sample format (1 is unsigned)"),
}
_TAGS = {
    *_ACCEPTED,
    *(_WIDTH, _HEIGHT, _STRIP_OFFSETS, _STRIP_SIZES, _ROWS_PER_STRIP),
    *(_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES),
}
_Fields = Mapping[int, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class TiffPage:
    """The first page. It is cut into blocks (strips or tiles) of block_height x block_width pixels;
    offsets and sizes, in bytes, are theirs, row by row. dtype: NumPy's name, with byte order."""

    height: int
    width: int
    samples: int
    dtype: np.dtype[np.unsignedinteger]
    deflated: bool
    differences: bool
    white_is_zero: bool
    block_height: int
    block_width: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]


def read_page(data: bytes) -> TiffPage:
    """Parse the first directory, no pixels. Raises InvalidImageError for what is not accepted."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        fields = _read_fields(data, order)
    except struct.error as error:
        raise InvalidImageError(
            f"TIFF of {len(data)} bytes is cut off in its directory; send the whole file"
        ) from error
    for tag, (accepted, what) in _ACCEPTED.items():
        found = set(fields.get(tag, (1,)))
        if not found <= accepted:
            raise InvalidImageError(
                f"TIFF has {what} {sorted(found)}; expected one of {sorted(accepted)}: save it "
                "as grey or RGB with 8 or 16 bits, uncompressed or deflated, or send a PNG"
            )
    height, width, samples = (_one(fields, tag) for tag in (_HEIGHT, _WIDTH, _SAMPLES))
    photometric = _one(fields, _PHOTOMETRIC)
    if height < 1 or width < 1 or samples != (3 if photometric == 2 else 1):
        raise InvalidImageError(
            f"TIFF is {width} x {height} pixels with {samples} samples of photometric "
            f"interpretation {photometric}; send grey (1 sample) or RGB (3), at least 1 x 1"
        )
    block_height, block_width, offsets, sizes = _blocks(fields, height, width)
    return TiffPage(
        height=height,
        width=width,
        samples=samples,
        dtype=np.dtype(f"{order}u{_one(fields, _BITS) // 8}"),
        deflated=_one(fields, _COMPRESSION) != 1,
        differences=_one(fields, _PREDICTOR) == 2,
        white_is_zero=photometric == 0,
        block_height=block_height,
        block_width=block_width,
        offsets=offsets,
        sizes=sizes,
    )


def read_pixels(data: bytes, page: TiffPage) -> NDArray[np.unsignedinteger]:
    """The pixels [H, W, samples], 0 is black. Raises InvalidImageError for damaged blocks."""
    native = page.dtype.newbyteorder("=")
    image = np.empty((page.height, page.width, page.samples), native)
    across = -(-page.width // page.block_width)
    for index in range(len(page.offsets)):
        top = index // across * page.block_height
        left = index % across * page.block_width
        block = _read_block(data, page, index, top).astype(native, copy=False)
        if page.differences:
            block = np.cumsum(block, axis=1, dtype=native)
        place = image[top : top + page.block_height, left : left + page.block_width]
        place[:] = block[: place.shape[0], : place.shape[1]]
    return np.invert(image, out=image) if page.white_is_zero else image


def _read_block(data: bytes, page: TiffPage, index: int, top: int) -> NDArray[np.unsignedinteger]:
    """One strip or tile [block height, block width, samples]; the last strip may be shorter."""
    is_strip = page.block_width == page.width
    rows = min(page.block_height, page.height - top) if is_strip else page.block_height
    shape = (rows, page.block_width, page.samples)
    expected = rows * page.block_width * page.samples * page.dtype.itemsize
    begin, size = page.offsets[index], page.sizes[index]
    if begin + size > len(data):
        raise InvalidImageError(
            f"TIFF block {index} ends at byte {begin + size} of {len(data)}; send the whole file"
        )
    raw = data[begin : begin + size]
    if page.deflated:
        try:
            raw = zlib.decompressobj().decompress(raw, expected)
        except zlib.error as error:
            raise InvalidImageError(
                f"TIFF block {index} is damaged ({error}); send the file again"
            ) from error
    if len(raw) < expected:
        raise InvalidImageError(
            f"TIFF block {index} holds {len(raw)} of {expected} bytes; send the file again"
        )
    return np.frombuffer(raw, page.dtype, expected // page.dtype.itemsize).reshape(shape)


def _read_fields(data: bytes, order: str) -> _Fields:
    (magic,) = struct.unpack_from(order + "H", data, 2)
    if magic != 42:
        what = "BigTIFF" if magic == 43 else f"a TIFF of unknown version {magic}"
        raise InvalidImageError(f"image is {what}; save it as classic TIFF or PNG")
    (begin,) = struct.unpack_from(order + "I", data, 4)
    (num_fields,) = struct.unpack_from(order + "H", data, begin)
    fields: dict[int, tuple[int, ...]] = {}
    for place in range(begin + 2, begin + 2 + 12 * num_fields, 12):
        tag, kind, num_values = struct.unpack_from(order + "HHI", data, place)
        if tag not in _TAGS:
            continue
        if tag in fields or kind not in _VALUE_KINDS or num_values == 0:
            raise InvalidImageError(
                f"TIFF field {tag} is repeated, empty or of kind {kind}; save the image again with "
                "another program, or send a PNG"
            )
        values = f"{order}{num_values}{_VALUE_KINDS[kind]}"
        at = place + 8
        if struct.calcsize(values) > 4:
            (at,) = struct.unpack_from(order + "I", data, at)
        fields[tag] = struct.unpack_from(values, data, at)
    return fields


def _blocks(
    fields: _Fields, height: int, width: int
) -> tuple[int, int, tuple[int, ...], tuple[int, ...]]:
    """(block height, block width, offsets, sizes in bytes)."""
    if _TILE_WIDTH in fields:
        block_height, block_width = _one(fields, _TILE_HEIGHT), _one(fields, _TILE_WIDTH)
        if not (1 <= block_height <= _MAX_TILE_SIDE and 1 <= block_width <= _MAX_TILE_SIDE):
            raise InvalidImageError(
                f"TIFF has tiles of {block_width} x {block_height} pixels; expected 1 to "
                f"{_MAX_TILE_SIDE}: save it in strips, or send a PNG"
            )
        offsets, sizes = fields.get(_TILE_OFFSETS, ()), fields.get(_TILE_SIZES, ())
    else:
        block_height = min(height, max(1, fields.get(_ROWS_PER_STRIP, (height,))[0]))
        block_width = width
        offsets, sizes = fields.get(_STRIP_OFFSETS, ()), fields.get(_STRIP_SIZES, ())
    expected = -(-height // block_height) * -(-width // block_width)
    if not expected == len(offsets) == len(sizes) or expected > _MAX_BLOCKS:
        raise InvalidImageError(
            f"TIFF lists {len(offsets)} block offsets and {len(sizes)} sizes; {width} x {height} "
            f"pixels have {expected}, and at most {_MAX_BLOCKS} are read: save it in larger strips"
        )
    return block_height, block_width, offsets, sizes


def _one(fields: _Fields, tag: int) -> int:
    """The first value of a field; 1, TIFF's default for the optional ones, where it is missing."""
    return fields.get(tag, (1,))[0]
