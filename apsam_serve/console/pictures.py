"""Views of pictures as PNG files, the last ones kept."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable

from apsam_serve.console.views import draw, to_png
from apsam_serve.contract.images import decode

_ROOM_BYTES = 128 * 2**20


class Pictures:
    """Drawn beside the event loop. room_bytes: of PNG files kept."""

    def __init__(self, *, room_bytes: int = _ROOM_BYTES) -> None:
        self._room_bytes = room_bytes
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    async def view(self, name: str, sha256: str, load: Callable[[], Awaitable[bytes]]) -> bytes:
        """A view of the picture with that SHA-256. Raises InvalidImageError."""
        key = (sha256, name)
        found = self._kept.get(key)
        if found is None:
            data = await load()
            found = await asyncio.to_thread(lambda: to_png(draw(name, decode(data))))
            self._kept[key] = found
        self._kept.move_to_end(key)
        while len(self._kept) > 1 and sum(map(len, self._kept.values())) > self._room_bytes:
            self._kept.popitem(last=False)
        return found
