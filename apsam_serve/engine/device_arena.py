"""Slots of device memory that images are held in. A slot is kept when its image is forgotten."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.errors import OutOfMemoryError
from apsam_serve.ops.memory import Device, DeviceArray, Layout

CHUNK = 16
"""Slots that are allocated together, where there is room for so many."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Slot:
    """What one image takes: embedding [C, G, G] and energy_query [C] in the type of the build, and
    masks, float32 [num_masks, L, L]."""

    embedding: DeviceArray
    energy_query: DeviceArray
    masks: DeviceArray


class Arena:
    """Slots. One thread takes them; any thread gives one back."""

    def __init__(self, device: Device, model: ModelSpec, *, dtype: str, num_masks: int) -> None:
        side, low = model.grid, model.mask_side
        self._device = device
        self._layout = Layout.of(
            {
                "embedding": ((model.embed_dim, side, side), dtype),
                "energy_query": ((model.embed_dim,), dtype),
                "masks": ((num_masks, low, low), "float32"),
            }
        )
        self._chunks: list[DeviceArray] = []
        self._free: deque[tuple[DeviceArray, int]] = deque()  # a chunk, and bytes into it
        self._lent: dict[Slot, tuple[DeviceArray, int]] = {}

    @property
    def slot_bytes(self) -> int:
        return self._layout.num_bytes

    @property
    def num_free(self) -> int:
        """Slots that are allocated and hold no image."""
        return len(self._free)

    def take(self, num: int) -> list[Slot]:
        """Lend slots. Raises OutOfMemoryError, and then lends none."""
        while len(self._free) < num:
            self._grow()
        return [self._lend(*self._free.popleft()) for _ in range(num)]

    def give_back(self, slot: Slot) -> None:
        """Its image is forgotten. Once per slot: a second time would lend it to two images."""
        self._free.append(self._lent.pop(slot))

    def close(self) -> None:
        """Free everything."""
        self._free.clear()
        self._lent.clear()
        while self._chunks:
            self._device.free(self._chunks.pop())

    def _lend(self, chunk: DeviceArray, base: int) -> Slot:
        slot = Slot(
            embedding=self._layout.array("embedding", chunk, base),
            energy_query=self._layout.array("energy_query", chunk, base),
            masks=self._layout.array("masks", chunk, base),
        )
        self._lent[slot] = chunk, base
        return slot

    def _grow(self) -> None:
        num = CHUNK
        while True:
            try:
                chunk = self._device.allocate((num * self.slot_bytes,), "uint8")
                break
            except OutOfMemoryError:
                if num == 1:
                    raise
                num //= 2
        self._chunks.append(chunk)
        self._free.extend((chunk, place * self.slot_bytes) for place in range(num))
