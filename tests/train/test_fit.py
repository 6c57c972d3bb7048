"""The training loop: it learns, and a killed run loses nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from apsam_train import fit as fit_module
from apsam_train.asking import Asked
from apsam_train.cli import main
from apsam_train.config import TrainConfig, read_config
from apsam_train.data.formats import open_dataset
from apsam_train.data.training import TrainingItem
from apsam_train.errors import CheckpointError
from apsam_train.fit import fit
from apsam_train.models import Preset
from apsam_train.prompt_training import PromptTraining, StepResult


@pytest.fixture
def config(small_preset: Preset) -> TrainConfig:
    return replace(
        read_config("tiny"),
        batch_size=4,
        prompts_per_image=2,
        epochs=4,
        num_workers=0,
        log_every=1,
        save_every=3,
        warmup_steps=2,
    )


def log(out: Path, kind: str = "train") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def test_the_loss_falls(config: TrainConfig, blocks_dataset: Path, tmp_path: Path) -> None:
    longer = replace(config, epochs=30, apg_start=1.0)
    fit(longer, source=open_dataset(blocks_dataset), out=tmp_path)
    losses = [line["loss"] for line in log(tmp_path)]
    assert sum(losses[-5:]) < 0.8 * sum(losses[:5])


def test_apg_joins_at_its_share_of_the_run(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path
) -> None:
    fit(replace(config, apg_start=0.5), source=open_dataset(blocks_dataset), out=tmp_path)
    assert [line["asked"] for line in log(tmp_path)] == ["click"] * 5 + ["apg", "click", "apg"]


def test_a_killed_run_resumes_to_the_same_weights(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_dataset(blocks_dataset)
    whole = fit(config, source=source, out=tmp_path / "whole")
    step = PromptTraining.forward
    steps = iter(range(100))

    def killed_at_step_5(self: PromptTraining, item: TrainingItem, *, asked: Asked) -> StepResult:
        if next(steps) == 5:
            raise KeyboardInterrupt
        return step(self, item, asked=asked)

    with monkeypatch.context() as killed:
        killed.setattr(PromptTraining, "forward", killed_at_step_5)
        with pytest.raises(KeyboardInterrupt):
            fit(config, source=source, out=tmp_path / "killed")
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    torch.manual_seed(99)
    resumed = fit(config, source=source, out=tmp_path / "killed", resume=True)
    ours, theirs = load_file(whole), load_file(resumed)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_only_adapters_and_energy_parts_move_in_the_papers_recipe(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path
) -> None:
    source = open_dataset(blocks_dataset)
    frozen = replace(config, trainable="adapters", weight_decay=0.0)
    before = load_file(fit(replace(frozen, epochs=1), source=source, out=tmp_path / "a"))
    after = load_file(fit(replace(frozen, epochs=4), source=source, out=tmp_path / "b"))
    moved = {name.split(".")[1] for name in before if not torch.equal(before[name], after[name])}
    assert moved == {"adapters", "energy_encoder", "location_initializer"}


def test_an_existing_run_is_not_overwritten(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path
) -> None:
    source = open_dataset(blocks_dataset)
    fit(replace(config, epochs=1), source=source, out=tmp_path)
    with pytest.raises(CheckpointError, match=r"last\.safetensors exists: add --resume"):
        fit(replace(config, epochs=1), source=source, out=tmp_path)


def test_minutes_end_the_run_by_the_clock(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path
) -> None:
    endless = replace(config, epochs=100_000)
    fit(endless, source=open_dataset(blocks_dataset), out=tmp_path, minutes=0.03)
    card = json.loads((tmp_path / "card.json").read_text())
    assert card["training"]["progress"]["elapsed_s"] == pytest.approx(1.8, abs=2)


def test_loader_workers_deliver_what_the_main_process_would(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path
) -> None:
    source = open_dataset(blocks_dataset)
    here = fit(replace(config, epochs=1), source=source, out=tmp_path / "here")
    there = fit(replace(config, epochs=1, num_workers=1), source=source, out=tmp_path / "there")
    ours, theirs = load_file(here), load_file(there)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_command_trains_and_says_where_the_model_is(
    blocks_dataset: Path, tmp_path: Path
) -> None:
    out = tmp_path / "run"
    command = [sys.executable, "-m", "apsam_train.cli", "fit", "--config", "tiny"]
    command += ["--data", str(blocks_dataset), "--out", str(out), "--minutes", "0.02"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert f"wrote {out / 'model.safetensors'}" in done.stderr


def test_an_interrupted_run_says_how_to_go_on(
    small_preset: Preset,
    blocks_dataset: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupt(*_args: object, **_options: object) -> None:
        raise KeyboardInterrupt

    command = ["fit", "--config", "tiny", "--data", str(blocks_dataset), "--out", str(tmp_path)]
    monkeypatch.setattr(PromptTraining, "forward", interrupt)
    assert main(command) == 130
    assert "interrupted; nothing was saved yet" in capsys.readouterr().err
    (tmp_path / "last.safetensors").touch()
    monkeypatch.setattr(fit_module, "fit", interrupt)
    assert main([*command, "--resume"]) == 130
    assert "interrupted; go on with --resume" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere"], "nowhere does not exist"),
        (["--data", ".", "--config", "huge"], "config 'huge' is unknown"),
        (["--data", ".", "--minutes", "-1"], "--minutes -1.0 must be positive"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["fit", "--config", "tiny", "--out", str(tmp_path / "o"), *arguments])
    error = capsys.readouterr().err
    assert code == 2
    assert message in error
    assert len(error.strip().splitlines()) == 1
