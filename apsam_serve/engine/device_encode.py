"""Images through the encoders on a device, into slots."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.inputs import Pixels
from apsam_serve.engine.device_arena import Slot
from apsam_serve.engine.device_buffers import Images
from apsam_serve.engine.replies import Timings
from apsam_serve.ops.memory import Device, DeviceArray
from apsam_serve.runtime.base import DeviceRunner, Floats

_STAGES = ("begin", "transfer", "encode", "energy")


class Encoders:
    """The encoders for batches of up to B images; images is where their answers pass through."""

    def __init__(self, runner: DeviceRunner, device: Device, images: Images) -> None:
        self._runner = runner
        self._device = device
        self._images = images
        side, num = runner.model.side, images.num
        cells = side // runner.model.energy_stride
        pixels, attention = (num, side, side, 3), (num, cells, cells)
        self._held: list[DeviceArray] = []
        try:
            self._pixels = [self._allocate(pixels, "uint8")]
            self._attention = self._allocate(attention, "float32")
            self._pinned_pixels: list[NDArray[np.uint8]] = [device.pinned(pixels, "uint8")]
            self._pinned_attention: Floats = device.pinned(attention, "float32")
        except BaseException:
            self.close()
            raise

    def encode(self, pixels: Sequence[Pixels], slots: Sequence[Slot]) -> tuple[Floats, Timings]:
        """Encode into the slots and wait. Returns (attention [B, S / 8, S / 8], to be copied;
        the device's own seconds by stage, energy with the copies back)."""
        device = self._device
        device.mark("begin")
        plain = all(one.energy is one.image for one in pixels)
        self._send(0, [one.image for one in pixels])
        if not plain:
            self._send(1, [one.energy for one in pixels])
        device.mark("transfer")
        if self._runner.replayable:
            device.replay(("encode", self, plain), lambda: self._enqueue(plain))
        else:
            self._enqueue(plain)
        for place, slot in enumerate(slots):
            self._images.take(place, slot)
        attention = self._pinned_attention[: len(pixels)]
        device.fetch(attention, self._attention.rows(0, len(pixels)))
        device.mark("energy")
        device.wait()
        return attention, {
            stage: device.elapsed_s(before, stage) for before, stage in pairwise(_STAGES)
        }

    def close(self) -> None:
        """Free the device's memory."""
        while self._held:
            self._device.free(self._held.pop())

    def _allocate(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        self._held.append(self._device.allocate(shape, dtype))
        return self._held[-1]

    def _send(self, which: int, frames: Sequence[NDArray[np.uint8]]) -> None:
        """Queue pictures (0) or energies (1); what is left of an earlier batch behind them is
        encoded too, and dropped."""
        if which == len(self._pixels):  # energies of their own are rare
            like = self._pixels[0]
            if which == len(self._pinned_pixels):  # else kept when there was no device memory
                self._pinned_pixels.append(self._device.pinned(like.shape, like.dtype))
            self._pixels.append(self._allocate(like.shape, like.dtype))
        pinned = self._pinned_pixels[which][: len(frames)]
        np.stack(frames, out=pinned)
        self._device.send(self._pixels[which].rows(0, len(frames)), pinned)

    def _enqueue(self, plain: bool) -> None:
        images = self._images
        self._runner.enqueue(
            "image_encoder", {"image": self._pixels[0]}, {"embedding": images.embedding}
        )
        self._device.mark("encode")
        self._runner.enqueue(
            "energy_encoder",
            {"image": self._pixels[0 if plain else 1]},
            {"energy_query": images.energy_query, "attention": self._attention},
        )
