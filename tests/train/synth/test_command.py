import argparse
import contextlib
import io
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from apsam_serve.contract.folders import new_folder
from apsam_serve.errors import OutputExistsError
from apsam_train.errors import ConfigError
from apsam_train.synth import SynthConfig, generate
from apsam_train.synth.command import configure, run


def synth(*options: str) -> int:
    parser = argparse.ArgumentParser(prog="synth")
    configure(parser)
    return run(parser.parse_args(options))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("synth") / "set"
    options = ("--num-images", "4", "--seed", "9", "--side", "256", "--workers", "1", "--energy")
    assert synth("--out", str(out), *options) == 0
    return out


# pycocotools' decoder predates NumPy 2's copy keyword; nothing of ours can change that.
@pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")
def test_pycocotools_reads_masks_equal_to_the_instances(dataset: Path) -> None:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(dataset / "annotations.json"))
    assert len(coco.getImgIds()) == 4
    assert len(coco.getCatIds()) == 30
    for index, image_id in enumerate(sorted(coco.getImgIds())):
        made = generate(seed=9, index=index, config=SynthConfig(side=256))
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=[image_id]))
        assert len(annotations) == len(made.instances)
        for annotation, instance in zip(annotations, made.instances, strict=True):
            assert isinstance(annotation["segmentation"]["counts"], str)
            mask = coco_mask.decode(annotation["segmentation"]).astype(bool)
            assert np.array_equal(mask, instance.mask)
            assert annotation["area"] == np.count_nonzero(instance.mask)
            assert annotation["iscrowd"] == 0
            assert annotation["overlap"] == instance.overlap
            assert annotation["materials"] == list(instance.materials)
            name = coco.loadCats(annotation["category_id"])[0]["name"]
            assert name == instance.category


def test_pictures_and_16_bit_pairs_hold_what_was_generated(dataset: Path) -> None:
    document = json.loads((dataset / "annotations.json").read_text())
    for index, record in enumerate(document["images"]):
        assert record["file_name"] == f"images/{index:06d}.png"
        assert (record["seed"], record["index"]) == (9, index)
        made = generate(seed=9, index=index, config=SynthConfig(side=256))
        assert record["palette"] == made.palette
        picture = cv2.imread(str(dataset / record["file_name"]))
        assert np.array_equal(picture[..., ::-1], made.rgb)
        for channel, expected in (("high", made.high), ("low", made.low)):
            file = dataset / "energy" / f"{index:06d}_{channel}.png"
            assert np.array_equal(cv2.imread(str(file), cv2.IMREAD_UNCHANGED), expected)
    assert document["info"]["generator_version"]
    assert document["info"]["config"]["side"] == 256


def test_bytes_do_not_depend_on_workers_or_on_how_many_images(tmp_path: Path) -> None:
    common = ("--seed", "9", "--side", "128")
    synth("--out", str(tmp_path / "a"), "--num-images", "9", "--workers", "2", *common)
    synth("--out", str(tmp_path / "b"), "--num-images", "9", "--workers", "1", *common)
    options = ("--num-images", "1", "--start-index", "8", *common)
    synth("--out", str(tmp_path / "c"), *options)
    for name in sorted(path.name for path in (tmp_path / "a" / "images").iterdir()):
        one, two = (tmp_path / folder / "images" / name for folder in "ab")
        assert one.read_bytes() == two.read_bytes()
    texts = [(tmp_path / folder / "annotations.json").read_bytes() for folder in "ab"]
    assert texts[0] == texts[1]
    last = (tmp_path / "a" / "images" / "000008.png").read_bytes()
    assert last == (tmp_path / "c" / "images" / "000000.png").read_bytes()


def test_a_folder_with_files_is_refused_and_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(OutputExistsError, match="exists already; choose another folder"):
        synth("--out", str(tmp_path), "--num-images", "1", "--seed", "0")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    def interrupted() -> None:
        with new_folder(tmp_path / "set") as folder:
            (folder / "half.png").write_text("x")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--num-images", "0", "--seed", "1"), r"--num-images is 0: expected .* at least 1"),
        (("--num-images", "1", "--seed", "-1"), r"--seed is -1: expected .* at least 0"),
        (("--num-images", "1", "--seed", "1", "--workers", "0"), r"--workers is 0"),
        (("--num-images", "1", "--seed", "1", "--palettes", "neon"), r"palettes are \('neon',\)"),
        (("--num-images", "1", "--seed", "1", "--side", "9"), r"side is 9: expected 128"),
        (
            ("--num-images", "1", "--seed", "1", "--threats", "many"),
            r"--threats is 'many'",
        ),
        (("--num-images", "1", "--seed", "1", "--threats", "5-2"), r"num_instances is \(5, 2\)"),
        (
            ("--num-images", "1", "--seed", "1", "--clutter", "9"),
            r"clutter is 9.0: expected",
        ),
    ],
)
def test_bad_values_are_refused_before_anything_is_written(
    tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        synth("--out", str(tmp_path / "set"), *options)
    assert list(tmp_path.iterdir()) == []


def test_it_ends_with_a_table_and_shows_no_progress_away_from_a_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synth("--out", str(tmp_path / "s"), "--num-images", "2", "--seed", "0", "--side", "128")
    captured = capsys.readouterr()
    document = json.loads((tmp_path / "s" / "annotations.json").read_text())
    assert re.search(rf"^all +\d+ +{len(document['annotations'])}$", captured.out, re.MULTILINE)
    assert captured.err == ""
