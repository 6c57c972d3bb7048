"""Shapes in an object's own millimetres, and how each becomes thickness on the detector.

A `Drawing` is a display list: objects are described first (no pixels), posed, then rasterised
once, inside their bounding box only. Thickness along the beam is in mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Points: TypeAlias = NDArray[np.float64]
Mode: TypeAlias = Literal["add", "replace"]


@dataclass(frozen=True, kw_only=True)
class Plate:
    """A flat polygon. `contours`: [K, 2] mm each, filled even-odd, so an inner one is a hole.

    `ramp` is (x0, y0, x1, y1, t0, t1): thickness runs from t0 to t1 between two points (a blade).
    `texture` [h, w] multiplies the thickness (folds of cloth, pages, pouring powder).
    """

    contours: tuple[Points, ...]
    material: str
    thickness: float
    mode: Mode = "add"
    ramp: tuple[float, float, float, float, float, float] | None = None
    texture: NDArray[np.float32] | None = None


@dataclass(frozen=True, kw_only=True)
class Rod:
    """A straight round bar or tube in the picture plane; radii at both ends, flat caps.

    `hollow` is the inner radius as a fraction of the outer; `flatten` scales depth over width.
    """

    start: tuple[float, float]
    end: tuple[float, float]
    radius: tuple[float, float]
    material: str
    hollow: float = 0.0
    flatten: float = 1.0
    mode: Mode = "add"

    @property
    def outline(self) -> Points:
        a, b = np.array(self.start), np.array(self.end)
        direction = (b - a) / max(float(np.hypot(*(b - a))), 1e-6)
        normal = np.array([-direction[1], direction[0]])
        r0, r1 = self.radius
        return np.array([a - normal * r0, b - normal * r1, b + normal * r1, a + normal * r0])


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """Half-axes `axes` in the plane, `depth` along the beam; `hollow` as in Rod."""

    centre: tuple[float, float]
    axes: tuple[float, float]
    depth: float
    material: str
    hollow: float = 0.0
    mode: Mode = "add"

    @property
    def outline(self) -> Points:
        return ellipse(self.centre, self.axes)


@dataclass(frozen=True, kw_only=True)
class Stroke:
    """A round wire along a polyline [K, 2] mm; `thickness` defaults to the width."""

    points: Points
    width: float
    material: str
    thickness: float | None = None
    closed: bool = False
    mode: Mode = "add"


Shape: TypeAlias = Plate | Rod | Ellipsoid | Stroke


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """Shapes in drawing order."""

    shapes: list[Shape] = field(default_factory=list)

    def plate(
        self,
        points: ArrayLike,
        material: str,
        thickness: float,
        *,
        holes: Sequence[ArrayLike] = (),
        mode: Mode = "add",
        ramp: tuple[float, float, float, float, float, float] | None = None,
        texture: NDArray[np.float32] | None = None,
    ) -> None:
        contours = tuple(np.asarray(c, dtype=np.float64) for c in (points, *holes))
        self.shapes.append(
            Plate(
                contours=contours,
                material=material,
                thickness=thickness,
                mode=mode,
                ramp=ramp,
                texture=texture,
            )
        )

    def rod(
        self,
        start: tuple[float, float],
        end: tuple[float, float],
        radius: float | tuple[float, float],
        material: str,
        *,
        hollow: float = 0.0,
        flatten: float = 1.0,
        mode: Mode = "add",
    ) -> None:
        both = radius if isinstance(radius, tuple) else (radius, radius)
        self.shapes.append(
            Rod(
                start=start,
                end=end,
                radius=both,
                material=material,
                hollow=hollow,
                flatten=flatten,
                mode=mode,
            )
        )

    def ball(
        self,
        centre: tuple[float, float],
        axes: tuple[float, float],
        depth: float,
        material: str,
        *,
        hollow: float = 0.0,
        mode: Mode = "add",
    ) -> None:
        self.shapes.append(
            Ellipsoid(
                centre=centre, axes=axes, depth=depth, material=material, hollow=hollow, mode=mode
            )
        )

    def stroke(
        self,
        points: ArrayLike,
        width: float,
        material: str,
        *,
        thickness: float | None = None,
        closed: bool = False,
        mode: Mode = "add",
    ) -> None:
        self.shapes.append(
            Stroke(
                points=np.asarray(points, dtype=np.float64),
                width=width,
                material=material,
                thickness=thickness,
                closed=closed,
                mode=mode,
            )
        )


def outline_of(shape: Shape) -> Points:
    """Points [K, 2] mm whose hull, grown by a wire's half width, holds the shape."""
    if isinstance(shape, Plate):
        return shape.contours[0]
    if isinstance(shape, Stroke):
        half = shape.width / 2
        low, high = shape.points.min(axis=0) - half, shape.points.max(axis=0) + half
        return np.array([low, (high[0], low[1]), high, (low[0], high[1])])
    return shape.outline


def ellipse(
    centre: tuple[float, float],
    axes: tuple[float, float],
    start: float = 0.0,
    end: float = 360.0,
    count: int = 40,
) -> Points:
    """Points [count, 2] on an ellipse; angles in degrees."""
    angle = np.radians(np.linspace(start, end, count))
    x, y = centre[0] + axes[0] * np.cos(angle), centre[1] + axes[1] * np.sin(angle)
    return np.stack([x, y], axis=1)


def box(x0: float, y0: float, x1: float, y1: float, corner: float = 0.0) -> Points:
    """A rectangle, corners rounded by `corner` mm: [K, 2]."""
    if corner <= 0:
        return np.array([(x0, y0), (x1, y0), (x1, y1), (x0, y1)])
    c = min(corner, abs(x1 - x0) / 2, abs(y1 - y0) / 2)
    arcs = (
        ellipse((x1 - c, y0 + c), (c, c), -90, 0, 7),
        ellipse((x1 - c, y1 - c), (c, c), 0, 90, 7),
        ellipse((x0 + c, y1 - c), (c, c), 90, 180, 7),
        ellipse((x0 + c, y0 + c), (c, c), 180, 270, 7),
    )
    return np.concatenate(arcs)


def smooth(points: ArrayLike, rounds: int = 2, closed: bool = True) -> Points:
    """Chaikin corner cutting: a polygon becomes a rounded outline."""
    current = np.asarray(points, dtype=np.float64)
    for _ in range(rounds):
        following = np.roll(current, -1, axis=0)
        cut = np.stack([0.75 * current + 0.25 * following, 0.25 * current + 0.75 * following], 1)
        merged = cut.reshape(-1, 2)
        if not closed:
            merged = np.concatenate([current[:1], merged[1:-3], current[-1:]])
        current = merged
    return current
