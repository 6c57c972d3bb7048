"""COCO masks with run lengths become tasks that Label Studio imports."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from integrations.label_studio.from_coco import main
from tests.integrations.brushes import decode_brush
from tests.integrations.label_studio_double import BRUSH_CONFIG, coco_of


def imported(folder: Path, document: Any, config: str = BRUSH_CONFIG) -> int:
    """The exit code."""
    (folder / "proposals.json").write_text(json.dumps(document))
    (folder / "interface.xml").write_text(config)
    files = [str(folder / "proposals.json"), "--interface", str(folder / "interface.xml")]
    address = "/data/local-files/?d=bags/{name}"
    return main([*files, "--address", address, "--out", str(folder / "tasks.json")])


def test_every_mask_is_a_region_of_its_images_task(tmp_path: Path, disc: NDArray[np.bool_]) -> None:
    assert imported(tmp_path, coco_of("bag 1.png", disc, category="Bullet")) == 0
    (task,) = json.loads((tmp_path / "tasks.json").read_text())
    assert task["data"] == {"picture": "/data/local-files/?d=bags/bag%201.png"}
    (prediction,) = task["predictions"]
    (region,) = prediction["result"]  # the second annotation has only a box
    assert prediction["model_version"] == "proposals"
    assert prediction["score"] == 0.75
    assert region["value"]["brushlabels"] == ["Bullet"]
    assert np.array_equal(decode_brush(region["value"]["rle"], 60, 80), disc)


def test_what_would_be_mislabelled_or_lost_is_refused(
    tmp_path: Path, disc: NDArray[np.bool_], capsys: pytest.CaptureFixture[str]
) -> None:
    assert imported(tmp_path, coco_of("bag.png", disc, category="Knife")) == 2
    assert "'Knife' is no label" in capsys.readouterr().err
    outlined = coco_of("bag.png", disc, category="Gun")
    outlined["annotations"][0]["segmentation"] = [[1, 1, 9, 1, 9, 9]]
    assert imported(tmp_path, outlined) == 2
    assert "label-studio-converter import coco" in capsys.readouterr().err
    assert not (tmp_path / "tasks.json").exists()
