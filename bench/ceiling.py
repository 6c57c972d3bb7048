"""How fast this machine multiplies matrices: `python -m bench.ceiling`.

The shapes are those of ViT-B's and ViT-L's products at 512, by PyTorch and, on the CPU, by ONNX
Runtime; the fastest pair is the ceiling that encoders are held against. On a GPU one large square
product is tried too, and products are queued one behind the other, so that no launch is measured.
BF16 is measured on GPUs only: on CPUs that claim to have it, the instruction may be missing.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper

from apsam_serve.contract.cpus import num_cpus
from bench.gpu_clock import device_ms, in_turns
from bench.measure.document import Document, Row, publish
from bench.measure.options import positive

TOKENS = 1024
"""Of one image at 512."""
WIDTHS = (768, 1024)
BATCHES = {"cpu": (1, 2), "cuda": (1, 16)}
DTYPES = {
    "cpu": {"fp32": torch.float32},
    "cuda": {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16},
}
NUM_RUNS = {"cpu": 1, "cuda": 50}
"""Products between one look at the clock and the next."""
Run = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Shape:
    """[rows, inputs] x [inputs, outputs]"""

    rows: int
    inputs: int
    outputs: int

    def __str__(self) -> str:
        return f"{self.rows} x {self.inputs} x {self.outputs}"

    @property
    def flop(self) -> float:
        """A multiply-add is two."""
        return 2.0 * self.rows * self.inputs * self.outputs


SHAPES = {
    device: tuple(
        Shape(rows=TOKENS * batch, inputs=inputs, outputs=outputs)
        for batch in batches
        for width in WIDTHS
        for inputs, outputs in (
            (width, 3 * width),
            (width, width),
            (width, 4 * width),
            (4 * width, width),
        )
    )
    for device, batches in BATCHES.items()
}
SHAPES["cuda"] += (Shape(rows=8192, inputs=8192, outputs=8192),)


@dataclass(frozen=True, kw_only=True)
class Ceiling:
    """The fastest product. gflop_per_s: by its median; run: once again, on a GPU without waiting
    for it; rows: all tried."""

    library: str
    shape: Shape
    gflop_per_s: float
    run: Run
    rows: Sequence[Row]

    def __str__(self) -> str:
        return f"{self.gflop_per_s:.0f} GFLOP/s, {self.library}, {self.shape}"


def main(argv: Sequence[str] | None = None) -> int:
    """0."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", choices=sorted(DTYPES), default="cpu")
    parser.add_argument("--dtype", choices=sorted(DTYPES["cuda"]), default="fp32")
    parser.add_argument("--threads", type=positive, default=num_cpus(), help="(%(default)s)")
    parser.add_argument("--rounds", type=positive, default=10, help="of every shape (%(default)s)")
    parser.add_argument("--json", type=Path, help="write the document here too")
    options = parser.parse_args(argv)
    if options.dtype not in DTYPES[options.device]:
        known = ", ".join(DTYPES[options.device])
        parser.error(f"--dtype {options.dtype}: on {options.device} choose one of {known}")
    if options.device == "cuda" and not torch.cuda.is_available():
        parser.error(f"--device cuda: torch {torch.__version__} finds no NVIDIA GPU; use another")
    found = measure(options.device, options.dtype, options.threads, rounds=options.rounds)
    settings = {name: value for name, value in vars(options).items() if name != "json"}
    document = Document(benchmark="ceiling", settings=settings, rows=found.rows)
    publish(document, json_path=options.json)
    return 0


def measure(
    device: str = "cpu",
    dtype: str = "fp32",
    threads: int = 0,
    *,
    rounds: int = 6,
    shapes: Sequence[Shape] | None = None,
) -> Ceiling:
    """Try every shape with every library. threads: 0 for one per core."""
    torch.set_num_threads(threads or num_cpus())
    cases = {
        (library, shape): open_product(shape)
        for library, open_product in _libraries(device, dtype, threads or num_cpus()).items()
        for shape in shapes or SHAPES[device]
    }
    timed = {
        f"{library} {shape}": partial(device_ms, run, device=device, num_runs=NUM_RUNS[device])
        for (library, shape), run in cases.items()
    }
    found, _ = in_turns(timed, rounds=rounds)
    rows = {
        (library, shape): Row(
            name=str(shape),
            group=f"{library}, {dtype} on {device}",
            samples=found[f"{library} {shape}"],
            figures={"gflop_per_s": rate(shape.flop, found[f"{library} {shape}"])},
        )
        for library, shape in cases
    }
    best = max(rows, key=lambda case: rows[case].figures["gflop_per_s"])
    return Ceiling(
        library=best[0],
        shape=best[1],
        gflop_per_s=rows[best].figures["gflop_per_s"],
        run=cases[best],
        rows=list(rows.values()),
    )


def _libraries(device: str, dtype: str, threads: int) -> dict[str, Callable[[Shape], Run]]:
    libraries: dict[str, Callable[[Shape], Run]] = {
        "PyTorch": partial(_with_torch, device=device, dtype=DTYPES[device][dtype])
    }
    if device == "cpu":
        libraries["ONNX Runtime"] = partial(_with_onnxruntime, threads=threads)
    return libraries


def _with_torch(shape: Shape, *, device: str, dtype: torch.dtype) -> Run:
    left = torch.randn(shape.rows, shape.inputs, device=device).to(dtype)
    right = torch.randn(shape.outputs, shape.inputs, device=device).to(dtype)
    out = torch.empty(shape.rows, shape.outputs, device=device, dtype=dtype)

    def run() -> None:
        torch.mm(left, right.t(), out=out)

    return run


def _with_onnxruntime(shape: Shape, *, threads: int) -> Run:
    """In place, with a constant on the right, as in our graphs."""
    rng = np.random.default_rng(0)
    right = rng.standard_normal((shape.inputs, shape.outputs), np.float32)
    sides = {"left": (shape.rows, shape.inputs), "out": (shape.rows, shape.outputs)}
    left, out = (
        helper.make_tensor_value_info(name, TensorProto.FLOAT, size) for name, size in sides.items()
    )
    node = helper.make_node("MatMul", ["left", "right"], ["out"])
    graph = helper.make_graph(
        [node], "product", [left], [out], [numpy_helper.from_array(right, "right")]
    )
    opset = helper.make_opsetid("", 20)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    given = onnxruntime.OrtValue.ortvalue_from_numpy(
        rng.standard_normal(sides["left"], np.float32), "cpu"
    )
    binding.bind_ortvalue_input("left", given)
    answer = onnxruntime.OrtValue.ortvalue_from_shape_and_type(sides["out"], np.float32, "cpu")
    binding.bind_ortvalue_output("out", answer)
    return partial(session.run_with_iobinding, binding)


def rate(flop: float, samples_ms: Sequence[float]) -> float:
    """GFLOP/s by the median."""
    return flop / statistics.median(samples_ms) / 1e6


if __name__ == "__main__":
    sys.exit(main())
