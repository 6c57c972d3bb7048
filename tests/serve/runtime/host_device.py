"""A device whose memory is the host's and whose queue is worked off at once, and calls on it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.manifest import ModelSpec
from apsam_serve.ops.memory import DeviceArray

Enqueue = Callable[[str, Mapping[str, DeviceArray], Mapping[str, DeviceArray]], None]


class HostDevice:
    """As much of `ops.memory.Device` as a graph needs."""

    stream = 0

    def __init__(self) -> None:
        self._memory: list[NDArray[Any]] = []

    def allocate(self, shape: tuple[int, ...], dtype: str) -> DeviceArray:
        self._memory.append(np.zeros(shape, dtype))
        return DeviceArray(address=self._memory[-1].ctypes.data, shape=shape, dtype=dtype)

    def send(self, to: DeviceArray, source: NDArray[Any]) -> None:
        ctypes.memmove(to.address, np.ascontiguousarray(source).ctypes.data, to.num_bytes)

    def fetch(self, to: NDArray[Any], source: DeviceArray) -> None:
        ctypes.memmove(to.ctypes.data, source.address, source.num_bytes)


class Call:
    """A graph on memory of a device, allocated once. inputs: example arrays."""

    def __init__(
        self,
        device: Any,
        graph: str,
        inputs: Mapping[str, NDArray[Any]],
        outputs: Mapping[str, tuple[int, ...]],
    ) -> None:
        self._device = device
        self._graph = graph
        self.inputs = {
            name: device.allocate(array.shape, array.dtype.name) for name, array in inputs.items()
        }
        self.outputs = {name: device.allocate(shape, "float32") for name, shape in outputs.items()}

    def send(self, inputs: Mapping[str, NDArray[Any]]) -> None:
        for name, array in inputs.items():
            self._device.send(self.inputs[name], np.ascontiguousarray(array))

    def fetch(self) -> dict[str, NDArray[Any]]:
        answers = {name: np.empty(array.shape, "f4") for name, array in self.outputs.items()}
        for name, answer in answers.items():
            self._device.fetch(answer, self.outputs[name])
        return answers

    def run(self, enqueue: Enqueue, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        self.send(inputs)
        enqueue(self._graph, self.inputs, self.outputs)
        return self.fetch()


def frames(model: ModelSpec, num_images: int, *, seed: int) -> NDArray[np.uint8]:
    """Noise uint8 [B, S, S, 3]."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (num_images, model.side, model.side, 3), np.uint8)


def prompts(
    model: ModelSpec, *, images: int, num: int, points: int = 3, seed: int = 0
) -> dict[str, NDArray[Any]]:
    """Inputs of the decoder by the contract's names."""
    rng = np.random.default_rng(seed)
    low = model.mask_side
    return {
        "embedding": rng.normal(size=(images, model.embed_dim, model.grid, model.grid)).astype(
            "f4"
        ),
        "energy_query": rng.normal(size=(images, model.embed_dim)).astype("f4"),
        "image_index": np.arange(num) % images,
        "point_coords": rng.uniform(0, model.side, (num, points, 2)).astype("f4"),
        "point_labels": np.ones((num, points), np.float32),
        "mask_input": rng.normal(size=(num, 1, low, low)).astype("f4"),
        "has_mask_input": (np.arange(num) % 2).astype("f4"),
    }


def as_arguments(inputs: Mapping[str, NDArray[Any]]) -> dict[str, Any]:
    """The same for `Runner.decode`."""
    names = {"point_coords": "coords", "point_labels": "labels"}
    return {names.get(name, name): array for name, array in inputs.items()}


def answers_of(model: ModelSpec, num: int) -> dict[str, tuple[int, ...]]:
    """Shapes of the decoder's outputs for that many prompts."""
    low = model.mask_side
    return {"low_res_logits": (num, model.num_masks, low, low), "iou": (num, model.num_masks)}
