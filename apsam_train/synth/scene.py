"""A scene: which bag, what is in it, where, in which pose. Decides and stacks; no physics here."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .canvas import Canvas, Pose, Sprite, rasterise, visible
from .clutter import soft, things
from .clutter.bags import BAGS
from .clutter.texture import folds
from .shapes import Drawing
from .threats import THREATS

_THINGS = (
    things.cable,
    things.cable,
    things.charger,
    things.board,
    things.keys,
    things.toiletry,
    things.fruit,
    things.umbrella,
    things.pens,
    things.belt,
    soft.book,
    soft.book,
    soft.shoe,
)
_BAG_ODDS = {"suitcase": 0.32, "backpack": 0.27, "soft_bag": 0.30, "tray": 0.11}
_GROUPS = {"Bullet": 4, "Razorblade": 2, "Dart": 2, "ColumnarBlockBattery": 2, "Lighter": 2}
_PLACING_TRIES = 14
_GOOD_PLACE = 0.05


@dataclass(frozen=True, kw_only=True)
class PlacedThreat:
    """A threat as stacked: `sprite` holds its own thickness, in the picture's frame."""

    category: str
    sprite: Sprite


@dataclass(frozen=True, kw_only=True)
class Scene:
    canvas: Canvas
    threats: tuple[PlacedThreat, ...]


def compose(
    side: int, num_instances: tuple[int, int], clutter: float, rng: np.random.Generator
) -> Scene:
    """Packs a bag. `clutter` scales how many harmless things lie in it."""
    canvas = Canvas(side=side)
    unit = side / 512
    px_per_mm = rng.uniform(0.66, 0.95) * unit
    half_px = (rng.uniform(175, 232) * unit, rng.uniform(125, 185) * unit)
    if rng.random() < 0.2:
        half_px = (half_px[1], half_px[0])
    kinds = list(_BAG_ODDS)
    kind = str(rng.choice(kinds, p=list(_BAG_ODDS.values())))
    half_mm = (half_px[0] / px_per_mm, half_px[1] / px_per_mm)
    shell, outline = BAGS[kind](rng, *half_mm)
    slack = (side / 2 - half_px[0] - 18 * unit, side / 2 - half_px[1] - 18 * unit)
    centre = (
        side / 2 + float(rng.uniform(-1, 1)) * max(slack[0], 0) * 0.8,
        side / 2 + float(rng.uniform(-1, 1)) * max(slack[1], 0) * 0.6,
    )
    angle = float(rng.normal(0, 6))
    bag_pose = Pose(matrix=px_per_mm * _rotation(angle), centre=centre)
    canvas.add(rasterise(shell, bag_pose))
    inside_points = bag_pose.apply(outline)
    inside = np.zeros((side, side), np.uint8)
    cv2.fillPoly(inside, [np.round(inside_points * 16).astype(np.int32)], 255, cv2.LINE_AA, 4)
    clip = inside.astype(np.float32) * np.float32(1 / 255)
    _fill(canvas, bag_pose, half_mm, clip, clutter * (0.5 if kind == "tray" else 1.0), rng)
    _belt_edge(canvas, rng)
    threats = _place_threats(canvas, bag_pose, half_mm, inside > 0, num_instances, rng)
    return Scene(canvas=canvas, threats=threats)


def _fill(
    canvas: Canvas,
    bag: Pose,
    half_mm: tuple[float, float],
    clip: NDArray[np.float32],
    clutter: float,
    rng: np.random.Generator,
) -> None:
    field = folds(rng, canvas.side)
    for _ in range(round(rng.uniform(5, 11) * clutter)):
        drawing = soft.garment(rng, field, rng.uniform(0.5, 1.1) * min(half_mm))
        canvas.add(rasterise(drawing, _pose(bag, half_mm, 0.75, rng)), clip)
    for _ in range(round(rng.uniform(2, 7.5) * clutter)):
        draw = _THINGS[int(rng.integers(len(_THINGS)))]
        drawing = draw(rng, field, min(half_mm))
        canvas.add(rasterise(drawing, _pose(bag, half_mm, 0.62, rng)), clip)


def _belt_edge(canvas: Canvas, rng: np.random.Generator) -> None:
    """Vertical stripes at the left edge, as when the belt's flap is still in the beam."""
    if rng.random() > 0.12:
        return
    layer = canvas.layers.setdefault(
        "polyethylene", np.zeros((canvas.side, canvas.side), np.float32)
    )
    width = int(rng.integers(4, 22) * canvas.side / 512)
    layer[:, :width] += rng.uniform(4, 30, width).astype(np.float32)
    for column in rng.integers(0, 2 * width, 3):
        layer[:, column] += np.float32(rng.uniform(1, 5))


