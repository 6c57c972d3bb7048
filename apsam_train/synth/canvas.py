"""From a posed drawing to thickness maps: the only place where shapes become pixels."""

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from .shapes import Drawing, Ellipsoid, Plate, Points, Rod, Shape, Stroke, outline_of

_SUBPIXEL_BITS = 4
# Below this radius a chord profile falls between pixel centres; a drawn line does not.
_THIN_ROD_PX = 0.8


@dataclass(frozen=True, kw_only=True)
class Pose:
    """`matrix` [2, 2] px per mm, `centre` (x, y) px of the object's origin.

    `depth_gain` is how much longer the beam's way gets when the object is tilted.
    """

    matrix: NDArray[np.float64]
    centre: tuple[float, float]
    depth_gain: float = 1.0

    @property
    def px_per_mm(self) -> float:
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))

    def apply(self, points: Points) -> Points:
        moved: Points = points @ self.matrix.T + np.array(self.centre)
        return moved


@dataclass(frozen=True, kw_only=True)
class Sprite:
    """One rasterised object: `layers` material -> thickness [h, w] mm, `coverage` [h, w] in 0..1.

    `left`, `top` place its corner in the picture and may be negative.
    """

    left: int
    top: int
    layers: dict[str, NDArray[np.float32]]
    coverage: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Canvas:
    """Stacked thickness maps of one picture: material -> [side, side] mm."""

    side: int
    layers: dict[str, NDArray[np.float32]] = field(default_factory=dict)

    def add(self, sprite: Sprite, clip: NDArray[np.float32] | None = None) -> None:
        """Stacks a sprite; `clip` [side, side] in 0..1 keeps soft contents inside the bag."""
        window = visible(sprite, self.side)
        if window is None:
            return
        target, source = window
        for material, thickness in sprite.layers.items():
            layer = self.layers.get(material)
            if layer is None:
                layer = np.zeros((self.side, self.side), np.float32)
                self.layers[material] = layer
            patch = thickness[source]
            layer[target] += patch if clip is None else patch * clip[target]


def visible(sprite: Sprite, side: int) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """(window in the picture, window in the sprite), or None when it lies outside."""
    height, width = sprite.coverage.shape
    x0, y0 = max(sprite.left, 0), max(sprite.top, 0)
    x1, y1 = min(sprite.left + width, side), min(sprite.top + height, side)
    if x0 >= x1 or y0 >= y1:
        return None
    target = (slice(y0, y1), slice(x0, x1))
    source = (
        slice(y0 - sprite.top, y1 - sprite.top),
        slice(x0 - sprite.left, x1 - sprite.left),
    )
    return target, source


def rasterise(drawing: Drawing, pose: Pose) -> Sprite:
    """Draws every shape of an object into a canvas just large enough for it."""
    outlines = [pose.apply(outline_of(shape)) for shape in drawing.shapes]
    everything = np.concatenate(outlines)
    left, top = (int(v) for v in np.floor(everything.min(axis=0)) - 2)
    right, bottom = (int(v) for v in np.ceil(everything.max(axis=0)) + 3)
    shape_hw = (bottom - top, right - left)
    layers: dict[str, NDArray[np.float32]] = {}
    coverage = np.zeros(shape_hw, np.float32)
    local = Pose(
        matrix=pose.matrix,
        centre=(pose.centre[0] - left, pose.centre[1] - top),
        depth_gain=pose.depth_gain,
    )
    for shape, outline in zip(drawing.shapes, outlines, strict=True):
        low = np.maximum(np.floor(outline.min(axis=0)).astype(int) - (left + 1, top + 1), 0)
        high = np.ceil(outline.max(axis=0)).astype(int) - (left - 2, top - 2)
        window = (slice(low[1], high[1]), slice(low[0], high[0]))
        patch_hw = coverage[window].shape
        origin = (float(low[0]), float(low[1]))
        covered, thickness = _patch(shape, local, origin, (patch_hw[0], patch_hw[1]))
        if shape.mode == "replace":
            for layer in layers.values():
                layer[window] *= 1.0 - covered
        layer = layers.setdefault(shape.material, np.zeros(shape_hw, np.float32))
        layer[window] += thickness
        np.maximum(coverage[window], covered, out=coverage[window])
    return Sprite(left=left, top=top, layers=layers, coverage=coverage)


