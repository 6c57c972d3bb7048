"""Smooth random fields that make flat slabs look like folded cloth or leafed paper."""

import cv2
import numpy as np
from numpy.typing import NDArray


def folds(rng: np.random.Generator, side: int) -> NDArray[np.float32]:
    """Soft waves and long creases, mean about 1, [side, side]."""
    total = np.full((side, side), 0.4, np.float32)
    for rows, columns, weight in ((5, 5, 0.35), (4, 13, 0.5), (9, 30, 0.45), (22, 60, 0.35)):
        grid = rng.standard_normal((rows, columns), dtype=np.float32)
        field = cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
        # More columns than rows make creases long; their sharp side is where a fold turns.
        total += np.float32(weight) * np.exp(-2.5 * np.abs(field + 0.5 * total))
    total *= 1 + 0.06 * rng.standard_normal((side, side), dtype=np.float32)
    contrasted = total**2
    field_of_mean_one: NDArray[np.float32] = contrasted / contrasted.mean()
    return field_of_mean_one


def crop(
    rng: np.random.Generator, field: NDArray[np.float32], height: int, width: int
) -> NDArray[np.float32]:
    """A random window of `field`, flipped or transposed at random, [height, width].

    A view: copying it would cost more than the multiplication it is for.
    """
    view = field.T if rng.random() < 0.5 else field
    if rng.random() < 0.5:
        view = view[::-1]
    top = int(rng.integers(0, max(1, view.shape[0] - height)))
    left = int(rng.integers(0, max(1, view.shape[1] - width)))
    return view[top : top + height, left : left + width]
