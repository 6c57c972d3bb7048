"""What the checkpoint answered, kept in the bundle: FP32 is checked again without the checkpoint.

Of every tensor a few values at fixed places and the largest, of every prompt the mask and the
adaptive points: `reference.json`, some 100 kB.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from apsam_export.gate.reference import Choice, Reference
from apsam_export.gate.report import Report
from apsam_export.gate.samples import digest
from apsam_export.gate.sides import Floats
from apsam_export.gate.tally import Tally, places
from apsam_export.gate.thresholds import Thresholds
from apsam_serve.contract.masks import Rle, decode_rle, encode_rle
from apsam_serve.contract.preprocess import LetterBox
from apsam_serve.prompting.base import DecoderOutput

FILE = "reference.json"
NUM_PROBES = 64
_DIGITS = 8
"""Significant ones: float32 has no more."""
Document = Mapping[str, Any]


def write_record(folder: Path, reference: Reference, *, core: float) -> None:
    """Write `reference.json`. core: see `ModelSpec.apg_core`."""
    shots = []
    for shot in reference.shots:
        encoded = {name: _probed(tensor) for name, tensor in shot.encoded.items()}
        prompts = []
        for output in shot.outputs:
            choice = Choice.of(output, shot.frame, core=core)
            prompts.append(
                {
                    "tensors": {name: _probed(t) for name, t in tensors(output).items()},
                    "token": choice.token,
                    "lead": choice.lead,
                    "mask": encode_rle(choice.mask).counts,
                    "points": choice.points.tolist(),
                    "branch": choice.branch,
                }
            )
        found = places(shot.encoded["attention"])
        shots.append({"tensors": encoded, "places": found, "prompts": prompts})
    document = {"samples": digest([shot.sample for shot in reference.shots]), "shots": shots}
    (folder / FILE).write_text(json.dumps(document) + "\n")


def read_record(folder: Path) -> Document | str:
    """What `write_record` wrote, or why there is nothing to compare with."""
    if not (folder / FILE).is_file():
        return f"the bundle has no {FILE}; export it again to have FP32 checked too"
    document: Document = json.loads((folder / FILE).read_text())
    return document


def compare_record(
    document: Document,
    again: Reference,
    thresholds: Thresholds,
    *,
    core: float,
    build: str,
    ran_on: str,
) -> Report | str:
    """Hold the FP32 build, run again, to what the checkpoint answered at export; or say why not."""
    if document["samples"] != digest([shot.sample for shot in again.shots]):
        return "another release drew other samples; export again to compare FP32 with them"
    tally = Tally(tie=thresholds.tie)
    for shot, kept in zip(again.shots, document["shots"], strict=True):
        same_query = tally.same_query(kept["places"], shot.encoded)
        for name, tensor in shot.encoded.items():
            if name != "energy_query" or same_query:
                _add(tally, name, kept["tensors"], tensor)
        for about, output, answer in zip(
            shot.sample.prompts, shot.outputs, kept["prompts"], strict=True
        ):
            wanted = _choice(answer, shot.frame)
            same_category = tally.same_category(wanted, output)
            for name, tensor in tensors(output).items():
                if name != "category_logits" or same_category:
                    _add(tally, name, answer["tensors"], tensor)
            tally.add_mask(shot, about, wanted, output, core=core)
    return tally.report(
        build=build,
        reference="the checkpoint at export",
        ran_on=ran_on,
        num_images=len(again.shots),
        thresholds=thresholds,
    )


def tensors(output: DecoderOutput) -> dict[str, Floats]:
    """The decoder's answer by names."""
    found = {"low_res_logits": output.logits, "iou": output.iou}
    if output.category_logits is not None:
        found["category_logits"] = output.category_logits
    return found


def _choice(answer: Document, frame: LetterBox) -> Choice:
    rle = Rle(counts=answer["mask"], height=frame.height, width=frame.width)
    return Choice(
        token=answer["token"],
        lead=answer["lead"],
        mask=decode_rle(rle),
        points=np.array(answer["points"], np.float32).reshape(-1, 2),
        branch=answer["branch"],
    )


def _add(tally: Tally, name: str, kept: Mapping[str, Document], tensor: Floats) -> None:
    probes = kept[name]
    built = _probes(tensor, largest_at=probes["largest_at"])
    tally.add(name, np.array(probes["values"], np.float32), built)


def _probed(tensor: Floats) -> Document:
    at = int(np.abs(tensor).argmax())
    values = [float(f"{value:.{_DIGITS}g}") for value in _probes(tensor, largest_at=at)]
    return {"largest_at": at, "values": values}


def _probes(tensor: Floats, *, largest_at: int) -> Floats:
    """All values of a small tensor; else the largest one and some at places that depend on the
    size alone."""
    flat = tensor.ravel()
    if len(flat) <= NUM_PROBES:
        return flat
    chosen = np.random.default_rng(len(flat)).integers(len(flat), size=NUM_PROBES)
    return flat.take(np.append(chosen, largest_at))
