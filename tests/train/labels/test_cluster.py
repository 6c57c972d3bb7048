"""From a checkpoint and a data set to questions about labels."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from apsam_serve.contract.categories import best_category
from apsam_serve.contract.prompts import Prompt
from apsam_train.categories import CATEGORIES
from apsam_train.cli import main
from apsam_train.data.formats import open_dataset
from apsam_train.data.problems import ProblemLog
from apsam_train.labels.cluster_report import Questions, as_markdown, kinds_line, write_suspects
from apsam_train.labels.cluster_sheets import draw_kinds, draw_suspects, kinds_file
from apsam_train.labels.head import HeadReader
from apsam_train.labels.kinds import TwoKinds
from apsam_train.labels.neighbours import neighbourhood, normalised
from apsam_train.labels.objects import WAYS, ObjectRef, read_objects
from apsam_train.labels.suspects import MixedPair, Suspect


@pytest.fixture
def reader(named_checkpoint: Path) -> HeadReader:
    return HeadReader(named_checkpoint)


def objects_of(reader: HeadReader, data: Path) -> tuple[list[ObjectRef], dict[str, np.ndarray]]:
    return read_objects(reader, open_dataset(data), list(WAYS), seed=0, log=ProblemLog())


def test_the_head_is_read_in_the_order_of_the_prompts(
    reader: HeadReader, blocks_dataset: Path, named_checkpoint: Path
) -> None:
    sample = open_dataset(blocks_dataset)[0]
    encoded = reader.encode(sample.image)
    prompts = [Prompt.click(x % 64, x % 48) for x in range(70)]
    output = reader.read(encoded, prompts)
    assert output.hidden.shape == (70, 32)
    assert output.logits.shape == (70, 31)
    one = reader.read(encoded, prompts[66:67])
    assert np.allclose(one.hidden, output.hidden[66:67], atol=1e-5)
    (answer,) = encoded.segment(prompts[66:67], strategy="direct")
    name, probability = best_category(output.logits[66], CATEGORIES)
    assert answer.category == name
    assert answer.category_probability == pytest.approx(probability, rel=1e-4)
    layers = reader._head.layers
    with torch.no_grad():
        again = layers[2](torch.from_numpy(output.hidden)).numpy()
    assert np.allclose(again, output.logits, atol=1e-5)


def test_every_outlined_object_has_features_under_every_prompt(
    reader: HeadReader, blocks_dataset: Path
) -> None:
    objects, features = objects_of(reader, blocks_dataset)
    assert [(one.sample, one.number) for one in objects[:3]] == [(0, 0), (0, 1), (1, 0)]
    assert {one.category for one in objects} == {"Gun", "Bullet"}
    assert objects[0].box.right - objects[0].box.left == 20
    assert set(features) == {"clicks", "box", "both"}
    assert all(part.shape == (16, 32) for part in features.values())
    _, again = objects_of(reader, blocks_dataset)
    assert all(np.array_equal(features[way], again[way]) for way in features)


@pytest.fixture
def command(named_checkpoint: Path, blocks_dataset: Path, tmp_path: Path) -> list[str]:
    data = tmp_path / "data"
    shutil.copytree(blocks_dataset, data)
    text = (data / "annotations.json").read_text().replace('"Bullet"', '"Umbrella"')
    (data / "annotations.json").write_text(text)
    words = ["labels", "cluster", str(named_checkpoint), "--data", str(data), "--neighbours", "3"]
    return [*words, "--suspect", "0.01"]


def test_the_command_asks_and_changes_nothing(
    command: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data" / "images" / "000002.png").write_bytes(b"no picture")
    annotations = (tmp_path / "data" / "annotations.json").read_bytes()
    for out in ("one", "two"):
        assert main([*command, "--out", str(tmp_path / out)]) == 0
    printed = capsys.readouterr()
    assert "suspect labels among 14 objects" in printed.out
    assert "1 x unreadable image" in printed.err
    assert (tmp_path / "data" / "annotations.json").read_bytes() == annotations
    for name in ("suspects.csv", "projection.png"):
        one, two = ((tmp_path / out / name).read_bytes() for out in ("one", "two"))
        assert one == two
    page = (tmp_path / "one" / "clusters.md").read_text()
    assert "14 outlined objects, 7 of them outside Table 7" in page
    assert "| Umbrella (outside Table 7) | 7 |" in page
    assert "problems in the data: 1 x unreadable image" in page


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--neighbours", "0", "--neighbours 0 must be at least 1"),
        ("--fewest", "3", "--fewest 3 must be at least 10"),
        ("--mixing", "0.6", "--mixing 0.6 must lie above 0 and be at most 0.5"),
        ("--neighbours", "15", "fewer than the 15 neighbours asked for; give more images or lower"),
    ],
)
def test_a_bad_option_is_one_line_and_exit_code_2(
    option: str,
    value: str,
    message: str,
    command: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*command, option, value, "--out", str(tmp_path / "out")]) == 2
    assert message in capsys.readouterr().err


def test_a_checkpoint_without_a_head_is_refused(
    plain_checkpoint: Path, blocks_dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["labels", "cluster", str(plain_checkpoint), "--data", str(blocks_dataset)]
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert f"{plain_checkpoint} has no category head" in capsys.readouterr().err


def test_questions_are_asked_in_words_tables_and_pictures(
    reader: HeadReader, blocks_dataset: Path, tmp_path: Path
) -> None:
    objects, features = objects_of(reader, blocks_dataset)
    source = open_dataset(blocks_dataset)
    kinds = TwoKinds(
        category="Gun",
        parts=(np.arange(0, 12, 2), np.arange(1, 10, 2)),
        silhouette=0.81,
        chance=0.64,
    )
    suspect = Suspect(
        position=3,
        category="Bullet",
        suggested="Gun",
        score=0.9,
        own_support=0.05,
        suggested_support=0.95,
    )
    near = neighbourhood(
        normalised(features["clicks"]),
        categories=[one.category for one in objects],
        bags=[one.bag for one in objects],
        k=3,
    )
    questions = Questions(
        near=near,
        suspects=[suspect],
        kinds=[kinds],
        pairs=[MixedPair(names=("Gun", "Bullet"), num_objects=(8, 8), rate=0.4)],
        fewest=10,
        num_drawn=1,
    )
    assert kinds_line(kinds) == "Gun looks like two kinds (6 and 5 objects)"
    page = as_markdown(questions, objects, facts={"data": "blocks"})
    assert "Gun looks like two kinds (6 and 5 objects): silhouette 0.81" in page
    assert f"({kinds_file('Gun')})" in page
    assert "| Gun | 8 | Bullet | 8 | 0.40 |" in page
    assert "| Bullet | Gun | 1 |" in page
    write_suspects(tmp_path / "suspects.csv", objects, [suspect])
    with (tmp_path / "suspects.csv").open() as stream:
        (line,) = csv.DictReader(stream)
    assert (line["image"], line["object"], line["suggested"]) == ("images/000001.png", "1", "Gun")
    assert float(line["left"]) == objects[3].box.left
    draw_suspects(tmp_path / "suspects.jpg", source, objects, [suspect])
    draw_kinds(tmp_path / kinds_file("Gun"), source, objects, kinds)
    sheets = [cv2.imread(str(tmp_path / name)) for name in ("suspects.jpg", kinds_file("Gun"))]
    assert all(sheet is not None and sheet.shape[1] >= 1590 for sheet in sheets)
    assert kinds_file("a/b c") == "kinds_a_b_c.jpg"
