"""Accuracy of answered categories, by hand-made answers whose figures are known."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.prompts import Prompt
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_train.categories import CATEGORIES, CLASSES, SUPERCLASSES, UNKNOWN, label_of
from apsam_train.cli import main
from apsam_train.data.formats import open_dataset
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import ConfigError
from apsam_train.evaluate.score import Asking
from apsam_train.labels.accuracy import confusions, figures, over_seeds, per_class
from apsam_train.labels.answers import Named, collect
from apsam_train.labels.confusion_picture import draw_confusion, superclass_blocks

CLICK = Asking(protocol="random1", seed=0)


def named(category: str, answer: str, probability: float = 0.5) -> Named:
    return Named(
        category=category,
        truth=label_of(category),
        answer=CLASSES.index(answer),
        probability=probability,
    )


ANSWERS = [
    named("Gun", "Gun", 0.9),
    named("Gun", "Gun", 0.7),
    named("Gun", "Bullet"),
    named("Gun", "Hammer"),
    named("Bullet", "none"),
    named("Firearms", "Bullet"),
    named("Tools", "Gun"),
    named("Umbrella", "Gun"),
]


def test_categories_and_superclasses_count_what_their_labels_say() -> None:
    found = figures(ANSWERS)
    counts = ("num_objects", "num_fine", "num_superclass_only", "num_outside")
    assert [found[name] for name in counts] == [7, 5, 2, 1]
    assert found["outside"] == {"Umbrella": 1}
    assert found["top1"] == pytest.approx(2 / 5)
    assert found["macro"] == pytest.approx((2 / 4 + 0) / 2)
    assert found["superclass"] == pytest.approx(4 / 7)
    assert found["none"] == pytest.approx(1 / 7)
    assert found["probability_right"] == pytest.approx(0.8)
    assert found["probability_wrong"] == pytest.approx(0.5)


def test_confusions_hold_every_object_once() -> None:
    fine, coarse = confusions(ANSWERS)
    gun, bullet = CLASSES.index("Gun"), CLASSES.index("Bullet")
    assert (fine[gun - 1, gun], fine[gun - 1, bullet], fine[bullet - 1, 0]) == (2, 1, 1)
    assert fine.sum() == 5
    firearms, tools = (SUPERCLASSES.index(name) for name in ("Firearms", "Tools"))
    assert coarse[firearms].tolist() == [1] + [
        4 * (i == firearms) + (i == tools) for i in range(10)
    ]
    assert coarse[tools, 1 + firearms] == 1
    (row,) = (one for one in per_class(fine) if one["name"] == "Gun")
    assert (row["num_asked"], row["accuracy"], row["precision"]) == (4, 0.5, 1.0)
    assert (row["taken_for"], row["taken_for_share"]) == ("Hammer", 0.25)


def test_what_could_not_count_is_no_number() -> None:
    found = figures([named("Firearms", "Gun"), named("Umbrella", "none")])
    assert (found["top1"], found["macro"], found["superclass"]) == (None, None, 1.0)
    assert found["none"] == 0


def test_seeds_have_a_mean_and_a_spread() -> None:
    merged = over_seeds([figures(ANSWERS[:4]), figures([ANSWERS[0]] * 4)])
    assert (merged["top1"], merged["top1_spread"]) == pytest.approx((0.75, 0.5))
    assert merged["num_objects"] == 4


class Says:
    """A segmenter that answers one category, whatever it is asked."""

    def __init__(self, category: str | None, probability: float | None) -> None:
        self._answer = category, probability

    def encode(self, image: NDArray[np.uint8]) -> SaysImage:
        return SaysImage(image.shape[0], image.shape[1], *self._answer)

    def close(self) -> None:
        pass


class SaysImage:
    def __init__(
        self, height: int, width: int, category: str | None, probability: float | None
    ) -> None:
        self.height, self.width = height, width
        self._category, self._probability = category, probability

    def segment(
        self, prompts: Sequence[Prompt], *, strategy: StrategyName = "apg"
    ) -> list[Segmentation]:
        return [
            Segmentation(
                mask=np.ones((self.height, self.width), bool),
                score=1.0,
                points=prompt.points,
                branch="direct",
                category=self._category,
                category_probability=self._probability,
            )
            for prompt in prompts
        ]

    def release(self) -> None:
        pass


def test_answers_are_collected_beside_the_truth(blocks_dataset: Path) -> None:
    source = open_dataset(blocks_dataset)
    answers = collect(Says("Gun", 0.4), source, [CLICK], target="x", log=ProblemLog())
    found = answers.by_asking[CLICK]
    assert len(found) == 16
    assert figures(found)["top1"] == 0.5
    assert figures(found)["superclass"] == 1.0
    nothing = collect(Says(None, 0.4), source, [CLICK], target="x", log=ProblemLog())
    assert figures(nothing.by_asking[CLICK])["none"] == 1.0


def test_names_of_another_table_are_refused(blocks_dataset: Path) -> None:
    with pytest.raises(ConfigError, match="x answers the category 'Cat', which is none of the 30"):
        collect(
            Says("Cat", 0.4), open_dataset(blocks_dataset), [CLICK], target="x", log=ProblemLog()
        )


def test_the_command_writes_figures_and_pictures(
    named_checkpoint: Path, blocks_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(blocks_dataset, data)
    (data / "images" / "000002.png").write_bytes(b"no picture")
    command = ["labels", "score", str(named_checkpoint), "--data", str(data), "--seeds", "0,1"]
    command += ["--protocol", "apg", "--out", str(out)]
    assert main(command) == 0
    report = json.loads((out / "labels.json").read_text())
    assert report["num_objects"] == 14
    assert len(report["by_seed"]) == 2
    assert np.sum(report["confusion"]["counts"]) == 28
    assert report["problems"]["counts"] == {"unreadable image": 1}
    printed = capsys.readouterr()
    assert f"{report['top1'] * 100:.2f}" in printed.out
    assert re.search(r"^Gun +7 ", printed.out, re.MULTILINE)
    assert "1 x unreadable image" in printed.err
    for name in ("confusion.png", "superclasses.png"):
        assert cv2.imread(str(out / name)) is not None
    assert main([*command, "--strict"]) == 2


@pytest.mark.parametrize("target", ["plain.safetensors", "floodfill"])
def test_a_model_without_a_head_is_refused_with_the_way_to_train_one(
    target: str,
    plain_checkpoint: Path,
    blocks_dataset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    name = str(plain_checkpoint) if target == plain_checkpoint.name else target
    command = ["labels", "score", name, "--data", str(blocks_dataset), "--out", str(tmp_path / "o")]
    assert main(command) == 2
    said = capsys.readouterr().err
    start = name if target == plain_checkpoint.name else "CHECKPOINT"
    assert f"{name} has no category head" in said
    assert f"apsam-train fit --start {start} --set trainable='\"category\"'" in said
    assert "--set category_weight=1.0" in said


def test_a_data_set_without_names_of_table_7_is_refused(
    named_checkpoint: Path, blocks_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(blocks_dataset, data)
    text = (data / "annotations.json").read_text()
    text = text.replace('"Gun"', '"Umbrella"').replace('"Bullet"', '"Hat"')
    (data / "annotations.json").write_text(text)
    command = ["labels", "score", str(named_checkpoint), "--data", str(data)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "no object has a category of Table 7 (found: Umbrella, Hat)" in said
    assert "--category-map" in said
    assert label_of("Umbrella") == UNKNOWN


def test_superclass_blocks_cover_the_categories_in_order(tmp_path: Path) -> None:
    blocks = superclass_blocks()
    assert [block.name for block in blocks] == list(SUPERCLASSES)
    assert [b.first for b in blocks] == np.cumsum([0, *(b.num_rows for b in blocks)])[:-1].tolist()
    counts = np.eye(30, 31, 1, dtype=np.int64) * 9
    file = tmp_path / "c.png"
    draw_confusion(file, counts, rows=CATEGORIES, title="all right", blocks=blocks)
    picture = cv2.imread(str(file))
    assert picture is not None
    assert min(picture.shape[:2]) > 30 * 35
