"""A perceptual hash that survives re-encoding, and the search for hashes that are close.

The hash is the sign of the 16 x 16 lowest frequencies of the picture's DCT (32 x 32 grey, area
averaged), row by row; the mean (bit 0) is left out, so 255 of the 256 bits say something. The 8 x 8
lowest of them are the usual 64-bit pHash: it finds candidates, the whole hash confirms them. Signs
make a mirrored or turned copy's hash known without its pixels: mirroring negates the odd
frequencies of one axis, turning swaps the axes.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cv2
import numpy as np
from numpy.typing import NDArray

SIDE: Final = 16
_COARSE: Final = 8
_PICTURE: Final = 32
_ROWS, _COLUMNS = 128, 8192
"""Tile of the search: its three buffers stay below 20 MB."""

_ODD = np.arange(SIDE) % 2 == 1
_LEFT_RIGHT = np.broadcast_to(_ODD[None, :], (SIDE, SIDE))
_UPSIDE_DOWN = np.broadcast_to(_ODD[:, None], (SIDE, SIDE))
ORIENTATIONS: Final[tuple[str, ...]] = (
    "",
    "mirrored left to right",
    "mirrored upside down",
    "turned by 180 degrees",
    "transposed",
    "turned by 90 degrees",
    "turned by 90 degrees",
    "transposed along the other diagonal",
)


def perceptual_hash(grey: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Grey [H, W] -> bits [16, 16], lowest frequency first; [0, 0] is always False."""
    small = cv2.resize(grey, (_PICTURE, _PICTURE), interpolation=cv2.INTER_AREA)
    bits: NDArray[np.bool_] = cv2.dct(small.astype(np.float32))[:SIDE, :SIDE] > 0
    bits[0, 0] = False
    return bits


def to_hex(bits: NDArray[np.bool_]) -> str:
    """Bits [16, 16] -> 64 hexadecimal digits."""
    return np.packbits(bits).tobytes().hex()


def from_hex(texts: list[str]) -> NDArray[np.bool_]:
    """N hashes -> bits [N, 16, 16]."""
    packed = np.frombuffer(bytes.fromhex("".join(texts)), np.uint8)
    return np.unpackbits(packed).astype(np.bool_).reshape(-1, SIDE, SIDE)


def oriented(bits: NDArray[np.bool_], orientation: int) -> NDArray[np.bool_]:
    """The hashes [N, 16, 16] of the same pictures, mirrored or turned as `ORIENTATIONS` says."""
    turned = bits.transpose(0, 2, 1) if orientation >= 4 else bits
    if orientation in (1, 3, 5, 7):
        turned = turned ^ _LEFT_RIGHT
    if orientation in (2, 3, 6, 7):
        turned = turned ^ _UPSIDE_DOWN
    return turned


def coarse_words(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """[N, 16, 16] -> the 64-bit pHash of each, uint64 [N]."""
    corner = np.ascontiguousarray(bits[:, :_COARSE, :_COARSE]).reshape(len(bits), -1)
    return np.packbits(corner, axis=1).view(np.uint64).reshape(-1)


def fine_words(bits: NDArray[np.bool_]) -> NDArray[np.uint64]:
    """[N, 16, 16] -> the whole hash of each, uint64 [N, 4]."""
    return np.packbits(bits.reshape(len(bits), -1), axis=1).view(np.uint64)


def near_pairs(
    left: NDArray[np.uint64], right: NDArray[np.uint64], max_distance: int
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Every (i, j), i < j, whose words left[i], right[j] differ in at most `max_distance` bits.

    Exact, whatever the distance: all pairs are compared, in tiles, at about a nanosecond each.
    """
    total = len(left)
    for top in range(0, total, _ROWS):
        rows = left[top : top + _ROWS, None]
        for first in range(top, total, _COLUMNS):
            distance = np.bitwise_count(rows ^ right[None, first : first + _COLUMNS])
            near = np.flatnonzero(distance <= max_distance)
            i, j = np.divmod(near, distance.shape[1])
            i, j = i + top, j + first
            ordered = i < j
            if ordered.any():
                yield i[ordered], j[ordered]
