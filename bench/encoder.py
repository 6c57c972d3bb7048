"""The image encoder alone: `python -m bench.encoder --presets tiny,vit_b`.

In turns, with the same number of threads: the original model in eager PyTorch, our rewrites of it
in eager PyTorch, and the bundle's graphs as the service runs them, each with its largest
difference from the original. Operations per second are of each one's own operations, as PyTorch
counts them; the ceiling is a matrix product of this machine, measured in the same rounds. Apart
from that, encoding as the service does it, Energy-Aware Encoder included. On the CPU.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from apsam_export.flops import count
from apsam_export.gate.samples import sample
from apsam_serve.contract.cpus import num_cpus
from apsam_serve.contract.manifest import REFERENCE_BUILD, Bundle, Precision, open_bundle
from apsam_serve.contract.preprocess import letterbox
from apsam_serve.runtime import sessions
from apsam_train.checkpoint import load_checkpoint
from apsam_train.models import APSAM, Preset, build
from apsam_train.models.build import preset as load_preset
from bench.ceiling import Ceiling, measure, rate
from bench.measure.distribution import ratio
from bench.measure.document import Document, Figure, Row, publish
from bench.measure.options import guarded, positive, positives
from bench.measure.rounds import interleaved
from bench.models import bundle_of
from bench.peers.sam_shape import AdaptedEncoder

ORIGINAL = "segment_anything, eager"
NARROW = "our rewrites, eager"
FUSED = "our rewrites, eager, fused attention"
PRODUCT = "matrix product at the ceiling"
_REPEATED = 4
"""Products per sample: one alone is short against an encoder, and hit by other disturbances."""
_ON_CPU: tuple[Precision, ...] = ("fp32", "fp16")

Images = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Case:
    """One way to encode. run: images -> embedding; flop: of all of them."""

    run: Callable[[], NDArray[Any]]
    flop: float


@guarded
def main(argv: Sequence[str] | None = None) -> int:
    """0; 1 for an unknown preset, or where an export fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--presets", default="tiny,vit_b", help="comma separated (%(default)s)")
    add("--batches", type=positives, default="1", help="at once, such as 1,2,4 (%(default)s)")
    add("--threads", type=positive, default=num_cpus(), help="(%(default)s)")
    add("--rounds", type=positive, default=7, help="of every case (%(default)s)")
    add("--json", type=Path, help="write the document here too")
    options = parser.parse_args(argv)
    presets = [load_preset(name).name for name in options.presets.split(",")]
    torch.set_num_threads(options.threads)
    ceiling = measure("cpu", "fp32", options.threads, rounds=options.rounds)
    rows, figures, weights = [], [], {}
    for preset in presets:
        files = bundle_of(preset)
        weights[preset] = files.note
        model, bundle = load_checkpoint(files.checkpoint)[0], open_bundle(files.bundle)
        for batch in options.batches:
            found = encode(model, bundle, ceiling, batch=batch, options=options)
            rows += found
            if batch == 1:
                figures += figures_of(found, preset)
        rows += whole(model, bundle, ceiling.gflop_per_s, options=options)
    settings = {name: value for name, value in vars(options).items() if name != "json"}
    settings |= {"ceiling": str(ceiling), "weights": weights}
    document = Document(benchmark="encoder", settings=settings, rows=rows, figures=figures)
    publish(document, json_path=options.json)
    return 0


def encode(
    model: APSAM, bundle: Bundle, ceiling: Ceiling, *, batch: int, options: argparse.Namespace
) -> list[Row]:
    """A row per way to encode, and one of the ceiling."""
    images = pictures(model.preset.side, batch)
    cases = encoders(model, bundle, images, threads=options.threads)
    want = cases[ORIGINAL].run()
    differences = {name: difference(case.run(), want) for name, case in cases.items()}

    def products() -> None:
        for _ in range(_REPEATED):
            ceiling.run()

    runs: Mapping[str, Callable[[], Any]] = {name: case.run for name, case in cases.items()}
    found = interleaved({**runs, PRODUCT: products}, rounds=options.rounds, warm_up=1)
    group = f"image encoder, {model.preset.name}, batch {batch}"
    fastest = rate(_REPEATED * ceiling.shape.flop, found[PRODUCT])
    rows = [
        Row(
            name=name,
            group=group,
            samples=found[name],
            figures={
                **_speed(case.flop, found[name], fastest),
                "max_difference": differences[name],
            },
        )
        for name, case in cases.items()
    ]
    product = {"gflop": _REPEATED * ceiling.shape.flop / 1e9, "gflop_per_s": fastest}
    return [*rows, Row(name=PRODUCT, group=group, samples=found[PRODUCT], figures=product)]


def encoders(model: APSAM, bundle: Bundle, images: Images, *, threads: int) -> dict[str, Case]:
    """The ways, by name."""
    eager, flop = written(model, torch.from_numpy(images)), eager_flop(model.preset)
    cases = {
        name: Case(run=partial(_eager, run), flop=len(images) * flop[name])
        for name, run in eager.items()
    }
    for name, one in bundle.manifest.builds.items():
        if one.form == "onnx" and one.precision in _ON_CPU:
            run = _graph(bundle, name, "image_encoder", threads=threads)
            flops = count(model.preset, precision=one.precision)["image_encoder"]
            cases[ours(name)] = Case(run=partial(run, images), flop=len(images) * flops.exported)
    return cases


