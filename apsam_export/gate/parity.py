"""The gate: a build must compute what the checkpoint computes, in numbers and in masks.

Masks are compared through the build's own encoder, as a user gets them, and token by token: where
the reference predicts (nearly) the same IoU for two tokens, either mask is as good to the model,
and the last digit decides. So the gate holds the mask of the reference's token to it, and lets no
clear choice flip; what remains, a flipped tie, is counted and not judged.
"""

from __future__ import annotations

import platform

import onnxruntime

from apsam_export.errors import ParityError
from apsam_export.gate.reference import Choice, Reference
from apsam_export.gate.report import Report
from apsam_export.gate.sides import RunnerSide, decode_all
from apsam_export.gate.tally import Tally
from apsam_export.gate.thresholds import Thresholds
from apsam_serve.ops.cuda import describe_gpu, load_cuda
from apsam_serve.runtime.base import Runner


def compare(reference: Reference, runner: Runner, thresholds: Thresholds) -> Report:
    """Hold an open runner to the reference.

    The decoder's tensors are compared on the reference's embedding, so that neither graph's error
    hides behind the other's.
    """
    side, core = RunnerSide(runner), runner.model.apg_core
    shots = reference.shots
    encoded = [side.encode(shot.pixels) for shot in shots]
    asked = [shot.asked for shot in shots]
    on_reference = decode_all(side, [shot.encoded for shot in shots], asked)
    on_own = decode_all(side, encoded, asked)
    tally = Tally(tie=thresholds.tie)
    for shot, tensors, ours, theirs in zip(shots, encoded, on_reference, on_own, strict=True):
        tally.add_encoded(shot, tensors)
        for place, about in enumerate(shot.sample.prompts):
            wanted = Choice.of(shot.outputs[place], shot.frame, core=core)
            tally.add_decoded(wanted, shot.outputs[place], ours[place])
            tally.add_mask(shot, about, wanted, theirs[place], core=core)
    return tally.report(
        build=label(runner),
        reference=reference.name,
        ran_on=ran_on(runner),
        num_images=len(shots),
        thresholds=thresholds,
    )


def check(report: Report) -> None:
    """Raise ParityError naming build, figure and threshold of what fails first."""
    failures = report.failures()
    if failures:
        raise ParityError(
            f"the {report.build} build on {report.ran_on}: {failures[0]}; the bundle was not "
            f"written ({len(failures)} figures of this build fail)"
        )


def label(runner: Runner) -> str:
    """What the runner runs, for messages: "onnx fp16"."""
    return f"{runner.build.form} {runner.build.precision}"


def ran_on(runner: Runner) -> str:
    """Where its figures come from, for people."""
    if runner.build.form == "onnx":
        return f"ONNX Runtime {onnxruntime.__version__} on {platform.machine()}"
    gpu = describe_gpu(load_cuda())["gpu"]
    return f"{runner.build.form} {runner.build.compiled['version']} on {gpu}"
