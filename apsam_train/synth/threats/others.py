"""Pressure vessels, Handcuffs, Lighter, Fireworks, Dart, Razorblade, Sawblade."""

import numpy as np

from ..shapes import Drawing, box, ellipse, smooth


def pressure(rng: np.random.Generator) -> Drawing:
    """An aerosol can or gas cartridge: thin metal, domes, valve, propellant."""
    d = Drawing()
    radius, length = rng.uniform(22, 33), rng.uniform(110, 175)
    half = length / 2
    wall = str(rng.choice(["steel", "steel", "aluminium"]))
    hollow = 0.985 if wall == "steel" else 0.95
    d.rod((-half, 0), (half, 0), radius, wall, hollow=hollow)
    d.rod((-half, 0), (-half + 3, 0), radius + 0.8, wall, hollow=0.8)
    d.ball((-half + 2, 0), (9, radius * 0.94), radius, wall, hollow=0.96)
    d.rod((half, 0), (half + 9, 0), (radius, radius * 0.5), wall, hollow=0.94)
    d.rod((half - 2, 0), (half + 1, 0), radius + 0.8, wall, hollow=0.85)
    d.rod((half + 8, 0), (half + 13, 0), radius * 0.5, wall, hollow=0.85)
    d.rod((half + 10, 0), (half + 22, 0), radius * 0.22, "nylon")
    d.rod((-half * 0.9, 3), (half + 10, 0), 1.6, "polyethylene")
    liquid = str(rng.choice(["ethanol", "petrol", "water"]))
    fill = rng.uniform(0.3, 0.85)
    d.rod((-half + 3, 0), (-half + length * fill, 0), radius * hollow, liquid, flatten=0.9)
    if rng.random() < 0.6:
        d.rod((half - 2, 0), (half + 34, 0), radius * 0.95, "polyethylene", hollow=0.93)
    return d


def handcuffs(rng: np.random.Generator) -> Drawing:
    d = Drawing()
    ring, gap = rng.uniform(30, 36), rng.uniform(16, 34)
    steel = rng.uniform(4.5, 7.5)
    for side in (-1.0, 1.0):
        x = side * (ring + gap + 12)
        tilt = rng.uniform(0.82, 1.0)
        d.stroke(
            ellipse((x, 0), (ring, ring * tilt)), rng.uniform(7, 9), "steel",
            thickness=steel, closed=True,
        )  # fmt: skip
        inner = x - side * ring * 0.92
        lock = box(inner - 11, -19, inner + 11, 19, 5)
        d.plate(lock, "steel", steel * 1.2)
        d.plate(box(inner - 6, -6, inner + 6, 6, 2), "zinc_alloy", 3)
        for angle in np.linspace(-60, 60, 9) + (0 if side > 0 else 180):
            a = np.radians(angle)
            tooth = (x + (ring - 4.5) * np.cos(a), (ring - 4.5) * tilt * np.sin(a))
            d.ball(tooth, (1.8, 1.8), 3, "steel")
    for link in np.linspace(-gap, gap, 5):
        long, short = (7.0, 5.0) if rng.random() < 0.5 else (8.0, 2.5)
        d.stroke(ellipse((float(link), 0), (long, short), count=20), 3, "steel", closed=True)
    return d


def lighter(rng: np.random.Generator) -> Drawing:
    """A disposable gas lighter: plastic tank of butane, steel hood, wheel, tube."""
    d = Drawing()
    length, w = rng.uniform(52, 62), rng.uniform(10, 13)
    half = length / 2
    d.plate(box(-half, -w, half, w, 5), "abs", 4)
    level = rng.uniform(0.1, 0.8) * length
    d.plate(box(-half + 2, -w + 2, -half + 2 + level, w - 2, 4), "petrol", 9)
    d.stroke([(-half + 4, 0), (half, 0)], 2.5, "abs", thickness=3)
    hood = [(half - 1, -w), (half + 15, -w), (half + 15, -1), (half + 8, 3), (half - 1, 3)]
    d.plate(hood, "steel", 0.9)
    d.stroke([*hood, hood[0]], 1.4, "steel", thickness=4)
    d.ball((half + 9, 5), (5, 5), 4.5, "steel", hollow=0.35)
    d.rod((half - 6, -w * 0.45), (half + 7, -w * 0.45), 2.3, "brass", hollow=0.5)
    d.plate(box(half - 1, 6, half + 6, w + 3, 2), "abs", 9)
    return d


