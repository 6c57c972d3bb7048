"""Prompts of several calls as batches that pass through the decoder together on a device."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.contract.prompts import MAX_PROMPTS, DecoderPrompt, PointLabel
from apsam_serve.engine.compute import Question, require_numbers
from apsam_serve.engine.device_arena import Slot
from apsam_serve.engine.device_buffers import Block, host_points
from apsam_serve.ops.kernels import BRANCHES
from apsam_serve.ops.memory import DeviceArray
from apsam_serve.prompting.base import Answer

_COLUMNS = ("image_index", "has_mask", "valid_cells", "seeds", "frames", "offsets", "planes")
_OF_DECODE_1 = ("direct", "empty")
"""Branches whose answer is the first decode's."""
_SEEDS = 1 << 64
_REPLACED = (PointLabel.POSITIVE, PointLabel.PADDING)
"""What the two adaptive points stand for in the second prompt (`prompting.apg`)."""


@dataclass(frozen=True, kw_only=True)
class Course:
    """What prompts of one batch have in common. num_points: N of the first decode; num_next: of the
    second, 0 where there is none (the strategy `direct`); apg: with seed 0, None for `direct`."""

    num_points: int
    num_next: int = 0
    apg: ApgConfig | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Row:
    """One prompt. place: among all that are answered; refine, keep: mask planes, or None; seed: of
    its adaptive points."""

    place: int
    slot: Slot
    frame: LetterBox
    prompt: DecoderPrompt
    refine: DeviceArray | None
    keep: DeviceArray | None
    seed: int

    @property
    def refines(self) -> bool:
        """Whether the first decode sees a mask."""
        return self.refine is not None or self.prompt.mask_logits is not None

    @property
    def num_bytes(self) -> int:
        """Of the packed mask."""
        return -(-self.frame.height * self.frame.width // 8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """Rows of one course; images: every slot once, and image_index[i] the one of rows[i]; offsets:
    where each packed mask begins and, last, where they all end, int64 [len(rows) + 1]."""

    course: Course
    rows: Sequence[Row]
    images: Sequence[Slot]
    image_index: Sequence[int]
    offsets: NDArray[np.int64]

    @classmethod
    def of(cls, course: Course, rows: Sequence[Row]) -> Batch:
        images = list({id(row.slot): row.slot for row in rows}.values())
        position = {id(slot): index for index, slot in enumerate(images)}
        return cls(
            course=course,
            rows=rows,
            images=images,
            image_index=[position[id(row.slot)] for row in rows],
            offsets=np.cumsum([0, *(row.num_bytes for row in rows)], dtype=np.int64),
        )

    @property
    def refines(self) -> bool:
        """Whether any prompt comes with a mask."""
        return any(row.refines for row in self.rows)

    def write(self, inputs: Block) -> None:
        """Fill the host's side of a workspace's inputs. Rows beyond these have padding points only,
        no mask, and an image without pixels."""
        num = len(self.rows)
        columns = {name: inputs.host(name) for name in _COLUMNS}
        for column in columns.values():
            column[num:] = 0
        coords, labels = host_points(inputs, self.course.num_points)
        coords[num:], labels[num:] = 0, PointLabel.PADDING
        columns["image_index"][:num] = self.image_index
        columns["offsets"][:num] = self.offsets[:-1]
        for place, row in enumerate(self.rows):
            frame = row.frame
            coords[place], labels[place] = row.prompt.coords, row.prompt.labels
            columns["has_mask"][place] = row.refines
            columns["valid_cells"][place] = frame.valid_cells
            columns["seeds"][place] = row.seed % _SEEDS
            columns["planes"][place] = 0 if row.keep is None else row.keep.address
            sizes = (frame.height, frame.width, frame.model_height, frame.model_width)
            columns["frames"][place] = sizes

    def read(self, outputs: Block) -> list[Answer]:
        """The answers in fetched outputs, as copies. Raises ModelFaultError for NaN or infinity."""
        num, two = len(self.rows), self.course.num_next > 0
        branches = ["direct"] * num
        if two:
            branches = [BRANCHES[index] for index in outputs.host("branch")[:num]]
        second = np.array([branch not in _OF_DECODE_1 for branch in branches])
        _require_numbers(outputs, num, second)
        return [self._answer(outputs, place, branch) for place, branch in enumerate(branches)]

    def _answer(self, outputs: Block, place: int, branch: str) -> Answer:
        prompt = self.rows[place].prompt
        decode, coords, labels = 1, prompt.coords, prompt.labels
        if branch not in _OF_DECODE_1:
            all_coords, all_labels = host_points(outputs, self.course.num_next)
            decode, coords, labels = 2, all_coords[place], all_labels[place]
        real = labels != PointLabel.PADDING
        categories = f"categories_{decode}"
        named = outputs.has(categories)
        bits = outputs.host("bits")[self.offsets[place] : self.offsets[place + 1]]
        return Answer(
            logits=None,
            score=float(outputs.host(f"score_{decode}")[place]),
            points=coords[real],
            labels=labels[real],
            branch=branch,
            category_logits=outputs.host(categories)[place].copy() if named else None,
            bits=bits.copy(),
        )


def batches(questions: Sequence[Question], slots: Sequence[Slot], *, core: float) -> list[Batch]:
    """Every prompt in a batch of its own course, at most `MAX_PROMPTS` of them. slots[i] holds the
    image of questions[i]; core: the model's, see `ApgConfig`."""
    courses: dict[Course, list[Row]] = defaultdict(list)
    place = 0
    for question, slot in zip(questions, slots, strict=True):
        asked = zip(question.prompts, question.refine, question.keep, strict=True)
        for prompt, refine, keep in asked:
            row = Row(
                place=place,
                slot=slot,
                frame=question.frame,
                prompt=prompt,
                refine=None if refine is None else slot.masks.rows(refine, refine + 1),
                keep=None if keep is None else slot.masks.rows(keep, keep + 1),
                seed=question.apg.seed,
            )
            courses[_course(question, prompt, core)].append(row)
            place += 1
    return [
        Batch.of(course, rows[begin : begin + MAX_PROMPTS])
        for course, rows in courses.items()
        for begin in range(0, len(rows), MAX_PROMPTS)
    ]


def _course(question: Question, prompt: DecoderPrompt, core: float) -> Course:
    num_points = len(prompt.labels)
    if question.strategy == "direct":
        return Course(num_points=num_points)
    num_kept = sum(label not in _REPLACED for label in prompt.labels.tolist())
    padded = PointLabel.BOX_TOP_LEFT not in prompt.labels
    return Course(
        num_points=num_points,
        num_next=2 + num_kept + padded,
        apg=replace(question.apg, core=core, seed=0),
    )


def _require_numbers(outputs: Block, num: int, second: NDArray[np.bool_]) -> None:
    """Look at both decodes of those prompts whose second one counts, and at the first of others."""

    def both(name: str) -> NDArray[Any]:
        first, last = (outputs.host(f"{name}_{decode}")[:num] for decode in (1, 2))
        return np.concatenate([first, last[second]])

    require_numbers("IoU or logits", np.where(both("finite") == 1, 0.0, np.nan), num)
    if outputs.has("categories_1"):
        require_numbers("category logits", both("categories"), num)
