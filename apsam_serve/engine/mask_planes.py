"""Which low-resolution masks of one image are kept for refining, and where. Pure bookkeeping.

Every image has a few planes. A new mask takes the place of the oldest one that nobody is reading.
"""

from __future__ import annotations

import secrets
from collections import Counter, OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

from apsam_serve.errors import MaskGoneError


class MaskPlanes:
    """The planes of one image. One thread calls it. name: begins the ids of its masks, so that
    those of another image, or of an earlier encoding, are not taken for them."""

    def __init__(self, num_planes: int, *, name: str | None = None) -> None:
        self._name = secrets.token_hex(4) if name is None else name
        self._free = list(range(num_planes))
        self._planes: OrderedDict[str, int] = OrderedDict()  # id -> plane, oldest first
        self._readers: Counter[str] = Counter()
        self._next_id = 0

    def take(self) -> int | None:
        """A plane to write, or None when each is being read or written."""
        if not self._free:
            oldest = next((known for known in self._planes if not self._readers[known]), None)
            if oldest is None:
                return None
            self._free.append(self._planes.pop(oldest))
        return self._free.pop(0)

    def give_back(self, plane: int) -> None:
        """A taken plane was not written."""
        self._free.append(plane)

    def publish(self, plane: int) -> str:
        """A taken plane was written. Returns the id of its mask."""
        mask_id = f"{self._name}-{self._next_id}"
        self._next_id += 1
        self._planes[mask_id] = plane
        return mask_id

    @contextmanager
    def reading(self, mask_id: str) -> Iterator[int]:
        """The plane of a mask, which stays as it is inside the block. Raises MaskGoneError."""
        if mask_id not in self._planes:
            shown = mask_id if len(mask_id) <= 16 else mask_id[:16] + "..."
            kept = ", ".join(self._planes) or "none"
            raise MaskGoneError(
                f"mask {shown!r} is no longer held for this image (kept: {kept}); send the points "
                "without it, or click again"
            )
        self._readers[mask_id] += 1
        try:
            yield self._planes[mask_id]
        finally:
            self._readers[mask_id] -= 1
            self._readers += Counter()  # forgets those that nobody reads
