"""Builds of a bundle on the service's own device path, in this process: encodes and clicks."""

from __future__ import annotations

import statistics
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from apsam_export.flops import count
from apsam_serve.contract.apg import ApgConfig
from apsam_serve.contract.inputs import Pixels
from apsam_serve.contract.manifest import REFERENCE_BUILD, Bundle
from apsam_serve.contract.preprocess import LetterBox, letterbox
from apsam_serve.contract.prompts import to_decoder
from apsam_serve.engine.compute import Question
from apsam_serve.engine.device_compute import DeviceCompute
from apsam_serve.ops.kernels import ADAPTIVE_POINTS, Kernel, Value
from apsam_serve.ops.memory import Device
from apsam_serve.runtime.base import DeviceRunner, RunnerOptions, load
from apsam_train.models.build import preset as load_preset
from bench.ceiling import Ceiling
from bench.gpu_clock import in_turns
from bench.load_accuracy import Reference
from bench.measure.distribution import ratio, typical
from bench.measure.document import Figure, Row
from bench.measure.workload import Workload
from bench.on_gpu_eager import NAME as EAGER
from bench.on_gpu_eager import Eager

BACKENDS = {"onnx": "onnxruntime", "tensorrt": "tensorrt", "tensorrt_rtx": "tensorrt"}
GOAL_BATCH = 16
"""Images at which the share of the ceiling is asked for."""
_RECORDED = 5
"""Encodes before those that count: by then they are recorded and warm."""
_LAUNCHES = 50
"""Of the kernel between two marks, so that neither launch nor mark is measured."""
WALL_NOTE = (
    "by the host's clock, from images in host memory until all is done; ours with the "
    "Energy-Aware Encoder and what comes back of it"
)
Framed = Sequence[tuple[Pixels, LetterBox]]


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """A build of the bundle, and the back end that runs it on a device."""

    name: str
    backend: str
    device: str

    @property
    def options(self) -> RunnerOptions:
        """As the service opens it."""
        return RunnerOptions(device=self.device, build=self.name, on_device=True)


