"""What a GPU makes of a model: `python -m bench.on_gpu --preset vit_l` (`make bench-gpu`).

Exports the preset in FP16 with kernels for this GPU, TensorRT plans too where TensorRT is
installed, and runs every such build on the service's own device path: images encoded in batches, in
turns with eager FP16 of the original model, beside a matrix product; clicks with adaptive points;
the same through gRPC, and the start of the service. Figures are those of one build: the one that
answers clicks fastest of those whose masks are the reference's.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from apsam_serve.contract.manifest import Bundle, open_bundle
from bench import ceiling
from bench.load_accuracy import reference
from bench.load_peers import LEAST_IOU
from bench.measure.document import Document, Figure, Row, publish
from bench.measure.options import guarded, positive, positives
from bench.measure.workload import synthetic
from bench.models import ModelFiles, bundle_of, for_this_gpu
from bench.on_gpu_builds import Chosen, Task, builds, measured
from bench.on_gpu_eager import Eager
from bench.on_gpu_served import served

DEVICE = "cuda"


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a build showed. click_ms: the median through gRPC."""

    name: str
    rows: Sequence[Row]
    figures: Sequence[Figure]
    click_ms: float

    @property
    def iou(self) -> float:
        """With the reference, mean over the masks, the lower one of the engine's and gRPC's."""
        return min(row.mask_iou.mean for row in self.rows if row.mask_iou is not None)


@guarded
def main(argv: Sequence[str] | None = None) -> int:
    """1 without a GPU, where the export fails, and where no build answers as it should."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--preset", default="vit_l", help="(%(default)s)")
    add("--batches", type=positives, default="1,16", help="images at once (%(default)s)")
    add("--rounds", type=positive, default=100, help="encodes; a tenth per click (%(default)s)")
    add("--starts", type=positive, default=5, help="of the service, after a first (%(default)s)")
    add("--json", type=Path, help="write the document to this file too")
    options = parser.parse_args(argv)
    if DEVICE == "cuda" and not torch.cuda.is_available():
        raise RuntimeError(
            f"torch {torch.__version__} finds no NVIDIA GPU; run `make bench-gpu` where there is "
            "one"
        )
    files = bundle_of(options.preset, options=for_this_gpu())
    document = measure(files, options)
    publish(document, json_path=options.json)
    return 0 if document.figures else 1


def measure(files: ModelFiles, options: argparse.Namespace) -> Document:
    """Every build; without figures where none answers as it should. Raises ApsamError, or
    RuntimeError where PyTorch cannot use the GPU."""
    bundle, workload = open_bundle(files.bundle), synthetic()
    product = ceiling.measure(DEVICE, "bf16")
    task = Task(
        preset=options.preset,
        workload=workload,
        truth=reference(workload, bundle=files.bundle, checkpoint=files.checkpoint),
        eager=Eager(files.checkpoint, device=DEVICE),
        ceiling=product,
        batches=options.batches,
        rounds=options.rounds,
        starts=options.starts,
    )
    rows, found = [*product.rows], []
    for chosen in builds(bundle, device=DEVICE):
        try:
            found.append(one := _found(bundle, chosen, task))
            rows += one.rows
        except Exception as error:  # of one build; what the others showed was dear
            traceback.print_exc()
            why = (str(error) or repr(error)).strip().splitlines()[-1]
            rows.append(Row(name=chosen.name, group="left out", samples=(), note=why))
    figures = [Figure(key="ceiling_tflop_per_s", value=product.gflop_per_s / 1e3)]
    best = fastest(found)
    if best is None:
        print(f"no build answers with IoU {LEAST_IOU} to {task.truth.name}", file=sys.stderr)
    settings = {key: value for key, value in vars(options).items() if key != "json"}
    return Document(
        benchmark="on_gpu",
        settings={
            **settings,
            "weights": files.note,
            "ceiling": str(product),
            "build": best.name if best else "",
        },
        rows=rows,
        figures=[*figures, *best.figures] if best else (),
    )


def fastest(found: Sequence[Found]) -> Found | None:
    """Of the builds whose masks are the reference's, the one with the fastest click through
    gRPC."""
    right = [one for one in found if one.iou >= LEAST_IOU]
    return min(right, key=lambda one: one.click_ms, default=None)


def _found(bundle: Bundle, chosen: Chosen, task: Task) -> Found:
    rows, figures = measured(bundle, chosen, task)
    more, others = served(bundle, chosen, task)
    return Found(
        name=chosen.name,
        rows=[*rows, *more],
        figures=[*figures, *others],
        click_ms=statistics.median(more[0].samples),
    )


if __name__ == "__main__":
    sys.exit(main())
