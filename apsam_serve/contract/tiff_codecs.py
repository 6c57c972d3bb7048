"""How TIFF packs the bytes of a strip or tile, undone with a bound: deflate, PackBits and LZW.

LZW is written here because only a reader that sees every code can tell a damaged strip: libtiff
behind OpenCV 5.0 hands out 8-bit strips that it could not unpack. LZW has no checksum, so damage
is what names a missing string or changes the size; a single changed bit can pass. NumPy does it
without a step per code, because a loop over the codes keeps the interpreter from the threads that
answer clicks.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Unpack = Callable[[bytes, int], bytes]
"""unpack(raw, limit): all bytes, or ValueError for damage and for more than `limit` of them, before
memory is spent on those."""

_CLEAR, _END, _FIRST = 256, 257, 258
_CODES = 4096 - _FIRST + 1
"""Codes after a Clear until the table is full: the first of them adds no entry."""
_ORDER = np.arange(_CODES + 1)
_NEXT_ENTRY = _FIRST + np.maximum(_ORDER - 1, 0)
# Widths grow one code early: to 10 bits when entry 510 is there, not when 511 is.
_WIDTHS: Ints = 9 + np.searchsorted([511, 1023, 2047], _NEXT_ENTRY, side="right")
_ENDS: Ints = np.cumsum(_WIDTHS)
_BYTES_PER_CLEAR = 250
"""Writers clear a full table, after 3,800 bytes or more, or the 9-bit codes, after 254; strips of
nothing but Clears would cost time."""
_PACKBITS_SLACK = 8192
"""Runs of one byte, and those that mean nothing, would cost a step of Python for two bytes."""


def _stored(raw: bytes, limit: int) -> bytes:
    return raw[:limit]


def _deflate(raw: bytes, limit: int) -> bytes:
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(raw, limit + 1)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    _check_room(len(unpacked), limit)
    if not stream.eof:  # zlib compares its checksum at the end
        raise ValueError("its deflate stream has no end")
    return unpacked


def _packbits(raw: bytes, limit: int) -> bytes:
    unpacked = bytearray()
    place = 0
    while place < len(raw):
        head = raw[place]
        num_read, repeats = (head + 1, 1) if head < 128 else (1, 257 - head)
        place += 1
        if 2 * place > 3 * len(unpacked) + _PACKBITS_SLACK:
            raise ValueError("its runs take more room than what they hold")
        if head == 128:  # means nothing
            continue
        run = raw[place : place + num_read]
        if len(run) < num_read:
            raise ValueError("its last run is cut off")
        unpacked += run * repeats
        _check_room(len(unpacked), limit)
        place += num_read
    return bytes(unpacked)


def _lzw(raw: bytes, limit: int) -> bytes:
    """From Clear to Clear: how wide a code is depends on nothing but its number since the last."""
    data = np.frombuffer(raw + b"\0\0", np.uint8)
    unpacked = bytearray()
    begin = 0
    num_clears = 0
    while num_clears < 3 + len(unpacked) // _BYTES_PER_CLEAR:
        num_clears += 1
        codes = _codes_from(data, begin, 8 * len(raw))
        special = np.flatnonzero((codes == _CLEAR) | (codes == _END))
        if len(special) == 0 and len(codes) > _CODES:
            raise ValueError("its LZW table is full and not cleared")
        num_codes = int(special[0]) if len(special) else len(codes)
        if num_codes:
            unpacked += _strings(codes[:num_codes], limit - len(unpacked))
        if len(special) == 0 or codes[num_codes] == _END:
            return bytes(unpacked)
        begin += int(_ENDS[num_codes])
    raise ValueError("its LZW table is cleared too often")


def _codes_from(data: NDArray[np.uint8], begin: int, num_bits: int) -> Ints:
    """The codes int64 [n] from bit `begin` on, up to a full table, as if none was a Clear."""
    num_codes = int(np.searchsorted(_ENDS, num_bits - begin, side="right"))
    widths = _WIDTHS[:num_codes]
    starts = begin + _ENDS[:num_codes] - widths
    at = starts >> 3
    high, middle, low = (data[at + k].astype(np.int64) for k in range(3))
    window = (high << 16) | (middle << 8) | low
    codes: Ints = (window >> (24 - (starts & 7) - widths)) & ((1 << widths) - 1)
    return codes


def _strings(codes: Ints, limit: int) -> bytes:
    """The bytes of the codes int64 [n] between two Clears.

    Code i >= 258 means: what code j = i's number - 258 gave, and one byte more. That is a copy of
    what stands at j's place, so each byte names an earlier one, and following the names by
    doubling finds the literal of every byte in a few steps over all of them.
    """
    order = np.arange(len(codes))
    literal = codes < _CLEAR
    source = np.where(literal, order, codes - _FIRST)
    if (source >= order)[~literal].any():
        raise ValueError("its LZW codes name strings that do not exist yet")
    lengths = _lengths(source)
    ends = np.cumsum(lengths)
    _check_room(int(ends[-1]), limit)
    starts = ends - lengths
    named = np.arange(ends[-1]) - np.repeat(starts - starts[source], lengths)
    while not np.array_equal(further := named[named], named):
        named = further
    return bytes(np.repeat(codes, lengths)[named].astype(np.uint8))


def _lengths(source: Ints) -> Ints:
    """1 + the steps of each chain of names to its literal, which names itself: int64 [n]."""
    steps: Ints = (source != np.arange(len(source))).astype(np.int64)
    while (more := steps[source]).any():
        steps += more
        source = source[source]
    return 1 + steps


def _check_room(num_bytes: int, limit: int) -> None:
    if num_bytes > limit:
        raise ValueError(f"it unpacks to more than {limit} bytes")


STORED = 1
UNPACK: Mapping[int, Unpack] = {
    STORED: _stored,
    5: _lzw,
    8: _deflate,
    32773: _packbits,
    32946: _deflate,
}
"""By the numbers of TIFF's compression field."""
