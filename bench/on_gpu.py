"""What a GPU makes of a model: `python -m bench.on_gpu --preset vit_l` (`make bench-gpu`).

Exports the preset in FP16 with kernels for this GPU, TensorRT plans too where TensorRT is
installed, and runs every such build on the service's own device path: images encoded in batches
against eager FP16 of the original model and against a matrix product, clicks with adaptive points,
the same through gRPC, and the start of the service. Times of stages are the GPU's own events.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
import torch

from apsam_export.flops import count
from apsam_serve.client import Client
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.manifest import REFERENCE_BUILD, Bundle, open_bundle
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import to_decoder
from apsam_serve.engine.compute import Encoded, Question
from apsam_serve.engine.device_compute import DeviceCompute
from apsam_serve.errors import ApsamError
from apsam_serve.ops.cuda import describe_gpu, load_cuda
from apsam_serve.runtime.base import DeviceRunner, RunnerOptions, load
from apsam_train.checkpoint import load_checkpoint
from apsam_train.models.build import preset as load_preset
from bench.ceiling import measure
from bench.load_accuracy import Reference, reference
from bench.measure.distribution import ratio
from bench.measure.document import Document, Figure, Row, publish
from bench.measure.rounds import interleaved
from bench.measure.serving import ServedBundle
from bench.measure.workload import Workload, synthetic
from bench.models import ModelFiles, bundle_of
from bench.peers.sam_shape import AdaptedEncoder

BACKENDS = {"onnx": "onnxruntime", "tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt"}
EAGER = "segment_anything, eager fp16"


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A build of the bundle and the back end that runs it on this GPU."""

    name: str
    backend: str

    @property
    def options(self) -> RunnerOptions:
        """As the service opens it."""
        return RunnerOptions(device="cuda", build=self.name, on_device=True)