def _place_threats(
    canvas: Canvas,
    bag: Pose,
    half_mm: tuple[float, float],
    inside: NDArray[np.bool_],
    num_instances: tuple[int, int],
    rng: np.random.Generator,
) -> tuple[PlacedThreat, ...]:
    """Stacks threats so that each lies in the picture and none hides under another entirely."""
    low, high = num_instances
    wanted = int(rng.integers(low, high + 1))
    order = [str(name) for name in rng.permutation(list(THREATS))]
    occupied = np.zeros((canvas.side, canvas.side), bool)
    placed: list[PlacedThreat] = []
    while len(placed) < wanted:
        name = order[len(placed) % len(order)]
        repeats = int(rng.integers(1, _GROUPS.get(name, 1) + 1))
        order.remove(name)
        order.append(name)
        for _ in range(min(repeats, wanted - len(placed))):
            sprite = _try_place(THREATS[name](rng), bag, half_mm, inside, occupied, rng)
            canvas.add(sprite)
            window = visible(sprite, canvas.side)
            assert window is not None, "a threat is placed inside the picture"
            occupied[window[0]] |= sprite.coverage[window[1]] > 0.5
            placed.append(PlacedThreat(category=name, sprite=sprite))
    return tuple(placed)


def _try_place(
    drawing: Drawing,
    bag: Pose,
    half_mm: tuple[float, float],
    inside: NDArray[np.bool_],
    occupied: NDArray[np.bool_],
    rng: np.random.Generator,
) -> Sprite:
    """The first of several random places that is good enough, else the best of them."""
    side = occupied.shape[0]
    matrix, gain = _tilted(bag, rng)
    # Thinner and thicker makes of the same thing: blue, dark blue, black.
    gain *= rng.uniform(0.6, 1.1)
    middle = rasterise(drawing, Pose(matrix=matrix, centre=bag.centre, depth_gain=gain))
    height, width = middle.coverage.shape
    best, least = middle, np.inf
    for attempt in range(_PLACING_TRIES):
        x, y = _spot(bag, half_mm, 0.72 - 0.04 * attempt, rng)
        # The same pixels elsewhere: trying a place costs no new drawing.
        left = round(x - bag.centre[0]) + middle.left
        top = round(y - bag.centre[1]) + middle.top
        left = min(max(left, 0), max(side - width, 0))
        top = min(max(top, 0), max(side - height, 0))
        sprite = _moved(middle, left, top)
        blame = _misplaced(sprite, inside, occupied)
        if blame < least:
            best, least = sprite, blame
        if blame < _GOOD_PLACE:
            break
    return best


def _misplaced(sprite: Sprite, inside: NDArray[np.bool_], occupied: NDArray[np.bool_]) -> float:
    """How bad a place is: the share outside the bag, and what other threats cover beyond 0.3."""
    window = visible(sprite, inside.shape[0])
    assert window is not None, "the sprite was moved into the picture"
    own = sprite.coverage[window[1]] > 0.5
    area = max(1, int(np.count_nonzero(own)))
    outside = int(np.count_nonzero(own & ~inside[window[0]])) / area
    shared = int(np.count_nonzero(own & occupied[window[0]])) / area
    return outside + max(0.0, shared - 0.3)


def _moved(sprite: Sprite, left: int, top: int) -> Sprite:
    return Sprite(left=left, top=top, layers=sprite.layers, coverage=sprite.coverage)


def _rotation(degrees: float) -> NDArray[np.float64]:
    a = np.radians(degrees)
    return np.array([[np.cos(a), -np.sin(a)], [np.sin(a), np.cos(a)]])


def _spot(
    bag: Pose, half_mm: tuple[float, float], spread: float, rng: np.random.Generator
) -> tuple[float, float]:
    inside = rng.uniform(-spread, spread, 2) * half_mm
    x, y = bag.apply(inside[None])[0]
    return float(x), float(y)


def _tilted(bag: Pose, rng: np.random.Generator) -> tuple[NDArray[np.float64], float]:
    """Any turn in the plane, mirrored or not, a tilt out of it, fan-beam magnification in y."""
    scale = bag.px_per_mm * rng.uniform(0.85, 1.12)
    tilt = min(abs(float(rng.normal(0, 18))), 55.0)
    squash = np.diag([1.0, float(np.cos(np.radians(tilt)))])
    mirror = np.diag([1.0, -1.0 if rng.random() < 0.5 else 1.0])
    magnify = np.diag([1.0, float(rng.uniform(0.97, 1.12))])
    about = _rotation(float(rng.uniform(0, 360)))
    turn = _rotation(float(rng.uniform(0, 360)))
    matrix = scale * magnify @ turn @ squash @ about @ mirror
    return matrix, 1.0 / float(np.cos(np.radians(tilt)))


def _pose(bag: Pose, half_mm: tuple[float, float], spread: float, rng: np.random.Generator) -> Pose:
    matrix, gain = _tilted(bag, rng)
    return Pose(matrix=matrix, centre=_spot(bag, half_mm, spread, rng), depth_gain=gain)
