"""What every data set yields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class Instance:
    """One object. mask: bool [H, W], amodal where the data set knows it; overlap: fraction of the
    mask that other objects cover, None where unknown."""

    category: str
    mask: NDArray[np.bool_]
    overlap: float | None = None


@dataclass(frozen=True, kw_only=True, eq=False)
class Sample:
    """One image: RGB uint8 [H, W, 3], and its objects."""

    name: str
    image: NDArray[np.uint8]
    instances: tuple[Instance, ...]


class SampleSource(Protocol):
    """A data set: indexable, and safe to index from several processes."""

    @property
    def description(self) -> str:
        """One line for checkpoints and reports."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Sample:
        """Read one sample. Raises DatasetError naming the file."""
        ...
