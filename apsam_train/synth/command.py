"""`apsam-train synth`: a synthetic data set in a folder."""

import argparse
import multiprocessing
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from apsam_serve.contract.cpus import num_cpus
from apsam_serve.contract.folders import new_folder
from apsam_serve.contract.pseudo_colour import PALETTES
from apsam_serve.progress import Progress
from apsam_train.categories import CATEGORIES, SUPERCLASS, category_id
from apsam_train.errors import ConfigError
from apsam_train.results import add_json, give
from apsam_train.tables import Table

from .generator import SCENES, SHAPE, SynthConfig, generate
from .writer import write_annotations, write_image

_CHUNK = 8


@dataclass(frozen=True, kw_only=True)
class Job:
    """One image to make: its `number` in the folder, its `index` in the endless series."""

    folder: Path
    number: int
    index: int
    seed: int
    energy: bool
    config: SynthConfig


def configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder")
    parser.add_argument("--num-images", type=int, required=True, metavar="N")
    parser.add_argument("--seed", type=int, required=True, metavar="S")
    parser.add_argument(
        "--scene", choices=SCENES, default="bags", help="bags, or plain shapes to learn first"
    )
    parser.add_argument("--side", type=int, default=512, help="image side in pixels")
    parser.add_argument("--energy", action="store_true", help="also 16-bit high/low PNG pairs")
    parser.add_argument(
        "--palettes", default=",".join(PALETTES), help=f"some of {','.join(PALETTES)}"
    )
    parser.add_argument(
        "--threats", default="2-6", metavar="LEAST-MOST", help="threats per bag (default 2-6)"
    )
    parser.add_argument(
        "--clutter", type=float, default=1.0, help="harmless things, 0 to 3 (default 1)"
    )
    parser.add_argument("--workers", type=int, default=None, help="processes; default: one per CPU")
    parser.add_argument(
        "--start-index", type=int, default=0, metavar="I", help="first image of the series"
    )
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """0 when DIR is complete. Raises ConfigError (a ValueError) on values that cannot work."""
    _require("--num-images", args.num_images, 1)
    _require("--seed", args.seed, 0)
    _require("--start-index", args.start_index, 0)
    workers = num_cpus() if args.workers is None else args.workers
    _require("--workers", workers, 1)
    palettes = tuple(name.strip() for name in args.palettes.split(",") if name.strip())
    config = SynthConfig(
        scene=args.scene,
        side=args.side,
        palettes=palettes,
        num_instances=_range("--threats", args.threats),
        clutter=args.clutter,
    )
    with new_folder(args.out) as folder:
        (folder / "images").mkdir()
        if args.energy:
            (folder / "energy").mkdir()
        jobs = [
            Job(
                folder=folder,
                number=number,
                index=args.start_index + number,
                seed=args.seed,
                energy=args.energy,
                config=config,
            )
            for number in range(args.num_images)
        ]
        records = list(_shown(_make_all(jobs, workers), len(jobs)))
        write_annotations(folder, records, config, args.seed)
    counts = {"num_images": len(records), **_counts(records)}
    give(
        {"out": args.out, "seed": args.seed, **counts}, _table(counts, args.out), as_json=args.json
    )
    return 0


def _require(option: str, value: int, least: int) -> None:
    if value < least:
        raise ConfigError(f"{option} is {value}: expected a whole number of at least {least}")


def _range(option: str, text: str) -> tuple[int, int]:
    least, _, most = text.partition("-")
    if not (least.isdigit() and most.isdigit()):
        raise ConfigError(f"{option} is {text!r}: expected two whole numbers like 2-6")
    return int(least), int(most)


def _make_all(jobs: list[Job], workers: int) -> Iterator[dict[str, Any]]:
    """Records in order of the jobs, whichever process finishes first."""
    workers = min(workers, -(-len(jobs) // _CHUNK))
    if workers == 1:
        yield from map(_make, jobs)
        return
    # spawn, not fork: OpenCV and BLAS threads do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=context, initializer=_one_thread) as pool:
        yield from pool.map(_make, jobs, chunksize=_CHUNK)


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _make(job: Job) -> dict[str, Any]:
    image = generate(seed=job.seed, index=job.index, config=job.config)
    return write_image(
        job.folder,
        number=job.number,
        seed=job.seed,
        index=job.index,
        image=image,
        energy=job.energy,
    )


def _counts(records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Objects, also by category, and pictures by palette."""
    names = {category_id(name): name for name in CATEGORIES}
    objects = Counter(
        names.get(one["category_id"], SHAPE) for record in records for one in record["instances"]
    )
    order = sorted(objects, key=[*CATEGORIES, SHAPE].index)
    return {
        "num_objects": objects.total(),
        "categories": {name: objects[name] for name in order},
        "palettes": dict(sorted(Counter(record["palette"] for record in records).items())),
    }


def _table(counts: dict[str, Any], out: Path) -> Table:
    """Objects by superclass; the thirty categories are for --json."""
    objects: Counter[str] = Counter()
    kinds: Counter[str] = Counter()
    for name, number in counts["categories"].items():
        objects[SUPERCLASS.get(name, name)] += number
        kinds[SUPERCLASS.get(name, name)] += 1
    palettes = ", ".join(f"{name} {number}" for name, number in counts["palettes"].items())
    return Table(
        columns=("superclass", "categories", "objects"),
        rows=[
            *((name, kinds[name], objects[name]) for name in objects),
            ("all", kinds.total(), objects.total()),
        ],
        notes=(f"{counts['num_images']} images in {out}; palettes: {palettes}",),
    )


def _shown(records: Iterable[dict[str, Any]], total: int) -> Iterator[dict[str, Any]]:
    started = time.monotonic()
    with Progress("synth") as bar:
        for done, record in enumerate(records, start=1):
            rate = done / max(time.monotonic() - started, 1e-6)
            bar.show(done / total, f"{done}/{total} images, {rate:.1f}/s")
            yield record
