"""The ablation: four arms that differ in one thing each, and a page that says what came out."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import pytest
import torch

from apsam_serve.contract.apg import ApgConfig
from apsam_train.ablate.arms import ARMS, PROTOCOLS
from apsam_train.ablate.diagnosis import attention_on_objects, by_first_mask, without_query
from apsam_train.ablate.report import report, verdict
from apsam_train.checkpoint import load_checkpoint
from apsam_train.cli import main
from apsam_train.config import read_config
from apsam_train.data.formats import open_dataset
from apsam_train.evaluate.paper import MARGIN, TABLE_4
from apsam_train.evaluate.score import Asking, InstanceScore
from apsam_train.models import APSAM, Preset


def result(miou: dict[str, float]) -> dict[str, Any]:
    """What `evaluate` answers, with these mIoU by protocol."""
    group = {"miou": 0.25, "dice": 0.4, "num_scores": 4}
    parts = {kind: {"small": group} for kind in ("size", "overlap", "category")}
    protocols = {
        name: {"miou": value, "dice": value + 0.1, "breakdown": parts}
        for name, value in miou.items()
    }
    found = {
        "by_first_mask": [
            {
                "from": 0.5,
                "to": 0.75,
                "both_on": True,
                "num_objects": 4,
                "click": 0.6,
                "apg": miou["apg"],
            }
        ],
        "attention": {"attention": 0.5, "area": 0.1, "peaks": 0.8},
        "miou_without_query": 0.3,
    }
    return {"num_instances": 4, "protocols": protocols, "diagnosis": found}


def results(both: float, neither: float) -> dict[str, list[dict[str, Any]]]:
    """Two seeds per arm, the second one 2 per cent better."""
    apg = {"with_both": both, "without_eae": 0.4, "without_apg": 0.1, "without_both": 0.1}
    random1 = {"with_both": 0.1, "without_eae": 0.1, "without_apg": 0.3, "without_both": neither}
    return {
        arm.name: [
            result({"random1": random1[arm.name] + s, "random2": 0.2, "apg": apg[arm.name] + s})
            for s in (0.0, 0.02)
        ]
        for arm in ARMS
    }


def test_arms_differ_in_energy_and_apg_alone() -> None:
    base = read_config("tiny")
    configs = {arm.name: arm.config(base, seed=3) for arm in ARMS}
    assert {replace(c, energy=True, apg_start=0.0) for c in configs.values()} == {
        replace(base, seed=3, energy=True, apg_start=0.0)
    }
    assert [arm.title for arm in ARMS] == list(TABLE_4)
    assert (configs["without_eae"].energy, configs["without_eae"].apg_start) == (False, 0.5)
    assert (configs["without_apg"].energy, configs["without_apg"].apg_start) == (True, 1.0)
    assert (configs["without_both"].energy, configs["without_both"].apg_start) == (False, 1.0)


def test_the_page_has_our_mean_and_spread_beside_the_papers_figures() -> None:
    page = report(results(both=0.5, neither=0.35), facts={"command": "`x`"})
    assert "| w/ EAE & APG | 51.00 | 2.00 | 61.00 | 2.00 | 72.83 | 82.31 |" in page
    assert "| w/o EAE & APG | 36.00 | 2.00 | 46.00 | 2.00 | 67.87 | 77.45 |" in page
    assert "| apg | w/o EAE | 41.00 | 2.00 |" in page
    assert "| random2 | w/o EAE & APG | 20.00 | 0.00 |" in page
    assert "| w/ EAE & APG | 0.50 to 0.75 | both | 8 | 60.00 | 51.00 | -9.00 |" in page
    assert "| w/ EAE & APG | 51.00 | 30.00 | 50.00 | 10.00 | 80.00 |" in page


@pytest.mark.parametrize(
    ("both", "gain", "held"), [(0.40, "+5.00", "reaches"), (0.39, "+4.00", "does not reach")]
)
def test_the_verdict_compares_with_the_papers_margin(both: float, gain: str, held: str) -> None:
    assert pytest.approx(4.96) == MARGIN
    said = verdict(results(both=both, neither=0.35))
    assert gain in said
    assert f"which {held} the paper's margin of +4.96" in said


def test_clicks_are_grouped_by_their_own_masks_iou() -> None:
    def scores(ious: list[float]) -> list[InstanceScore]:
        same = {"image": "a", "category": "Gun", "area": 9, "overlap": None}
        return [
            InstanceScore(**same, iou=i, dice=i, boundary_iou=i, points_on=float(i != 0.5))
            for i in ious
        ]

    found = by_first_mask(
        {
            Asking(protocol="random1", seed=0): scores([0.0, 0.2, 0.5, 1.0]),
            Asking(protocol="apg", seed=0): scores([0.1, 0.5, 0.4, 0.9]),
        },
        seed=0,
    )
    assert [(g["from"], g["both_on"], g["num_objects"]) for g in found] == [
        (0.0, True, 1),
        (0.0, False, 1),
        (0.5, True, 1),
        (0.75, True, 1),
    ]
    assert [(g["click"], g["apg"]) for g in found[:2]] == [(0.0, 0.1), (0.2, 0.5)]


def test_attention_and_the_energy_query_are_looked_at(
    small_model: APSAM, blocks_dataset: Path
) -> None:
    source = open_dataset(blocks_dataset).evenly(2)
    found = attention_on_objects(small_model, source)
    assert found["area"] == pytest.approx(2 * 400 / (64 * 64), rel=0.25)
    assert 0 <= found["attention"] <= 1
    asking = Asking(protocol="random1", seed=0)
    without_query(small_model, source, asking, apg=ApgConfig())
    image = torch.zeros(1, 64, 64, 3, dtype=torch.uint8)
    assert not small_model.encode_energy(image)[0].any()


@pytest.fixture
def command(small_preset: Preset, blocks_dataset: Path, tmp_path: Path) -> list[str]:
    words = ["ablate", "--data", str(blocks_dataset), "--test", str(blocks_dataset)]
    words += ["--config", "tiny", "--seeds", "0,1", "--rows", "1", "--out", str(tmp_path / "out")]
    for setting in ("epochs=1", "batch_size=4", "prompts_per_image=2", "apg_start=0.0"):
        words += ["--set", setting]
    return words


def test_the_command_trains_scores_and_reports_and_goes_on_where_it_was(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main(command) == 0
    assert "APSAM against fine-tuned SAM:" in capsys.readouterr().out
    found = json.loads((out / "ablation.json").read_text())
    assert {name: len(runs) for name, runs in found.items()} == {arm.name: 2 for arm in ARMS}
    assert set(found["with_both"][0]["protocols"]) == set(PROTOCOLS)
    model, card = load_checkpoint(out / "without_eae_1" / "model.safetensors")
    assert not model.location_initializer.project.weight.any()
    assert card.training["config"]["seed"] == 1
    assert (out / "figure_6.jpg").exists()
    before = (out / "with_both_0" / "model.safetensors").stat().st_mtime_ns
    assert main([*command, "--json"]) == 0
    assert (out / "with_both_0" / "model.safetensors").stat().st_mtime_ns == before
    said = capsys.readouterr()
    assert "seed" not in said.err
    assert json.loads(said.out)["arms"] == found
    assert cv2.imread(str(out / "ablation.png")) is not None
    assert main([*command, "--set", "learning_rate=1e-3"]) == 2
    assert "runs of another experiment (other config)" in capsys.readouterr().err
