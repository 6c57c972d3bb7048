"""Label Studio's run lengths of a mask, which are not COCO's.

Label Studio stores brushes as pixels of four channels, row-major, in the form of thi.ng/rle-pack: a
header of 32 bits for the number of values, 5 for the bits of a value less one, and four times 4 for
the bits of run lengths less one; then, for each run, a 1, two bits that name one of the four sizes,
the length less one, and the value. (After a 0 instead of the 1 come as many values as the length
says; the page writes soft edges of strokes so.)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.masks import check_mask, check_size
from apsam_serve.errors import InvalidInputError

_CHANNELS = 4
_VALUE_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)
_HALF = 128
"""Of a pixel that a stroke's soft edge covers."""


def encode_brush(mask: NDArray[np.bool_]) -> list[int]:
    """Mask bool [H, W] to the bytes of `value.rle`."""
    check_mask(mask)
    flat = mask.ravel()
    begins = np.flatnonzero(np.diff(flat, prepend=not flat[0]))
    lengths = _CHANNELS * np.diff(begins, append=flat.size)
    header = [(_CHANNELS * flat.size, 32), (_VALUE_BITS - 1, 5)]
    header += [(bits - 1, 4) for bits in _LENGTH_BITS]
    words = [f"{value:0{bits}b}" for value, bits in header]
    for length, value in zip(lengths.tolist(), flat[begins].tolist(), strict=True):
        words += _run(length, 255 * value)
    bits = "".join(words)
    num_bytes = -(-len(bits) // 8)
    return list(int(bits.ljust(8 * num_bytes, "0"), 2).to_bytes(num_bytes, "big"))


def _run(length: int, value: int) -> Iterator[str]:
    """One run, or several where no size holds its length."""
    most = 1 << _LENGTH_BITS[-1]
    while length > 0:
        part = min(length, most)
        size = next(index for index, bits in enumerate(_LENGTH_BITS) if part <= 1 << bits)
        yield f"1{size:02b}{part - 1:0{_LENGTH_BITS[size]}b}{value:0{_VALUE_BITS}b}"
        length -= part


def decode_brush(rle: Sequence[int], *, height: int, width: int) -> NDArray[np.bool_]:
    """The bytes of `value.rle` to a mask bool [H, W], by the fourth channel, as Label Studio does.

    Raises InvalidInputError for other bytes.
    """
    check_size(height, width)
    values = np.zeros(_CHANNELS * height * width, np.uint8)
    try:
        bits = _Bits(bytes(rle))
        num_values, value_bits = bits.read(32), bits.read(5) + 1
        length_bits = [bits.read(4) + 1 for _ in range(4)]
        if (num_values, value_bits) != (values.size, _VALUE_BITS):
            raise ValueError(f"{num_values} values of {value_bits} bits")
        begin = 0
        while begin < num_values:
            repeated = bits.read(1)
            end = begin + bits.read(length_bits[bits.read(2)]) + 1
            if end > num_values:
                raise ValueError("a run leaves the image")
            for place in (slice(begin, end),) if repeated else range(begin, end):
                values[place] = bits.read(value_bits)
            begin = end
    except (ValueError, IndexError, TypeError) as error:
        raise InvalidInputError(
            f"brush is not one of {width} x {height} pixels ({error}); export it again"
        ) from error
    return values.reshape(height, width, _CHANNELS)[:, :, 3] >= _HALF


class _Bits:
    """Numbers from the highest bit on. Raises ValueError past the end."""

    def __init__(self, data: bytes) -> None:
        self._bits = "".join(f"{byte:08b}" for byte in data)
        self._place = 0

    def read(self, num_bits: int) -> int:
        self._place += num_bits
        if self._place > len(self._bits):
            raise ValueError("it is cut off")
        return int(self._bits[self._place - num_bits : self._place], 2)
