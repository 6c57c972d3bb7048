"""What the logits of a category head say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


def best_category(logits: NDArray[np.float32], names: Sequence[str]) -> tuple[str | None, float]:
    """The most probable class of logits float32 [1 + len(names)] and its probability in (0, 1].

    Class 0, no contraband, is None; class i is names[i - 1].
    """
    assert len(logits) == 1 + len(names), (len(logits), len(names))
    weights = np.exp(logits.astype(np.float64) - logits.max())
    best = int(weights.argmax())
    return (names[best - 1] if best else None), float(weights[best] / weights.sum())
