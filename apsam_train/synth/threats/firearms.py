"""Gun and Bullet."""

import numpy as np

from ..shapes import Drawing, box, ellipse, smooth


def gun(rng: np.random.Generator) -> Drawing:
    """A pistol or, one time in three, a revolver."""
    return _revolver(rng) if rng.random() < 0.33 else _pistol(rng)


def _pistol(rng: np.random.Generator) -> Drawing:
    d = Drawing()
    length = rng.uniform(150, 200)
    front, back = -length * 0.55, length * 0.45
    # `seam` is the line between slide and frame; the slide sits above it.
    seam = rng.uniform(-12, -6)
    rake = rng.uniform(14, 26)
    steel = rng.uniform(7, 12)
    _grip(d, rng, back, seam, rake)
    frame = [(front + 22, seam), (back - 8, seam), (back - 16, seam + 15), (front + 26, seam + 11)]
    d.plate(frame, "steel", steel * 0.55)
    _slide(d, front, back, seam, steel)
    d.stroke(ellipse((back - 68, seam + 10), (22, 24), -5, 190, 24), 5.5, "steel", thickness=7)
    trigger = [(back - 64, seam + 8), (back - 68, seam + 18), (back - 64, seam + 25)]
    d.stroke(trigger, 4, "steel", thickness=5)
    d.ball((back - 10, seam + 4), (3, 3), 6, "steel")
    return d


def _slide(d: Drawing, front: float, back: float, seam: float, steel: float) -> None:
    """The slide with barrel, ejection port, sights and grooves."""
    top = -34.0
    body = smooth([(front, top), (back, top), (back + 3, seam), (front, seam)], 1)
    d.plate(body, "steel", steel)
    bore = top + (seam - top) * 0.42
    d.rod((front, bore), (back - 62, bore), 6.0, "steel", hollow=0.7)
    port = box(back - 58, top - 0.5, back - 30, (top + seam) / 2)
    d.plate(port, "steel", 3, mode="replace")
    d.plate(box(front + 4, top - 5, front + 9, top + 1), "steel", 4)
    d.plate(box(back - 12, top - 5, back - 4, top + 1), "steel", 5)
    for x in np.arange(back - 22, back - 6, 4.0):
        d.stroke([(x, top + 4), (x, seam - 2)], 1.2, "steel", thickness=4)


def _grip(d: Drawing, rng: np.random.Generator, back: float, seam: float, rake: float) -> None:
    """The grip with its magazine, often loaded."""
    material = str(rng.choice(["nylon", "aluminium", "steel"]))
    outline = [(back - 56, seam), (back - 4, seam), (back + 2, seam + 14), (back + rake - 4, 64)]
    outline += [(back + rake - 44, 68), (back - 48, seam + 26)]
    d.plate(outline, material, 26 if material == "nylon" else 7)
    axis = np.array([rake, 76.0]) / np.hypot(rake, 76)
    start = np.array([back - 28, seam + 6])
    stop = start + axis * (62 - seam - 2)
    d.rod((start[0], start[1]), (stop[0], stop[1]), 12, "steel", hollow=0.9, flatten=0.8)
    if rng.random() < 0.6:
        for step in np.arange(10, 62 - seam - 8, 9.0):
            x, y = start + axis * step
            d.rod((x - 11, y + 3), (x + 9, y - 3), 4, "brass")


def _revolver(rng: np.random.Generator) -> Drawing:
    d = Drawing()
    barrel = rng.uniform(60, 130)
    steel = rng.uniform(7, 11)
    d.rod((-20 - barrel, -24), (-20, -24), 9.5, "steel", hollow=0.5)
    d.plate(box(-20 - barrel, -35, -20, -31), "steel", 4)
    d.plate([(-20 - barrel, -35), (-12 - barrel, -35), (-14 - barrel, -42)], "steel", 3)
    d.rod((-18 - barrel * 0.6, -10), (-20, -10), 4, "steel")
    frame = smooth([(-22, -36), (42, -36), (52, -22), (50, 4), (34, 10), (-10, 6), (-22, -4)], 1)
    hole = box(-14, -32, 28, 2, 3)
    d.plate(frame, "steel", steel, holes=(hole,))
    d.rod((-14, -15), (28, -15), 20, "steel", hollow=0.35)
    for y in (-27.0, -15.0, -3.0):
        d.rod((-12, y), (27, y), 4.6, "brass", hollow=0.4)
    d.plate([(44, -34), (58, -44), (62, -38), (52, -20)], "steel", 6)
    grip = smooth([(34, 4), (52, -8), (66, 20), (84, 60), (58, 68), (42, 34)], 2)
    d.plate(grip, str(rng.choice(["wood", "rubber"])), 28)
    d.stroke([(46, 0), (60, 30), (72, 62), (60, 66), (44, 30)], 4, "steel", thickness=9)
    d.stroke(ellipse((12, 8), (20, 20), -5, 190, 24), 5, "steel", thickness=7)
    d.stroke([(14, 8), (10, 18), (14, 25)], 4, "steel", thickness=5)
    return d


def bullet(rng: np.random.Generator) -> Drawing:
    """One round: brass case with powder, lead core in a copper jacket."""
    d = Drawing()
    radius = rng.uniform(4.5, 6.5)
    case = rng.uniform(17, 26) if rng.random() < 0.7 else rng.uniform(34, 48)
    rifle = case > 30
    neck = radius * (0.66 if rifle else 1.0)
    tip = rng.uniform(12, 18) * (1.3 if rifle else 1.0)
    half = (case + tip) / 2
    shoulder = -half + case * (0.78 if rifle else 1.0)
    d.rod((-half, 0), (shoulder, 0), radius, "brass", hollow=0.82)
    d.rod((-half + 3, 0), (shoulder, 0), radius * 0.8, "smokeless_powder")
    d.rod((-half, 0), (-half + 3, 0), radius * 1.06, "brass")
    if rifle:
        d.rod((shoulder, 0), (-half + case, 0), (radius, neck), "brass", hollow=0.8)
    end = -half + case
    d.rod((end - 4, 0), (end + tip * 0.45, 0), neck * 0.95, "copper", hollow=0.85)
    d.rod((end - 4, 0), (end + tip * 0.45, 0), neck * 0.8, "lead")
    nose = neck * 0.3
    d.rod((end + tip * 0.45, 0), (half, 0), (neck * 0.95, nose), "copper", hollow=0.85)
    d.rod((end + tip * 0.45, 0), (half - 1, 0), (neck * 0.8, nose * 0.8), "lead")
    return d
