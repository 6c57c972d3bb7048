"""Data sets of a few small pictures, and the records of pictures that were never drawn."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from apsam_train.curate.command import configure, run
from apsam_train.curate.record import Record

Picture = NDArray[np.uint8]


def draw(seed: int, *, width: int = 64, height: int = 48) -> Picture:
    """Smooth blobs, other ones for every seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One image of a source. file: bytes to write in place of an encoded picture; objects: names,
    of which those that begin with "box:" have no mask."""

    name: str
    picture: Picture | None = None
    file: bytes | None = None
    objects: Sequence[str] = ("Gun",)


def write_source(folder: Path, splits: Mapping[str, Sequence[Shot]]) -> Path:
    """A COCO data set with one file per split, or without splits for the single split ""."""
    (folder / "annotations").mkdir(parents=True)
    for split, shots in splits.items():
        names = sorted({name.removeprefix("box:") for shot in shots for name in shot.objects})
        document: dict[str, Any] = {
            "images": [],
            "annotations": [],
            "categories": [{"id": n, "name": name} for n, name in enumerate(names, start=1)],
        }
        for number, shot in enumerate(shots, start=1):
            file = folder / "images" / shot.name
            file.parent.mkdir(parents=True, exist_ok=True)
            picture = draw(0) if shot.picture is None else shot.picture
            data = cv2.imencode(file.suffix, picture)[1].tobytes()
            file.write_bytes(data if shot.file is None else shot.file)
            size = {"width": picture.shape[1], "height": picture.shape[0]}
            document["images"].append({"id": number, "file_name": shot.name, **size})
            for name in shot.objects:
                document["annotations"].append(_annotation(name, number, names, document))
        (folder / "annotations" / f"{split or 'all'}.json").write_text(json.dumps(document))
    return folder


def _annotation(
    name: str, image: int, names: list[str], document: dict[str, Any]
) -> dict[str, Any]:
    number = len(document["annotations"]) + 1
    found = {
        "id": number,
        "image_id": image,
        "category_id": names.index(name.removeprefix("box:")) + 1,
        "bbox": [4, 4, 16, 12],
    }
    if not name.startswith("box:"):
        found["segmentation"] = [[4, 4, 20, 4, 20, 16, 4, 16]]
    return found


def run_curate(*options: str | Path) -> int:
    """Run the command as the command line does, with limits that fit small pictures."""
    parser = argparse.ArgumentParser()
    configure(parser)
    fitting = ("--workers", "1", "--min-side", "24", "--noise-percentile", "100")
    return run(parser.parse_args([*fitting, *map(str, options)]))


def record(name: str, **fields: Any) -> Record:
    """A record with a hash, and a file, of its own."""
    seed = sum(ord(letter) * 131**place for place, letter in enumerate(name)) % 2**32
    values = {
        "source": "bags",
        "name": name,
        "image": f"/data/{name}",
        "bag": name,
        "width": 400,
        "height": 300,
        "laplacian": 100.0,
        "phash": np.random.default_rng(seed).bytes(32).hex(),
        "sha256": name,
        "categories": ("Gun",),
    }
    return Record(**(values | fields))


def document(file: Path) -> Any:
    """A JSON file."""
    return json.loads(file.read_text())
