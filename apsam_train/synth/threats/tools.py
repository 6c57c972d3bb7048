"""Hammer, Pliers, Wrench, Screwdriver."""

import numpy as np

from ..shapes import Drawing, Points, box, ellipse, smooth


def hammer(rng: np.random.Generator) -> Drawing:
    d = Drawing()
    length, head = rng.uniform(200, 270), rng.uniform(95, 125)
    thick = rng.uniform(16, 24)
    half, y = head / 2, -length * 0.45
    handle = str(rng.choice(["wood", "wood", "rubber", "nylon"]))
    d.rod((0, y - 6), (0, y + length), (11, rng.uniform(13, 17)), handle, flatten=0.8)
    if handle != "wood":
        d.rod((0, y), (0, y + length * 0.95), 5.5, "steel")
    d.rod((-half, y), (-half + 22, y), rng.uniform(13, 16), "steel")
    if rng.random() < 0.6:
        claw = [(-half + 20, y - 11), (8, y - 14), (half * 0.7, y - 6), (half + 6, y + 24)]
        claw += [(half - 8, y + 20), (half * 0.55, y + 8), (8, y + 15), (-half + 20, y + 11)]
        d.plate(smooth(claw, 1), "steel", thick)
        d.stroke([(half * 0.6, y), (half + 2, y + 22)], 2.5, "wood", thickness=1, mode="replace")
    else:
        body = [(-half + 20, y - 11), (half * 0.5, y - 13), (half, y - 2), (half, y + 3)]
        body += [(half * 0.5, y + 13), (-half + 20, y + 11)]
        d.plate(body, "steel", thick)
    return d


def pliers(rng: np.random.Generator) -> Drawing:
    d = Drawing()
    length = rng.uniform(150, 200)
    spread = np.radians(rng.uniform(4, 20))
    jaw, steel = length * rng.uniform(0.24, 0.36), rng.uniform(6, 10)
    nose = rng.uniform(3, 8)
    grip = str(rng.choice(["pvc", "rubber", "nylon"]))
    for side in (-1.0, 1.0):
        c, s = np.cos(spread * side / 2), np.sin(spread * side / 2)
        turn = np.array([[c, s], [-s, c]])

        def placed(
            points: list[tuple[float, float]], turn: Points = turn, side: float = side
        ) -> Points:
            result: Points = (np.asarray(points, dtype=np.float64) * (1.0, side)) @ turn
            return result

        d.plate(
            placed([(-14, -12), (6, -14), (jaw, -nose), (jaw, -0.6), (10, -1), (-10, 8)]),
            "steel",
            steel,
        )
        arm = [(-6.0, 2.0), (-30.0, 13.0), (-length * 0.45, 21.0), (-length * 0.68, 17.0)]
        curve = smooth(placed(arm), 2, closed=False)
        d.stroke(curve, 9, "steel", thickness=steel * 0.8)
        d.stroke(curve[len(curve) // 4 :], 15, grip, thickness=12)
    d.ball((0, 0), (14, 14), steel * 0.5, "steel")
    return d


def wrench(rng: np.random.Generator) -> Drawing:
    d = Drawing()
    length, thick = rng.uniform(140, 240), rng.uniform(5, 9)
    half, bar = length / 2, rng.uniform(7, 11)
    mouth = rng.uniform(16, 24)
    recess = rng.uniform(2, 4)
    d.plate(box(-half, -bar, half, bar, 3), "steel", thick)
    d.plate(box(-half * 0.7, -bar * 0.5, half * 0.7, bar * 0.5), "steel", recess, mode="replace")
    if rng.random() < 0.45:
        d.plate(box(-half * 0.2, -bar * 0.9, half * 0.95, bar * 0.9, 4), "rubber", 10)
    angle = rng.uniform(10, 20)
    _open_end(d, (half, 0.0), mouth, thick, angle)
    if rng.random() < 0.6:
        ring = ellipse((-half, 0), (mouth * 0.8, mouth * 0.8))
        hole = ellipse((-half, 0), (mouth * 0.45, mouth * 0.45), count=7)
        d.plate(ring, "steel", thick * 1.1, holes=(hole,), mode="replace")
    else:
        _open_end(d, (-half, 0.0), mouth * 0.85, thick, 180 + angle)
    d.ball((half - mouth * 0.8, 0), (4, 4), 3, "zinc_alloy")
    return d


def _open_end(
    d: Drawing, at: tuple[float, float], mouth: float, thick: float, angle: float
) -> None:
    a = np.radians(angle)
    c, s = np.cos(a), np.sin(a)
    arc = ellipse((0, 0), (mouth, mouth), 32, 328, 30)
    jaws = [(mouth * 0.85, -mouth * 0.42), (-mouth * 0.1, -mouth * 0.42)]
    jaws += [(-mouth * 0.35, 0), (-mouth * 0.1, mouth * 0.42), (mouth * 0.85, mouth * 0.42)]
    outline = np.concatenate([arc, jaws]) @ np.array([[c, s], [-s, c]]) + np.array(at)
    d.plate(outline, "steel", thick * 1.2, mode="replace")


def screwdriver(rng: np.random.Generator) -> Drawing:
    d = Drawing()
    shaft, handle = rng.uniform(75, 150), rng.uniform(75, 105)
    radius, bar = rng.uniform(11, 16), rng.uniform(2.4, 4)
    material = str(rng.choice(["abs", "nylon", "pvc"]))
    d.rod((-handle, 0), (-handle * 0.35, 0), (radius * 0.9, radius), material)
    d.rod((-handle * 0.35, 0), (-handle * 0.15, 0), (radius, radius * 0.62), material)
    d.rod((-handle * 0.15, 0), (0, 0), (radius * 0.62, radius * 0.8), material)
    d.rod((-handle * 0.7, 0), (shaft * 0.88, 0), bar, "steel")
    if rng.random() < 0.5:
        d.plate(
            [
                (shaft * 0.86, -bar),
                (shaft * 0.95, -bar * 1.5),
                (shaft, -bar * 1.3),
                (shaft, bar * 1.3),
                (shaft * 0.95, bar * 1.5),
                (shaft * 0.86, bar),
            ],
            "steel",
            2.0,
        )
    else:
        d.rod((shaft * 0.88, 0), (shaft, 0), (bar, 0.8), "steel")
    return d
