"""Checkpoints and bundles that benchmarks share, made once and kept under out/bench."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

import apsam_export
import apsam_train.models
from apsam_serve.contract.manifest import open_bundle
from apsam_serve.errors import BackendUnavailableError, BundleError
from apsam_serve.ops.cuda import describe_gpu, load_cuda
from apsam_serve.ops.plans import load_library
from apsam_train.checkpoint import Card, load_checkpoint, save_checkpoint
from apsam_train.models import build
from apsam_train.models.build import preset
from apsam_train.segmenter import TorchSegmenter
from bench.measure.workload import synthetic

KEPT = Path("out/bench")
TRAINED = {
    "tiny": Path("out/run/model.safetensors"),
    "demo": Path("models/demo/model.safetensors"),
}
"""Checkpoints that are better than random ones: where the commands of README leave one, and the
bundled one."""

OBJECT_SHARE = 0.04
"""Of an image's area, that an object of a bag covers."""
RANDOM = f"random weights, adaptive points on {OBJECT_SHARE:.0%} of an image"
FP16 = "fp16"
"""The build that `for_this_gpu` adds."""


@dataclass(frozen=True, kw_only=True)
class ModelFiles:
    """checkpoint: .safetensors; bundle: exported from it; note: whether its weights are trained."""

    checkpoint: Path
    bundle: Path
    note: str


def bundle_of(name: str, *, options: Sequence[str] = (), kept: Path = KEPT) -> ModelFiles:
    """The checkpoint and the bundle of a preset: trained weights where there are some, else
    random ones. What an earlier call made is taken again while weights and exporter are the same.

    options: more of them for apsam-export; kept: the folder of all that is made. Raises ConfigError
    for an unknown preset, or CalledProcessError.
    """
    trained = TRAINED.get(preset(name).name)
    with _alone(kept / f"{name}.lock"):
        if trained is not None and trained.exists():
            checkpoint, note = trained, f"trained weights of {trained}"
        else:
            checkpoint, note = kept / name / "random.safetensors", RANDOM
            if not checkpoint.exists():
                fresh = random_checkpoint(name, checkpoint.with_suffix(".fresh"))
                with_small_cores(fresh, checkpoint)
                fresh.unlink()
        # A changed exporter writes other graphs from the same weights, and they are measured.
        bundle = kept / f"{name}-{_digest(options, checkpoint, *_sources())}"
        if not _readable(bundle):
            shutil.rmtree(bundle, ignore_errors=True)
            print(
                f"{name} is exported to {bundle}, {note}; a large model takes minutes, once",
                file=sys.stderr,
                flush=True,
            )
            export_bundle(checkpoint, bundle, *options)
    return ModelFiles(checkpoint=checkpoint, bundle=bundle, note=note)


def for_this_gpu() -> tuple[str, ...]:
    """Options of apsam-export: half precision, kernels for this GPU, and plans where TensorRT is
    installed. Raises BackendUnavailableError without a GPU."""
    capability = describe_gpu(load_cuda())["compute_capability"]
    kernels = ("--precision", FP16, "--kernels", "sm_" + capability.replace(".", ""))
    try:
        load_library("tensorrt")
    except BackendUnavailableError:
        return kernels
    return (*kernels, "--trt")


def random_checkpoint(name: str, path: Path) -> Path:
    """Write a checkpoint of a preset with fresh weights, in which nothing is zero."""
    torch.manual_seed(0)
    model = build(preset(name))
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_(std=0.02)
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(path, model, Card.of(model, {"data": "none: random weights"}))
    return path


def with_small_cores(fresh: Path, path: Path) -> Path:
    """Write a random checkpoint once more, with adaptive points on an object's worth of pixels.

    Fresh weights answer any click with half of the image, another half for every mask. What is
    done for each pixel, brute force most of all, would seem to be most of the work. So masks
    depend less on the click, and the core of the card leaves `OBJECT_SHARE` of the image.
    """
    model, card = load_checkpoint(fresh)
    with torch.no_grad():
        for part in model.mask_decoder.output_hypernetworks_mlps:
            last = part.layers[-1]
            last.weight.mul_(0.1)
            last.bias.normal_(generator=torch.Generator().manual_seed(1))
    workload = synthetic(num_images=1)
    encoded = TorchSegmenter(model).encode(workload.images[0])
    prompts = [prompt for _, prompt in workload.clicks]
    answers = encoded.segment(prompts, strategy="direct")
    core = float(np.quantile([one.low_res_logits for one in answers], 1 - OBJECT_SHARE))
    training = {**card.training, "config": {"apg": {"core": core}}}
    save_checkpoint(path, model, Card.of(model, training))
    return path


def export_bundle(checkpoint: Path, out: Path, *options: str) -> Path:
    """Run `apsam-export` with further options. Raises CalledProcessError when it fails, after it
    said why."""
    program = str(Path(sys.executable).with_name("apsam-export"))
    words = [program, "--checkpoint", str(checkpoint), "--out", str(out), *options]
    # Standard output is the benchmark's, whose last line is JSON.
    subprocess.run(words, check=True, stdout=sys.stderr.fileno())
    return out


def _readable(bundle: Path) -> bool:
    try:
        open_bundle(bundle)
    except BundleError:
        return False
    return True


def _sources() -> list[Path]:
    """Of all code that decides what a bundle holds."""
    packages = (apsam_export, apsam_train.models)
    return sorted(path for one in packages for path in Path(one.__path__[0]).rglob("*.py"))


def _digest(options: Sequence[str], *paths: Path) -> str:
    total = hashlib.sha256(" ".join(options).encode())
    for path in paths:
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()[:12]


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Benchmarks that start together make a bundle once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
