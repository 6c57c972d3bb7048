"""Training at real size: several processes, kills, frozen encoders, averages, what is logged."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from apsam_train.checkpoint import load_checkpoint
from apsam_train.config import TrainConfig, read_config
from apsam_train.data.formats import open_dataset
from apsam_train.devices import resolve
from apsam_train.ema import Ema
from apsam_train.errors import CheckpointError, ConfigError
from apsam_train.feature_cache import FeatureCache
from apsam_train.fit import fit
from apsam_train.losses import LossWeights
from apsam_train.models import APSAM, Preset

SMALL = ("batch_size=4", "prompts_per_image=2", "num_workers=0", "log_every=1", "epochs=2")


@pytest.fixture
def config(small_preset: Preset) -> TrainConfig:
    return replace(
        read_config("tiny", SMALL), epochs=3, save_every=100, warmup_steps=2, apg_start=0.0
    )


def log(out: Path, kind: str = "train") -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line for line in lines if line["kind"] == kind]


def command(data: Path, out: Path, *settings: str) -> list[str]:
    arguments = ["-m", "apsam_train.cli", "fit", "--config", "tiny", "--data", str(data)]
    for setting in (*SMALL, *settings):
        arguments += ["--set", setting]
    return [*arguments, "--out", str(out)]


ONE_THREAD = os.environ | {"OMP_NUM_THREADS": "1"}


def test_two_processes_follow_the_loss_curve_of_one(blocks_dataset: Path, tmp_path: Path) -> None:
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node"]
    alone = [sys.executable, *command(blocks_dataset, tmp_path / "one")]
    together = [*torchrun, "2", *command(blocks_dataset, tmp_path / "two")]
    for each in (alone, together):
        done = subprocess.run(each, capture_output=True, text=True, timeout=300, env=ONE_THREAD)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count("wrote") == 1
    one, two = ([line["loss"] for line in log(tmp_path / name)] for name in ("one", "two"))
    assert len(one) == len(two) == 4
    assert two == pytest.approx(one, rel=1e-3)
    ours, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("one", "two"))
    worst = max(float((ours[name] - theirs[name]).abs().max()) for name in ours)
    assert worst < 4 * 7e-4  # four steps of Adam at this rate; equal signs move alike


def test_accumulated_passes_follow_the_loss_curve_of_one(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path
) -> None:
    source = open_dataset(blocks_dataset)
    for name, accumulate in (("one", 1), ("four", 4)):
        fit(replace(config, accumulate=accumulate), source=source, out=tmp_path / name)
    one, four = ([line["loss"] for line in log(tmp_path / n)] for n in ("one", "four"))
    assert four == pytest.approx(one, rel=1e-4)


def test_a_process_killed_outright_resumes_to_the_same_weights(
    blocks_dataset: Path, tmp_path: Path
) -> None:
    settings = ("epochs=4", "save_every=3", "ema_decay=0.9", "category_weight=0.1")
    whole = [sys.executable, *command(blocks_dataset, tmp_path / "whole", *settings)]
    assert subprocess.run(whole, capture_output=True, env=ONE_THREAD).returncode == 0
    killed = [sys.executable, *command(blocks_dataset, tmp_path / "killed", *settings)]
    process = subprocess.Popen(killed, stderr=subprocess.DEVNULL, env=ONE_THREAD)
    saved = tmp_path / "killed" / "last.safetensors"
    while not saved.exists():
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    resumed = subprocess.run([*killed, "--resume"], capture_output=True, text=True, env=ONE_THREAD)
    assert resumed.returncode == 0, resumed.stderr
    ours, theirs = (load_file(tmp_path / n / "model.safetensors") for n in ("whole", "killed"))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_frozen_encoders_run_once_per_image_and_train_alike(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = open_dataset(blocks_dataset)
    frozen = replace(config, trainable="energy", augment="none")
    encode, num_encoded = APSAM.encode_image, 0

    def counted(self: APSAM, image: torch.Tensor, *, checkpointing: bool = False) -> torch.Tensor:
        nonlocal num_encoded
        num_encoded += len(image)
        return encode(self, image, checkpointing=checkpointing)

    monkeypatch.setattr(APSAM, "encode_image", counted)
    cached = load_file(fit(frozen, source=source, out=tmp_path / "cached"))
    assert num_encoded == len(source)
    assert len(list((tmp_path / "cached" / "features").glob("*/*.npy"))) == len(source)
    monkeypatch.setattr(FeatureCache, "embed", lambda _self, model, item: encode(model, item.image))
    plain = load_file(fit(frozen, source=source, out=tmp_path / "plain"))
    assert all(torch.allclose(cached[n], plain[n], atol=1e-4) for n in cached)


def test_an_average_of_the_weights_is_handed_over(small_model: APSAM) -> None:
    ema = Ema(small_model, decay=0.5)
    name = "image_encoder.pos_embed"
    weight = dict(small_model.named_parameters())[name]
    before = weight.detach().clone()
    with torch.no_grad():
        weight.add_(1.0)
    ema.update(1000)
    assert torch.allclose(ema.average[name], before + 0.5)
    with ema.applied():
        assert torch.allclose(weight, before + 0.5)
    assert torch.equal(weight, before + 1)


def test_checkpointing_changes_memory_and_not_the_weights(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path
) -> None:
    source = open_dataset(blocks_dataset)
    once = replace(config, epochs=1)
    kept = load_file(fit(once, source=source, out=tmp_path / "kept"))
    again = load_file(fit(replace(once, checkpointing=True), source=source, out=tmp_path / "again"))
    assert all(torch.allclose(kept[name], again[name], atol=1e-5) for name in kept)


def test_without_the_energy_encoder_the_query_stays_zero(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path
) -> None:
    model_file = fit(
        replace(config, energy=False), source=open_dataset(blocks_dataset), out=tmp_path
    )
    model, _ = load_checkpoint(model_file)
    image = torch.randint(0, 255, (1, 64, 64, 3), dtype=torch.uint8)
    assert not model.encode_energy(image)[0].any()


def test_a_category_head_can_be_trained_afterwards_on_a_frozen_model(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path
) -> None:
    source = open_dataset(blocks_dataset)
    first = fit(config, source=source, out=tmp_path / "masks")
    head = replace(
        config,
        trainable="category",
        category_weight=1.0,
        negatives_per_image=2,
        augment="none",
        epochs=60,
        learning_rate=3e-3,
    )
    second = fit(head, source=source, out=tmp_path / "head", start=first)
    losses = [line["category"] for line in log(tmp_path / "head")]
    assert np.mean(losses[-8:]) < 0.7 * np.mean(losses[:8])
    before, after = load_file(first), load_file(second)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {n.split(".")[1] for n in set(after) - set(before)} == {"category_head"}


def test_a_share_of_the_steps_prompts_with_boxes(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path
) -> None:
    boxes = replace(config, box_share=0.5, epochs=8, apg_start=1.0)
    fit(boxes, source=open_dataset(blocks_dataset), out=tmp_path)
    asked = [line["asked"] for line in log(tmp_path)]
    assert set(asked) == {"box", "click"}
    assert 4 <= asked.count("box") <= 12


def test_scores_and_pictures_of_held_out_images_are_logged(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path
) -> None:
    looking = replace(config, validate_every=2, pictures_every=4, validation_images=4)
    source = open_dataset(blocks_dataset)
    fit(looking, source=source, validation=source, out=tmp_path)
    scores = log(tmp_path, "validation")
    assert [line["step"] for line in scores] == [2, 4, 6]
    assert all(0 <= line["miou_apg"] <= 1 for line in scores)
    assert [file.name for file in (tmp_path / "pictures").iterdir()] == ["validation_0000004.jpg"]
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert len(board.Scalars("train/loss")) == 6
    assert len(board.Images("validation")) == 1


def test_a_loop_that_waits_for_data_says_for_what(
    config: TrainConfig,
    blocks_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from apsam_train.data import training

    letterbox = training.letterbox

    def slow(image: Any, *, side: int) -> Any:
        time.sleep(0.06)
        return letterbox(image, side=side)

    monkeypatch.setattr(training, "letterbox", slow)
    fit(config, source=open_dataset(blocks_dataset), out=tmp_path)
    message = capsys.readouterr().err
    assert "of the time is spent waiting for data, most of it on varying views" in message
    assert "raise num_workers (num_workers is 0" in message
    assert message.count("waiting for data") == 1


@pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU has half precision")
@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_is_refused_on_a_cpu(config: TrainConfig, precision: Any) -> None:
    with pytest.raises(ConfigError, match=f"precision '{precision}' needs a GPU; use fp32"):
        resolve(replace(config, precision=precision))
    assert resolve(config).precision == "fp32"


def test_a_start_of_another_preset_is_refused(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path
) -> None:
    source = open_dataset(blocks_dataset)
    first = fit(replace(config, epochs=1), source=source, out=tmp_path / "first")
    with pytest.raises(CheckpointError, match=r"is of preset 'tiny', but .* 'vit_b'"):
        fit(replace(config, preset="vit_b"), source=source, out=tmp_path / "b", start=first)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"learning_rate": 1e-3, "seed": 5}, "trained with another learning_rate, seed; resume"),
        ({"loss": LossWeights(focal=3.0)}, "trained with another loss; resume"),
    ],
)
def test_a_run_is_not_resumed_with_another_recipe(
    config: TrainConfig,
    blocks_dataset: Path,
    tmp_path: Path,
    change: dict[str, Any],
    message: str,
) -> None:
    source = open_dataset(blocks_dataset)
    fit(replace(config, epochs=1), source=source, out=tmp_path)
    with pytest.raises(CheckpointError, match=message):
        fit(replace(config, **change), source=source, out=tmp_path, resume=True)
    with pytest.raises(CheckpointError, match=r"trained on .* 8 images, not on .* 4 images"):
        fit(config, source=source.evenly(4), out=tmp_path, resume=True)
    fit(replace(config, epochs=2, log_every=1), source=source, out=tmp_path, resume=True)
    assert [line["step"] for line in log(tmp_path)] == [1, 2, 3, 4]


def test_an_average_is_put_in_place_only_when_somebody_looks(
    config: TrainConfig, blocks_dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied, num_applied = Ema.applied, 0

    def counted(self: Ema) -> Any:
        nonlocal num_applied
        num_applied += 1
        return applied(self)

    monkeypatch.setattr(Ema, "applied", counted)
    source = open_dataset(blocks_dataset)
    averaged = replace(config, ema_decay=0.9, validate_every=3, pictures_every=100)
    fit(averaged, source=source, validation=source, out=tmp_path)
    assert len(log(tmp_path)) == 6
    assert num_applied == 2 + 1  # two looks, and the file that is handed over
