"""What every data set yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Box
from apsam_train.data.problems import Problem


@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """One object with its outline. mask: bool [H, W], amodal where the data set knows it; overlap:
    fraction of the mask that other objects cover, None where unknown."""

    category: str
    mask: NDArray[np.bool_]
    overlap: float | None = None


@dataclass(frozen=True, kw_only=True)
class BoxedObject:
    """One object of which only a box, in image pixels, is known."""

    category: str
    box: Box


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One image, RGB uint8 [H, W, 3], and its objects.

    name: unique in the data set; split: as the data set divides itself ("train", "test/hard"), ""
    where it does not; bag: equal for all views of one bag; problems: what was left out or mended.
    """

    name: str
    image: NDArray[np.uint8]
    instances: tuple[Instance, ...] = ()
    boxes: tuple[BoxedObject, ...] = ()
    split: str = ""
    bag: str = ""
    problems: tuple[Problem, ...] = ()


class SampleSource(Protocol):
    """A data set: indexable, and safe to index from several processes."""

    @property
    def description(self) -> str:
        """One line for checkpoints and reports."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Read one sample. Raises UnusableSampleError naming the file."""
        ...

    def label_of(self, category: str) -> int:
        """The label (`apsam_train.categories`) of one of this data set's category names."""
        ...
