"""Fine against coarse labels: heads that differ in their labels alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from apsam_train.categories import CLASSES, LABELS, SUPERCLASS, UNKNOWN, superclass_label
from apsam_train.checkpoint import Card, load_checkpoint, save_checkpoint
from apsam_train.cli import main
from apsam_train.config import parse_config, read_config
from apsam_train.data.formats import open_dataset
from apsam_train.data.training import TrainingSet
from apsam_train.delta import base_of
from apsam_train.errors import ConfigError
from apsam_train.labels.arms import ARMS, head_figures
from apsam_train.labels.compare_report import as_json, as_markdown, verdict
from apsam_train.models import PRESETS, build, with_category_head
from apsam_train.sam_weights import load_sam
from tests.train.sam_files import SMALL_SAM, write_sam

GUN, HAMMER = CLASSES.index("Gun"), CLASSES.index("Hammer")


def test_a_coarse_label_is_the_superclass_of_its_category() -> None:
    for label in range(1, 31):
        assert LABELS[superclass_label(label)] == SUPERCLASS[LABELS[label]]
        assert superclass_label(label) > 30
    assert [superclass_label(n) for n in (0, UNKNOWN, 31, 40)] == [0, UNKNOWN, 31, 40]


@pytest.mark.parametrize("coarse", [False, True])
def test_training_items_tell_superclasses_when_asked_to(coarse: bool, blocks_dataset: Path) -> None:
    items = TrainingSet(
        open_dataset(blocks_dataset),
        side=64,
        num_prompts=2,
        num_negatives=1,
        augment="none",
        seed=0,
        coarse_labels=coarse,
    )
    *objects, beside = items[0, 0, 0].item.label.tolist()
    names = {LABELS[label] for label in objects}
    assert names == ({"Firearms"} if coarse else {"Gun", "Bullet"})
    assert beside == 0


def test_labels_are_fine_or_coarse() -> None:
    assert read_config("tiny").category_labels == "fine"
    with pytest.raises(ConfigError, match="category_labels = 'x' must be one of fine, coarse"):
        parse_config("category_labels = 'x'", source="x.toml")


def test_arms_differ_in_labels_alone() -> None:
    base = read_config("tiny")
    fine, coarse = (arm.config(base, seed=3) for arm in ARMS)
    assert replace(fine, category_labels="coarse") == coarse
    assert (fine.seed, fine.trainable, fine.category_weight) == (3, "category", 1.0)


def test_a_superclass_is_answered_by_the_sum_of_its_categories() -> None:
    logits = np.full((3, len(CLASSES)), -20, np.float32)
    logits[:, HAMMER] = np.log(0.4)
    logits[:, [GUN, GUN + 1]] = np.log(0.3)
    labels = np.array([GUN, LABELS.index("Firearms"), LABELS.index("Tools")])
    found = head_figures(labels, logits)
    assert found["superclass"] == pytest.approx(2 / 3)
    assert (found["category"], found["num_fine"], found["num_objects"]) == (0.0, 1, 3)
    assert found["by_superclass"] == {
        "Tools": {"num_objects": 1, "superclass": 0.0},
        "Firearms": {"num_objects": 2, "superclass": 1.0},
    }


def result(superclass: float, category: float | None) -> dict[str, Any]:
    parts = {"Tools": {"num_objects": 400, "superclass": superclass}}
    return {
        "num_objects": 400,
        "num_fine": 400,
        "superclass": superclass,
        "category": category,
        "by_superclass": parts,
    }


def results(*gains: float) -> dict[str, list[dict[str, Any]]]:
    return {
        "fine": [result(0.5 + gain, 0.4 + gain) for gain in gains],
        "coarse": [result(0.5, 0.1) for _ in gains],
    }


@pytest.mark.parametrize(
    ("gains", "said"),
    [
        ((0.02, 0.04), "+3.00 points on average (+2.00, +4.00 by seed): fine labels help"),
        ((-0.02, -0.04), "-3.00 points on average (-2.00, -4.00 by seed): fine labels harm"),
        ((-0.02, 0.04), "seeds disagree, so no difference is shown"),
        ((0.04,), "one seed says nothing about chance"),
    ],
)
def test_the_verdict_follows_the_seeds(gains: tuple[float, ...], said: str) -> None:
    assert said in verdict(results(*gains))
    assert "over 400 objects has a standard error of 2.50 points" in verdict(results(*gains))


def test_the_page_has_means_and_spreads_and_no_categories_of_the_coarse_head() -> None:
    page = as_markdown(results(0.02, 0.04), facts={"command": "`x`"})
    assert "| fine labels | 53.00 | 2.00 | 43.00 | 2.00 |" in page
    assert "| coarse labels | 50.00 | 0.00 | - | - |" in page
    assert "| Tools | 400 | 53.00 | 50.00 | +3.00 |" in page
    plain = as_json(results(0.02, 0.04), seeds=[0, 1], facts={})
    assert plain["gain"] == pytest.approx(0.03)
    assert plain["arms"]["fine"]["superclass_spread"] == pytest.approx(0.02)


@pytest.fixture
def command(blocks_dataset: Path, tmp_path: Path) -> list[str]:
    words = ["labels", "compare", "--data", str(blocks_dataset), "--test", str(blocks_dataset)]
    words += ["--config", "tiny", "--seeds", "0,1", "--out", str(tmp_path / "out")]
    for setting in ("epochs=2", "batch_size=4", "prompts_per_image=2", 'augment="none"'):
        words += ["--set", setting]
    return words


def test_the_command_trains_both_heads_on_one_frozen_model_and_goes_on_where_it_was(
    command: list[str],
    named_checkpoint: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    command += ["--start", str(named_checkpoint)]
    assert main(command) == 0
    assert "Superclass accuracy, fine labels less coarse:" in capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    assert len(report["gain_by_seed"]) == 2
    assert report["arms"]["coarse"]["by_seed"][1]["num_objects"] == 16
    assert "| coarse labels |" in (out / "report.md").read_text()
    weights = load_file(named_checkpoint)
    files = {arm.name: out / f"{arm.name}_1" / "model.safetensors" for arm in ARMS}
    for name, file in files.items():
        _, card = load_checkpoint(file)
        assert card.training["config"]["category_labels"] == name
        trained = load_file(file)
        changed = {key for key in weights if not torch.equal(weights[key], trained[key])}
        assert {key.split(".")[1] for key in changed} == {"category_head"}
    heads = [load_file(file)["model.category_head.layers.2.bias"] for file in files.values()]
    assert not torch.equal(*heads)
    # The heads start alike, not from the head that the model brought along.
    assert not any("category_head" in key for key in load_file(out / "start.safetensors"))
    assert len(list((out / "features").glob("*/*.npy"))) == 8
    before = files["fine"].stat().st_mtime_ns
    (out / "coarse_1" / "result.json").unlink()
    assert main([*command, "--json"]) == 0
    assert files["fine"].stat().st_mtime_ns == before
    said = capsys.readouterr()
    assert json.loads(said.out)["arms"] == report["arms"]
    assert "fine labels, seed" not in said.err
    assert (out / "report.png").read_bytes().startswith(b"\x89PNG")
    assert main([*command, "--set", "learning_rate=1e-3"]) == 2
    assert "runs of another experiment (other config)" in capsys.readouterr().err


def test_what_is_compared_cannot_be_set(
    command: list[str], plain_checkpoint: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command += ["--start", str(plain_checkpoint), "--set", 'category_labels="coarse"']
    assert main(command) == 2
    assert "category_labels = 'coarse' is what is compared: leave it out" in capsys.readouterr().err


def test_a_delta_is_compared_with_the_sam_file_beside_it(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(PRESETS, SMALL_SAM.name, SMALL_SAM)
    sam = write_sam(tmp_path / "sam.pth")
    model = with_category_head(build(SMALL_SAM))
    base = base_of(sam, load_sam(sam, model))
    model.freeze_sam()
    delta = tmp_path / "delta.safetensors"
    save_checkpoint(delta, model, Card.of(model, {}, base=base))
    command[command.index("0,1")] = "0"
    assert main([*command, "--start", str(delta)]) == 0
    _, card = load_checkpoint(tmp_path / "out" / "fine_0" / "model.safetensors", sam=sam)
    assert card.base == base
