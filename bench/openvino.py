"""ONNX Runtime against OpenVINO on this CPU: `python -m bench.openvino BUNDLE [BUNDLE ...]`.

Both run the bundle's FP32 graphs with the same number of threads, in turns, so that whatever else
the machine does falls on both: trust the ratios. Where it does much, the processors' time says more
than the clock's. Encoding an image takes both encoders; a click is the decoder twice, with 2 and
with 3 points. Prints the machine, a table, and, as the last line, JSON. Wants `openvino` beside the
packages of the `serve` extra.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from apsam_serve.contract.cpus import num_cpus
from apsam_serve.contract.manifest import REFERENCE_BUILD, TensorSpec, open_bundle
from apsam_serve.runtime import sessions
from bench.measure.rounds import told

Feeds = Mapping[str, NDArray[Any]]
Answers = Mapping[str, NDArray[Any]]
CALLS = {
    "image encoder": ("image_encoder", {"B": 1}),
    "energy encoder": ("energy_encoder", {"B": 1}),
    "decoder, 2 points": ("prompt_decoder", {"B": 1, "P": 1, "N": 2}),
    "decoder, 3 points": ("prompt_decoder", {"B": 1, "P": 1, "N": 3}),
}
"""name -> (graph, size of each free axis)"""
SUMS = {
    "encode an image": ("image encoder", "energy encoder"),
    "a click": ("decoder, 2 points", "decoder, 3 points"),
}
"""What the service does, by calls."""


@dataclass(frozen=True, kw_only=True)
class Times:
    """Medians of one library's runs. wall_ms: by the clock; cpu_ms: of all processors."""

    wall_ms: float
    cpu_ms: float

    def __add__(self, other: Times) -> Times:
        return Times(wall_ms=self.wall_ms + other.wall_ms, cpu_ms=self.cpu_ms + other.cpu_ms)


@dataclass(frozen=True, kw_only=True)
class Result:
    """Of one call. difference: largest between the outputs, of the largest value of each."""

    bundle: str
    call: str
    onnxruntime: Times
    openvino: Times
    difference: float

    @property
    def wall_ratio(self) -> float:
        """How many times as fast OpenVINO is."""
        return self.onnxruntime.wall_ms / self.openvino.wall_ms

    @property
    def cpu_ratio(self) -> float:
        """How many times as little processor time it takes."""
        return self.onnxruntime.cpu_ms / self.openvino.cpu_ms

    def __add__(self, other: Result) -> Result:
        return Result(
            bundle=self.bundle,
            call=f"{self.call}, {other.call}",
            onnxruntime=self.onnxruntime + other.onnxruntime,
            openvino=self.openvino + other.openvino,
            difference=max(self.difference, other.difference),
        )