def _patch(
    shape: Shape, pose: Pose, origin: tuple[float, float], hw: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """(coverage, thickness mm) of one shape in a window, both [h, w]."""
    if isinstance(shape, Rod) and max(shape.radius) * pose.px_per_mm < _THIN_ROD_PX:
        mean = sum(shape.radius)
        shape = Stroke(
            points=np.array([shape.start, shape.end]), width=mean, material=shape.material
        )
    if isinstance(shape, Plate):
        covered, thickness = _plate(shape, pose, origin, hw)
    elif isinstance(shape, Stroke):
        covered, thickness = _stroke(shape, pose, origin, hw)
    elif isinstance(shape, Rod):
        covered, thickness = _rod(shape, pose, origin, hw)
    else:
        covered, thickness = _ellipsoid(shape, pose, origin, hw)
    return covered, thickness * np.float32(pose.depth_gain)


def _fixed_point(points: Points, origin: tuple[float, float]) -> NDArray[np.int32]:
    scaled = (points - np.array(origin)) * (1 << _SUBPIXEL_BITS)
    rounded: NDArray[np.int32] = np.round(scaled).astype(np.int32)
    return rounded


def _plate(
    shape: Plate, pose: Pose, origin: tuple[float, float], hw: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    mask = np.zeros(hw, np.uint8)
    contours = [_fixed_point(pose.apply(c), origin) for c in shape.contours]
    cv2.fillPoly(mask, contours, 255, cv2.LINE_AA, _SUBPIXEL_BITS)
    covered = mask.astype(np.float32) * np.float32(1 / 255)
    thickness: NDArray[np.float32] = covered * np.float32(shape.thickness)
    if shape.ramp is not None:
        x0, y0, x1, y1, t0, t1 = shape.ramp
        gx, gy = _object_grid(pose, origin, hw)
        length2 = (x1 - x0) ** 2 + (y1 - y0) ** 2
        along = ((gx - x0) * (x1 - x0) + (gy - y0) * (y1 - y0)) / length2
        thickness = covered * (t0 + (t1 - t0) * np.clip(along, 0, 1)).astype(np.float32)
    if shape.texture is not None:
        height, width = shape.texture.shape
        if height < hw[0] or width < hw[1]:
            texture = cv2.resize(np.ascontiguousarray(shape.texture), (hw[1], hw[0]))
        else:
            texture = shape.texture[: hw[0], : hw[1]]
        thickness = thickness * texture
    return covered, thickness


def _stroke(
    shape: Stroke, pose: Pose, origin: tuple[float, float], hw: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    width_px = shape.width * pose.px_per_mm
    drawn_px = max(1, round(width_px))
    depth = shape.width if shape.thickness is None else shape.thickness
    line = [_fixed_point(pose.apply(shape.points), origin)]
    outer = np.zeros(hw, np.uint8)
    cv2.polylines(outer, line, shape.closed, 255, drawn_px, cv2.LINE_AA, _SUBPIXEL_BITS)
    covered = outer.astype(np.float32) * np.float32(1 / 255)
    # A line thinner than a pixel keeps its mass, not its width.
    gain = depth * min(1.0, width_px / drawn_px)
    if drawn_px < 3:
        return covered, covered * np.float32(gain * 0.8)
    inner = np.zeros(hw, np.uint8)
    cv2.polylines(inner, line, shape.closed, 255, drawn_px // 2, cv2.LINE_AA, _SUBPIXEL_BITS)
    return covered, (covered * 0.6 + inner * np.float32(0.4 / 255)).astype(np.float32) * gain


def _object_grid(
    pose: Pose, origin: tuple[float, float], hw: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each pixel centre in the object's mm: (x [h, w], y [h, w])."""
    inverse = np.linalg.inv(pose.matrix).astype(np.float32)
    px = np.arange(hw[1], dtype=np.float32) + np.float32(origin[0] - pose.centre[0])
    py = np.arange(hw[0], dtype=np.float32)[:, None] + np.float32(origin[1] - pose.centre[1])
    return inverse[0, 0] * px + inverse[0, 1] * py, inverse[1, 0] * px + inverse[1, 1] * py


def _rod(
    shape: Rod, pose: Pose, origin: tuple[float, float], hw: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    gx, gy = _object_grid(pose, origin, hw)
    (x0, y0), (x1, y1) = shape.start, shape.end
    length = max(float(np.hypot(x1 - x0, y1 - y0)), 1e-6)
    ux, uy = (x1 - x0) / length, (y1 - y0) / length
    along = (gx - x0) * ux + (gy - y0) * uy
    across = (gx - x0) * uy - (gy - y0) * ux
    r0, r1 = shape.radius
    radius2 = (r0 + (r1 - r0) * np.clip(along / length, 0, 1)) ** 2
    caps = np.clip(np.minimum(along, length - along) * pose.px_per_mm + 0.5, 0, 1)
    return _chord(
        radius2.astype(np.float32),
        across**2,
        caps.astype(np.float32),
        shape.hollow,
        shape.flatten,
    )


def _ellipsoid(
    shape: Ellipsoid, pose: Pose, origin: tuple[float, float], hw: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    gx, gy = _object_grid(pose, origin, hw)
    (cx, cy), (a, b) = shape.centre, shape.axes
    distance2 = ((gx - cx) / a) ** 2 + ((gy - cy) / b) ** 2
    one = np.ones_like(distance2)
    return _chord(one, distance2, one, shape.hollow, shape.depth)


def _chord(
    radius2: NDArray[np.float32],
    distance2: NDArray[np.float32],
    caps: NDArray[np.float32],
    hollow: float,
    flatten: float,
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Length of the beam inside a round body, less its hollow."""
    chord = np.sqrt(np.maximum(radius2 - distance2, 0))
    covered = np.where(chord > 0, caps, 0).astype(np.float32)
    if hollow > 0:
        chord = chord - np.sqrt(np.maximum(radius2 * np.float32(hollow**2) - distance2, 0))
    return covered, (2.0 * flatten * chord * caps).astype(np.float32)
