"""How well `apsam-train curate` tells copies from other bags: `python -m bench.near_duplicates`.

Copies: synthetic bags, altered as exports alter them. Not copies: other bags (all pairs), and, for
each bag, the same clutter and the same pose with other threats in it, and a second view: there is
no second projection in the generator, so an affine turn about the belt's axis stands in for it.
Prints the machine, the share that counts as a copy for every distance of the 64-bit hash (each time
confirmed by the whole hash, as `curate` does), and, as the last line, JSON. The same bag with other
objects is what no hash can tell; `curate` goes by the annotations there.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import time
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_train.curate.filters.duplicates import MAX_FINE_DISTANCE
from apsam_train.curate.phash import (
    ORIENTATIONS,
    coarse_words,
    fine_words,
    near_pairs,
    oriented,
    perceptual_hash,
)
from apsam_train.synth import SynthConfig, generate
from bench.measure.rounds import told

Picture = NDArray[np.uint8]
Hashes = NDArray[np.bool_]
DISTANCES = tuple(range(17))
SEED = 5


def reencoded(quality: int) -> Callable[[Picture], Picture]:
    """JPEG and back."""

    def alter(picture: Picture) -> Picture:
        _, data = cv2.imencode(".jpg", picture, (cv2.IMWRITE_JPEG_QUALITY, quality))
        decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
        assert decoded is not None
        return decoded.astype(np.uint8, copy=False)

    return alter


def resized(scale: float) -> Callable[[Picture], Picture]:
    """Another size of the same picture."""
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC

    def alter(picture: Picture) -> Picture:
        other = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=method)
        return other.astype(np.uint8, copy=False)

    return alter


def toned(gamma: float, shift: int) -> Callable[[Picture], Picture]:
    """Another brightness curve."""
    curve = np.clip(255 * (np.arange(256) / 255) ** gamma + shift, 0, 255).astype(np.uint8)
    return lambda picture: curve[picture]


def cropped(share: float) -> Callable[[Picture], Picture]:
    """`share` of height and width cut off, half of it on either side."""

    def alter(picture: Picture) -> Picture:
        height, width = picture.shape[:2]
        y, x = round(height * share / 2), round(width * share / 2)
        return picture[y : height - y, x : width - x]

    return alter


def second_view(picture: Picture) -> Picture:
    """A stand-in for another projection: lower by a quarter, and sheared."""
    height, width = picture.shape[:2]
    matrix = np.array([[1, 0.15, -0.075 * height], [0, 0.75, 0.125 * height]])
    other = cv2.warpAffine(picture, matrix, (width, height), borderValue=(255, 255, 255))
    return other.astype(np.uint8, copy=False)


ALTERATIONS: dict[str, Callable[[Picture], Picture]] = {
    **{f"JPEG quality {q}": reencoded(q) for q in (95, 80, 60)},
    **{f"resized {s:g}": resized(s) for s in (0.7, 0.9, 1.1, 1.3)},
    "gamma 0.7": toned(0.7, 0),
    "gamma 1.4": toned(1.4, 0),
    "brightness +20": toned(1, 20),
    "brightness -20": toned(1, -20),
    "cropped 1 %": cropped(0.01),
    "cropped 2 %": cropped(0.02),
    "cropped 4 %": cropped(0.04),
    "mirrored, --mirrors": lambda picture: picture[:, ::-1],
    "turned 90, --mirrors": lambda picture: np.rot90(picture),
    "JPEG 75, 0.8, gamma 1.2": lambda p: reencoded(75)(resized(0.8)(toned(1.2, 0)(p))),
}


def hashes(pictures: list[Picture]) -> Hashes:
    """[N, 16, 16]."""
    greys = [cv2.cvtColor(np.ascontiguousarray(p), cv2.COLOR_RGB2GRAY) for p in pictures]
    return np.stack([perceptual_hash(grey.astype(np.uint8, copy=False)) for grey in greys])


def bags(num: int, side: int, threats: tuple[int, int] = (2, 6)) -> list[Picture]:
    """The same seeds draw the same bag and clutter, whatever the number of threats."""
    config = SynthConfig(side=side, num_instances=threats)
    return [generate(seed=SEED, index=index, config=config).rgb for index in range(num)]


def shares(first: Hashes, second: Hashes, *, mirrors: bool = False) -> list[float]:
    """Share of the pairs (first[n], second[n]) that count as copies, per distance."""
    best = np.full(len(first), 99)
    for orientation in range(len(ORIENTATIONS) if mirrors else 1):
        other = oriented(second, orientation)
        distance = np.bitwise_count(coarse_words(first) ^ coarse_words(other)).astype(int)
        fine = np.bitwise_count(fine_words(first) ^ fine_words(other)).sum(axis=1)
        best = np.minimum(best, np.where(fine <= MAX_FINE_DISTANCE, distance, 99))
    return [float((best <= d).mean()) for d in DISTANCES]


def other_bags(found: Hashes, *, mirrors: bool) -> tuple[list[int], list[int], int]:
    """Pairs of different bags within each distance: of the 64 bits alone, and confirmed; and the
    least distance of all bits among pairs within the greatest."""
    alone, confirmed = np.zeros(len(DISTANCES), int), np.zeros(len(DISTANCES), int)
    nearest = 255
    for orientation in range(len(ORIENTATIONS) if mirrors else 1):
        other = oriented(found, orientation)
        coarse, fine = coarse_words(found), fine_words(found)
        other_coarse, other_fine = coarse_words(other), fine_words(other)
        for i, j in near_pairs(coarse, other_coarse, DISTANCES[-1]):
            distance = np.bitwise_count(coarse[i] ^ other_coarse[j])
            whole = np.bitwise_count(fine[i] ^ other_fine[j]).sum(axis=1)
            nearest = min(nearest, int(whole.min()))
            alone += [(distance <= d).sum() for d in DISTANCES]
            confirmed += [((distance <= d) & (whole <= MAX_FINE_DISTANCE)).sum() for d in DISTANCES]
    return alone.tolist(), confirmed.tolist(), nearest


def row(name: str, values: list[float]) -> str:
    """A line of the table, in per cent."""
    return f"{name:<34}" + "".join(f"{100 * value:6.1f}" for value in values)


def main() -> None:
    """Draw, alter, compare, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--num-images", type=int, default=300)
    parser.add_argument("--side", type=int, default=320, help="of bags that are altered")
    parser.add_argument(
        "--num-others", type=int, default=2000, help="bags of which all pairs count"
    )
    args = parser.parse_args()
    cv2.setNumThreads(1)
    started = time.perf_counter()
    pictures = bags(args.num_images, args.side)
    originals = hashes(pictures)
    results = {
        name: shares(originals, hashes([alter(p) for p in pictures]), mirrors="--mirrors" in name)
        for name, alter in told(ALTERATIONS.items(), "alterations")
    }
    empty = hashes(bags(args.num_images, args.side, (0, 0)))
    one = hashes(bags(args.num_images, args.side, (1, 1)))
    negatives = {
        "second view (stand-in)": shares(originals, hashes([second_view(p) for p in pictures])),
        "same bag, no threat / one": shares(empty, one),
        "same bag, one threat / 2 to 6": shares(one, originals),
    }
    many = hashes(bags(args.num_others, 160))
    num_pairs = len(many) * (len(many) - 1) // 2
    machine = f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs"
    print(f"{machine}; numpy {np.__version__}, OpenCV {cv2.__version__}")
    print(f"{args.num_images} bags; counted as copies, in per cent, by distance:")
    print(f"{'':<34}" + "".join(f"{d:6}" for d in DISTANCES))
    for name, values in {**results, **negatives}.items():
        print(row(name, values))
    pairs = {}
    print(f"pairs of {len(many)} other bags ({num_pairs:,}) counted as copies:")
    for mirrors in (False, True):
        alone, confirmed, nearest = other_bags(many, mirrors=mirrors)
        label = "--mirrors, " if mirrors else ""
        print(f"{label + '64 bits alone':<34}" + "".join(f"{n:6}" for n in alone))
        print(f"{label + 'confirmed':<34}" + "".join(f"{n:6}" for n in confirmed))
        print(f"{label}least distance of all 255 bits among them: {nearest}")
        pairs[label + "confirmed"] = confirmed
    print(f"{time.perf_counter() - started:.0f} s")
    out = {"benchmark": "near_duplicates", "copies": results, "not_copies": negatives}
    print(json.dumps({**out, "pairs": pairs, "num_pairs": num_pairs, "machine": machine}))


if __name__ == "__main__":
    main()
