"""TIFF as scanners and people export it, read with NumPy and zlib: the first page, grey, RGB or a
palette, with or without alpha, in 8 or 16 bits per sample.

Not through libtiff, because a screener must not look at a half blank bag: OpenCV 5.0 returns 8-bit
pages with damaged strips as if they were whole, and 16-bit planar pages with mixed-up pixels. Here
a packed strip must unpack to exactly its size, and nothing is unpacked beyond it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.tiff_codecs import STORED, UNPACK
from apsam_serve.errors import InvalidImageError

_MAX_BLOCKS = 20_000
"""A line per strip, in separate planes, of the largest image; each block costs time of its own."""
_MAX_TILE_SIDE = 1024
_VALUE_KINDS = {1: "B", 3: "H", 4: "I"}
_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_FILL_ORDER, _STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_SIZES = 266, 273, 277, 278, 279
_PLANAR, _PREDICTOR, _PALETTE, _TILE_WIDTH, _TILE_HEIGHT = 284, 317, 320, 322, 323
_TILE_OFFSETS, _TILE_SIZES, _EXTRA, _SAMPLE_FORMAT = 324, 325, 338, 339
_ACCEPTED = {
    _BITS: ({8, 16}, "bits per sample"),
    _COMPRESSION: (
        set(UNPACK),
        "compression (1 is none, 5 is LZW, 8 and 32946 are deflate, 32773 is PackBits)",
    ),
    _PHOTOMETRIC: (
        {0, 1, 2, 3},
        "photometric interpretation (0 and 1 are grey, 2 is RGB, 3 is a palette)",
    ),
    _FILL_ORDER: ({1}, "fill order"),
    _SAMPLES: ({1, 2, 3, 4}, "samples per pixel"),
    _PLANAR: ({1, 2}, "planar configuration"),
    _PREDICTOR: ({1, 2}, "predictor"),
    _EXTRA: ({0, 1, 2}, "extra samples"),
    _SAMPLE_FORMAT: ({1}, "sample format (1 is unsigned)"),
}
_TAGS = {
    *_ACCEPTED,
    *(_WIDTH, _HEIGHT, _STRIP_OFFSETS, _STRIP_SIZES, _ROWS_PER_STRIP, _PALETTE),
    *(_TILE_WIDTH, _TILE_HEIGHT, _TILE_OFFSETS, _TILE_SIZES),
}
_GREY_INVERTED, _GREY, _RGB, _PALETTE_COLOUR = 0, 1, 2, 3
_NUM_COLOURS = {_GREY_INVERTED: 1, _GREY: 1, _RGB: 3, _PALETTE_COLOUR: 1}
_UNSPECIFIED, _PREMULTIPLIED = 0, 1
_Fields = Mapping[int, tuple[int, ...]]
_Samples = NDArray[np.unsignedinteger]
Alpha = Literal["none", "straight", "premultiplied"]


@dataclass(frozen=True, kw_only=True, eq=False)
class TiffPage:
    """The first page. It is cut into blocks (strips or tiles) of block_height x block_width pixels;
    offsets and sizes, in bytes, are theirs, row by row, and plane by plane where it is planar.

    samples: per pixel, as stored; dtype: of a sample, with byte order; palette: uint8 [256, 3].
    """

    height: int
    width: int
    samples: int
    dtype: np.dtype[np.unsignedinteger]
    photometric: int
    alpha: Alpha
    palette: NDArray[np.uint8] | None
    compression: int
    differences: bool
    planar: bool
    block_height: int
    block_width: int
    offsets: tuple[int, ...]
    sizes: tuple[int, ...]

    @property
    def channels(self) -> int:
        """Of the pixels that the page shows: 1 or 3, and one more with alpha."""
        colours = 3 if self.palette is not None else _NUM_COLOURS[self.photometric]
        return colours + (self.alpha != "none")


def read_page(data: bytes) -> TiffPage:
    """Parse the first directory, no pixels. Raises InvalidImageError for what is not accepted."""
    order = "<" if data[:2] == b"II" else ">"
    try:
        fields = _read_fields(data, order)
    except struct.error as error:
        raise InvalidImageError(
            f"TIFF of {len(data)} bytes is cut off in its directory; send the whole file"
        ) from error
    _check_accepted(fields)
    height, width, samples = (_one(fields, tag) for tag in (_HEIGHT, _WIDTH, _SAMPLES))
    planar = _one(fields, _PLANAR) == 2
    block_height, block_width, offsets, sizes = _blocks(
        fields, height, width, samples if planar else 1
    )
    if sum(sizes) > len(data):
        raise InvalidImageError(
            f"TIFF lists blocks of {sum(sizes)} bytes in a file of {len(data)}; send the whole file"
        )
    return TiffPage(
        height=height,
        width=width,
        samples=samples,
        dtype=np.dtype(f"{order}u{_one(fields, _BITS) // 8}"),
        photometric=_one(fields, _PHOTOMETRIC),
        alpha=_alpha(fields),
        palette=_palette(fields) if _one(fields, _PHOTOMETRIC) == _PALETTE_COLOUR else None,
        compression=_one(fields, _COMPRESSION),
        differences=_one(fields, _PREDICTOR) == 2,
        planar=planar,
        block_height=block_height,
        block_width=block_width,
        offsets=offsets,
        sizes=sizes,
    )


def read_pixels(data: bytes, page: TiffPage) -> _Samples:
    """The pixels [H, W, 1 | 3 | 4] as grey, RGB or RGBA, where 0 is black and transparent.

    Raises InvalidImageError for damaged blocks.
    """
    stored = _read_stored(data, page)
    if page.palette is not None:
        return page.palette[stored[:, :, 0]]
    if page.photometric == _GREY_INVERTED:
        np.invert(stored[:, :, 0], out=stored[:, :, 0])
    if page.alpha == "none":
        return stored[:, :, : page.channels]
    return stored if page.channels == 4 else stored[:, :, [0, 0, 0, 1]]


def _read_stored(data: bytes, page: TiffPage) -> _Samples:
    """The samples [H, W, samples] as they are in the file."""
    image = np.empty((page.height, page.width, page.samples), page.dtype.newbyteorder("="))
    for index, (top, left, plane) in enumerate(_places(page)):
        block = _read_block(data, page, index, top).astype(image.dtype, copy=False)
        if page.differences:
            block = np.cumsum(block, axis=1, dtype=image.dtype)
        place = image[top : top + page.block_height, left : left + page.block_width, plane]
        place[:] = block[: place.shape[0], : place.shape[1]]
    return image


def _places(page: TiffPage) -> Iterator[tuple[int, int, slice]]:
    """(top, left, samples) of each block, in the order of the file."""
    whole = slice(0, page.samples)
    planes = [slice(s, s + 1) for s in range(page.samples)] if page.planar else [whole]
    for plane in planes:
        for top in range(0, page.height, page.block_height):
            for left in range(0, page.width, page.block_width):
                yield top, left, plane


def _read_block(data: bytes, page: TiffPage, index: int, top: int) -> _Samples:
    """One strip or tile [block height, block width, samples]; the last strip may be shorter, or
    padded to the height of the others."""
    samples = 1 if page.planar else page.samples
    row_bytes = page.block_width * samples * page.dtype.itemsize
    is_strip = page.block_width == page.width
    rows = min(page.block_height, page.height - top) if is_strip else page.block_height
    expected, padded = rows * row_bytes, page.block_height * row_bytes
    begin, size = page.offsets[index], page.sizes[index]
    if begin + size > len(data):
        raise InvalidImageError(
            f"TIFF block {index} ends at byte {begin + size} of {len(data)}; send the whole file"
        )
    try:
        raw = UNPACK[page.compression](data[begin : begin + size], padded)
    except ValueError as error:
        raise InvalidImageError(
            f"TIFF block {index} is damaged ({error}); send the file again"
        ) from error
    if len(raw) < expected or (page.compression != STORED and len(raw) not in (expected, padded)):
        raise InvalidImageError(
            f"TIFF block {index} holds {len(raw)} of {expected} bytes; send the file again"
        )
    count = expected // page.dtype.itemsize
    return np.frombuffer(raw, page.dtype, count).reshape(rows, page.block_width, samples)


def _check_accepted(fields: _Fields) -> None:
    for tag, (accepted, what) in _ACCEPTED.items():
        found = set(fields.get(tag, (1,)))
        if not found <= accepted:
            raise InvalidImageError(
                f"TIFF has {what} {sorted(found)}; expected one of {sorted(accepted)}: save it "
                "as grey or RGB with 8 or 16 bits, uncompressed, LZW or deflated, or send a PNG"
            )
    height, width, samples = (_one(fields, tag) for tag in (_HEIGHT, _WIDTH, _SAMPLES))
    photometric, bits = _one(fields, _PHOTOMETRIC), fields.get(_BITS, (1,))
    colours = _NUM_COLOURS[photometric]
    most = colours if photometric == _PALETTE_COLOUR else colours + 1
    if height < 1 or width < 1 or not colours <= samples <= most or len(set(bits)) > 1:
        raise InvalidImageError(
            f"TIFF is {width} x {height} pixels with {samples} samples of photometric "
            f"interpretation {photometric} and {sorted(set(bits))} bits; send grey (1 sample) or "
            "RGB (3), one more for alpha, all of one depth, at least 1 x 1"
        )


def _alpha(fields: _Fields) -> Alpha:
    """What a sample beyond the colours is. Without a word about it, it is the alpha that OpenCV
    writes; called unspecified, it is not to be shown."""
    if _one(fields, _SAMPLES) == _NUM_COLOURS[_one(fields, _PHOTOMETRIC)]:
        return "none"
    kind = fields.get(_EXTRA, (2,))[0]
    if kind == _UNSPECIFIED:
        return "none"
    return "premultiplied" if kind == _PREMULTIPLIED else "straight"


def _palette(fields: _Fields) -> NDArray[np.uint8]:
    """uint8 [256, 3]. The field has 16 bits, to which programs bring 8-bit colours by 257, by 256
    or not at all; the upper byte undoes both factors."""
    values = np.array(fields.get(_PALETTE, ()), np.uint16)
    bits = _one(fields, _BITS)
    if bits != 8 or len(values) != 3 * 256:
        raise InvalidImageError(
            f"TIFF has a palette of {len(values)} values for {bits} bits; expected 768 for 8 bits: "
            "save it as RGB, or send a PNG"
        )
    upper = values if values.max() < 256 else values >> 8
    return upper.astype(np.uint8).reshape(3, 256).T.copy()


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
        if tag in fields or kind not in _VALUE_KINDS or not 0 < num_values <= _MAX_BLOCKS:
            raise InvalidImageError(
                f"TIFF field {tag} is repeated, of kind {kind}, or has {num_values} values where 1 "
                f"to {_MAX_BLOCKS} are read; save the image in larger strips, or send a PNG"
            )
        values = f"{order}{num_values}{_VALUE_KINDS[kind]}"
        at = place + 8
        if struct.calcsize(values) > 4:
            (at,) = struct.unpack_from(order + "I", data, at)
        fields[tag] = struct.unpack_from(values, data, at)
    return fields


def _blocks(
    fields: _Fields, height: int, width: int, planes: int
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
    expected = planes * -(-height // block_height) * -(-width // block_width)
    if not expected == len(offsets) == len(sizes):
        raise InvalidImageError(
            f"TIFF lists {len(offsets)} block offsets and {len(sizes)} sizes; {width} x {height} "
            f"pixels have {expected}, and at most {_MAX_BLOCKS} are read: save it in larger strips"
        )
    return block_height, block_width, offsets, sizes


def _one(fields: _Fields, tag: int) -> int:
    """The first value of a field; 1, TIFF's default for the optional ones, where it is missing."""
    return fields.get(tag, (1,))[0]
