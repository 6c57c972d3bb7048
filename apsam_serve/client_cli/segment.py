"""The mask of one object, from clicks on it and beside it or a box around it."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

from apsam_serve.client import Client, file_bytes
from apsam_serve.client_cli.documents import (
    category_text,
    points_text,
    segmentation_document,
    times_document,
)
from apsam_serve.client_cli.options import add_strategy, box, point
from apsam_serve.client_cli.pictures import check_writable, write_mask, write_rgb
from apsam_serve.client_cli.result import Result
from apsam_serve.contract import images
from apsam_serve.contract.prompts import Point, Prompt
from apsam_serve.overlay import draw


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    parser.add_argument("image", type=Path, help="PNG, JPEG or TIFF, 8 or 16 bits")
    parser.add_argument(
        "--click", type=point, action="append", default=[], metavar="X,Y", help="on the object"
    )
    parser.add_argument(
        "--negative", type=point, action="append", default=[], metavar="X,Y", help="beside it"
    )
    parser.add_argument("--box", type=box, metavar="L,T,R,B", help="around it")
    add_strategy(parser)
    parser.add_argument("--out", type=Path, help="write the image with the mask drawn over it")
    parser.add_argument("--mask", type=Path, help="write the mask, 0 and 255")


def run(client: Client, options: argparse.Namespace) -> Result:
    """Raises ApsamError."""
    prompt = Prompt(
        points=tuple(Point(x=x, y=y) for x, y in options.click)
        + tuple(Point(x=x, y=y, positive=False) for x, y in options.negative),
        box=options.box,
    )
    for path in (options.out, options.mask):
        check_writable(path)
    data = file_bytes(options.image)
    started = time.perf_counter()
    (answer,) = client.segment(data, [prompt], strategy=options.strategy)
    round_trip_s = time.perf_counter() - started
    if options.out is not None:
        write_rgb(options.out, draw(images.decode(data), prompt, answer))
    if options.mask is not None:
        write_mask(options.mask, answer.mask)
    height, width = answer.mask.shape
    return Result(
        document={
            "image": str(options.image),
            "width": width,
            "height": height,
            "strategy": options.strategy,
            **segmentation_document(answer),
            "timings_ms": times_document([answer], round_trip_s),
        },
        text=f"{options.image}: {int(answer.mask.sum())} pixels, score {answer.score:.3f}, "
        f"{category_text(answer)}{answer.branch}, points {points_text(answer.points)}, "
        f"{round_trip_s * 1000:.1f} ms",
    )
