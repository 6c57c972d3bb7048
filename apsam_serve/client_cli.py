"""`apsam-client`: ask a server for the mask at a click, from the command line."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_serve.client import Client, file_bytes
from apsam_serve.contract import images, masks
from apsam_serve.contract.prompts import Box, Point, Prompt
from apsam_serve.contract.segmenter import Segmentation
from apsam_serve.errors import ApsamError, InvalidInputError
from apsam_serve.overlay import draw

DEFAULT_SERVER = "127.0.0.1:50051"
_WRITABLE = (".png", ".jpg", ".tiff")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit code 0; 2 for input that can never work, 1 for trouble with the server."""
    options = _parser().parse_args(argv)
    try:
        with Client(options.server, timeout_s=options.timeout_s) as client:
            code: int = options.run(client, options)
            return code
    except ApsamError as error:
        print(f"apsam-client: error: {error}", file=sys.stderr)
        return 2 if isinstance(error, InvalidInputError) else 1


def _segment(client: Client, options: argparse.Namespace) -> int:
    prompt = Prompt(
        points=tuple(Point(x=x, y=y) for x, y in options.click)
        + tuple(Point(x=x, y=y, positive=False) for x, y in options.negative),
        box=options.box,
    )
    data = file_bytes(options.image)
    started = time.perf_counter()
    (answer,) = client.segment(data, [prompt], strategy=options.strategy)
    round_trip_s = time.perf_counter() - started
    if options.out is not None:
        _write(options.out, draw(images.decode(data), prompt, answer)[..., ::-1])
    if options.mask is not None:
        _write(options.mask, answer.mask.astype(np.uint8) * 255)
    if options.json:
        print(json.dumps(_document(options, answer, round_trip_s)))
    else:
        points = ", ".join(f"({p.x:.1f}, {p.y:.1f})" for p in answer.points)
        print(
            f"{options.image}: {int(answer.mask.sum())} pixels, score {answer.score:.3f}, "
            f"{_category(answer)}{answer.branch}, points {points}, {round_trip_s * 1000:.1f} ms"
        )
    return 0


def _encode(client: Client, options: argparse.Namespace) -> int:
    encoded = client.encode(options.image)
    print(
        f"{encoded.handle}: {encoded.width} x {encoded.height} pixels, "
        f"model {encoded.model_digest[:12]}"
    )
    return 0


def _health(client: Client, options: argparse.Namespace) -> int:
    serving = client.is_serving()
    print("SERVING" if serving else "NOT_SERVING")
    return 0 if serving else 1


def _category(answer: Segmentation) -> str:
    """Nothing from a model without a category head."""
    if answer.category_probability is None:
        return ""
    return f"{answer.category or 'no contraband'} {answer.category_probability:.2f}, "


def _document(
    options: argparse.Namespace, answer: Segmentation, round_trip_s: float
) -> dict[str, Any]:
    height, width = answer.mask.shape
    timings = {**answer.timings_s, "round_trip": round_trip_s}
    return {
        "image": str(options.image),
        "width": width,
        "height": height,
        "strategy": options.strategy,
        "branch": answer.branch,
        "score": answer.score,
        "category": answer.category,
        "category_probability": answer.category_probability,
        "area": int(answer.mask.sum()),
        "points": [{"x": p.x, "y": p.y, "positive": p.positive} for p in answer.points],
        "mask": {"size": [height, width], "counts": masks.encode_rle(answer.mask).counts},
        "timings_ms": {stage: round(s * 1000, 3) for stage, s in timings.items()},
    }


def _write(path: Path, pixels: NDArray[np.uint8]) -> None:
    """Write an image file whose format the name says. Raises InvalidInputError."""
    if path.suffix.lower() not in _WRITABLE:
        raise InvalidInputError(
            f"{path} cannot be written: its name must end in {' or '.join(_WRITABLE)}"
        )
    _, encoded = cv2.imencode(path.suffix, pixels)
    try:
        path.write_bytes(encoded.tobytes())
    except OSError as error:
        raise InvalidInputError(
            f"{path} cannot be written ({error.strerror}); give a file in a writable folder"
        ) from error


def _numbers(count: int, form: str) -> Callable[[str], tuple[float, ...]]:
    def parse(text: str) -> tuple[float, ...]:
        try:
            values = tuple(float(part) for part in text.split(","))
        except ValueError:
            values = ()
        if len(values) != count:
            raise argparse.ArgumentTypeError(f"{text!r} is not {form} in image pixels")
        return values

    return parse


def _box(text: str) -> Box:
    left, top, right, bottom = _numbers(4, "L,T,R,B")(text)
    return Box(left=left, top=top, right=right, bottom=bottom)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="apsam-client", description=__doc__)
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--server", default=DEFAULT_SERVER, help="HOST:PORT (%(default)s)")
    common.add_argument("--timeout-s", type=float, default=30.0, help="per call (%(default)s)")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    segment = commands.add_parser("segment", parents=[common], help="the mask of one object")
    point = _numbers(2, "X,Y")
    segment.add_argument("image", type=Path, help="PNG, JPEG or TIFF, 8 or 16 bits")
    segment.add_argument(
        "--click", type=point, action="append", default=[], metavar="X,Y", help="on the object"
    )
    segment.add_argument(
        "--negative", type=point, action="append", default=[], metavar="X,Y", help="beside it"
    )
    segment.add_argument("--box", type=_box, metavar="L,T,R,B", help="around it")
    segment.add_argument("--strategy", choices=("apg", "direct"), default="apg")
    segment.add_argument("--out", type=Path, help="write the image with the mask drawn over it")
    segment.add_argument("--mask", type=Path, help="write the mask, 0 and 255")
    segment.add_argument("--json", action="store_true", help="print one JSON document")
    segment.set_defaults(run=_segment)

    encode = commands.add_parser("encode", parents=[common], help="encode and print the handle")
    encode.add_argument("image", type=Path)
    encode.set_defaults(run=_encode)

    health = commands.add_parser("health", parents=[common], help="whether the server serves")
    health.set_defaults(run=_health)
    return parser


if __name__ == "__main__":
    sys.exit(main())
