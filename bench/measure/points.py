"""Whether two found the same adaptive points."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


def same_points(one: NDArray[Any], other: NDArray[Any], *, within: float = 0.0) -> bool:
    """Of [2, 2] (x, y), or [1, 2]: in either order, for nobody else promises which cluster comes
    first."""
    if one.shape != other.shape:
        return False
    apart = (np.abs(one - ordered).max() for ordered in (other, other[::-1]))
    return bool(min(apart) <= within)