def fireworks(rng: np.random.Generator) -> Drawing:
    """Powder in paper: a rocket on a stick, a battery of tubes, or a string of crackers."""
    d = Drawing()
    kind = rng.integers(0, 3)
    if kind == 0:
        radius, length = rng.uniform(10, 17), rng.uniform(60, 100)
        d.rod((0, 0), (length, 0), radius, "paper", hollow=0.72)
        d.rod((6, 0), (length * 0.82, 0), radius * 0.72, "black_powder")
        d.rod((0, 0), (6, 0), radius * 0.72, "glass")
        d.rod((length, 0), (length + radius * 1.8, 0), (radius * 1.05, 1.5), "polyethylene")
        d.rod((-rng.uniform(100, 160), radius + 2), (length * 0.8, radius + 2), 2.6, "wood")
        d.stroke(smooth([(0, 0), (-10, -6), (-18, 2), (-28, -4)], 2, closed=False), 2, "paper")
    elif kind == 1:
        columns, rows = int(rng.integers(3, 6)), int(rng.integers(2, 5))
        r = rng.uniform(10, 14)
        d.plate(box(-columns * r - 2, -rows * r - 2, columns * r + 2, rows * r + 2), "paper", 14)
        for row in range(rows):
            for column in range(columns):
                x, y = (2 * column + 1 - columns) * r, (2 * row + 1 - rows) * r
                d.ball((x, y), (r, r), 30, "paper", hollow=0.8)
                d.ball((x, y), (r * 0.78, r * 0.78), rng.uniform(8, 14), "black_powder")
    else:
        count = int(rng.integers(6, 13))
        for index in range(count):
            x = (index - count / 2) * 11.0
            side = 1.0 if index % 2 else -1.0
            d.rod((x, side * 3), (x + 5, side * 38), 4.2, "paper", hollow=0.7)
            d.rod((x + 0.7, side * 8), (x + 4.4, side * 34), 3.0, "black_powder")
            d.rod((x + 0.2, side * 4), (x + 0.8, side * 8), 3.0, "glass")
        wave = [(x, 4 * np.sin(x)) for x in np.linspace(-count * 6, count * 6, 20)]
        d.stroke(wave, 2.2, "paper")
    return d


def dart(rng: np.random.Generator) -> Drawing:
    """Steel point, brass or steel barrel with rings, nylon shaft, four plastic flights."""
    d = Drawing()
    barrel, radius = rng.uniform(38, 52), rng.uniform(3.2, 4.4)
    metal = str(rng.choice(["brass", "steel"]))
    d.rod((barrel, 0), (barrel + rng.uniform(26, 38), 0), (1.4, 0.5), "steel")
    d.rod((0, 0), (barrel, 0), (radius * 0.9, radius), metal)
    for x in np.arange(6, barrel - 4, 5.0):
        d.rod((x, 0), (x + 2, 0), radius * 1.2, metal, hollow=0.8)
    shaft = rng.uniform(30, 45)
    d.rod((-shaft, 0), (2, 0), 2.6, "nylon")
    flight = smooth([(-shaft + 6, 0), (-shaft - 8, 17), (-shaft - 34, 17), (-shaft - 30, 0)], 1)
    tail = rng.uniform(0.8, 1.2)
    d.plate(flight, "pet", 1.5 * tail)
    d.plate(flight * (1, -1), "pet", 1.5 * tail)
    d.plate(flight * (1, 0.15), "pet", 9)
    return d


def razor_blade(rng: np.random.Generator) -> Drawing:
    """A double-edge blade with its slot; at times in a plastic cartridge or wax paper."""
    d = Drawing()
    w, h = 21.5, 11.0
    steel = rng.uniform(0.3, 0.6)
    outline = [(-w, -h + 3), (-w + 3, -h + 3), (-w + 3, -h), (w - 3, -h), (w - 3, -h + 3)]
    outline += [(w, -h + 3), (w, h - 3), (w - 3, h - 3), (w - 3, h), (-w + 3, h)]
    outline += [(-w + 3, h - 3), (-w, h - 3)]
    slot = [(-16, -1.3), (-12, -1.3), (-11, -3), (-9, -3), (-8, -1.3), (-2, -1.3), (0, -3.2)]
    slot += [(2, -1.3), (8, -1.3), (9, -3), (11, -3), (12, -1.3), (16, -1.3)]
    slot += [(x, -y) for x, y in reversed(slot)]
    d.plate(outline, "steel", steel, holes=(slot,))
    if rng.random() < 0.4:
        d.plate(box(-w - 1, -h - 1, w + 1, h + 1, 2), "paper", 1.0)
    return d


def saw_blade(rng: np.random.Generator) -> Drawing:
    """A hacksaw strip with teeth and end holes, or a circular blade."""
    d = Drawing()
    steel = rng.uniform(0.8, 1.6)
    if rng.random() < 0.72:
        half, w = rng.uniform(110, 165), rng.uniform(6.5, 13)
        teeth = np.arange(-half, half, 4.0)
        upper = [(x + o, w + (2.6 if o else 0.0)) for x in teeth for o in (0.0, 2.0)]
        outline = [(-half, -w), (half, -w), (half, w), *reversed(upper)]
        holes = [ellipse((x, 0), (3, 3), count=14) for x in (-half + 9, half - 9)]
        d.plate(outline, "steel", steel, holes=holes)
        if rng.random() < 0.35:
            d.plate(box(-half - 30, -w - 5, -half + 60, w + 5, 6), "abs", 14)
        return d
    radius = rng.uniform(45, 85)
    angle = np.linspace(0, 2 * np.pi, 97)
    reach = radius * np.where(
        np.arange(97) % 3 == 0, 1.05, np.where(np.arange(97) % 3 == 1, 0.95, 0.98)
    )
    outer = np.stack([reach * np.cos(angle), reach * np.sin(angle)], axis=1)
    holes = [ellipse((0, 0), (radius * 0.16, radius * 0.16))]
    for turn in np.linspace(0, 2 * np.pi, 5)[:-1]:
        centre = (0.58 * radius * float(np.cos(turn)), 0.58 * radius * float(np.sin(turn)))
        holes.append(ellipse(centre, (radius * 0.08, radius * 0.08)))
    d.plate(outer, "steel", steel, holes=holes)
    return d
