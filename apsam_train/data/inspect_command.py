"""`apsam-train inspect`: what a data set is, what it holds, what is wrong with it, how it looks."""

from __future__ import annotations

import argparse
import json
from collections import Counter
from pathlib import Path
from typing import Any

from apsam_serve.progress import Progress
from apsam_train.data import formats
from apsam_train.data.inspection import every_kth, inspect
from apsam_train.data.options import add_reading_options, open_from
from apsam_train.data.problems import ProblemLog
from apsam_train.data.sample import Sample
from apsam_train.errors import ConfigError
from apsam_train.files import write_whole
from apsam_train.pictures import Cell, contact_sheet, write_picture
from apsam_train.results import add_json, give
from apsam_train.tables import Table


def configure(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("data", metavar="DIR", type=Path, help="a data set's folder")
    parser.add_argument("--split", default="", help="only this split of it, e.g. test/hard")
    add_reading_options(parser)
    parser.add_argument("--quick", action="store_true", help="read 500 images at most, and say so")
    parser.add_argument(
        "--out", metavar="DIR", type=Path, default=Path("inspect"), help="for files"
    )
    parser.add_argument("--num", type=int, default=12, help="pictures on the contact sheet")
    parser.add_argument("--no-pictures", action="store_true", help="no contact sheet")
    add_json(parser)


def run(args: argparse.Namespace) -> int:
    """Count, print, write inspect.json and contact_sheet.jpg."""
    if args.num < 1:
        raise ConfigError(f"--num {args.num} must be at least 1; or give --no-pictures")
    log = ProblemLog(strict=args.strict)
    dataset = open_from(args, log)
    looked_at, step = every_kth(dataset) if args.quick else (dataset, 1)
    with Progress("inspect") as bar:
        inspection = inspect(
            looked_at,
            log,
            num_picks=args.num,
            on_sample=lambda index: bar.show((index + 1) / len(looked_at), f"image {index + 1}"),
        )
    report = {
        "title": formats.load(dataset.format).TITLE,
        "format": dataset.format,
        "data": str(args.data),
        "split": args.split,
        "num_images": len(dataset),
        "num_bags": len({entry.bag or entry.name for entry in dataset.entries}),
        "splits": dict(sorted(Counter(entry.split for entry in dataset.entries).items())),
        "every": step,
        **inspection.to_json(dataset.categories_in_xseg),
        "problems": log.to_json(),
    }
    args.out.mkdir(parents=True, exist_ok=True)
    written = [args.out / "inspect.json"]
    write_whole(written[0], json.dumps(report, indent=2, ensure_ascii=False) + "\n")
    if not args.no_pictures and inspection.picks:
        written.append(args.out / "contact_sheet.jpg")
        cells = [cell_of(looked_at[index]) for index in inspection.picks]
        write_picture(written[1], contact_sheet(cells))
    problems = f"problems\n{_indented(log.summary())}" if log.num_problems else ""
    say = f"written: {', '.join(map(str, written))}"
    give(report, text(report), *_categories(report), problems, say, as_json=args.json)
    return 0


def text(report: dict[str, Any]) -> str:
    """The report's headline as lines for people."""
    objects = report["objects_per_image"]
    lines = [f"{report['title']} (--format {report['format']}): {report['num_images']} images"]
    if report["every"] > 1:
        lines.append(f"of them 1 in {report['every']} was read; objects and sizes are of those")
    lines += [f"  {name or 'no split':<24}{count:>10}" for name, count in report["splits"].items()]
    lines.append(f"bags: {report['num_bags']}; usable images read: {report['num_read']}")
    if not report["num_read"]:
        return "\n".join(lines)
    sizes = [f"{report[side]['least']} to {report[side]['most']}" for side in ("width", "height")]
    lines += [
        f"size: {sizes[0]} pixels wide, {sizes[1]} high",
        f"objects per image: {objects['least']} to {objects['most']}, mean {objects['mean']:.2f}; "
        f"{objects['num_images_without']} images without any",
    ]
    return "\n".join(lines)


def _categories(report: dict[str, Any]) -> list[Table]:
    if not report["num_read"]:
        return []
    rows = [
        (
            *(c["name"], c["num_instances"], c["num_boxes"], c["num_images"]),
            c["xseg"] or "outside the thirty",
        )
        for c in report["categories"]
    ]
    return [Table(columns=("category", "outlines", "boxes", "images", "in Table 7"), rows=rows)]


def cell_of(sample: Sample) -> Cell:
    """A sample as a panel of a contact sheet."""
    first = sample.problems[0] if sample.problems else None
    more = f" (+{len(sample.problems) - 1})" if len(sample.problems) > 1 else ""
    return Cell(
        image=sample.image,
        masks=[(instance.category, instance.mask) for instance in sample.instances],
        boxes=[(boxed.category, boxed.box) for boxed in sample.boxes],
        title=f"{sample.name}  [{sample.split}]" if sample.split else sample.name,
        alarm=f"{first.kind}{more}: {first.detail}" if first else "",
    )


def _indented(lines: str) -> str:
    return "\n".join(f"  {line}" for line in lines.splitlines())
