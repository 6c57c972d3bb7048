"""The simulated annotator, and the rounds with a stand-in for training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from apsam_serve.contract.masks import mask_iou
from apsam_train.annotate.corrector import Annotator, correct, unsteady
from apsam_train.annotate.propose import propose
from apsam_train.annotate.simulate import RoundResult, SimulateOptions, simulate, write_results
from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.cli import main
from apsam_train.data.dataset import ImageDataset
from apsam_train.data.formats import open_dataset
from apsam_train.data.sample import Instance, SampleSource
from apsam_train.errors import ConfigError
from apsam_train.models import APSAM
from tests.train.annotate.fakes import BoxFiller, write_boxes


@pytest.fixture
def pool(tmp_path: Path) -> ImageDataset:
    return open_dataset(write_boxes(tmp_path / "pool", num_images=6, masks=True))


@pytest.fixture
def bad_round(tmp_path: Path, pool: ImageDataset) -> tuple[Path, dict[str, tuple[Instance, ...]]]:
    """Three images whose six proposals are spots of 25 pixels, and the truth."""
    boxes = open_dataset(write_boxes(tmp_path / "boxes"))
    propose(BoxFiller(boxes=False), boxes, out=tmp_path / "bad", model="fake")
    return tmp_path / "bad", {pool[i].name: pool[i].instances for i in range(len(pool))}


@pytest.mark.parametrize(
    ("annotator", "num_drawn", "miou"),
    [
        (Annotator(miss_rate=0.0, jitter=0), 6, 1.0),
        (Annotator(miss_rate=1.0, jitter=0), 0, 0.070),
        (Annotator(miss_rate=0.0, jitter=0, least_iou=0.05), 0, 0.070),
        (Annotator(miss_rate=0.0, jitter=0, budget=3), 3, 0.539),
    ],
)
def test_an_annotator_draws_what_is_bad_worst_first_within_the_budget(
    annotator: Annotator,
    num_drawn: int,
    miou: float,
    bad_round: tuple[Path, dict[str, tuple[Instance, ...]]],
    tmp_path: Path,
) -> None:
    folder, truth = bad_round
    outcome = correct(folder, truth, annotator=annotator, seed=0, out=tmp_path / "corrected.json")
    assert outcome.num_drawn == num_drawn
    assert outcome.proposed_miou == pytest.approx((25 / 320 + 25 / 400) / 2)
    assert outcome.corrected_miou == pytest.approx(miou, abs=0.001)


def test_an_unsteady_hand_stays_near_the_truth() -> None:
    mask = np.zeros((60, 60), bool)
    mask[10:50, 10:50] = True
    drawn = [unsteady(mask, 1, np.random.default_rng(seed)) for seed in range(20)]
    ious = [mask_iou(one, mask) for one in drawn]
    assert min(ious) > 0.8
    assert len({one.tobytes() for one in drawn}) > 5
    thin = np.eye(9, dtype=bool)
    assert all(unsteady(thin, 1, np.random.default_rng(seed)).any() for seed in range(20))


def test_rounds_grow_the_training_set_and_never_show_the_truth(
    pool: ImageDataset, tmp_path: Path
) -> None:
    sizes, starts = [], []

    def train(source: SampleSource, out: Path, start: Path | None) -> Path:
        sizes.append(len(source))
        starts.append(start and start.parent.name)
        out.mkdir(parents=True)
        (out / "model.safetensors").touch()
        return out / "model.safetensors"

    def open_model(checkpoint: str) -> BoxFiller:
        # Learns boxes in the first round: its proposals of the second are perfect.
        return BoxFiller(boxes="model0" not in checkpoint)

    options = SimulateOptions(
        num_rounds=2,
        images_per_round=2,
        annotator=Annotator(miss_rate=0.0, jitter=0),
        continued=True,
    )
    results = simulate(
        train,
        pool=pool,
        held_out=pool,
        out=tmp_path / "out",
        options=options,
        open_model=open_model,
    )
    assert sizes == [2, 4, 6, 2, 2]
    assert starts == [None, "model0", "model1", "model0", "control1"]
    assert [one.held_out_miou for one in results] == pytest.approx([0.0703, 1.0, 1.0], abs=1e-3)
    assert [one.share_touched for one in results] == [None, 1.0, 0.0]
    assert [one.corrected_miou for one in results] == [None, 1.0, 1.0]
    assert results[2].proposed_miou == 1.0
    write_results(results, out=tmp_path / "r.md", command="x", machine="y", options=options)
    assert "| 1 | 4 | 100.0% | 100.0% | 7.0% | 100.0% | 100.0% |" in (tmp_path / "r.md").read_text()


def test_a_pool_that_is_too_small_is_refused(pool: ImageDataset, tmp_path: Path) -> None:
    options = SimulateOptions(num_rounds=3, images_per_round=2)

    def train(_source: SampleSource, _out: Path, _start: Path | None) -> Path:
        raise AssertionError("must not begin")

    with pytest.raises(ConfigError, match="has 6 images; a start set and 3 rounds of 2 need 8"):
        simulate(train, pool=pool, held_out=pool, out=tmp_path / "out", options=options)


def test_the_figures_of_a_round_without_proposals_are_dashes(tmp_path: Path) -> None:
    results = [RoundResult(number=0, num_images=5, held_out_miou=0.25)]
    out, options = tmp_path / "r.md", SimulateOptions()
    write_results(results, out=out, command="x", machine="y", options=options)
    assert "| 0 | 5 | 25.0% | - | - | - | - |" in out.read_text()


def test_a_round_by_the_commands_a_person_types(
    small_model: APSAM, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, folder = tmp_path / "model.safetensors", tmp_path / "round"
    save_checkpoint(checkpoint, small_model, Card.of(small_model, {}))
    boxes = write_boxes(tmp_path / "boxes")
    propose_words = ["propose", str(checkpoint), "--data", str(boxes), "--out", str(folder)]
    assert main(["annotate", *propose_words, "--worst", "3"]) == 0
    assert (folder / "worst.png").exists()
    truth = write_boxes(tmp_path / "truth", masks=True) / "annotations.json"
    accept_words = ["accept", str(folder), "--corrected", str(truth), "--reviewer", "Ada"]
    assert main(["annotate", *accept_words]) == 0
    assert main(["annotate", "collect", str(folder), "--out", str(tmp_path / "next")]) == 0
    assert main(["annotate", "report", str(folder), "--out", str(tmp_path / "rounds.md")]) == 0
    assert "3 images with 6 objects" in capsys.readouterr().out
    assert main(["annotate", *accept_words[:4], "--reviewer", ""]) == 2
    assert "--reviewer '' must be a name" in capsys.readouterr().err
