"""`make demo`: the main job, with the commands a person would type.

Synthetic bags -> training -> a bundle -> a gRPC service -> one click -> a mask, on bags the model
was not trained on. Prints every command it runs; writes everything under --out.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.client import Client
from apsam_serve.contract.masks import mask_iou
from apsam_serve.contract.prompts import Point, Prompt
from apsam_serve.contract.segmenter import Segmentation
from apsam_serve.overlay import draw, draw_mask
from apsam_train.data.formats import open_dataset
from apsam_train.data.sample import Instance, Sample
from apsam_train.evaluate.flood_fill import FloodFill
from apsam_train.evaluate.protocols import PROTOCOLS
from apsam_train.evaluate.score import Asking, score
from apsam_train.evaluate.summary import summarise
from bench.measure.serving import ServedBundle

STAGES = ("queue", "decode_1", "points", "decode_2", "mask", "serialise")
"""Columns of the table; the service reports these for a click on an encoded image."""
CLICKED_IMAGES = 8
APG, CLICK = Asking(protocol="apg", seed=0), Asking(protocol="random1", seed=0)
MARK = ".apsam-demo"
"""A file in the demo's own folder, which the next run may empty."""
SPARSER_BAGS = ("--threats", "1-3", "--clutter", "0.5")
"""Minutes of training are tested on bags less full than those they learned from."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Click:
    """One click on one object and what came back. total_s: as the client measured it."""

    sample: Sample
    instance: Instance
    prompt: Prompt
    answer: Segmentation
    iou: float
    total_s: float


def main() -> int:
    """Run the steps in order; the exit code is 0 when all of them worked."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("out/demo"))
    parser.add_argument("--train-images", type=int, default=600)
    parser.add_argument("--test-images", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=2.5, help="training time")
    options = parser.parse_args()
    out: Path = options.out
    start_afresh(out)
    train, test = out / "train", out / "test"
    started = time.monotonic()
    command(
        "apsam-train", "synth", "--out", train, "--num-images", options.train_images, "--seed", 1
    )
    command(
        "apsam-train", "synth", "--out", test, "--num-images", options.test_images, "--seed", 2,
        *SPARSER_BAGS,
    )  # fmt: skip
    command(
        "apsam-train", "fit", "--config", "tiny", "--data", train, "--out", out / "run",
        "--minutes", options.minutes,
    )  # fmt: skip
    command(
        "apsam-export", "--checkpoint", out / "run" / "model.safetensors", "--out", out / "bundle"
    )
    source = open_dataset(test)
    with (
        ServedBundle(out / "bundle", echo=True) as server,
        Client(server.address) as client,
    ):
        clicks = [
            click_on(client, source[i], seed=i) for i in range(min(CLICKED_IMAGES, len(source)))
        ]
        print("\nscoring one click on every object of every test image ...", file=sys.stderr)
        ours, direct = (summarise(one) for one in score(client, source, [APG, CLICK]).values())
    baseline = summarise(score(FloodFill(), source, [CLICK])[CLICK])
    cv2.imwrite(str(out / "sheet.png"), cv2.cvtColor(sheet(clicks), cv2.COLOR_RGB2BGR))
    print(f"\n{table(clicks)}\n")
    print(f"one click, mean IoU over {ours.num_instances} objects of {ours.num_images} new bags:")
    for name, summary in (
        ("APSAM with adaptive points", ours),
        ("APSAM, the click alone", direct),
        ("flood fill from the click", baseline),
    ):
        print(f"  {name:<28}{summary.miou:6.1%}")
    print(f"\ndone in {time.monotonic() - started:.0f} s. Look at {out / 'sheet.png'}, then try:")
    print(next_steps(out, clicks[0]))
    return 0 if ours.miou > baseline.miou else 1


