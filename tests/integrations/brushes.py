"""Reads brushes as the annotation page does: bit by bit, with the sizes that the header names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def decode_brush(rle: Sequence[int], height: int, width: int) -> NDArray[np.bool_]:
    """Bytes of `value.rle` to a mask bool [H, W]; all four channels must agree."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    place = 0

    def read(num_bits: int) -> int:
        nonlocal place
        place += num_bits
        return int(bits[place - num_bits : place], 2)

    num_values, value_bits = read(32), read(5) + 1
    length_bits = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < num_values:
        repeated = read(1)
        length = read(length_bits[read(2)]) + 1
        if repeated:
            values += [read(value_bits)] * length
        else:
            values += [read(value_bits) for _ in range(length)]
    pixels = np.array(values, np.uint8).reshape(height, width, 4)
    assert set(np.unique(pixels)) <= {0, 255}
    assert (pixels == pixels[:, :, :1]).all()
    return pixels[:, :, 3] > 0
