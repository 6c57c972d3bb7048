"""The benchmark in miniature: its document's fields, never a time."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import cv2
import grpc
import numpy as np
import pytest

from apsam_train.checkpoint import Card, save_checkpoint
from apsam_train.models import APSAM
from bench import latency, load_peers, models
from bench.measure.card import ROOT
from bench.measure.document import SCHEMA
from bench.measure.serving import ServedBundle
from tests.serve.conftest import NAMED_MODEL, write_tiny_bundle
from tests.train.conftest import small_model, small_preset

__all__ = ["small_model", "small_preset"]

STAGES = {"queue", "decode_1", "points", "decode_2", "mask", "serialise", "network"}
ROOM_FOR_ONE = 6000
"""Bytes; an image of this model takes 4896."""
SHORT = ("--clicks", "12", "--warm-up", "2", "--encodes", "2", "--threads", "1")


@pytest.fixture(scope="module")
def served(tiny_bundle: Path) -> Iterator[str]:
    with ServedBundle(tiny_bundle, "--threads", "1") as server:
        yield server.address


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two bags of 80 x 60 pixels: a dark thing on white."""
    folder = tmp_path_factory.mktemp("images")
    for number in (1, 2):
        image = np.full((60, 80, 3), 255, np.uint8)
        image[10:40, 10 * number : 40] = (90, 60, 40)
        cv2.imwrite(str(folder / f"{number}.png"), image)
    return folder


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    """(exit code, the document of the last line)."""
    code = latency.main([str(word) for word in words])
    return code, json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_a_closed_loop_of_its_own_server_fills_every_field(
    tiny_bundle: Path, images: Path, tmp_path: Path
) -> None:
    """As a person runs it: the file, from another folder."""
    command = [sys.executable, ROOT / "bench" / "latency.py", "--bundle", tiny_bundle, *SHORT]
    words = ["--images", images, "--html", "a.html", "--json", "a.json", "--", "--masks-per-image",
             "1"]  # fmt: skip
    done = subprocess.run([*command, *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout.splitlines()[-1])
    assert document == json.loads((tmp_path / "a.json").read_text())
    assert "<svg" in (tmp_path / "a.html").read_text()
    assert document["schema"] == SCHEMA
    assert document["command"].startswith("python bench/latency.py --bundle ")
    assert document["settings"]["preset"] == "tiny"
    assert document["settings"]["options"] == ["--masks-per-image", "1"]
    assert document["settings"]["weights"] == "those of the bundle that was given"
    assert {"cpu", "cpu_flags", "cores", "gpus", "versions", "date"} <= document["card"].keys()
    click, encode, warm_up = document["rows"]
    assert (click["group"], click["unit"]) == ("click, tiny", "ms")
    assert click["distribution"]["num"] == len(click["samples"]) == 12
    assert click["stages"].keys() == STAGES
    assert click["mask_iou"] == {"num": 8, "minimum": 1.0, "mean": 1.0}
    assert {"rate_per_s", "server_cpu_ms_per_call", "server_rss_mb"} <= click["figures"].keys()
    assert "mask IoU against the bundle's FP32 build" in click["note"]
    assert (encode["group"], encode["distribution"]["num"]) == ("encode, tiny", 2)
    assert {"image", "encode", "network"} <= encode["stages"].keys()
    assert (warm_up["group"], warm_up["distribution"]["num"]) == ("warm-up", 2)


def test_stages_add_up_to_what_a_call_took(
    tiny_bundle: Path, images: Path, served: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In an open loop too, where the sender is one of them; stations share the calls."""
    words = ("--bundle", tiny_bundle, "--images", images, "--server", served, *SHORT)
    code, document = run(capsys, *words, "--rate", 200, "--stations", 2)
    click = document["rows"][0]
    assert code == 0
    assert click["figures"]["offered_per_s"] == 200
    assert click["stages"].keys() == {*STAGES, "sender"}
    for number, took_ms in enumerate(click["samples"]):
        parts = [stage["samples"][number] for stage in click["stages"].values()]
        assert sum(parts) == pytest.approx(took_ms, rel=0.01)


@pytest.mark.parametrize(
    ("limit", "code", "says"),
    [("click:p99=60s", 0, ""), ("click:p99=0.001ms", 1, "violated: click:p99=0.001ms: click, ti")],
)
def test_a_violated_slo_is_named_and_sets_the_exit_code(
    limit: str,
    code: int,
    says: str,
    tiny_bundle: Path,
    images: Path,
    served: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--bundle", tiny_bundle, "--images", images, "--server", served, *SHORT)
    assert latency.main([str(word) for word in (*words, "--slo", limit, "errors=0")]) == code
    assert says in capsys.readouterr().err


def test_calls_that_fail_are_counted_by_code(
    tiny_bundle: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A store with room for one image has lost the first when it is clicked on."""
    words = ("--bundle", tiny_bundle, "--images", images, *SHORT)
    code, document = run(capsys, *words, "--slo", "errors=0", "--", "--budget-bytes", ROOM_FOR_ONE)
    click = document["rows"][0]
    assert code == 1
    assert click["errors"] == {"NOT_FOUND": 8}
    assert click["distribution"]["num"] == len(click["samples"]) == 4


def test_documents_are_compared_without_a_run(
    tiny_bundle: Path,
    images: Path,
    served: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    words = ("--bundle", tiny_bundle, "--images", images, "--server", served, *SHORT)
    run(capsys, *words, "--json", tmp_path / "a.json")
    path = str(tmp_path / "a.json")
    assert latency.main(["--compare", path, path]) == 0
    assert "| click, tiny | APSAM through gRPC |" in capsys.readouterr().out


def test_peers_run_in_turns_with_ours(
    tiny_bundle: Path,
    small_model: APSAM,
    images: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The bundle answers discs, whatever the checkpoint would: that is shown, and not compared."""
    checkpoint = tmp_path / "model.safetensors"
    save_checkpoint(
        checkpoint, small_model, Card.of(small_model, {"config": {"apg": {"core": 0.05}}})
    )
    files = models.ModelFiles(checkpoint=checkpoint, bundle=tiny_bundle, note="random weights")
    monkeypatch.setattr(models, "bundle_of", lambda name, *, options: files)
    monkeypatch.setattr(load_peers, "_PAUSE_S", 0.0)
    words = ("--bundle", "tiny", "--images", images, *SHORT, "--peers", "--peer", "predictor")
    code, document = run(capsys, *words, "--rounds", 1)
    assert code == 0
    assert document["settings"]["weights"] == "random weights"
    assert document["settings"]["server_threads"] == 1
    ours, theirs = (row for row in document["rows"] if row["group"] == "in turns: click, tiny")
    assert [ours["name"], theirs["name"]] == [load_peers.NAMES[n] for n in ("grpc", "predictor")]
    assert ours["stages"].keys() >= STAGES
    assert theirs["stages"].keys() == {"decode_1", "points", "decode_2"}
    for row in (ours, theirs):
        assert row["distribution"]["num"] == row["mask_iou"]["num"] == 8
        assert {"iou_with_ours", "same_points_share"} <= row["figures"].keys()
    assert theirs["mask_iou"]["mean"] > 0.95  # on images of these few pixels, edges count
    why = theirs["note"].removeprefix("not compared: ")
    assert why.startswith("its masks have mean IoU 0.")
    assert [(one["key"], one["refused"]) for one in document["figures"]] == [
        (f"{verb}_vs_predictor_tiny", why) for verb in ("click", "click_after_pause", "encode")
    ]


def test_on_a_gpu_a_preset_is_served_in_half_precision_with_its_kernels(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: list[tuple[str, ...]] = []

    def bundle_of(name: str, *, options: tuple[str, ...]) -> models.ModelFiles:
        asked.append(options)
        return models.ModelFiles(checkpoint=tmp_path, bundle=tmp_path, note=name)

    monkeypatch.setattr(models, "for_this_gpu", lambda: ("--precision", "fp16"))
    monkeypatch.setattr(models, "bundle_of", bundle_of)
    for words, build in (
        (["--device", "cuda"], ["--build", "fp16"]),
        (["--device=cuda", "--build", "fp32"], []),
        (["--device", "cpu"], []),
    ):
        options = latency._parser().parse_args(["--bundle", "vit_l", "--", *words])
        latency._find_model(options)
        assert options.options == [*words, *build]
    assert asked == [("--precision", "fp16"), ("--precision", "fp16"), ()]


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ((), "no --bundle; give a folder of apsam-export, a preset, or --compare"),
        (("--bundle", ".", "--peers"), "--peers without --checkpoint"),
        (("--bundle", "b", "--rate", "5", "--concurrency", "2"), "give one of the two"),
        (("--bundle", "b", "--stations", "0"), "--stations is 0; give a number above 0"),
        (("--bundle", "b", "--images", "nowhere"), "No such file or directory: 'nowhere'"),
        (("--bundle", "b", "--images", "bench"), "bench holds no image"),
        (("--bundle", "b", "--peer", "compiled"), "--peer compiled without --peers; give both"),
        (
            ("--bundle", "b", "--peers", "--peer", "sam3"),
            "--peer 'sam3': choose of in_process, pre",
        ),
        (
            ("--bundle", "b", "--peers", "--peer", "predictor", "--", "--device", "cuda"),
            "--peer 'predictor': choose of gpu_fp16",
        ),
        (
            ("--bundle", "b", "--server", "localhost:1", "--", "--build", "fp16"),
            "--build fp16 beside --server: nothing is started that could take them",
        ),
        (("--bundle", "b", "--slo", "p98=1ms"), "SLO 'p98=1ms' is about 'p98', expected one of"),
        (("--compare", "none.json", "none.json"), "No such file"),
    ],
)
def test_a_wrong_command_line_says_what_to_write(
    words: tuple[str, ...], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        latency.main(words)
    assert says in capsys.readouterr().err


def test_a_server_of_another_model_is_refused(
    images: Path, served: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_tiny_bundle(tmp_path / "other", NAMED_MODEL)
    words = ("--bundle", tmp_path / "other", "--images", images, "--server", served, *SHORT)
    assert latency.main([str(word) for word in words]) == 1
    assert "give --bundle the one that is served" in capsys.readouterr().err


def test_a_server_of_something_else_is_told_from_ours(
    tiny_bundle: Path, images: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        other = grpc.server(pool)
        address = f"127.0.0.1:{other.add_insecure_port('127.0.0.1:0')}"
        other.start()
        words = ("--bundle", tiny_bundle, "--images", images, "--server", address, *SHORT)
        code = latency.main([str(word) for word in words])
        other.stop(None).wait()
    assert code == 1
    assert f"{address} does not say what it serves: UNIMPLEMENTED" in capsys.readouterr().err


def test_the_json_is_there_even_where_the_report_cannot_be_written(
    tiny_bundle: Path, images: Path, served: str, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--bundle", tiny_bundle, "--images", images, "--server", served, *SHORT)
    code, document = run(capsys, *words, "--html", tiny_bundle)
    assert (code, document["schema"]) == (1, SCHEMA)