def start_afresh(out: Path) -> None:
    """Empty the folder of an earlier demo; a folder that is anybody else's stops the demo."""
    if out.exists() and not (out / MARK).exists():
        sys.exit(f"{out} exists and was not made by the demo; choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARK).touch()


def command(program: str, *arguments: object) -> None:
    """Print a command and run it; a failure ends the demo with its exit code."""
    words = [str(argument) for argument in arguments]
    print(f"\n$ {' '.join([program, *words])}", file=sys.stderr, flush=True)
    done = subprocess.run([_installed(program), *words])
    if done.returncode != 0:
        sys.exit(done.returncode)


def click_on(client: Client, sample: Sample, *, seed: int) -> Click:
    """Click somewhere on an object of a sample and time the answer."""
    instance = sample.instances[seed % len(sample.instances)]
    prompt = PROTOCOLS["apg"].make(instance.mask, np.random.default_rng(seed))
    encoded = client.encode(sample.image)
    started = time.perf_counter()
    (answer,) = encoded.segment([prompt])
    total_s = time.perf_counter() - started
    encoded.release()
    return Click(
        sample=sample,
        instance=instance,
        prompt=prompt,
        answer=answer,
        iou=mask_iou(answer.mask, instance.mask),
        total_s=total_s,
    )


def table(clicks: list[Click]) -> str:
    """One line per click: image, category, points, IoU and milliseconds per stage."""
    stages = "".join(f"{stage:>10}" for stage in (*STAGES, "total ms"))
    lines = [f"{'image':<12}{'category':<24}{'click':<12}{'APG points':<24}{'IoU':>5}{stages}"]
    for click in clicks:
        name = Path(click.sample.name).name
        points = f"{_text(click.answer.points)} {click.answer.branch[:4]}"
        seconds = [click.answer.timings_s.get(stage, 0.0) for stage in STAGES]
        figures = "".join(f"{s * 1000:10.2f}" for s in (*seconds, click.total_s))
        lines.append(
            f"{name:<12}{click.instance.category:<24}{_text(click.prompt.points):<12}"
            f"{points:<24}{click.iou:5.2f}{figures}"
        )
    return "\n".join(lines)


def sheet(clicks: list[Click], *, side: int = 320) -> NDArray[np.uint8]:
    """image | truth | mask with the points drawn: two clicks per row, RGB."""
    rows = []
    for first in range(0, len(clicks), 2):
        pictures = []
        for click in clicks[first : first + 2]:
            image = click.sample.image
            for picture, caption in (
                (image, Path(click.sample.name).name),
                (draw_mask(image, click.instance.mask), f"truth: {click.instance.category}"),
                (draw(image, click.prompt, click.answer), f"one click: IoU {click.iou:.2f}"),
            ):
                pictures.append(_captioned(picture, caption, side))
        rows.append(np.hstack(pictures))
    return np.vstack(rows)


def next_steps(out: Path, click: Click) -> str:
    """Commands that work as they stand."""
    point: Point = click.prompt.points[0]
    image = out / "test" / click.sample.name
    return "\n".join(
        f"  .venv/bin/{line}"
        for line in (
            f"apsam-serve --bundle {out / 'bundle'} --listen 127.0.0.1:50051 &",
            f"apsam-client segment {image} --click {point.x:.0f},{point.y:.0f} --out overlay.png",
            f"apsam-train evaluate {out / 'bundle'} --data {out / 'test'}",
        )
    )


def _captioned(image: NDArray[np.uint8], caption: str, side: int) -> NDArray[np.uint8]:
    scale = side / max(image.shape[:2])
    size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
    framed = np.full((side + 26, side + 4, 3), 255, np.uint8)
    framed[24 : 24 + size[1], 2 : 2 + size[0]] = cv2.resize(
        image, size, interpolation=cv2.INTER_AREA
    )
    cv2.putText(framed, caption, (4, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1, cv2.LINE_AA)
    return framed


def _text(points: tuple[Point, ...]) -> str:
    return " ".join(f"({point.x:.0f},{point.y:.0f})" for point in points)


def _installed(program: str) -> str:
    """A console script of this environment."""
    return str(Path(sys.executable).with_name(program))


if __name__ == "__main__":
    sys.exit(main())
