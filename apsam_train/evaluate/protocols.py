"""Prompt protocols (paper, Table 5): from a truth mask to the prompt a person might give."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Point, Prompt
from apsam_serve.contract.segmenter import StrategyName
from apsam_train.data.boxes import mask_box
from apsam_train.data.training import random_point

MakePrompt = Callable[[NDArray[np.bool_], np.random.Generator], Prompt]


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How prompts are made from truth, and the strategy that answers them."""

    make: MakePrompt
    strategy: StrategyName


def _random_points(count: int) -> MakePrompt:
    def make(mask: NDArray[np.bool_], rng: np.random.Generator) -> Prompt:
        places = [random_point(mask, rng) for _ in range(count)]
        return Prompt(points=tuple(Point(x=x, y=y) for x, y in places))

    return make


def _tight_box(mask: NDArray[np.bool_], _rng: np.random.Generator) -> Prompt:
    return Prompt(box=mask_box(mask))


PROTOCOLS = {
    "random1": Protocol(make=_random_points(1), strategy="direct"),
    "random2": Protocol(make=_random_points(2), strategy="direct"),
    "apg": Protocol(make=_random_points(1), strategy="apg"),
    "box": Protocol(make=_tight_box, strategy="direct"),
}
