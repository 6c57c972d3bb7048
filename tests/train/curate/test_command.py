from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from apsam_train.categories import UNKNOWN
from apsam_train.curate.index import records
from apsam_train.data.formats import open_dataset
from apsam_train.errors import ConfigError, DatasetError

from .conftest import Shot, document, draw, run_curate, write_source


@pytest.fixture(scope="module")
def sources(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A public data set with splits, and an operational one with copies of its pictures."""
    folder = tmp_path_factory.mktemp("sources")
    public = {
        split: [
            Shot(name=f"{split}/{n}.png", picture=draw(100 * place + n), objects=("Gun", "Knife"))
            for n in range(6)
        ]
        for place, split in enumerate(("train", "test"), start=1)
    }
    public["train"][3] = Shot(name="train/3.png", file=b"no image")
    public["train"].append(Shot(name="train/thin.png", picture=draw(7, width=200, height=30)))
    public["train"].append(Shot(name="train/small.png", picture=draw(8, width=20, height=30)))
    bags = [Shot(name=f"{n}.png", picture=draw(n), objects=("Batteries",)) for n in range(300, 330)]
    bags.append(Shot(name="copy.jpg", picture=draw(201), objects=("box:Umbrella",)))
    write_source(folder / "public", public)
    write_source(folder / "rail", {"": bags})
    return f"public={folder / 'public'}", f"rail={folder / 'rail'}"


@pytest.fixture(scope="module")
def result(sources: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the command makes of them; only to be read."""
    folder = tmp_path_factory.mktemp("result") / "out"
    assert run_curate(*sources, "--out", folder) == 0
    return folder


@pytest.fixture
def out(result: Path, tmp_path: Path) -> Path:
    """The same, to be changed."""
    return shutil.copytree(result, tmp_path / "out")


def times(folder: Path) -> dict[str, int]:
    return {str(file): file.stat().st_mtime_ns for file in folder.rglob("*") if file.is_file()}


def test_the_result_opens_as_one_data_set_with_three_splits(result: Path) -> None:
    merged = open_dataset(result)
    assert merged.format == "coco"
    assert merged.splits == ["test", "train", "val"]
    assert len(merged) == 5 + 6 + 30
    for index in range(len(merged)):
        sample = merged[index]
        assert len(sample.instances) + len(sample.boxes) in (1, 2)
        assert {merged.label_of(i.category) for i in sample.instances} <= {22, 31, UNKNOWN}
    test = document(result / "annotations" / "test.json")
    assert {f"images/public/test/test/{n}.png" for n in range(6)} <= {
        image["file_name"] for image in test["images"]
    }


def test_every_annotation_keeps_where_it_came_from(result: Path) -> None:
    test = document(result / "annotations" / "test.json")
    knives = [a for a in test["annotations"] if a["source_category"] == "Knife"]
    assert len(knives) == 6
    assert {(a["category_id"], a["source"]) for a in knives} == {(99, "public")}
    assert sorted(a["source_image"] for a in knives) == [f"test/test/{n}.png" for n in range(6)]
    image = next(i for i in test["images"] if i["source"] == "public")
    assert (image["source_split"], image["bag"]) == ("test", f"public/{image['source_image']}")


def test_a_copy_of_a_public_test_image_is_dropped_and_told(result: Path) -> None:
    found = document(result / "report.json")["duplicates"]
    assert [(pair["dropped"], pair["kept"]) for pair in found["pairs"]] == [
        ("rail/copy.jpg", "public/test/test/1.png")
    ]
    assert found["near"] == found["other_objects"] == 1
    assert "rail/copy.jpg" in (result / "report.md").read_text()


def test_the_report_adds_up(result: Path) -> None:
    report = document(result / "report.json")
    stages = report["stages"]
    assert stages[0]["in"] == 14 + 31
    assert all(before["out"] == after["in"] for before, after in pairwise(stages))
    for stage in stages:
        assert stage["in"] - stage["out"] == sum(stage["dropped"].values())
        assert stage["in"] == sum(counts["in"] for counts in stage["by_source"].values())
        assert stage["out"] == sum(counts["out"] for counts in stage["by_source"].values())
    assert {stage["stage"]: stage["dropped"] for stage in stages if stage["dropped"]} == {
        "measure": {"unreadable image": 1},
        "resolution": {"low resolution": 1},
        "aspect": {"extreme aspect ratio": 1},
        "duplicates": {"near duplicate, other objects": 1},
    }
    assert report["problems"]["counts"] == {"unreadable image": 1}
    totals = report["splits"]["totals"]
    assert sum(split["images"] for split in totals.values()) == stages[-1]["out"] == 41
    for level in ("categories", "superclasses"):
        objects = sum(count for by in report[level].values() for count in by.values())
        assert objects == sum(split["objects"] for split in totals.values()) == 11 * 2 + 30
    assert sum(report["categories"]["Batteries (unspecified)"].values()) == 30
    assert report["placed"] == {"hard links": 41}


def test_the_picture_of_distributions_is_a_whole_png(result: Path) -> None:
    pixels = cv2.imread(str(result / "histograms.png"))
    assert pixels.shape[1] > 1000
    assert len(np.unique(pixels)) > 10


def test_running_again_does_nothing_but_tell_the_same(
    out: Path, sources: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = times(out)
    assert run_curate(*sources, "--out", out) == 0
    text = capsys.readouterr().out
    assert run_curate(*sources, "--out", out, "--json") == 0
    assert times(out) == before
    stages = json.loads(capsys.readouterr().out)["stages"]
    assert f"{stages[0]['in']} images in, {stages[-1]['out']} out" in text
    for stage in stages:
        numbers = (stage["in"], stage["in"] - stage["out"], stage["out"])
        assert re.search(rf"^{stage['stage']} +" + " +".join(map(str, numbers)), text, re.M)


def test_a_run_that_was_killed_after_a_stage_goes_on_to_the_same_result(
    out: Path,
    sources: tuple[str, str],
) -> None:
    results = [*out.glob("stages/*"), *out.glob("annotations/*"), *out.glob("report.*")]
    before = {file: file.read_bytes() for file in results}
    measured = times(out / "stages")[str(out / "stages" / "01_measure.jsonl")]
    for file in [
        *sorted(out.glob("stages/*"))[3:6],
        out / "annotations/train.json",
        out / "report.md",
    ]:
        file.unlink()
    assert run_curate(*sources, "--out", out) == 0
    assert {file: file.read_bytes() for file in results} == before
    assert (out / "stages" / "01_measure.jsonl").stat().st_mtime_ns == measured


def test_other_options_are_named_and_again_keeps_the_earlier_result(
    out: Path,
    sources: tuple[str, str],
) -> None:
    before = {f.relative_to(out): f.read_bytes() for f in out.rglob("*") if f.is_file()}
    with pytest.raises(ConfigError, match=r"--max-aspect was 5\.0, is now 9\.0.*give --again"):
        run_curate(*sources, "--out", out, "--max-aspect", "9")
    image = sources[1].partition("=")[2] + "/images/300.png"
    measured = (out / "stages" / "01_measure.jsonl").stat().st_mtime_ns
    assert run_curate(*sources, "--out", out, "--max-aspect", "9", "--again") == 0
    kept = out / "previous" / "001"
    assert {f.relative_to(kept): f.read_bytes() for f in kept.rglob("*") if f.is_file()} == before
    assert (out / "stages" / "01_measure.jsonl").stat().st_mtime_ns == measured
    assert len(open_dataset(out)) == 42
    assert len(open_dataset(kept)) == 41
    os.utime(image, ns=(1, 1))
    with pytest.raises(ConfigError, match="files of source rail changed"):
        run_curate(*sources, "--out", out, "--max-aspect", "9")


def test_nothing_straddles_train_and_test(tmp_path: Path) -> None:
    # Every bag was scanned in two views; the second source is a re-export of the first views.
    first = [Shot(name=f"{n}.png", picture=draw(n)) for n in range(40)]
    smaller = [cv2.resize(shot.picture, (56, 42)) for shot in first if shot.picture is not None]
    again = [Shot(name=f"{n}.jpg", picture=picture) for n, picture in enumerate(smaller)]
    write_source(tmp_path / "a", {"": first})
    write_source(tmp_path / "b", {"train": again[:20], "test": again[20:]})
    assert run_curate(tmp_path / "a", tmp_path / "b", "--out", tmp_path / "out") == 0
    left = records(tmp_path / "out" / "stages" / "07_merge.jsonl")
    assert sorted(item.source for item in left) == ["a"] * 40
    subsets = {item.name: item.subset for item in left}
    assert Counter(subsets[f"{n}.png"] for n in range(20)) == {"train": 20}
    assert Counter(subsets[f"{n}.png"] for n in range(20, 40)) == {"test": 20}


@pytest.mark.parametrize("link", ["copy", "none"])
def test_images_are_copied_or_left_on_request(
    sources: tuple[str, str], tmp_path: Path, link: str
) -> None:
    out = tmp_path / "deep" / "out"
    options = ("--link", link, "--unmapped", "drop", "--workers", "1")
    assert run_curate(*sources, "--out", out, *options) == 0
    merged = open_dataset(out)
    assert len(merged) == 41
    assert merged[0].image.shape == (48, 64, 3)
    assert (out / "images").exists() is (link == "copy")
    root = tmp_path if link == "copy" else Path(sources[0].partition("=")[2]).parent
    assert all(entry.image.resolve().is_relative_to(root) for entry in merged.entries)
    numbers = {
        annotation["category_id"]
        for split in ("train", "val", "test")
        for annotation in document(out / "annotations" / f"{split}.json")["annotations"]
    }
    assert numbers == {22, 31}


def test_names_that_lead_out_of_a_folder_stay_apart(tmp_path: Path) -> None:
    images = [draw(n) for n in range(2)]
    names = ("q/b/a.png", "q/../b/a.png")
    write_source(
        tmp_path / "x", {"": [Shot(name=n, picture=p) for n, p in zip(names, images, strict=True)]}
    )
    assert run_curate(tmp_path / "x", "--out", tmp_path / "out", "--shares", "1:0:0") == 0
    found = document(tmp_path / "out" / "annotations" / "train.json")["images"]
    assert [image["file_name"] for image in found] == ["images/x/q/b/a.png", "images/x/q/b/a-2.png"]
    pixels = [cv2.imread(str(tmp_path / "out" / image["file_name"])) for image in found]
    assert np.array_equal(pixels, images[::-1])


def test_a_box_stays_a_box(tmp_path: Path) -> None:
    write_source(tmp_path / "rail", {"": [Shot(name="0.png", objects=("box:Gun",))]})
    assert run_curate(tmp_path / "rail", "--out", tmp_path / "out", "--resplit", "rail") == 0
    (sample,) = open_dataset(tmp_path / "out")
    assert not sample.instances
    assert [(box.category, box.box.right) for box in sample.boxes] == [("Gun", 20.0)]


def test_what_cannot_work_is_refused_with_the_fix(
    sources: tuple[str, str],
    tmp_path: Path,
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("mine")
    for options, said in [
        (("--out", tmp_path / "full"), "holds something else; choose a new or empty folder"),
        (("--out", sources[1].partition("=")[2] + "/out"), "lie in each other; choose another"),
        (("--out", tmp_path / "o", "--workers", "0"), "--workers is 0: expected at least 1"),
        (("--out", tmp_path / "o", "--noise-drop", "2"), "--noise-drop is 2.0"),
        (("--out", tmp_path / "o", "--shares", "8:2"), "--shares is '8:2': expected three"),
    ]:
        with pytest.raises(ConfigError, match=said):
            run_curate(*sources, *options)
    assert not (tmp_path / "o").exists()
    with pytest.raises(DatasetError, match="no image is left after the stage 'resolution'"):
        run_curate(*sources, "--out", tmp_path / "o", "--min-side", "900")