def main() -> int:
    """Compare on every bundle; 1 where OpenVINO is not installed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--threads", type=int, default=num_cpus())
    parser.add_argument("--runs", type=int, default=15, help="of each call (%(default)s)")
    options = parser.parse_args()
    try:
        openvino: Any = importlib.import_module("openvino")
    except ImportError as error:
        print(f"openvino is not installed here ({error}); pip install openvino", file=sys.stderr)
        return 1
    card = {
        "machine": f"{platform.platform()}, {_cpu()}",
        "threads": options.threads,
        "onnxruntime": onnxruntime.__version__,
        "openvino": openvino.__version__,
        "runs": options.runs,
    }
    print(", ".join(f"{name} {value}" for name, value in card.items()))
    results = [
        result
        for path in told(options.bundles, "bundles")
        for result in compare(openvino, path, threads=options.threads, runs=options.runs)
    ]
    print(table(results))
    print(json.dumps({**card, "results": [asdict(one) for one in results]}))
    return 0


def compare(openvino: Any, path: Path, *, threads: int, runs: int) -> list[Result]:
    """Every call on one bundle, and the sums."""
    bundle = open_bundle(path)
    graphs = bundle.manifest.builds[REFERENCE_BUILD].graphs
    results: dict[str, Result] = {}
    for call, (graph, sizes) in CALLS.items():
        file = bundle.file(graphs[graph].file)
        inputs = feeds(graphs[graph].inputs, sizes, side=bundle.manifest.model.side)
        ours, theirs = with_onnxruntime(file, threads), with_openvino(openvino, file, threads)
        difference = apart(ours(inputs), theirs(inputs))
        pairs = [(timed(ours, inputs), timed(theirs, inputs)) for _ in range(1 + runs)][1:]
        results[call] = Result(
            bundle=bundle.manifest.model.preset,
            call=call,
            onnxruntime=median([ours for ours, _ in pairs]),
            openvino=median([theirs for _, theirs in pairs]),
            difference=difference,
        )
    sums = [
        replace(reduce(add, (results[part] for part in parts)), call=name)
        for name, parts in SUMS.items()
    ]
    return [*results.values(), *sums]


def with_onnxruntime(file: Path, threads: int) -> Callable[[Feeds], Answers]:
    """The graph as the service runs it."""
    session = sessions.load(file, sessions.PROVIDERS["cpu"], {}, threads=threads)
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def with_openvino(openvino: Any, file: Path, threads: int) -> Callable[[Feeds], Answers]:
    """The graph in FP32: the default, BF16 where the CPU has it, is another model."""
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(file, "CPU", settings).create_infer_request()

    def run(inputs: Feeds) -> Answers:
        answers = request.infer(dict(inputs), share_inputs=True)
        return {output.get_any_name(): array for output, array in answers.items()}

    return run


def feeds(specs: tuple[TensorSpec, ...], sizes: Mapping[str, int], *, side: int) -> Feeds:
    """Seeded inputs of a graph: noise, and points within the image."""
    rng = np.random.default_rng(0)
    made: dict[str, NDArray[Any]] = {}
    for spec in specs:
        shape = tuple(sizes[n] if isinstance(n, str) else n for n in spec.shape)
        if spec.dtype == "uint8":
            made[spec.name] = rng.integers(0, 256, shape, np.uint8)
        elif spec.name == "point_coords":
            made[spec.name] = rng.uniform(0, side, shape).astype(spec.dtype)
        elif spec.name in ("embedding", "energy_query"):
            made[spec.name] = rng.normal(size=shape).astype(spec.dtype)
        else:
            made[spec.name] = np.full(shape, spec.name == "point_labels", spec.dtype)
    return made


def apart(one: Answers, other: Answers) -> float:
    """Largest difference of any output, of the output's largest value."""
    return max(
        float(np.abs(other[name] - array).max() / np.abs(array).max())
        for name, array in one.items()
    )


def timed(run: Callable[[Feeds], Answers], inputs: Feeds) -> Times:
    """One run."""
    wall, cpu = time.perf_counter(), time.process_time()
    run(inputs)
    return Times(
        wall_ms=1000 * (time.perf_counter() - wall), cpu_ms=1000 * (time.process_time() - cpu)
    )


def median(times: list[Times]) -> Times:
    """Of each column."""
    return Times(
        wall_ms=statistics.median(one.wall_ms for one in times),
        cpu_ms=statistics.median(one.cpu_ms for one in times),
    )


def table(results: list[Result]) -> str:
    """For people, in Markdown."""
    lines = [
        "| model | call | ONNX Runtime: clock, CPU | OpenVINO | OpenVINO times as fast | differ |",
        "|---|---|---|---|---|---|",
    ]
    for one in results:
        ours, theirs = one.onnxruntime, one.openvino
        lines.append(
            f"| {one.bundle} | {one.call} | {ours.wall_ms:.1f}, {ours.cpu_ms:.1f} ms "
            f"| {theirs.wall_ms:.1f}, {theirs.cpu_ms:.1f} ms "
            f"| {one.wall_ratio:.2f}, {one.cpu_ratio:.2f} | {one.difference:.1e} |"
        )
    return "\n".join(lines)


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(": ")[2] for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    sys.exit(main())
