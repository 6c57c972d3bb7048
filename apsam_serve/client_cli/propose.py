"""Find objects without a click: the places that the energy branch looks at become clicks."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from pathlib import Path

from apsam_serve.client import Client, Proposal, file_bytes
from apsam_serve.client_cli.documents import category_text, proposal_document, times_document
from apsam_serve.client_cli.options import add_propose, propose_options
from apsam_serve.client_cli.pictures import check_writable, write_mask, write_rgb
from apsam_serve.client_cli.result import Result
from apsam_serve.contract import images
from apsam_serve.errors import InvalidInputError
from apsam_serve.overlay import draw_proposals


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's own options."""
    parser.add_argument("image", type=Path, help="PNG, JPEG or TIFF, 8 or 16 bits")
    add_propose(parser)
    parser.add_argument("--out", type=Path, help="write the image with the masks drawn over it")
    parser.add_argument(
        "--mask-dir", type=Path, help="write each mask there, 1.png the first, 0 and 255"
    )


def run(client: Client, options: argparse.Namespace) -> Result:
    """Raises ApsamError."""
    check_writable(options.out)
    data = file_bytes(options.image)
    started = time.perf_counter()
    found = client.propose(data, propose_options(options), strategy=options.strategy)
    round_trip_s = time.perf_counter() - started
    if options.out is not None:
        write_rgb(options.out, draw_proposals(images.decode(data), found))
    if options.mask_dir is not None:
        _write_masks(options.mask_dir, found)
    answers = [one.segmentation for one in found]
    return Result(
        document={
            "image": str(options.image),
            "proposals": [proposal_document(one) for one in found],
            "timings_ms": times_document(answers, round_trip_s),
        },
        text="\n".join(
            [
                f"{options.image}: {len(found)} proposals, {round_trip_s * 1000:.1f} ms",
                *(_text(number, one) for number, one in enumerate(found, 1)),
            ]
        ),
    )


def _text(number: int, proposal: Proposal) -> str:
    answer = proposal.segmentation
    return (
        f"  {number}: click ({proposal.click.x:.1f}, {proposal.click.y:.1f}), attention "
        f"{proposal.attention:.2f}, {int(answer.mask.sum())} pixels, {category_text(answer)}"
        f"score {answer.score:.3f}"
    )


def _write_masks(folder: Path, found: Sequence[Proposal]) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidInputError(
            f"{folder} cannot be made ({error.strerror}); give a writable folder"
        ) from error
    for number, one in enumerate(found, 1):
        write_mask(folder / f"{number}.png", one.segmentation.mask)
