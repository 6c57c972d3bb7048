"""Powerbank, Mobilephone, Laptop."""

import numpy as np

from ..shapes import Drawing, box


def powerbank(rng: np.random.Generator) -> Drawing:
    d = Drawing()
    w, h = rng.uniform(48, 72), rng.uniform(30, 38)
    d.plate(box(-w, -h, w, h, 7), str(rng.choice(["abs", "aluminium"])), 3)
    cells = int(rng.integers(1, 4))
    right = w - 22
    if rng.random() < 0.5:
        thick = rng.uniform(6, 12)
        d.plate(box(-w + 4, -h + 4, right, h - 4, 3), "li_ion_cell", thick)
        if cells > 1:
            d.stroke([(-w + 4, 0), (right, 0)], 1.5, "abs", thickness=2, mode="replace")
    else:
        radius = (h - 4) / (cells + 1)
        for index in range(cells + 1):
            y = (2 * index - cells) * radius
            d.rod((-w + 5, y), (right, y), radius * 0.96, "li_ion_cell", flatten=0.7)
            d.rod((-w + 5, y), (right, y), radius * 0.97, "steel", hollow=0.97, flatten=0.7)
    d.plate(box(right + 4, -h + 5, w - 3, h - 5), "circuit_board", 2.5)
    for y in (-h * 0.5, 0.0, h * 0.5):
        d.plate(box(w - 14, y - 6, w, y + 6), "steel", 0.9)
    d.plate(box(right + 6, -6, right + 13, 5), "copper", 2)
    return d


def mobile_phone(rng: np.random.Generator) -> Drawing:
    d = Drawing()
    w, h = rng.uniform(68, 82), rng.uniform(33, 39)
    case = str(rng.choice(["aluminium", "abs"]))
    d.plate(box(-w, -h, w, h, 9), case, 1.6)
    d.plate(box(-w + 2, -h + 2, w - 2, h - 2, 8), "glass", 1.2)
    d.stroke(box(-w, -h, w, h, 9), 2.4, "aluminium", thickness=5, closed=True)
    split = rng.uniform(-0.1, 0.15) * h
    d.plate(box(-w * 0.62, split - h * 0.1, w * 0.55, h * 0.9, 2), "li_ion_cell", 4.2)
    board = [(-w * 0.95, -h * 0.92), (w * 0.9, -h * 0.92), (w * 0.9, h * 0.9), (w * 0.6, h * 0.9)]
    board += [(w * 0.6, split - h * 0.16), (-w * 0.95, split - h * 0.16)]
    d.plate(board, "circuit_board", 1.5)
    for _ in range(int(rng.integers(5, 9))):
        x, y = rng.uniform(-w * 0.85, w * 0.6), rng.uniform(-h * 0.85, split - h * 0.35)
        sx, sy = rng.uniform(4, 12), rng.uniform(3, 7)
        d.plate(box(x, y, x + sx, y + sy), str(rng.choice(["copper", "steel"])), 0.5)
    for x in (w * 0.72, w * 0.84):
        d.ball((x, -h * 0.62), (5, 5), 2.5, "steel", hollow=0.7)
    d.ball((-w * 0.82, h * 0.45), (6, 8), 1.5, "steel")
    d.plate(box(-w, -6, -w + 8, 6), "steel", 1.0)
    return d


def laptop(rng: np.random.Generator) -> Drawing:
    """Closed: case, screen, board, cells, hinges, fan, keyboard plate."""
    d = Drawing()
    w, h = rng.uniform(135, 165), rng.uniform(95, 112)
    d.plate(box(-w, -h, w, h, 6), str(rng.choice(["aluminium", "abs", "aluminium"])), 2.2)
    d.plate(box(-w + 5, -h + 5, w - 5, h - 12, 2), "glass", 1.2)
    d.plate(box(-w + 14, -h + 26, w - 14, h * 0.15), "aluminium", 0.8)
    d.stroke(box(-w, -h, w, h, 6), 3.0, "abs", thickness=14, closed=True)
    count = int(rng.integers(3, 7))
    pitch = 2 * (w - 14) / count
    bottom = h - 8
    for index in range(count):
        x = -w + 14 + index * pitch
        d.plate(box(x, h * 0.38, x + pitch - 4, bottom, 2), "li_ion_cell", rng.uniform(3, 5.5))
    right = w * rng.uniform(0.25, 0.6)
    board = [(-w + 12, -h + 12), (right, -h + 12), (right, h * 0.05), (-w * 0.2, h * 0.05)]
    board += [(-w * 0.2, h * 0.28), (-w + 12, h * 0.28)]
    d.plate(board, "circuit_board", 2.0)
    for _ in range(int(rng.integers(12, 22))):
        x, y = rng.uniform(-w + 16, right - 14), rng.uniform(-h + 16, h * 0.02)
        sx, sy = rng.uniform(4, 22), rng.uniform(3, 14)
        d.plate(box(x, y, x + sx, y + sy), str(rng.choice(["copper", "steel", "abs"])), 0.6)
    for x in (-w * 0.55, right * 0.6):
        d.ball((x, -h * 0.45), (24, 24), 3.5, "steel", hollow=0.9)
        d.ball((x, -h * 0.45), (8, 8), 3, "copper")
    d.stroke(
        [(-w * 0.5, -h * 0.7), (0, -h * 0.78), (right * 0.6, -h * 0.7)], 6, "copper", thickness=1
    )
    if right < w * 0.45:
        d.plate(box(w * 0.5, -h * 0.7, w * 0.9, h * 0.1, 3), "steel", 1.4)
        d.ball((w * 0.7, -h * 0.3), (26, 26), 1.5, "aluminium")
    for x in (-w * 0.7, w * 0.7):
        d.plate(box(x - 14, -h - 1, x + 14, -h + 9, 1), "steel", 4)
    return d