@dataclass(frozen=True, kw_only=True, eq=False)
class Task:
    """What every build is measured on. batches: images at once; rounds: encodes of each, of which
    every click has a tenth; starts: of the service."""

    preset: str
    workload: Workload
    truth: Reference
    eager: Eager
    ceiling: Ceiling
    batches: Sequence[int]
    rounds: int
    starts: int

    @property
    def turns(self) -> int:
        """Of every click."""
        return max(1, self.rounds // 10)


def builds(bundle: Bundle, *, device: str) -> Iterator[Chosen]:
    """All but the reference."""
    for name, build in bundle.manifest.builds.items():
        if name != REFERENCE_BUILD:
            yield Chosen(name=name, backend=BACKENDS[build.form], device=device)


def measured(bundle: Bundle, chosen: Chosen, task: Task) -> tuple[list[Row], list[Figure]]:
    """A build without a service: encodes per batch in turns with eager FP16, clicks, and the kernel
    of the adaptive points. Raises ApsamError, or RuntimeError where it is not on the device."""
    rows, figures = [], []
    with _opened(bundle, chosen) as (runner, device, compute):
        for batch in task.batches:
            more, found = _encodes(runner, compute, chosen, task, batch=batch)
            rows += more
            figures += found
        click, kernel = _clicks(runner, device, compute, chosen, task)
    engine, alone = typical(click.samples), typical(kernel.samples)
    figures += [
        Figure(
            key=f"click_gpu_ms_{task.preset}",
            value=engine.value,
            low=engine.low,
            high=engine.high,
            detail=f"{chosen.name}, p50",
        ),
        Figure(
            key="apg_kernel_us",
            value=alone.value,
            low=alone.low,
            high=alone.high,
            detail=f"{chosen.name}, p50, {_LAUNCHES} launches in a row",
        ),
    ]
    return [*rows, click, kernel], figures


def _encodes(
    runner: DeviceRunner, compute: DeviceCompute, chosen: Chosen, task: Task, *, batch: int
) -> tuple[list[Row], list[Figure]]:
    pixels = [one for one, _ in framed(task.workload, runner.model.side, batch)]
    images = np.stack([one.image for one in pixels])
    stages: dict[str, list[float]] = defaultdict(list)

    def ours() -> float:
        held, spent_s = compute.encode(pixels)
        for one in held:
            compute.forget(one)
        for stage, seconds in spent_s.items():
            stages[stage].append(1000 * seconds)
        return stages["encode"][-1]

    eager = f"{EAGER}, in turns with {chosen.name}"
    cases = {chosen.name: ours, eager: lambda: task.eager.encode_ms(images)}
    own, wall = in_turns(cases, rounds=task.rounds, warm_up=_RECORDED)
    parts = {chosen.name: {stage: ms[_RECORDED:] for stage, ms in stages.items()}}
    group = f"{task.preset}, batch {batch}"
    rows = [
        Row(
            name=name,
            group=f"image encoder on the GPU, {group}",
            samples=ms,
            note="between the GPU's own events",
        )
        for name, ms in own.items()
    ]
    rows += [
        Row(
            name=name,
            group=f"whole encode from the host, {group}",
            samples=ms,
            stages=parts.get(name, {}),
            note=WALL_NOTE,
        )
        for name, ms in wall.items()
    ]
    times = ratio(own[eager], own[chosen.name], paired=True)
    around = ratio(wall[eager], wall[chosen.name], paired=True)
    figures = [
        Figure(
            key=f"encode_{task.preset}_vs_eager_fp16_b{batch}",
            value=times.value,
            low=times.low,
            high=times.high,
            detail=f"{chosen.name}, by the GPU's events; {around.value:.2f}x by the host's clock",
        )
    ]
    if batch == GOAL_BATCH:
        figures.append(_share(runner, chosen, task, own[chosen.name]))
    return rows, figures


def _share(runner: DeviceRunner, chosen: Chosen, task: Task, samples_ms: Sequence[float]) -> Figure:
    """Of the ceiling, at `GOAL_BATCH`: the operations of the model as published, which is what a
    rate of images means, and in the detail those that the build executes."""
    flops = count(load_preset(task.preset), precision=runner.build.precision)["image_encoder"]
    per_ms = task.ceiling.gflop_per_s * 1e6
    ideal_ms = GOAL_BATCH * flops.published / per_ms
    share = ratio([ideal_ms] * len(samples_ms), samples_ms, paired=True)
    executed = share.value * flops.exported / flops.published
    rate = 1000 * GOAL_BATCH / statistics.median(samples_ms)
    return Figure(
        key=f"encode_{task.preset}_ceiling_share",
        value=share.value,
        low=share.low,
        high=share.high,
        detail=f"{chosen.name}, {rate:.0f} images/s of {flops.published / 1e9:.0f} GFLOP as "
        f"published; {executed:.0%} by the {flops.exported / 1e9:.0f} that it executes",
    )


def _clicks(
    runner: DeviceRunner, device: Overheard, compute: DeviceCompute, chosen: Chosen, task: Task
) -> tuple[Row, Row]:
    """The engine's whole answers, what the GPU is waited for included; and the adaptive points'
    kernel by itself on what each of the clicks left in memory."""
    workload = task.workload
    frames = framed(workload, runner.model.side, len(workload.images))
    held, _ = compute.encode([pixels for pixels, _ in frames])
    samples: list[float] = []
    kernel: list[float] = []
    stages: dict[str, list[float]] = defaultdict(list)
    answers = defaultdict(list)
    for turn in range(-1, task.turns):
        for number, (image, prompt) in enumerate(workload.clicks):
            frame = frames[image][1]
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
            if turn < 0:  # until it is recorded and warm; for the masks, and the kernel on each
                answers[number].append(answer.mask(frame))
                kernel.append(device.alone_us(ADAPTIVE_POINTS))
                continue
            samples.append(passed_ms)
            for stage, seconds in spent_s.items():
                stages[stage].append(1000 * seconds)
    for one in held:
        compute.forget(one)
    group = f"click on the GPU, {task.preset}"
    click = Row(
        name=f"{chosen.name}, engine",
        group=group,
        samples=samples,
        stages=stages,
        mask_iou=task.truth.compare(answers),
        note=task.truth.note,
    )
    name = f"{chosen.name}, kernel of the adaptive points"
    return click, Row(name=name, group=group, unit="us", samples=kernel)


class Overheard:
    """A device that remembers how each kernel was launched last. The rest is the device's own."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self._last: dict[str, tuple[tuple[int, int], Mapping[str, Value]]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def launch(self, kernel: Kernel, grid: tuple[int, int], values: Mapping[str, Value]) -> None:
        """Queue a kernel."""
        self._last[kernel.name] = (grid, values)
        self._device.launch(kernel, grid, values)

    def alone_us(self, kernel: Kernel) -> float:
        """Microseconds of the kernel by itself, on the memory that it was launched with last. From
        a recording: the host may be slower than the kernel."""
        grid, values = self._last[kernel.name]
        device = self._device

        def queue() -> None:
            device.mark("alone")
            for _ in range(_LAUNCHES):
                device.launch(kernel, grid, values)
            device.mark("done")

        key = ("alone", kernel.name, grid, *values.items())
        for _ in range(2):  # the first of a key is not recorded; the marks of the last one count
            device.replay(key, queue)
        device.wait()
        return 1e6 * device.elapsed_s("alone", "done") / _LAUNCHES


@contextmanager
def _opened(
    bundle: Bundle, chosen: Chosen
) -> Iterator[tuple[DeviceRunner, Overheard, DeviceCompute]]:
    runner = cast(DeviceRunner, load(chosen.backend)(bundle, chosen.options))
    runner.open()
    try:
        if runner.device is None:
            raise RuntimeError(f"{chosen.name}: {chosen.backend} keeps nothing on the GPU here")
        device = Overheard(runner.device)
        with closing(DeviceCompute(runner, cast(Device, device), num_masks=1)) as compute:
            yield runner, device, compute
    finally:
        runner.close()


def framed(workload: Workload, side: int, num: int) -> Framed:
    """The images, over and over until there are enough."""
    made = []
    for index in range(num):
        boxed, frame = letterbox(workload.images[index % len(workload.images)], side=side)
        made.append((Pixels(image=boxed, energy=boxed), frame))
    return made