def main(argv: Sequence[str] | None = None) -> int:
    """1 without a GPU, or where the export fails."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="vit_l", help="(%(default)s)")
    parser.add_argument("--batches", default="1,16", help="images at once (%(default)s)")
    parser.add_argument("--rounds", type=int, default=100, help="(%(default)s)")
    parser.add_argument("--json", type=Path, help="write the document to this file too")
    options = parser.parse_args(argv)
    if not torch.cuda.is_available():
        print(
            "on_gpu: error: torch finds no NVIDIA GPU; run it where there is one", file=sys.stderr
        )
        return 1
    files = bundle_of(options.preset, options=("--precision", "fp16", *_for_this_gpu()))
    bundle, workload = open_bundle(files.bundle), synthetic()
    truth = reference(workload, bundle=files.bundle, checkpoint=files.checkpoint)
    rows, figures = eager_rows(files, workload, options)
    for chosen in builds(bundle):
        try:
            more, found = measured(bundle, chosen, workload, truth, rows, options)
            through, others = served(files.bundle, chosen, workload, truth, rounds=options.rounds)
        except (ApsamError, RuntimeError) as error:
            rows.append(Row(name=chosen.name, group="left out", samples=(), note=str(error)))
            continue
        rows += [*more, *through]
        figures += [*found, *others]
    settings = {key: value for key, value in vars(options).items() if key != "json"}
    document = Document(benchmark="on_gpu", settings=settings, rows=rows, figures=best(figures))
    publish(document, json_path=options.json)
    return 0


def builds(bundle: Bundle) -> Iterator[Chosen]:
    """All but the reference."""
    for name, build in bundle.manifest.builds.items():
        if name != REFERENCE_BUILD:
            yield Chosen(name=name, backend=BACKENDS[build.form])


def eager_rows(
    files: ModelFiles, workload: Workload, options: argparse.Namespace
) -> tuple[list[Row], list[Figure]]:
    """The original image encoder in eager FP16, per batch, and the ceiling of matrix products."""
    model = load_checkpoint(files.checkpoint)[0]
    encoder = AdaptedEncoder(model).eval().half().cuda()
    cases: dict[str, Callable[[], object]] = {}
    for batch in map(int, options.batches.split(",")):
        stacked = np.stack([one.image for one, _ in _pixels(workload, model.preset.side, batch)])
        images = model.normalise(torch.from_numpy(stacked)).half().cuda()

        def run(images: torch.Tensor = images) -> None:
            with torch.inference_mode():
                encoder(images)
            torch.cuda.synchronize()

        cases[_encode_group(options.preset, batch)] = run
    found = interleaved(cases, rounds=options.rounds, warm_up=5)
    rows = [Row(name=EAGER, group=group, samples=ms) for group, ms in found.items()]
    ceiling = measure("cuda", "bf16")
    rows += ceiling.rows
    return rows, [Figure(key="ceiling_tflop_per_s", value=ceiling.gflop_per_s / 1e3)]


def measured(
    bundle: Bundle,
    chosen: Chosen,
    workload: Workload,
    truth: Reference,
    eager: Sequence[Row],
    options: argparse.Namespace,
) -> tuple[list[Row], list[Figure]]:
    """A build on the device path, without a service: encodes per batch, and clicks."""
    preset, rows, figures = options.preset, [], []
    with _compute(bundle, chosen) as (runner, compute):
        side = runner.model.side
        flop = count(load_preset(preset))["image_encoder"].exported
        ceiling = max(row.figures.get("gflop_per_s", 0.0) for row in eager)
        for batch in map(int, options.batches.split(",")):
            group = _encode_group(preset, batch)
            row = _encode_row(compute, _pixels(workload, side, batch), chosen, group, options)
            share = batch * flop / statistics.median(row.samples) / 1e6 / ceiling
            (before,) = (one.samples for one in eager if one.group == group)
            times = ratio(before, row.samples)
            rows.append(row)
            figures.append(
                Figure(
                    key=f"encode_{preset}_vs_eager_fp16_b{batch}",
                    value=times.value,
                    low=times.low,
                    high=times.high,
                    detail=f"{chosen.name}, image encoder alone, {share:.0%} of the bf16 ceiling",
                )
            )
            if batch > 1:
                key = f"encode_{preset}_ceiling_share"
                figures.append(
                    Figure(key=key, value=share, detail=f"{chosen.name}, {batch} images")
                )
        row = _click_row(compute, workload, truth, chosen, preset=preset, rounds=options.rounds)
        rows.append(row)
        kernel_us = 1000 * statistics.median(row.stages["points"])
        engine_ms = statistics.median(row.samples)
        figures += [
            Figure(key="click_gpu_ms", value=engine_ms, detail=f"{chosen.name}, p50"),
            Figure(key="apg_kernel_us", value=kernel_us, detail=f"{chosen.name}, between events"),
        ]
    return rows, figures


def served(
    path: Path, chosen: Chosen, workload: Workload, truth: Reference, *, rounds: int
) -> tuple[list[Row], list[Figure]]:
    """Clicks through gRPC, and the second start, for which what the first one compiled is kept."""
    words = [
        *("--device", "cuda", "--backend", chosen.backend, "--build", chosen.name),
        *("--cache", str(path.with_name(f"{path.name}-cache"))),
    ]
    with ServedBundle(path, *words, start_timeout_s=600):
        pass
    samples: list[float] = []
    answers = defaultdict(list)
    with (
        ServedBundle(path, *words, start_timeout_s=600) as server,
        Client(server.address) as client,
    ):
        held = [client.encode(data) for data in workload.files]
        for turn in range(-1, max(1, rounds // 10)):
            for click, (image, prompt) in enumerate(workload.clicks):
                started = time.perf_counter()
                (answer,) = held[image].segment([prompt])
                passed_ms = 1000 * (time.perf_counter() - started)
                if turn < 0:  # warm, and for the masks
                    answers[click].append(answer.mask)
                else:
                    samples.append(passed_ms)
    row = Row(
        name=f"{chosen.name} through gRPC",
        group="click on the GPU",
        samples=samples,
        mask_iou=truth.compare(answers),
        figures={"ready_s": server.ready_s},
    )
    p50 = statistics.median(samples)
    return [row], [
        Figure(key="click_gpu_grpc_ms", value=p50, detail=f"{chosen.name}, p50, loopback"),
        Figure(key="cold_start_gpu_s", value=server.ready_s, detail=f"{chosen.name}, second start"),
    ]


def best(figures: Sequence[Figure]) -> list[Figure]:
    """Of every key that of the fastest build."""
    smaller = ("_ms", "_us", "_s")
    found: dict[str, Figure] = {}
    for one in figures:
        known = found.setdefault(one.key, one)
        rate = one.key.endswith("per_s")
        if not rate and one.key.endswith(smaller):
            found[one.key] = min(known, one, key=lambda figure: figure.value)
        else:
            found[one.key] = max(known, one, key=lambda figure: figure.value)
    return list(found.values())


def _encode_row(
    compute: DeviceCompute,
    framed: Sequence[tuple[Pixels, LetterBox]],
    chosen: Chosen,
    group: str,
    options: argparse.Namespace,
) -> Row:
    """samples: the image encoder's stage alone."""
    stages: dict[str, list[float]] = defaultdict(list)
    for turn in range(-5, options.rounds):
        held, spent_s = compute.encode([pixels for pixels, _ in framed])
        for one in held:
            compute.forget(one)
        if turn >= 0:  # before that it is recorded and becomes warm
            for stage, seconds in spent_s.items():
                stages[stage].append(1000 * seconds)
    return Row(name=chosen.name, group=group, samples=stages["encode"], stages=stages)


