"""Images and questions on a device: embeddings never leave its memory, and a batch waits once."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.prompts import MAX_PROMPTS
from apsam_serve.contract.tensors import DTYPES
from apsam_serve.engine import device_decode
from apsam_serve.engine.compute import Encoded, Question, require_numbers
from apsam_serve.engine.device_arena import Arena, Slot
from apsam_serve.engine.device_batch import batches
from apsam_serve.engine.device_buffers import Images, Workspace, bucket
from apsam_serve.engine.device_encode import Encoders
from apsam_serve.engine.replies import Timings, added
from apsam_serve.errors import ApsamError
from apsam_serve.ops.memory import Device
from apsam_serve.ops.recordings import without_recordings
from apsam_serve.prompting.base import Answer
from apsam_serve.runtime.base import DeviceRunner, Floats

MAX_IMAGES = 16
"""Images of one batch; more are encoded in several."""


@dataclass(frozen=True, kw_only=True, eq=False)
class DeviceEncoded:
    """slot: device memory, as arrays that CuPy or torch can look at; attention: host memory,
    float32 [S / 8, S / 8]."""

    slot: Slot
    attention: Floats


class DeviceCompute:
    """Implements `compute.Compute` over an open runner and its device, which has the kernels.
    num_masks: planes per image.

    Batches are padded to powers of two, so that after a while every call finds its buffers, and a
    recording of its work where the runner can be recorded. Masks of answers stay on the device as
    logits, and come back as bits.
    """

    def __init__(self, runner: DeviceRunner, device: Device, *, num_masks: int = 0) -> None:
        self._runner = runner
        self._device = device
        self._dtype = DTYPES[runner.build.precision]
        self._arena = Arena(device, runner.model, dtype=self._dtype, num_masks=num_masks)
        self._images: dict[int, Images] = {}
        self._encoders: dict[int, Encoders] = {}
        self._spaces: dict[int, Workspace] = {}

    @property
    def held_bytes(self) -> int:
        return self._arena.slot_bytes

    @property
    def warm_prompts(self) -> Sequence[int]:
        return [1 << power for power in range(bucket(MAX_PROMPTS).bit_length())]

    def encode(self, pixels: Sequence[Pixels]) -> tuple[list[Encoded], Timings]:
        slots = self._arena.take(len(pixels))
        encoded: list[Encoded] = []
        timings: Timings = {}
        try:
            for begin in range(0, len(pixels), MAX_IMAGES):
                part = slice(begin, begin + MAX_IMAGES)
                some, spent = self._encode(pixels[part], slots[part])
                encoded += some
                timings = added(timings, spent)
        except BaseException:
            self._settle()
            for slot in slots:
                self._arena.give_back(slot)
            raise
        return encoded, timings

    def answer(self, questions: Sequence[Question]) -> tuple[list[list[Answer]], Timings]:
        try:
            return self._answer(questions)
        except BaseException:
            self._settle()
            raise

    def _answer(self, questions: Sequence[Question]) -> tuple[list[list[Answer]], Timings]:
        slots = [_slot(question.encoded) for question in questions]
        answers: dict[int, Answer] = {}
        timings: Timings = {}
        for batch in batches(questions, slots, core=self._runner.model.apg_core):
            space = self._space(bucket(len(batch.rows)))
            images = self._images_of(1 if len(batch.images) == 1 else space.num)
            found, spent = device_decode.answer(self._runner, self._device, batch, space, images)
            answers.update(zip((row.place for row in batch.rows), found, strict=True))
            timings = added(timings, spent)
        flat = (answers[place] for place in range(len(answers)))
        return [[next(flat) for _ in question.prompts] for question in questions], timings

    def forget(self, encoded: Encoded) -> None:
        self._arena.give_back(_slot(encoded))

    def close(self) -> None:
        """Free what this object allocated; host memory goes with the device."""
        self._settle()
        with without_recordings():
            for held in (self._encoders, self._spaces, self._images):
                while held:
                    held.popitem()[1].close()
            self._arena.close()

    def _settle(self) -> None:
        """Wait for what a failed call has queued: it may use memory that others are given next."""
        with suppress(ApsamError):  # what failed was told already
            self._device.wait()

    def _encode(
        self, pixels: Sequence[Pixels], slots: Sequence[Slot]
    ) -> tuple[list[Encoded], Timings]:
        num = bucket(len(pixels))
        encoders = self._encoders.get(num)
        if encoders is None:
            encoders = Encoders(self._runner, self._device, self._images_of(num))
            self._encoders[num] = encoders
        attention, timings = encoders.encode(pixels, slots)
        require_numbers("attention", attention, 0)
        encoded: list[Encoded] = [
            DeviceEncoded(slot=slot, attention=one.copy())
            for slot, one in zip(slots, attention, strict=True)
        ]
        return encoded, timings

    def _images_of(self, num: int) -> Images:
        if num not in self._images:
            model = self._runner.model
            self._images[num] = Images(self._device, model, dtype=self._dtype, num=num)
        return self._images[num]

    def _space(self, num: int) -> Workspace:
        if num not in self._spaces:
            self._spaces[num] = Workspace(self._device, self._runner.model, num=num)
        return self._spaces[num]


def _slot(encoded: Encoded) -> Slot:
    assert isinstance(encoded, DeviceEncoded), type(encoded)
    return encoded.slot
