"""The kernels by name: the parameters of each, in order, and how a call of one is laid out.

This is the one list of parameters. The device launcher and the host build of the tests both take
their arguments from it, and a test holds it to the source.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

CValue = ctypes.c_void_p | ctypes.c_int | ctypes.c_float | ctypes.c_double
CType = Callable[[Any], CValue]
Value = int | float | None


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """parameters: name -> C type, c_void_p for an address in the memory of whoever launches;
    threads: per block."""

    name: str
    threads: int
    parameters: Mapping[str, CType]

    def arguments(self, values: Mapping[str, Value]) -> Arguments:
        """Lay out the values of every parameter for one launch; None is a null pointer."""
        assert values.keys() == self.parameters.keys(), (
            f"{self.name} takes {', '.join(self.parameters)}; got {', '.join(values)}"
        )
        held = [kind(values[name]) for name, kind in self.parameters.items()]
        addresses = (ctypes.c_void_p * len(held))(*(ctypes.addressof(value) for value in held))
        return Arguments(held=tuple(held), addresses=addresses)


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """addresses: void*[], where each value of `held` lies; good as long as this object lives."""

    held: tuple[CValue, ...]
    addresses: ctypes.Array[ctypes.c_void_p]

    @property
    def address(self) -> int:
        """Where `addresses` lies."""
        return ctypes.addressof(self.addresses)


_CHOICE: Mapping[str, CType] = {
    "logits": ctypes.c_void_p,
    "best": ctypes.c_void_p,
}
_SIZES: Mapping[str, CType] = {"num_masks": ctypes.c_int, "side": ctypes.c_int}

BEST_MASK = Kernel(
    name="best_mask",
    threads=1024,
    parameters={
        "iou": ctypes.c_void_p,
        "logits": ctypes.c_void_p,
        **_SIZES,
        "best": ctypes.c_void_p,
        "score": ctypes.c_void_p,
        "finite": ctypes.c_void_p,
    },
)
"""Grid (P, 1). iou float32 [P, M], logits float32 [P, M, L, L] -> best int32 [P], score float32
[P], finite int32 [P]."""

ADAPTIVE_POINTS = Kernel(
    name="adaptive_points",
    threads=256,
    parameters={
        **_CHOICE,
        "valid_cells": ctypes.c_void_p,
        **_SIZES,
        "core": ctypes.c_float,
        "tau": ctypes.c_double,
        "max_iterations": ctypes.c_int,
        "fallback": ctypes.c_int,
        "scale_low": ctypes.c_double,
        "scale_high": ctypes.c_double,
        "seeds": ctypes.c_void_p,
        "old_coords": ctypes.c_void_p,
        "old_labels": ctypes.c_void_p,
        "num_old": ctypes.c_int,
        "coords": ctypes.c_void_p,
        "labels": ctypes.c_void_p,
        "num_points": ctypes.c_int,
        "branch": ctypes.c_void_p,
        "assignment": ctypes.c_void_p,
        "box": ctypes.c_void_p,
        "centroids": ctypes.c_void_p,
    },
)
"""Grid (P, 1). best and valid_cells int32 [P], [P, 2]; seeds uint64 [P]; the first decode's prompt
old_coords float32 [P, N1, 2], old_labels float32 [P, N1] -> the second's, coords float32 [P, N2, 2]
and labels float32 [P, N2]; branch int32 [P], a place in `BRANCHES`; for tests, or None: assignment
int8 [P, L, L], box float64 [P, 4], centroids float64 [P, 2, 2]. L is a multiple of 4 up to 256."""

PACK_MASKS = Kernel(
    name="pack_masks",
    threads=256,
    parameters={
        **_CHOICE,
        "frames": ctypes.c_void_p,
        "offsets": ctypes.c_void_p,
        **_SIZES,
        "packed": ctypes.c_void_p,
    },
)
"""Grid (any, P). frames int32 [P, 4] (height, width, model_height, model_width), offsets int64 [P]
-> packed uint8: numpy.packbits of every mask, from its offset on."""

CHOOSE_DECODE = Kernel(
    name="choose_decode",
    threads=64,
    parameters={
        "branch": ctypes.c_void_p,
        "first": ctypes.c_void_p,
        "second": ctypes.c_void_p,
        "num_prompts": ctypes.c_int,
        "num_masks": ctypes.c_int,
        "chosen": ctypes.c_void_p,
    },
)
"""Grid (1, 1). branch int32 [P]; first and second int32 [P], the best masks of both decodes ->
chosen int32 [P], which names the answer's mask in logits [2, P, M, L, L] of both as `best` does."""

KEEP_MASKS = Kernel(
    name="keep_masks",
    threads=256,
    parameters={**_CHOICE, "planes": ctypes.c_void_p, **_SIZES},
)
"""Grid (any, P). planes int64 [P]: the address that the chosen mask, float32 [L, L], is copied to,
or 0."""

KERNELS = (BEST_MASK, ADAPTIVE_POINTS, CHOOSE_DECODE, PACK_MASKS, KEEP_MASKS)
BRANCHES = ("clusters", "fallback", "empty")
FALLBACKS = ("foreground", "box")
