"""Buffers that batches pass through on a device, kept by the size of the batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.contract.prompts import MAX_DECODER_POINTS
from apsam_serve.engine.device_arena import Slot
from apsam_serve.ops.memory import Device, DeviceArray, Fields, Layout

Floats = NDArray[np.float32]
_LEAST_BITS = 1 << 16
"""Bytes of packed masks that a batch has room for at least."""


def bucket(num: int) -> int:
    """The power of two that a batch of that many is padded to, so that few shapes are ever run."""
    return 1 << (num - 1).bit_length()


class Block:
    """Fields in device memory and, byte by byte the same, in page-locked host memory: one copy
    moves all of them. Raises OutOfMemoryError."""

    def __init__(self, device: Device, fields: Fields) -> None:
        self._device = device
        self._layout = Layout.of(fields)
        self._memory = device.allocate((self._layout.num_bytes,), "uint8")
        try:
            self._pinned = device.pinned((self._layout.num_bytes,), "uint8")
        except BaseException:
            device.free(self._memory)
            raise
        self._arrays = {name: self._layout.array(name, self._memory) for name in fields}
        self._host = {name: self._view(name) for name in fields}

    def array(self, name: str) -> DeviceArray:
        """A field on the device."""
        return self._arrays[name]

    def host(self, name: str) -> NDArray[Any]:
        """The same on the host."""
        return self._host[name]

    def has(self, name: str) -> bool:
        """Whether there is such a field."""
        return name in self._arrays

    def send(self) -> None:
        """Queue everything to the device."""
        self._device.send(self._memory, self._pinned)

    def fetch(self, last: str, num_bytes: int) -> None:
        """Queue to the host what lies before field `last`, and that many bytes of it."""
        end = self._layout.offsets[last] + num_bytes
        self._device.fetch(self._pinned[:end], self._memory.rows(0, end))

    def close(self) -> None:
        """Free the device's side; the host's goes with the device."""
        self._device.free(self._memory)

    def _view(self, name: str) -> NDArray[Any]:
        array, begin = self._arrays[name], self._layout.offsets[name]
        return self._pinned[begin : begin + array.num_bytes].view(array.dtype).reshape(array.shape)


def host_points(block: Block, num_points: int) -> tuple[Floats, Floats]:
    """coords [P, N, 2] and labels [P, N] of a block whose fields have room for any N."""
    coords, labels = block.host("coords"), block.host("labels")
    num = len(labels) // MAX_DECODER_POINTS * num_points
    return coords[: 2 * num].reshape(-1, num_points, 2), labels[:num].reshape(-1, num_points)


def device_points(block: Block, num_points: int) -> tuple[DeviceArray, DeviceArray]:
    """The same on the device."""
    coords, labels = block.array("coords"), block.array("labels")
    num = labels.shape[0] // MAX_DECODER_POINTS
    return (
        replace(coords, shape=(num, num_points, 2)),
        replace(labels, shape=(num, num_points)),
    )


class Images:
    """Embeddings and queries of a batch of B images, from the encoders or for the decoder."""

    def __init__(self, device: Device, model: ModelSpec, *, dtype: str, num: int) -> None:
        layout = Layout.of(
            {
                "embedding": ((num, model.embed_dim, model.grid, model.grid), dtype),
                "energy_query": ((num, model.embed_dim), dtype),
            }
        )
        self._device = device
        self._memory = device.allocate((layout.num_bytes,), "uint8")
        self.num = num
        self.embedding = layout.array("embedding", self._memory)
        self.energy_query = layout.array("energy_query", self._memory)

    def put(self, place: int, slot: Slot) -> None:
        """Queue a copy of a slot into the batch."""
        self._device.copy(self.embedding.rows(place, place + 1), slot.embedding)
        self._device.copy(self.energy_query.rows(place, place + 1), slot.energy_query)

    def take(self, place: int, slot: Slot) -> None:
        """Queue a copy of the batch's image into a slot."""
        self._device.copy(slot.embedding, self.embedding.rows(place, place + 1))
        self._device.copy(slot.energy_query, self.energy_query.rows(place, place + 1))

    def close(self) -> None:
        self._device.free(self._memory)


