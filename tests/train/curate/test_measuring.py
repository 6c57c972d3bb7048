from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from apsam_train.curate.index import records
from apsam_train.curate.measure import laplacian_variance
from apsam_train.curate.measuring import measure_sources
from apsam_train.curate.sources import Source, open_sources
from apsam_train.data.problems import ProblemLog
from apsam_train.errors import ConfigError, DatasetError

from .conftest import Shot, draw, write_source


@pytest.fixture
def sources(tmp_path: Path) -> list[Source]:
    """Eleven images; the sixth is no image."""
    shots = [Shot(name=f"{n:02d}.png", picture=draw(n)) for n in range(11)]
    shots[5] = Shot(name="05.png", file=b"\x89PNG\r\n\x1a\nno more")
    write_source(tmp_path / "bags", {"": shots})
    return opened(tmp_path / "bags")


def opened(*texts: str | Path, **options: list[str]) -> list[Source]:
    asked: dict[str, list[str]] = {"formats": [], "resplit": []} | options
    formats, resplit = asked["formats"], asked["resplit"]
    return open_sources(
        [str(text) for text in texts], formats=formats, resplit=resplit, log=ProblemLog()
    )


def test_the_variance_is_that_of_the_laplacian_in_double_precision() -> None:
    grey = np.random.default_rng(0).integers(0, 256, (70, 90), dtype=np.uint8)
    expected = float(cv2.Laplacian(grey, cv2.CV_64F).var())
    assert laplacian_variance(grey) == pytest.approx(expected, rel=1e-12)


def test_one_pass_takes_all_that_later_stages_need(sources: list[Source], tmp_path: Path) -> None:
    log = ProblemLog()
    measure_sources(sources, tmp_path / "index.jsonl", workers=1, log=log)
    found = records(tmp_path / "index.jsonl")
    assert [item.name for item in found] == [f"{n:02d}.png" for n in range(11)]
    image = tmp_path / "bags" / "images" / "00.png"
    assert (found[0].width, found[0].height, found[0].bag) == (64, 48, "00.png")
    assert found[0].sha256 == hashlib.sha256(image.read_bytes()).hexdigest()
    assert found[0].mask_shares == (round(16 * 12 / (64 * 48), 6),)
    assert len({item.phash for item in found}) == 11
    assert found[5].dropped == "unreadable image"
    assert log.counts() == {"unreadable image": 1}
    assert "bags/05.png" in log.summary()
    line = json.loads((tmp_path / "index.jsonl").read_text().splitlines()[1])
    assert line["objects"][0]["bbox"] == [4.0, 4.0, 16.0, 12.0]
    assert line["objects"][0]["segmentation"]["size"] == [48, 64]


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_and_gives_the_same_bytes(
    sources: list[Source], tmp_path: Path, workers: int
) -> None:
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    measure_sources(sources, whole, workers=1, log=ProblemLog())
    written = whole.read_bytes()
    partial = tmp_path / "broken.partial.jsonl"
    # a header, eight lines, and a line that was cut by the kill
    partial.write_bytes(b"".join(written.splitlines(keepends=True)[:9]) + b'{"record": {"sou')
    log = ProblemLog()
    measure_sources(sources, broken, workers=workers, piece=2, log=log)
    assert broken.read_bytes() == written
    assert log.counts() == {"unreadable image": 1}
    assert not partial.exists()


def test_strict_stops_at_the_first_problem_measured_now_or_before(
    sources: list[Source], tmp_path: Path
) -> None:
    index = tmp_path / "index.jsonl"
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"bags/05\.png.*--strict stops at the first"):
            measure_sources(sources, index, workers=1, log=ProblemLog(strict=True))
    measure_sources(sources, index, workers=1, log=ProblemLog())
    with pytest.raises(DatasetError, match="--strict stops at the first"):
        measure_sources(sources, index, workers=1, log=ProblemLog(strict=True))


def test_changed_files_are_measured_again(sources: list[Source], tmp_path: Path) -> None:
    index, image = tmp_path / "index.jsonl", tmp_path / "bags" / "images" / "00.png"
    measure_sources(sources, index, workers=1, log=ProblemLog())
    before = records(index)[0]
    image.write_bytes(cv2.imencode(".png", draw(99))[1].tobytes())
    measure_sources(opened(tmp_path / "bags"), index, workers=1, log=ProblemLog())
    assert records(index)[0].phash != before.phash


def test_sources_are_named_by_the_user_or_after_their_folders(tmp_path: Path) -> None:
    for folder in ("a/bags", "b/bags", "c"):
        write_source(tmp_path / folder, {"": [Shot(name="0.png")]})
    found = opened(tmp_path / "a/bags", tmp_path / "b/bags", f"rail={tmp_path / 'c'}")
    assert [source.name for source in found] == ["bags", "bags-2", "rail"]


@pytest.mark.parametrize(
    ("texts", "options", "said"),
    [
        (["x={}", "x={}"], {}, "source 'x' is given twice"),
        (["?={}"], {}, r"source '\?=.*': expected name=VALUE"),
        (["x={}"], {"resplit": ["y"]}, "--resplit names the source 'y'; expected one of x"),
        (["x={}"], {"formats": ["y=coco"]}, "--format names the source 'y'; expected one of x"),
        (["x={}"], {}, "source x has a split 'holdout'.*or give --resplit x"),
    ],
)
def test_sources_that_cannot_work_are_refused(
    tmp_path: Path, texts: list[str], options: dict[str, list[str]], said: str
) -> None:
    shots = [Shot(name="0.png")]
    write_source(tmp_path / "bags", {"holdout": shots, "train": [Shot(name="1.png")]})
    with pytest.raises(ConfigError, match=said):
        opened(*(text.format(tmp_path / "bags") for text in texts), **options)
