"""`make demo`: the bundled model exported, served, clicked on, and a page to click in yourself.

New synthetic bags -> a bundle -> a gRPC service and its console -> one click on an object of every
bag -> a sheet. Prints every command it runs; writes everything under --out. Ends with the page's
address and serves it until Ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import shutil
import socket
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.client import Client
from apsam_serve.console.importing import import_folder
from apsam_serve.console.project import Project
from apsam_serve.contract.masks import mask_iou
from apsam_serve.contract.prompts import Point, Prompt
from apsam_serve.contract.segmenter import Segmentation
from apsam_serve.overlay import draw, draw_mask
from apsam_train.data.formats import open_dataset
from apsam_train.data.sample import Instance, Sample
from apsam_train.evaluate.protocols import PROTOCOLS
from bench.commands import run_shown
from bench.demo_training import LIGHT
from bench.measure.serving import ServedBundle

MODEL = Path("models/demo/model.safetensors")
STAGES = ("queue", "decode_1", "points", "decode_2", "mask", "serialise")
"""Columns of the table; the service reports these for a click on an encoded image."""
NUM_BAGS = 8
SEED = 7
"""Of the demo's bags, which nothing else uses."""
MARK = ".apsam-demo"
"""A file in the demo's own folder, which the next run may empty."""
PAGE_PORT = 8080
PAGE_START_S = 20.0


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
    parser.add_argument("--checkpoint", type=Path, default=MODEL, help="(%(default)s)")
    parser.add_argument("--port", type=int, default=PAGE_PORT, help="of the page (%(default)s)")
    parser.add_argument("--once", action="store_true", help="end instead of serving the page")
    options = parser.parse_args()
    started = time.monotonic()
    out: Path = options.out
    start_afresh(out)
    bags, bundle, project = out / "bags", out / "bundle", out / "project"
    images = ("--num-images", NUM_BAGS, "--seed", SEED)
    run_shown("apsam-train", "synth", "--out", bags, *images, *LIGHT)
    run_shown("apsam-export", "--checkpoint", options.checkpoint, "--out", bundle)
    with contextlib.closing(Project.open(project)) as opened:
        import_folder(opened, bags / "images", lambda _done, _total: None)
    page = ("--console", str(free_port(options.port)), "--console-project", str(project))
    with ServedBundle(bundle, "--log-format", "text", *page, echo=True) as server:
        with Client(server.address) as client:
            source = open_dataset(bags)
            clicks = [click_on(client, source[i], seed=i) for i in range(len(source))]
        cv2.imwrite(str(out / "sheet.png"), cv2.cvtColor(sheet(clicks), cv2.COLOR_RGB2BGR))
        print(f"\n{table(clicks)}\n\n{next_steps(out, server.address, clicks[0])}\n")
        address = page_address(server)
        print(f"done in {time.monotonic() - started:.0f} s; all of it is under {out}")
        if not options.once:
            print(f"\nOpen {address} and click on a bag. Ctrl-C ends the demo.", flush=True)
            with contextlib.suppress(KeyboardInterrupt):
                server.wait()
    return 0


def start_afresh(out: Path) -> None:
    """Empty the folder of an earlier demo; a folder that is anybody else's stops the demo."""
    if out.exists() and not (out / MARK).exists():
        sys.exit(f"{out} exists and was not made by the demo; choose another --out")
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / MARK).touch()


def free_port(wanted: int) -> int:
    """The wanted port of this machine, or any where that is taken."""
    with socket.socket() as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind(("127.0.0.1", wanted))
        except OSError:
            print(f"port {wanted} is taken; the page gets another", file=sys.stderr)
            return 0
    return wanted


def page_address(server: ServedBundle) -> str:
    """Where the console is, once it says so."""
    give_up = time.monotonic() + PAGE_START_S
    while time.monotonic() < give_up:
        if found := re.search(r"console on (http\S+),", server.said()):
            return found[1]
        time.sleep(0.1)
    sys.exit(f"the console did not start within {PAGE_START_S:.0f} s")


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


def next_steps(out: Path, server: str, click: Click) -> str:
    """Commands that work while the demo serves."""
    point: Point = click.prompt.points[0]
    image = out / "bags" / click.sample.name
    at = f"--click {point.x:.0f},{point.y:.0f}"
    lines = (
        f"apsam-client segment {image} {at} --server {server} --out overlay.png",
        f"apsam-client propose {image} --server {server} --out found.png",
        f"apsam-train evaluate {server} --data {out / 'bags'}",
    )
    return "\n".join(["From another terminal:", *(f"  .venv/bin/{line}" for line in lines)])


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


if __name__ == "__main__":
    sys.exit(main())
