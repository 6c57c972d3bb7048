"""`make demo-train`: a demo model from scratch, by the recipe that came of making the bundled one.

Synthetic data -> stages of training, from plain shapes to cuts of bags, at last by small steps ->
weights in FP16 -> evaluation on new bags, in the palettes of training and in one it never saw ->
the card's tables and curves. Hours on two cores; repeat the command to go on after a stop.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from apsam_train.files import write_whole
from bench.commands import run_shown

SEEN, UNSEEN = "hixray,pixray,pidray", "sixray"
"""Palettes of training; the one kept from it."""
LAST, FINAL = "last.safetensors", "model.safetensors"


@dataclass(frozen=True, kw_only=True)
class Data:
    """One call of `apsam-train synth`. images: how many; more: its other options."""

    name: str
    images: int
    seed: int
    palettes: str = SEEN
    more: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Stage:
    """One run of `apsam-train fit --config demo`, from the weights of the stage before. changes:
    of its values, in TOML's notation."""

    name: str
    minutes: float
    data: str
    changes: tuple[str, ...]


LIGHT = ("--threats", "1-3", "--clutter", "0.5")
"""Bags less full than the generator's usual ones."""
DATA = (
    Data(
        name="shapes",
        images=4000,
        seed=203,
        more=("--scene", "shapes", "--side", "256", "--threats", "3-6"),
    ),
    Data(name="light", images=5000, seed=204, more=LIGHT),
    Data(name="held_out", images=60, seed=205, more=LIGHT),
    Data(name="test", images=1060, seed=301, more=LIGHT),
    Data(name="unseen", images=1060, seed=302, palettes=UNSEEN, more=LIGHT),
    Data(name="full", images=520, seed=301),
)
_ALL = ("batch_size=16", "refine_share=0.05", "box_share=0.1", "prompts_per_image=4")
_NEAR = ("sides=[128,128,160]", "closeups=0.95", 'augment="scanner"', "scanner_share=0.25")
"""Cut out of the bags, a quarter of them as other scanners would show them."""
STAGES = (
    Stage(
        name="1_shapes",
        minutes=10,
        data="shapes",
        changes=(*_ALL, "sides=[128,160]", "apg_start=1.0", 'schedule="constant"'),
    ),
    Stage(
        name="2_near",
        minutes=50,
        data="light",
        changes=(*_ALL, *_NEAR, "apg_start=0.3", 'schedule="constant"'),
    ),
    Stage(
        name="3_finer",
        minutes=120,
        data="light",
        changes=(*_ALL, *_NEAR, "apg_start=0.0", "learning_rate=6e-4", 'schedule="cosine"'),
    ),
)


def main(argv: Sequence[str] | None = None) -> int:
    """Run what is not done yet; the exit code is 0 when all of it worked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path, default=Path("out/demo_model"))
    parser.add_argument("--card", type=Path, default=Path("models/demo/README.md"))
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the images and the minutes, for a rehearsal"
    )
    options = parser.parse_args(argv)
    out: Path = options.out
    for data in DATA:
        make(data, out, share=options.share)
    start: Path | None = None
    for stage in STAGES:
        start = train(stage, out, start=start, share=options.share)
    assert start is not None
    model = out / "model"
    model.mkdir(exist_ok=True)
    (model / FINAL).unlink(missing_ok=True)
    run_shown("apsam-train", "halve", start, "--out", model / FINAL)
    tests = (out / name for name in ("test", "unseen", "full"))
    asked = ("--protocols", "apg,random1", "--seeds", "0")
    written = ("--out", model / "evaluation.json", "--pictures", model / "sheet.jpg")
    run_shown("apsam-train", "evaluate", model / FINAL, "--data", *tests, *asked, *written)
    write_whole(model / "training.jsonl", "".join(log_of(stage, out) for stage in STAGES))
    shutil.copy(options.card, model / "README.md")
    run_shown("python", "-m", "bench.demo_card", model)
    print(f"\nthe model and its card are in {model}")
    return 0


def make(data: Data, out: Path, *, share: float) -> None:
    """Make a data set that is not there yet."""
    folder = out / data.name
    if folder.exists():
        return
    images = ("--num-images", max(1, round(share * data.images)), "--seed", data.seed)
    more = ("--palettes", data.palettes, *data.more)
    run_shown("apsam-train", "synth", "--out", folder, *images, *more)


def train(stage: Stage, out: Path, *, start: Path | None, share: float) -> Path:
    """Train a stage that is not done yet, on where it was stopped; its model."""
    folder = out / stage.name
    done = folder / FINAL
    if done.exists():
        return done
    run = ("--data", out / stage.data, "--val", out / "held_out", "--out", folder, "--resume")
    more = ("--minutes", share * stage.minutes, *(("--start", start) if start is not None else ()))
    changes = [word for change in ("devices=2", *stage.changes) for word in ("--set", change)]
    run_shown("apsam-train", "fit", "--config", "demo", *run, *more, *changes)
    return done


def log_of(stage: Stage, out: Path) -> str:
    """The stage's log, every line with its name."""
    lines = (out / stage.name / "log.jsonl").read_text(encoding="utf-8").splitlines()
    return "".join(json.dumps({"stage": stage.name} | json.loads(line)) + "\n" for line in lines)


if __name__ == "__main__":
    sys.exit(main())
