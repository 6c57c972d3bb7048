"""`apsam-client` with files of a person's own."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.client_cli import main
from apsam_serve.contract.masks import Rle, decode_rle
from apsam_serve.service.background import BackgroundServer

FILES = ["bag.png", "bag16.png", "grey.png", "bag.jpg"]
TIFFS = {"bag.tiff": 1, "lzw.tiff": 5, "lzw16.tiff": 5, "deflate16.tiff": 8, "packbits.tiff": 32773}
"""name -> compression"""


@pytest.fixture
def folder(tmp_path: Path, bag: NDArray[np.uint8]) -> Path:
    bgr = cv2.cvtColor(bag, cv2.COLOR_RGB2BGR)
    deep = bgr.astype(np.uint16) * 257
    grey = cv2.cvtColor(bgr, cv2.COLOR_BGR2GRAY)
    pictures = {"bag16.png": deep, "lzw16.tiff": deep, "deflate16.tiff": deep, "grey.png": grey}
    for name in (*FILES, *TIFFS):
        options = [cv2.IMWRITE_TIFF_COMPRESSION, TIFFS[name]] if name in TIFFS else []
        assert cv2.imwrite(str(tmp_path / name), pictures.get(name, bgr), options)
    return tmp_path


@pytest.mark.parametrize("name", [*FILES, *TIFFS])
def test_one_click_on_any_picture_gives_mask_points_and_overlay(
    running: BackgroundServer, folder: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    out, mask = folder / "overlay.png", folder / "mask.png"
    server = ["--server", running.address]
    files = ["--out", str(out), "--mask", str(mask), "--json"]
    code = main(["segment", str(folder / name), "--click", "20,20", *server, *files])
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    counts = document["mask"]["counts"]
    decoded = decode_rle(Rle(height=60, width=80, counts=counts))
    assert document["area"] == decoded.sum() > 0
    assert np.array_equal(cv2.imread(str(mask), cv2.IMREAD_UNCHANGED) > 0, decoded)
    assert (document["branch"], len(document["points"])) == ("clusters", 2)
    assert 0 < document["score"] <= 1
    assert document["timings_ms"]["round_trip"] > document["timings_ms"]["decode_2"] > 0
    overlay = cv2.imread(str(out))
    assert overlay.shape == (60, 80, 3)
    changed = (overlay != cv2.imread(str(folder / name), cv2.IMREAD_COLOR)).any(axis=2)
    assert changed[decoded].mean() > 0.95
    assert changed[~decoded].mean() < 0.2


def test_negative_clicks_a_box_and_the_direct_strategy_reach_the_model(
    running: BackgroundServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["segment", str(folder / "bag.png"), "--server", running.address, "--json"]
    areas = []
    for more in (
        ["--click", "25,25"],
        ["--click", "25,25", "--negative", "32,25"],
        ["--click", "25,25", "--box", "20,20,30,30"],
        ["--box", "10,10,40,40"],
    ):
        assert main([*base, "--strategy", "direct", *more]) == 0
        document = json.loads(capsys.readouterr().out)
        assert document["branch"] == "direct"
        areas.append(document["area"])
    assert areas[0] > areas[1] > 0
    assert areas[0] > areas[2] > 0
    assert areas[3] > 0


def test_without_json_it_prints_one_line_for_people(
    running: BackgroundServer, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(folder / "bag.png")
    assert main(["segment", image, "--click", "20,20", "--server", running.address]) == 0
    assert "pixels, score 0." in capsys.readouterr().out
    assert main(["encode", image, "--server", running.address]) == 0
    assert "80 x 60 pixels" in capsys.readouterr().out
    assert main(["health", "--server", running.address]) == 0
    assert capsys.readouterr().out == "SERVING\n"


def test_the_category_is_told_and_drawn(
    serve: Callable[..., BackgroundServer],
    named_bundle: Path,
    folder: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    server = ["--server", serve(bundle=named_bundle).address, "--strategy", "direct"]
    image, out = str(folder / "bag.png"), folder / "overlay.png"
    object_, air = ["--click", "20,20"], ["--click", "75,5"]
    assert main(["segment", image, *object_, *server, "--out", str(out)]) == 0
    assert ", Laptop 0.98, direct," in capsys.readouterr().out
    white = (cv2.imread(str(out))[:40, 10:40] > 200).all(axis=2)
    assert 0 < white.sum() < white.size / 4
    assert main(["segment", image, *air, *server]) == 0
    assert ", no contraband 0.98, direct," in capsys.readouterr().out
    assert main(["segment", image, *object_, *server, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["category"] == "Laptop"
    assert document["category_probability"] == pytest.approx(0.98, abs=0.005)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.png", "--click", "1,1"], "missing.png cannot be read (No such file"),
        (["bag.png", "--click", "80,1"], "click (80.0, 1.0) lies outside the image of 80 x 60"),
        (["bag.png", "--click", "nan,1"], "click (nan, 1.0) is not a number"),
        (["bag.png"], "prompt has 0 points and no box"),
        (["bag.png", "--click", "20,20", "--out", "x.abc"], "x.abc cannot be written"),
        (["notes.txt", "--click", "1,1"], "PNG, JPEG or TIFF"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(
    running: BackgroundServer,
    folder: Path,
    arguments: list[str],
    message: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (folder / "notes.txt").write_text("not a picture, but long enough to be read as a file")
    monkeypatch.chdir(folder)
    assert main(["segment", *arguments, "--server", running.address]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("apsam-client: error: ")
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_no_server_is_one_line_and_exit_code_1(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    image = str(folder / "bag.png")
    assert main(["segment", image, "--click", "1,1", "--server", "127.0.0.1:1"]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("apsam-client: error: no server answers at 127.0.0.1:1")
    assert len(errors.splitlines()) == 1


@pytest.mark.parametrize("click", ["7", "1,2,3", "a,b"])
def test_a_malformed_click_shows_the_form(click: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["segment", "bag.png", "--click", click])
    assert stopped.value.code == 2
    assert f"'{click}' is not X,Y in image pixels" in capsys.readouterr().err
