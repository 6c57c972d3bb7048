"""The ML back end: protocol, prompts in percent, masks as brushes and polygons, and its borders."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.contract.masks import mask_iou
from apsam_serve.contract.polygons import decode_polygons
from integrations.label_studio import from_coco, to_coco
from integrations.label_studio.__main__ import main
from integrations.label_studio.tasks import target_of
from tests.integrations.brushes import decode_brush
from tests.integrations.conftest import CLICK
from tests.integrations.label_studio_double import (
    LEGACY_TOKEN,
    PERSONAL_TOKEN,
    POLYGON_CONFIG,
    Client,
    LabelStudio,
    answer,
    keypoint,
    prediction,
    rectangle,
    run_backend,
    setup,
)

UPLOADED = "/data/upload/1/bag.png"
SHOWN = keypoint(100 * CLICK[0] / 80, 100 * CLICK[1] / 60)


@pytest.fixture
def label_studio(bag_png: bytes) -> LabelStudio:
    return LabelStudio(bag_png)


def asked(apsam: str, label_studio: LabelStudio, body: dict[str, Any], **settings: Any) -> Any:
    """(status, reason phrase, document)."""
    return run_backend(lambda client: answer(client, body), apsam, label_studio, **settings)


def test_a_keypoint_becomes_the_servers_own_mask_as_a_brush(
    apsam: str, label_studio: LabelStudio, disc: NDArray[np.bool_]
) -> None:
    status, _, document = asked(apsam, label_studio, prediction(UPLOADED, SHOWN))
    assert status == 200
    (found,) = document["results"]
    (region,) = found["result"]
    assert found["model_version"].startswith("apsam-tiny-")
    assert (region["type"], region["from_name"], region["to_name"]) == (
        *("brushlabels", "mask"),
        "image",
    )
    assert (region["original_width"], region["original_height"]) == (80, 60)
    assert region["value"]["format"] == "rle"
    assert region["value"]["brushlabels"] == ["Bullet"]
    assert np.array_equal(decode_brush(region["value"]["rle"], 60, 80), disc)


@pytest.mark.parametrize(("simplify_px", "least_iou"), [(0.0, 1.0), (1.0, 0.9)])
def test_a_polygon_covers_the_mask(
    apsam: str,
    label_studio: LabelStudio,
    disc: NDArray[np.bool_],
    simplify_px: float,
    least_iou: float,
) -> None:
    body = prediction(UPLOADED, SHOWN, config=POLYGON_CONFIG)
    _, _, document = asked(apsam, label_studio, body, simplify_px=simplify_px)
    (region,) = document["results"][0]["result"]
    assert region["type"] == "polygonlabels"
    assert region["value"]["polygonlabels"] == ["Bullet"]
    pixels = [[int(x * 0.8), int(y * 0.6)] for x, y in region["value"]["points"]]
    drawn = decode_polygons(json.dumps([pixels]).encode(), height=60, width=80)
    assert mask_iou(drawn, disc) >= least_iou


@pytest.mark.parametrize(
    "regions",
    [
        (SHOWN, keypoint(90, 90, positive=False)),
        (rectangle(10, 15, 40, 50), SHOWN),
        (keypoint(100, 100),),
        (rectangle(60, 60, 40.004, 40),),
    ],
    ids=["negative", "box and point", "corner", "box to the edge"],
)
def test_every_prompt_of_the_page_is_understood(
    apsam: str, label_studio: LabelStudio, regions: tuple[dict[str, Any], ...]
) -> None:
    status, reason, document = asked(
        apsam, label_studio, prediction(UPLOADED, *regions), strategy="direct"
    )
    assert status == 200, reason
    assert len(document["results"]) == 1


def test_a_task_without_prompts_gets_an_empty_prediction_or_proposals(
    apsam: str, label_studio: LabelStudio
) -> None:
    body = prediction(UPLOADED)
    body["tasks"] *= 2
    _, _, quiet = asked(apsam, label_studio, body)
    assert [found["result"] for found in quiet["results"]] == [[], []]
    assert label_studio.asked == []
    _, _, eager = asked(apsam, label_studio, body, propose=True)
    assert len(label_studio.asked) == 1
    assert eager["results"][0]["result"]
    for region in eager["results"][0]["result"]:
        assert region["value"]["brushlabels"][0] in ("Gun", "Bullet")


def test_a_second_click_does_not_fetch_the_image_again(
    apsam: str, label_studio: LabelStudio
) -> None:
    async def talk(client: Client) -> list[int]:
        return [(await answer(client, prediction(UPLOADED, SHOWN)))[0] for _ in range(3)]

    assert run_backend(talk, apsam, label_studio) == [200, 200, 200]
    assert len(label_studio.asked) == 1


def test_a_personal_token_buys_an_access_token(apsam: str, label_studio: LabelStudio) -> None:
    status, _, _ = asked(apsam, label_studio, prediction(UPLOADED, SHOWN), token=PERSONAL_TOKEN)
    assert status == 200
    assert label_studio.asked == [PERSONAL_TOKEN, "Bearer bought"]


def test_images_come_as_data_urls_and_from_the_folder_of_local_files(
    apsam: str, label_studio: LabelStudio, tmp_path: Path
) -> None:
    (tmp_path / "bags").mkdir()
    (tmp_path / "bags/a.png").write_bytes(label_studio.image)
    inline = "data:image/png;base64," + base64.b64encode(label_studio.image).decode()
    for address in (inline, "/data/local-files/?d=bags%2Fa.png"):
        status, reason, _ = asked(
            apsam,
            label_studio,
            prediction(address, SHOWN),
            sources={"local_files": tmp_path},
        )
        assert status == 200, reason
    assert label_studio.asked == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("http://169.254.169.254/latest/meta-data", "not at Label Studio"),
        ("//attacker.example/bag.png", "not at Label Studio"),
        ("http://127.0.0.1:1/bag.png", "not at Label Studio"),
        ("file:///etc/passwd", "not at Label Studio"),
        ("s3://bucket/bag.png", "not at Label Studio"),
        ("/elsewhere", "storage.example"),
        ("/data/local-files/?d=../secret.png", "is no file of"),
        ("/data/local-files/?d=%2Fetc%2Fpasswd", "is no file of"),
        ("data:image/png;base64,%%%", "damaged"),
        ("/data/upload/1/missing.png", "answers 404"),
    ],
)
def test_no_other_file_or_host_is_read(
    apsam: str, label_studio: LabelStudio, tmp_path: Path, address: str, words: str
) -> None:
    (tmp_path / "secret.png").write_bytes(label_studio.image)
    status, reason, document = asked(
        apsam,
        label_studio,
        prediction(address, SHOWN),
        sources={"local_files": tmp_path / "served"},
    )
    assert status == 400
    assert words in document["error"]["message"]
    assert words in reason  # all that Label Studio shows to people


def test_another_host_that_is_allowed_is_asked_without_the_token(
    apsam: str, label_studio: LabelStudio, bag_png: bytes
) -> None:
    storage = LabelStudio(bag_png)

    async def talk(client: Client) -> list[int]:
        label_studio.elsewhere = f"{storage.url}public/bag.png"
        addresses = label_studio.elsewhere, "/elsewhere"
        return [(await answer(client, prediction(url, SHOWN)))[0] for url in addresses]

    assert run_backend(talk, apsam, label_studio, allowed=storage) == [200, 200]
    assert storage.asked == ["", ""]


def test_a_file_that_is_too_large_is_not_read_to_its_end(
    apsam: str, label_studio: LabelStudio
) -> None:
    status, reason, _ = asked(
        apsam, label_studio, prediction(UPLOADED, SHOWN), sources={"max_bytes": 100}
    )
    assert (status, "more than 100 bytes" in reason) == (400, True)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (prediction(UPLOADED, SHOWN | {"original_width": 60}), "EXIF"),
        (prediction(UPLOADED, SHOWN | {"image_rotation": 90}), "turned by 90"),
        (prediction(UPLOADED, SHOWN | {"type": "brushlabels"}), "'brushlabels'"),
        (prediction(UPLOADED, keypoint(float("nan"), 5)), "percent"),
        (prediction(UPLOADED, keypoint(5, 120)), "percent"),
        (prediction(UPLOADED, config="<View/>"), "BrushLabels"),
        (prediction(UPLOADED, config="<View>"), "no XML"),
        (prediction("", SHOWN), "address of one image"),
    ],
)
def test_what_cannot_be_answered_says_why(
    apsam: str, label_studio: LabelStudio, body: dict[str, Any], words: str
) -> None:
    status, reason, _ = asked(apsam, label_studio, body)
    assert (status, words in reason) == (400, True), reason


def test_setup_takes_no_address_or_token_from_its_caller(
    apsam: str, label_studio: LabelStudio
) -> None:
    async def talk(client: Client) -> list[Any]:
        async with client.post("/setup", json=setup()) as reply:
            version = (await reply.json())["model_version"]
        async with client.post("/setup", json=setup("<View/>")) as refused:
            pass
        async with client.post("/webhook", json={"action": "ANNOTATION_CREATED"}) as event:
            pass
        status, _, _ = await answer(client, prediction(UPLOADED, SHOWN))
        return [version, refused.status, event.status, status]

    version, *statuses = run_backend(talk, apsam, label_studio)
    assert version.startswith("apsam-tiny-")
    assert statuses == [400, 200, 200]
    assert label_studio.asked == [f"Token {LEGACY_TOKEN}"]


@pytest.mark.parametrize("token", [LEGACY_TOKEN, PERSONAL_TOKEN])
def test_a_label_studio_that_is_away_is_named(
    apsam: str, label_studio: LabelStudio, token: str
) -> None:
    async def talk(client: Client) -> str:
        return (await answer(client, prediction(UPLOADED, SHOWN)))[1]

    away = {"label_studio": "http://127.0.0.1:1/"}
    reason = run_backend(talk, apsam, label_studio, token=token, sources=away)
    assert "http://127.0.0.1:1/data/upload/1/bag.png cannot be read" in reason


def test_health_is_that_of_the_server(label_studio: LabelStudio, apsam: str) -> None:
    async def talk(client: Client) -> tuple[int, str]:
        async with client.get("/health") as reply:
            return reply.status, (await reply.json())["status"]

    assert run_backend(talk, apsam, label_studio) == (200, "UP")
    assert run_backend(talk, "127.0.0.1:1", label_studio) == (503, "DOWN")


def test_a_login_is_asked_for_where_one_is_set(apsam: str, label_studio: LabelStudio) -> None:
    async def talk(client: Client) -> list[int]:
        statuses = []
        for login in ("", "ada:wrong", "ada:lovelace"):
            header = "Basic " + base64.b64encode(login.encode()).decode()
            async with client.get("/health", headers={"Authorization": header}) as reply:
                statuses.append(reply.status)
        return statuses

    assert run_backend(talk, apsam, label_studio, login=("ada", "lovelace")) == [401, 401, 200]


def test_the_labeling_interface_of_the_guide_has_a_place_for_masks() -> None:
    guide = (Path(__file__).parents[2] / "docs/integrations.md").read_text()
    (shown,) = re.findall(r"```xml\n(.*?)```", guide, re.DOTALL)
    target = target_of(shown)
    assert (target.kind, target.data_key) == ("brushlabels", "image")
    assert "Gun" in target.labels


@pytest.mark.parametrize(
    ("program", "start"),
    [
        (main, "-m integrations.label_studio "),
        (from_coco.main, "-m integrations.label_studio.from_coco "),
        (to_coco.main, "-m integrations.label_studio.to_coco "),
    ],
)
def test_the_guide_shows_options_that_exist(
    program: Callable[[list[str]], int], start: str, capsys: pytest.CaptureFixture[str]
) -> None:
    guide = (Path(__file__).parents[2] / "docs/integrations.md").read_text().replace("\\\n", "")
    with pytest.raises(SystemExit):
        program(["--help"])
    helped = capsys.readouterr().out
    lines = [line for line in guide.splitlines() if start in line]
    options = re.findall(r"--[a-z-]+", " ".join(lines))
    assert options
    assert all(option in helped for option in options)


@pytest.mark.parametrize(
    "wrong", [("--listen", "9090"), ("--label-studio", "localhost"), ("--allow", "s3://bucket")]
)
def test_an_address_that_is_none_stops_the_start(
    wrong: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(wrong)
    assert repr(wrong[1]) in capsys.readouterr().err