def written(model: APSAM, images: Tensor) -> dict[str, Callable[[], Tensor]]:
    """What runs in eager PyTorch, by name; images: uint8 [B, S, S, 3]."""
    original = AdaptedEncoder(model).eval()
    return {
        ORIGINAL: lambda: original(model.normalise(images)),
        NARROW: lambda: model.encode_image(images, fused=False),
        FUSED: lambda: model.encode_image(images, fused=True),
    }


def eager_flop(preset: Preset) -> dict[str, float]:
    """Operations of each for one image. Counted on tensors without memory: of attention on a CPU,
    PyTorch's counter misses what runs in one kernel."""
    flop = {}
    with torch.device("meta"):
        image = torch.empty(1, preset.side, preset.side, 3, dtype=torch.uint8)
        for name, run in written(build(preset).eval(), image).items():
            with FlopCounterMode(display=False) as counter, torch.inference_mode():
                run()
            flop[name] = float(counter.get_total_flops())
    return flop


def ours(build: str) -> str:
    """The name of a row."""
    return f"APSAM, ONNX Runtime, {build}"


def whole(
    model: APSAM, bundle: Bundle, ceiling_gflop_per_s: float, *, options: argparse.Namespace
) -> list[Row]:
    """Encoding with the Energy-Aware Encoder, one image: the original with ours in eager PyTorch,
    and the bundle's graphs."""
    images = pictures(model.preset.side, 1)
    batch = torch.from_numpy(images)
    original = AdaptedEncoder(model).eval()
    graphs = [
        _graph(bundle, REFERENCE_BUILD, graph, threads=options.threads)
        for graph in ("image_encoder", "energy_encoder")
    ]
    cases: dict[str, Callable[[], Any]] = {
        ORIGINAL: partial(
            _eager,
            lambda: (original(model.normalise(batch)), model.encode_energy(batch)[0])[0],
        ),
        ours(REFERENCE_BUILD): lambda: [graph(images) for graph in graphs],
    }
    found = interleaved(cases, rounds=options.rounds, warm_up=1)
    group = f"whole encode with the Energy-Aware Encoder, {model.preset.name}, batch 1"
    flops = count(model.preset)
    encoder, energy = flops["image_encoder"], flops["energy_encoder"]
    flop = {
        ORIGINAL: encoder.published + energy.published,
        ours(REFERENCE_BUILD): encoder.exported + energy.exported,
    }
    return [
        Row(
            name=name,
            group=group,
            samples=found[name],
            figures=_speed(flop[name], found[name], ceiling_gflop_per_s),
        )
        for name in cases
    ]


def figures_of(rows: Sequence[Row], preset: str) -> list[Figure]:
    """What goals ask of one preset at batch 1."""
    by_name = {row.name: row for row in rows}
    mine, product = by_name[ours(REFERENCE_BUILD)], by_name[PRODUCT]
    against = {
        name: ratio(by_name[name].samples, mine.samples, paired=True)
        for name in (ORIGINAL, NARROW, FUSED)
    }
    scale = mine.figures["gflop"] / product.figures["gflop"]
    ceiling_ms = [scale * one for one in product.samples]
    over = ratio(mine.samples, ceiling_ms, paired=True)
    eager = against[ORIGINAL]
    others = ", ".join(f"{against[name].value:.2f} x {name}" for name in (NARROW, FUSED))
    return [
        Figure(
            key=f"encode_{preset}_vs_eager",
            value=eager.value,
            low=eager.low,
            high=eager.high,
            detail=f"against {ORIGINAL}; {others}",
        ),
        Figure(
            key=f"encode_{preset}_vs_ceiling",
            value=over.value,
            low=over.low,
            high=over.high,
            detail=f"{mine.figures['gflop']:.0f} GFLOP at {product.figures['gflop_per_s']:.0f} "
            "GFLOP/s, measured in the same rounds",
        ),
    ]


def pictures(side: int, num: int) -> Images:
    """The gate's, uint8 [num, side, side, 3]."""
    whole = (sample(number, side=side).image for number in range(num))
    return np.stack([letterbox(image, side=side)[0] for image in whole])


def difference(found: NDArray[Any], want: NDArray[Any]) -> float:
    """Largest, over the largest value wanted."""
    apart = np.abs(found.astype(np.float64) - want).max() / np.abs(want).max()
    return float(apart)


def _speed(flop: float, samples_ms: Sequence[float], ceiling: float) -> dict[str, float]:
    reached = rate(flop, samples_ms)
    return {"gflop": flop / 1e9, "gflop_per_s": reached, "share_of_ceiling": reached / ceiling}


def _graph(
    bundle: Bundle, build: str, graph: str, *, threads: int
) -> Callable[[Images], NDArray[Any]]:
    """A graph as the service runs it: uint8 [B, S, S, 3] -> its first output."""
    spec = bundle.build(build).graphs[graph]
    loaded = sessions.load(bundle.file(spec.file), sessions.provider_of("cpu"), {}, threads=threads)
    session = sessions.Session(graph, loaded, device="cpu", recorded=False)
    names = [tensor.name for tensor in spec.outputs]

    def run(images: Images) -> NDArray[Any]:
        answer: NDArray[Any] = session.run(names, {"image": images})[0]
        return answer

    return run


def _eager(run: Callable[[], Tensor]) -> NDArray[Any]:
    with torch.inference_mode():
        return run().numpy()


if __name__ == "__main__":
    sys.exit(main())
