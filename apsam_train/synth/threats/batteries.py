"""ColumnarBlockBattery (round cells, single or bundled) and MotorBattery (block or pack)."""

import numpy as np

from ..shapes import Drawing, box


def columnar_block_battery(rng: np.random.Generator) -> Drawing:
    """One to four AA, C or 18650 cells side by side, sometimes in a holder."""
    d = Drawing()
    lithium = rng.random() < 0.4
    radius = rng.uniform(7, 9.2) if rng.random() < 0.7 else rng.uniform(12, 16)
    length = radius * rng.uniform(3.3, 3.8)
    count = int(rng.integers(1, 5))
    top = -(count - 1) * (radius + 0.6)
    if count > 1 and rng.random() < 0.6:
        edge = -top + radius + 3
        d.plate(box(-length - 4, -edge, length + 4, edge, 3), "abs", 4)
        d.stroke([(length + 2, -edge), (length + 24, -edge - 12)], 2, "copper")
    for index in range(count):
        y = top + index * 2 * (radius + 0.6)
        flip = -1.0 if index % 2 else 1.0
        core = "li_ion_cell" if lithium else "alkaline_cell"
        d.rod((-length, y), (length, y), radius, "steel", hollow=0.955)
        d.rod((-length + 2, y), (length - 3, y), radius * 0.95, core, hollow=0.25)
        d.rod((flip * length, y), (flip * (length + 2), y), radius * 0.35, "steel")
        d.rod((-flip * length, y), (-flip * (length - 1.5), y), radius * 0.9, "steel")
    return d


def motor_battery(rng: np.random.Generator) -> Drawing:
    """A lead-acid block (plates, posts) or an e-bike pack (rows of cells in a case)."""
    d = Drawing()
    if rng.random() < 0.5:
        w, h = rng.uniform(75, 110), rng.uniform(48, 75)
        d.plate(box(-w, -h, w, h, 4), "abs", 12)
        cells = int(rng.integers(3, 7))
        pitch = 2 * (w - 4) / cells
        for index in range(cells):
            x = -w + 4 + index * pitch
            d.plate(box(x + 2, -h + 16, x + pitch - 2, h - 5), "lead", rng.uniform(0.6, 1.6))
            d.plate(box(x + 1, -h + 8, x + pitch - 1, h - 4), "water", 25)
        for x in (-w * 0.75, w * 0.75):
            d.plate(box(x - 8, -h - 9, x + 8, -h + 12, 2), "lead", 6)
        return d
    columns, rows = int(rng.integers(4, 8)), int(rng.integers(2, 5))
    r = 9.2
    w, h = columns * r + 6, rows * r + 6
    d.plate(box(-w, -h, w, h, 6), "abs", 6)
    d.plate(box(-w - 14, -h * 0.6, -w + 2, h * 0.6, 2), "circuit_board", 4)
    for row in range(rows):
        for column in range(columns):
            x, y = (2 * column + 1 - columns) * r, (2 * row + 1 - rows) * r
            d.ball((x, y), (r - 0.4, r - 0.4), 4, "li_ion_cell")
            d.ball((x, y), (r - 0.3, r - 0.3), 14, "steel", hollow=0.94)
    for row in range(rows):
        y = (2 * row + 1 - rows) * r
        d.stroke([(-w + 6, y), (w - 6, y)], 5, "copper", thickness=0.3)
    return d
