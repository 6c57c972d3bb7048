"""What the readers of a document have in their folder before its first command, in small."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.models import PRESETS, build
from tests.guides.parsers import main_of
from tests.guides.reading import ROOT, blocks, text_of
from tests.serve.conftest import MODEL, write_tiny_bundle
from tests.train.conftest import SMALL, write_blocks
from tests.train.sam_files import SMALL_SAM, write_sam

_train = main_of("apsam_train.cli")
SMALL_VIT_L = replace(SMALL_SAM, name="vit_l")
_STARTS_FROM_SAM = ("docs/annotation.md",)
"""Documents whose `model.safetensors` is of the paper's recipe; the others' is a tiny one."""
_EXPORTS = ("README.md", "docs/export.md")
"""Documents that make their bundle themselves."""
_SHARES = {"train": 6, "val": 3, "test": 3}


def set_up(folder: Path, document: str) -> None:
    """Models, data sets, bundles and a picture."""
    write_picture(folder / "bag.png")
    (folder / "PICTURES").mkdir()
    shutil.copy(folder / "bag.png", folder / "PICTURES")
    (folder / "integrations").symlink_to(ROOT / "integrations")
    (folder / "interface.xml").write_text(_xml())
    write_sam(folder / "sam_vit_l_0b3195.pth")
    _write_model(folder / "model.safetensors", document)
    for name in ("boxes", "first", "TEST", "DATA", "data/hixray"):
        _write_data(folder / name)
    if "apsam-train curate " in text_of(document):
        for name in ("data/pidray", "data/pixray", "data/rail"):
            _write_bags(folder / name)
    for path in ("out/demo/bundle", *(() if document in _EXPORTS else ("bundle", "out/bundle"))):
        write_tiny_bundle(folder / path, MODEL)
    if document == "docs/integrations.md":
        _propose(folder, "1")


def small_presets(patch: pytest.MonkeyPatch) -> None:
    """Everything that these commands train is small."""
    patch.setitem(PRESETS, "tiny", SMALL)
    patch.setitem(PRESETS, "vit_l", SMALL_VIT_L)


def after(command: str, folder: Path, document: str) -> None:
    """What a person, or another program, does before the next command."""
    if command.startswith("apsam-train annotate propose"):
        _correct(folder / "rounds" / "1", folder / "corrected.json")
    if command.startswith("python -m integrations.label_studio.from_coco"):
        _submit(folder / "tasks.json", folder / "export.json")
    if command.startswith("apsam-train annotate accept") and document == "docs/annotation.md":
        _second_round(folder)


def write_picture(path: Path) -> None:
    image = np.full((60, 80, 3), 255, np.uint8)
    image[10:40, 10:40] = (90, 60, 40)
    cv2.imwrite(str(path), image)


def _xml() -> str:
    """The labeling interface that the document shows."""
    (found,) = [block.text for block in blocks("docs/integrations.md") if block.language == "xml"]
    return found


def _write_model(path: Path, document: str) -> None:
    torch.manual_seed(0)
    model = build(SMALL_VIT_L if document in _STARTS_FROM_SAM else SMALL)
    save_checkpoint(path, model, Card.of(model, {"data": "none", "config": {}}))


def _write_data(folder: Path) -> None:
    """COCO instances of guns and knives in three splits; boxes alone where the name says so."""
    folder.mkdir(parents=True)
    write_blocks(folder, num_images=sum(_SHARES.values()))
    document = json.loads((folder / "annotations.json").read_text())
    (folder / "annotations.json").unlink()
    (folder / "annotations").mkdir()
    document["categories"][1]["name"] = "Knife"
    if folder.name in ("boxes", "hixray"):
        for annotation in document["annotations"]:
            annotation["segmentation"] = []
    images = iter(document["images"])
    for split, number in _SHARES.items():
        chosen = [next(images) for _ in range(number)]
        for image in chosen:
            image["file_name"] = Path(image["file_name"]).name
        ids = {image["id"] for image in chosen}
        part = {
            "images": chosen,
            "annotations": [one for one in document["annotations"] if one["image_id"] in ids],
            "categories": document["categories"],
        }
        (folder / "annotations" / f"{split}.json").write_text(json.dumps(part))


def _write_bags(folder: Path) -> None:
    """Bags of a size that curation keeps. Every folder has its own."""
    seed = sum(folder.name.encode())
    words = ["--num-images", "8", "--seed", str(seed), "--side", "208", "--workers", "1"]
    assert _train(["synth", "--out", str(folder), *words]) == 0


def _correct(round_folder: Path, file: Path) -> None:
    """The round's proposals as a tool exports them; the first object was not one."""
    document: dict[str, Any] = json.loads((round_folder / "proposals.json").read_text())
    for image in document["images"]:
        for key in set(image) - {"id", "file_name", "width", "height"}:
            del image[key]
    outlined = [one for one in document["annotations"] if one["segmentation"]]
    document["annotations"] = outlined[1:]
    file.write_text(json.dumps(document))


def _submit(tasks: Path, export: Path) -> None:
    """Every prediction, submitted by a person in Label Studio."""
    finished: list[Mapping[str, Any]] = json.loads(tasks.read_text())
    done = [
        {"id": number, "data": task["data"], "annotations": task["predictions"]}
        for number, task in enumerate(finished, start=1)
    ]
    export.write_text(json.dumps(done))


def _second_round(folder: Path) -> None:
    """A round after the one that was accepted."""
    _propose(folder, "2")
    _correct(folder / "rounds" / "2", folder / "again.json")
    words = ["--corrected", str(folder / "again.json"), "--reviewer", "Bo"]
    assert _train(["annotate", "accept", str(folder / "rounds" / "2"), *words]) == 0


def _propose(folder: Path, number: str) -> None:
    words = [str(folder / "model.safetensors"), "--data", str(folder / "boxes")]
    words += ["--out", str(folder / "rounds" / number)]
    assert _train(["annotate", "propose", *words]) == 0
