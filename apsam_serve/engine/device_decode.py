"""A batch of prompts through the decoder on a device, twice, without a word with the host between.

Decode 1, the choice of its mask, the adaptive points, decode 2 and the packing of masks are queued
one behind the other. A prompt whose first mask is empty goes through the second decode with the
others; what comes of that is not looked at, and its first answer stands.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.engine.device_batch import Batch
from apsam_serve.engine.device_buffers import Block, Images, Workspace, device_points
from apsam_serve.engine.replies import Timings
from apsam_serve.ops.kernels import (
    ADAPTIVE_POINTS,
    BEST_MASK,
    CHOOSE_DECODE,
    FALLBACKS,
    KEEP_MASKS,
    PACK_MASKS,
    Kernel,
    Value,
)
from apsam_serve.ops.memory import Device, DeviceArray
from apsam_serve.prompting.base import Answer
from apsam_serve.runtime.base import DeviceRunner

_MAX_BLOCKS = 512
"""Of one prompt's mask: more than a GPU runs at once gain nothing."""
_STAGES = ("begin", "transfer", "decode_1", "points", "decode_2", "mask")


def answer(
    runner: DeviceRunner, device: Device, batch: Batch, space: Workspace, images: Images
) -> tuple[list[Answer], Timings]:
    """Answer a batch, and wait once. Timings are the device's own, from one stage's end to the
    next: mask ends with the copies back.

    Raises ModelFaultError, OutOfMemoryError or DeviceFaultError.
    """
    num_bytes = int(batch.offsets[-1])
    outputs = space.outputs(num_bytes)
    batch.write(space.inputs)
    device.mark("begin")
    space.inputs.send()
    for place, slot in enumerate(batch.images):
        images.put(place, slot)
    if batch.refines:
        _put_masks(device, batch, space)
    device.mark("transfer")
    pass_ = _Pass(runner, device, batch, space, images, outputs)
    if runner.replayable:
        device.replay(pass_.key, pass_.queue)
    else:
        pass_.queue()
    outputs.fetch("bits", num_bytes)
    device.mark("mask")
    device.wait()
    stages = _STAGES if batch.course.apg else ("begin", "transfer", "decode_1", "mask")
    timings = {stage: device.elapsed_s(before, stage) for before, stage in pairwise(stages)}
    return batch.read(outputs), timings


def _put_masks(device: Device, batch: Batch, space: Workspace) -> None:
    """Queue the masks that prompts refine into `mask_input`, zeros for the others."""
    masks, zeros = space.array("mask_input"), space.array("no_mask")
    for place, row in enumerate(batch.rows):
        if row.refine is None and row.prompt.mask_logits is not None:
            space.give_mask(place, row.prompt.mask_logits)
            continue
        source = zeros.rows(place, place + 1) if row.refine is None else row.refine
        device.copy(masks.rows(place, place + 1), source)
    rest = (len(batch.rows), space.num)
    if rest[0] < rest[1]:
        device.copy(masks.rows(*rest), zeros.rows(*rest))