def _click_row(
    compute: DeviceCompute,
    workload: Workload,
    truth: Reference,
    chosen: Chosen,
    *,
    preset: str,
    rounds: int,
) -> Row:
    """samples: the engine's whole answer, what the GPU is waited for included."""
    side = load_preset(preset).side
    framed = _pixels(workload, side, len(workload.images))
    held, _ = compute.encode([pixels for pixels, _ in framed])
    samples: list[float] = []
    stages: dict[str, list[float]] = defaultdict(list)
    answers = defaultdict(list)
    for turn in range(-1, max(1, rounds // 10)):
        for click, (image, prompt) in enumerate(workload.clicks):
            frame = framed[image][1]
            asked = Question(
                encoded=held[image],
                frame=frame,
                prompts=[to_decoder(prompt, frame)],
                refine=[None],
                keep=[None],
                strategy="apg",
                apg=ApgConfig(),
            )
            started = time.perf_counter()
            ((answer,),), spent_s = compute.answer([asked])
            passed_ms = 1000 * (time.perf_counter() - started)
            if turn < 0:
                answers[click].append(answer.mask(frame))
                continue
            samples.append(passed_ms)
            for stage, seconds in spent_s.items():
                stages[stage].append(1000 * seconds)
    _forget(compute, held)
    return Row(
        name=f"{chosen.name}, engine",
        group="click on the GPU",
        samples=samples,
        stages=stages,
        mask_iou=truth.compare(answers),
    )


@contextmanager
def _compute(bundle: Bundle, chosen: Chosen) -> Iterator[tuple[DeviceRunner, DeviceCompute]]:
    runner = cast(DeviceRunner, load(chosen.backend)(bundle, chosen.options))
    runner.open()
    try:
        device = runner.device
        if device is None:
            raise RuntimeError(f"{chosen.name}: {chosen.backend} keeps nothing on the GPU here")
        compute = DeviceCompute(runner, device, num_masks=1)
        yield runner, compute
        compute.close()
    finally:
        runner.close()


def _pixels(workload: Workload, side: int, num: int) -> list[tuple[Pixels, LetterBox]]:
    """The images, over and over until there are enough."""
    made = []
    for index in range(num):
        boxed, frame = letterbox(workload.images[index % len(workload.images)], side=side)
        made.append((Pixels(image=boxed, energy=boxed), frame))
    return made


def _forget(compute: DeviceCompute, held: Sequence[Encoded]) -> None:
    for one in held:
        compute.forget(one)


def _encode_group(preset: str, batch: int) -> str:
    return f"image encoder on the GPU, {preset}, batch {batch}"


def _for_this_gpu() -> tuple[str, ...]:
    """Options of apsam-export: kernels for this GPU, and plans where TensorRT is installed."""
    capability = describe_gpu(load_cuda())["compute_capability"]
    kernels = ("--kernels", "sm_" + capability.replace(".", ""))
    return (*kernels, "--trt") if find_spec("tensorrt") is not None else kernels


if __name__ == "__main__":
    sys.exit(main())
