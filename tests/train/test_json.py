"""With --json a command prints one document, which holds the figures of its summary."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import pytest

from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.cli import main
from apsam_train.models import APSAM

Document = dict[str, Any]


def ious(document: Document) -> list[str]:
    (row,) = document["rows"]
    return [f"{one['miou'] * 100:.2f}" for one in row["protocols"].values()]


CASES: dict[str, tuple[str, Callable[[Document], list[str]], tuple[str, ...]]] = {
    "synth": (
        "synth --out OUT/new --num-images 2 --seed 3 --side 128 --workers 1",
        lambda found: [str(found["num_objects"]), *map(str, found["palettes"].values())],
        (),
    ),
    "inspect": (
        "inspect DATA --out OUT/new",
        lambda found: [str(c["num_instances"]) for c in found["categories"]],
        ("new/contact_sheet.jpg",),
    ),
    "evaluate": (
        "evaluate MODEL --data DATA --seeds 0 --protocols random1,apg --out OUT/metrics.json",
        ious,
        ("metrics.png",),
    ),
    "fit": (
        "fit --config tiny --data DATA --val DATA --out OUT/new --set epochs=1 --set batch_size=4 "
        "--set log_every=1 --set validate_every=2 --set prompts_per_image=2",
        lambda found: [
            str(found["num_steps"]),
            f"{found['last']['train']['loss']:.4f}",
            f"{found['last']['validation']['miou_apg'] * 100:.2f}",
        ],
        ("new/curves.png",),
    ),
    "propose": (
        "annotate propose MODEL --data DATA --refine --out OUT/new --worst 2",
        lambda found: [str(found["num_objects"]), f"{found['mean_box_iou']:.1%}"],
        ("new/worst.png",),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_json_holds_the_figures_of_the_summary_and_reports_have_pictures(
    name: str,
    small_model: APSAM,
    blocks_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    save_checkpoint(tmp_path / "model.safetensors", small_model, Card.of(small_model, {}))
    line, figures, pictures = CASES[name]
    shown = []
    model = tmp_path / "model.safetensors"
    for option in ("", " --json"):
        out = tmp_path / f"out{option.strip()}"
        out.mkdir()
        places = {"DATA": blocks_dataset, "MODEL": model, "OUT": out}
        words = f"{line}{option}"
        for place, path in places.items():
            words = words.replace(place, str(path))
        assert main(words.split()) == 0
        shown.append(capsys.readouterr().out)
        assert all(cv2.imread(str(out / picture)) is not None for picture in pictures)
    text, document = shown[0], json.loads(shown[1])
    assert len(shown[1].splitlines()) == 1
    for figure in figures(document):
        assert re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", text), (figure, text)


def test_with_json_a_refusal_is_a_document_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["inspect", str(tmp_path), "--out", str(tmp_path / "o"), "--json"]) == 2
    said = capsys.readouterr()
    error = json.loads(said.out)["error"]
    assert error["message"] in said.err
    assert error["reason"]