class Workspace:
    """Everything that P prompts pass through. inputs and outputs cross the bus, each in one copy;
    logits [2, P, M, L, L] are of both decodes; no_mask [P, 1, L, L] is zero."""

    def __init__(self, device: Device, model: ModelSpec, *, num: int) -> None:
        self._device = device
        self._model = model
        self.num = num
        masks = (num, 1, model.mask_side, model.mask_side)
        self._layout = Layout.of(
            {
                "logits": ((2, num, model.num_masks, *masks[2:]), "float32"),
                "iou_1": ((num, model.num_masks), "float32"),
                "iou_2": ((num, model.num_masks), "float32"),
                "best_1": ((num,), "int32"),
                "best_2": ((num,), "int32"),
                "chosen": ((num,), "int32"),
                "mask_input": (masks, "float32"),
                "no_mask": (masks, "float32"),
            }
        )
        self._scratch = device.allocate((self._layout.num_bytes,), "uint8")
        self._outputs: Block | None = None
        self._given_masks: Floats | None = None
        try:
            zeros = np.zeros(masks, np.float32)
            device.send(self.array("no_mask"), zeros)
            device.wait()
            self.inputs = Block(device, _inputs(num))
            self.inputs.host("has_none")[:] = 0
        except BaseException:
            device.free(self._scratch)
            raise

    def array(self, name: str) -> DeviceArray:
        """What stays on the device."""
        return self._layout.array(name, self._scratch)

    def outputs(self, num_bytes: int) -> Block:
        """Where answers lie, `bits` last, with room for that many bytes of them."""
        held = self._outputs
        if held is None or held.array("bits").num_bytes < num_bytes:
            size = max(_LEAST_BITS, bucket(num_bytes))
            self._outputs = Block(self._device, _outputs(self._model, self.num, size))
            if held is not None:
                self._device.wait()
                held.close()
            held = self._outputs
        return held

    def give_mask(self, place: int, mask: Floats) -> None:
        """Queue a mask of the host's, float32 [L, L], into `mask_input`."""
        target = self.array("mask_input")
        if self._given_masks is None:
            self._given_masks = self._device.pinned(target.shape, target.dtype)
        self._given_masks[place, 0] = mask
        self._device.send(target.rows(place, place + 1), self._given_masks[place : place + 1])

    def close(self) -> None:
        """Free the device's memory."""
        if self._outputs is not None:
            self._outputs.close()
        self.inputs.close()
        self._device.free(self._scratch)


def _inputs(num: int) -> Fields:
    return {
        "image_index": ((num,), "int64"),
        "coords": ((num * MAX_DECODER_POINTS * 2,), "float32"),
        "labels": ((num * MAX_DECODER_POINTS,), "float32"),
        "has_mask": ((num,), "float32"),
        "has_none": ((num,), "float32"),
        "valid_cells": ((num, 2), "int32"),
        "seeds": ((num,), "uint64"),
        "frames": ((num, 4), "int32"),
        "offsets": ((num,), "int64"),
        "planes": ((num,), "int64"),
    }


def _outputs(model: ModelSpec, num: int, num_bytes: int) -> Fields:
    classes = ((num, 1 + model.num_categories), "float32")
    named: Fields = {"categories_1": classes, "categories_2": classes} if model.categories else {}
    return {
        "coords": ((num * MAX_DECODER_POINTS * 2,), "float32"),
        "labels": ((num * MAX_DECODER_POINTS,), "float32"),
        "branch": ((num,), "int32"),
        "score_1": ((num,), "float32"),
        "score_2": ((num,), "float32"),
        "finite_1": ((num,), "int32"),
        "finite_2": ((num,), "int32"),
        **named,
        "bits": ((num_bytes,), "uint8"),
    }