class _Pass:
    """What is queued for batches of one course and size: the same work on the same memory."""

    def __init__(
        self,
        runner: DeviceRunner,
        device: Device,
        batch: Batch,
        space: Workspace,
        images: Images,
        outputs: Block,
    ) -> None:
        self._runner = runner
        self._device = device
        self._course = batch.course
        self._refines = batch.refines
        self._space = space
        self._images = images
        self._outputs = outputs
        self._sizes: dict[str, Value] = {
            "num_masks": runner.model.num_masks,
            "side": runner.model.mask_side,
        }

    @property
    def key(self) -> object:
        """The memory's owners are part of it: others of their size lie elsewhere."""
        return ("answer", self._course, self._refines, self._space, self._images, self._outputs)

    def queue(self) -> None:
        """Queue everything between the copies to the device and those back."""
        inputs, outputs, course = self._space.inputs, self._outputs, self._course
        masks = self._space.array("mask_input" if self._refines else "no_mask")
        first = device_points(inputs, course.num_points)
        self._decode(1, first, masks, inputs.array("has_mask"))
        self._device.mark("decode_1")
        self._best(1)
        best = "best_1"
        if course.apg is not None:
            second = device_points(outputs, course.num_next)
            self._adapt(course.apg, first, second)
            self._device.mark("points")
            self._decode(2, second, self._space.array("no_mask"), inputs.array("has_none"))
            self._device.mark("decode_2")
            self._best(2)
            self._choose()
            best = "chosen"
        self._finish(best)

    def _decode(
        self,
        number: int,
        points: tuple[DeviceArray, DeviceArray],
        masks: DeviceArray,
        has_mask: DeviceArray,
    ) -> None:
        answers = {
            "low_res_logits": self._logits(number),
            "iou": self._space.array(f"iou_{number}"),
        }
        if self._outputs.has("categories_1"):
            answers["category_logits"] = self._outputs.array(f"categories_{number}")
        self._runner.enqueue(
            "prompt_decoder",
            {
                "embedding": self._images.embedding,
                "energy_query": self._images.energy_query,
                "image_index": self._space.inputs.array("image_index"),
                "point_coords": points[0],
                "point_labels": points[1],
                "mask_input": masks,
                "has_mask_input": has_mask,
            },
            answers,
        )

    def _best(self, number: int) -> None:
        self._launch(
            BEST_MASK,
            self._space.num,
            {
                "iou": self._space.array(f"iou_{number}"),
                "logits": self._logits(number),
                "best": self._space.array(f"best_{number}"),
                "score": self._outputs.array(f"score_{number}"),
                "finite": self._outputs.array(f"finite_{number}"),
            },
            self._sizes,
        )

    def _adapt(
        self,
        config: ApgConfig,
        first: tuple[DeviceArray, DeviceArray],
        second: tuple[DeviceArray, DeviceArray],
    ) -> None:
        inputs = self._space.inputs
        self._launch(
            ADAPTIVE_POINTS,
            self._space.num,
            {
                "logits": self._logits(1),
                "best": self._space.array("best_1"),
                "valid_cells": inputs.array("valid_cells"),
                "seeds": inputs.array("seeds"),
                "old_coords": first[0],
                "old_labels": first[1],
                "coords": second[0],
                "labels": second[1],
                "branch": self._outputs.array("branch"),
            },
            {
                **self._sizes,
                "core": config.core,
                "tau": config.tau,
                "max_iterations": config.max_iterations,
                "fallback": FALLBACKS.index(config.fallback),
                "scale_low": config.scale_range[0],
                "scale_high": config.scale_range[1],
                "num_old": self._course.num_points,
                "num_points": self._course.num_next,
                **dict.fromkeys(("assignment", "box", "centroids")),
            },
        )

    def _choose(self) -> None:
        names = {"first": "best_1", "second": "best_2", "chosen": "chosen"}
        arrays = {name: self._space.array(place) for name, place in names.items()}
        self._launch(
            CHOOSE_DECODE,
            1,
            {"branch": self._outputs.array("branch"), **arrays},
            {"num_prompts": self._space.num, "num_masks": self._sizes["num_masks"]},
        )

    def _finish(self, best: str) -> None:
        """Pack the chosen masks, and keep those that are to be refined."""
        inputs, num = self._space.inputs, self._space.num
        chosen = {"logits": self._logits(1), "best": self._space.array(best)}
        bits = self._outputs.array("bits")
        num_blocks = -(-bits.num_bytes // num // PACK_MASKS.threads)
        places = {"frames": inputs.array("frames"), "offsets": inputs.array("offsets")}
        self._launch(
            PACK_MASKS,
            min(num_blocks, _MAX_BLOCKS),
            {**chosen, **places, "packed": bits},
            self._sizes,
            num_rows=num,
        )
        planes = inputs.array("planes")
        num_quads = self._logits(1).num_bytes // num // self._runner.model.num_masks // 16
        self._launch(
            KEEP_MASKS,
            -(-num_quads // KEEP_MASKS.threads),
            {**chosen, "planes": planes},
            self._sizes,
            num_rows=num,
        )

    def _logits(self, number: int) -> DeviceArray:
        """Of one decode: [P, M, L, L]. The second's lie right behind the first's."""
        both = self._space.array("logits").rows(number - 1, number)
        return replace(both, shape=both.shape[1:])

    def _launch(
        self,
        kernel: Kernel,
        num_blocks: int,
        arrays: Mapping[str, DeviceArray],
        numbers: Mapping[str, Value],
        num_rows: int = 1,
    ) -> None:
        addresses = {name: array.address for name, array in arrays.items()}
        self._device.launch(kernel, (num_blocks, num_rows), {**addresses, **numbers})
