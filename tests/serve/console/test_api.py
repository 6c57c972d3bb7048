"""What the page asks, against a real service."""

from __future__ import annotations

import io
import json
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.console import views
from apsam_serve.contract.categories import CATEGORIES
from apsam_serve.contract.images import decode
from apsam_serve.contract.masks import Rle, decode_rle
from apsam_serve.contract.polygons import decode_polygons
from apsam_serve.service.background import BackgroundServer
from tests.serve.console.browsing import Page

EXPORTS = {"coco", "png", "labelme", "yolo", "dicos", "review"}


def test_the_page_learns_whom_it_works_for(page: Page, running: BackgroundServer) -> None:
    info = page.get("/api/info")
    server = info["server"]
    assert server["serving"] is True
    assert server["address"] == running.address
    assert (server["preset"], server["digest"]) == ("tiny", running.server.digest)
    assert info["categories"] == [*CATEGORIES]
    assert info["views"] == [*views.NAMES]
    assert set(info["view_notes"]) == set(info["views"])
    assert (info["reviewer"], info["round"], info["images"]) == ("ada", 1, None)


def test_a_click_answers_with_the_mask_and_the_two_points_that_made_it(
    page: Page, bag_png: bytes
) -> None:
    image = page.add(bag_png)
    opened = page.send("POST", f"/api/images/{image}/open", {})
    assert opened["lease"] == {"expires_in_s": 600, "ttl_s": 600}
    assert opened["timings_ms"].keys() == {"total", "stages"}
    answer = page.click(image)
    mask = decode_rle(Rle(height=60, width=80, counts=answer["mask"]["counts"]))
    assert answer["mask"]["size"] == [60, 80]
    assert mask[20, 20]
    assert answer["area"] == mask.sum()
    rings = json.dumps(answer["polygon"]).encode()
    assert np.array_equal(decode_polygons(rings, height=60, width=80), mask)
    assert answer["branch"] == "clusters"
    assert len([point for point in answer["points"] if point["positive"]]) == 2
    assert answer["points"] != [{"x": 20, "y": 20, "positive": True}]
    assert 0 <= answer["score"] <= 1
    assert answer["encoded_again"] is answer["refine_lost"] is False
    assert answer["lease"]["expires_in_s"] == 600
    times = answer["timings_ms"]
    assert times["total"] > 0
    assert times["queue"] + times["device"] + times["network"] == pytest.approx(times["total"])
    assert times["stages"]["decode_2"] > 0


def test_a_mask_is_refined_and_a_direct_answer_keeps_the_points(page: Page, bag_png: bytes) -> None:
    image = page.add(bag_png)
    first = page.click(image, strategy="direct")
    assert first["branch"] == "direct"
    assert first["points"] == [{"x": 20, "y": 20, "positive": True}]
    points = [*first["points"], {"x": 50, "y": 40, "positive": False}]
    asked = {"points": points, "strategy": "direct", "refine": first["mask_id"]}
    refined = page.send("POST", f"/api/images/{image}/segment", asked)
    alone = page.send("POST", f"/api/images/{image}/segment", {**asked, "refine": None})
    assert refined["refine_lost"] is False
    assert refined["mask"] != alone["mask"]
    gone = page.send("POST", f"/api/images/{image}/segment", {**asked, "refine": "elsewhere/0"})
    assert gone["refine_lost"] is True
    assert gone["mask"] == alone["mask"]


def test_a_box_is_a_prompt_too(page: Page, bag_png: bytes) -> None:
    image = page.add(bag_png)
    asked = {"box": {"left": 5, "top": 5, "right": 30, "bottom": 30}, "strategy": "direct"}
    assert page.send("POST", f"/api/images/{image}/segment", asked)["branch"] == "direct"


def test_suggestions_have_a_click_and_a_mask_each(page: Page, bag_png: bytes) -> None:
    image = page.add(bag_png)
    found = page.send("POST", f"/api/images/{image}/propose", {})
    assert len(found["proposals"]) > 1
    assert found["timings_ms"]["total"] > 0
    for one in found["proposals"]:
        assert 0 < one["attention"] <= 1
        assert one["mask"]["size"] == [60, 80]
        assert 0 <= one["click"]["x"] < 80
        assert one["polygon"]


def test_objects_are_kept_changed_removed_and_remembered(page: Page, bag_png: bytes) -> None:
    image = page.add(bag_png, "lane 3/b%C3%A4g.png")
    assert page.add(bag_png) == image
    answer = page.click(image)
    new = {"mask": answer["mask"], "category": "Gun", "score": answer["score"]}
    saved = page.send("POST", f"/api/images/{image}/objects", new)
    assert (saved["reviewer"], saved["round"], saved["verdict"]) == ("ada", 1, "accepted")
    assert saved["model_digest"] == answer["model_digest"] != ""
    assert page.get(f"/api/images/{image}/objects") == [saved]
    (row,) = page.get("/api/images")
    assert (row["name"], row["num_objects"], row["status"]) == ("bäg.png", 1, "open")
    thing = f"/api/objects/{saved['id']}"
    for foreign in ("object_id", "self", "area"):
        assert (
            f"object's {foreign} cannot"
            in page.ask("PATCH", thing, json={foreign: 7}).body.decode()
        )
    changed = page.send("PATCH", thing, {"category": None, "verdict": "corrected"})
    assert (changed["category"], changed["verdict"]) == (None, "corrected")
    done = page.send("PATCH", f"/api/images/{image}", {"status": "done"})
    assert (done["status"], done["reviewer"], done["round"]) == ("done", "ada", 1)
    assert page.ask("DELETE", thing).status == 204
    assert page.ask("DELETE", thing).error["reason"] == "NOT_IN_PROJECT"
    steps = [step["action"] for step in page.get(f"/api/images/{image}/history")]
    assert steps == ["saved", "changed", "removed"]


def test_what_was_saved_is_there_for_the_next_console(
    page: Page, open_page: Callable[..., Page], running: BackgroundServer, bag_png: bytes
) -> None:
    image = page.add(bag_png)
    saved = page.send("POST", f"/api/images/{image}/objects", {"mask": page.click(image)["mask"]})
    again = open_page(running.address)
    assert again.get(f"/api/images/{image}/objects") == [saved]
    assert again.ask("GET", f"/api/images/{image}/file").body == bag_png


def test_every_export_is_a_zip_file_of_the_project(page: Page, bag_png: bytes) -> None:
    image = page.add(bag_png)
    new = {"mask": page.click(image)["mask"], "category": "Laptop"}
    page.send("POST", f"/api/images/{image}/objects", new)
    page.send("PATCH", f"/api/images/{image}", {"status": "done"})
    assert set(page.get("/api/info")["exports"]) == EXPORTS
    for name in EXPORTS:
        answer = page.ask("GET", f"/api/export/{name}.zip")
        assert answer.status == 200, answer.body
        assert answer.headers["Content-Type"] == "application/zip"
        assert answer.headers["Cross-Origin-Resource-Policy"] == "same-origin"
        with zipfile.ZipFile(io.BytesIO(answer.body)) as archive:
            assert archive.testzip() is None
            assert archive.namelist()
    assert page.ask("GET", "/api/export/word.zip").error["reason"] == "NOT_IN_PROJECT"


def test_views_are_drawn_once_and_asked_for_again_by_their_tag(
    page: Page, bag: NDArray[np.uint8], bag_png: bytes
) -> None:
    image = page.add(bag_png)
    for name, draw in views.VIEWS.items():
        path = f"/api/images/{image}/view/{name}.png"
        first = page.ask("GET", path)
        assert np.array_equal(decode(first.body), draw(bag)), name
        tag = {"If-None-Match": first.headers["ETag"]}
        assert page.ask("GET", path, headers=tag).status == 304
    heat = page.ask("GET", f"/api/images/{image}/view/heat.png")
    assert decode(heat.body).shape == bag.shape
    assert not np.array_equal(decode(heat.body), views.grey(bag))
    wrong = page.ask("GET", f"/api/images/{image}/view/infrared.png").error
    assert "original, inverse" in wrong["fix"]


def test_a_folder_below_the_one_given_is_imported_with_progress(
    running: BackgroundServer, open_page: Callable[..., Page], tmp_path: Path, bag_png: bytes
) -> None:
    root = tmp_path / "pictures"
    (root / "lane").mkdir(parents=True)
    (root / "lane" / "one.png").write_bytes(bag_png)
    (root / "lane" / "two.png").write_bytes(b"no picture")
    (tmp_path / "secret").mkdir()
    (root / "way out").symlink_to(tmp_path / "secret")
    page = open_page(running.address, images=root)
    for folder in ("../secret", "/etc", "way out", "lane/one.png", "a\0", "a" * 5000):
        refused = page.ask("POST", "/api/import", json={"folder": folder}).error
        assert f"is no folder or COCO file below {root}" in refused["message"]
    for folder in ("lane", str(root / "lane")):
        job = page.send("POST", "/api/import", {"folder": folder})["job"]
        told = _finished(page, job)
        assert (told["done"], told["total"], told["error"]) == (2, 2, None)
        assert told["objects"] is None
        assert [one["name"] for one in told["refused"]] == ["two.png"]
        assert "PNG, JPEG or TIFF" in told["refused"][0]["why"]
    assert [row["name"] for row in page.get("/api/images")] == ["one.png"]
    assert page.ask("GET", "/api/import/other").status == 404


def test_objects_of_a_coco_file_are_imported_where_folders_are(
    running: BackgroundServer, open_page: Callable[..., Page], tmp_path: Path, bag_png: bytes
) -> None:
    page = open_page(running.address, images=tmp_path)
    image = page.add(bag_png)
    saved = page.send("POST", f"/api/images/{image}/objects", {"mask": page.click(image)["mask"]})
    with zipfile.ZipFile(io.BytesIO(page.ask("GET", "/api/export/coco.zip").body)) as archive:
        (tmp_path / "found.json").write_bytes(archive.read("instances_rle.json"))
    (tmp_path / "other.json").write_text("{}")
    second = open_page(running.address, images=tmp_path, project=tmp_path / "second")
    image = second.add(bag_png)
    told = _finished(second, second.send("POST", "/api/import", {"folder": "found.json"})["job"])
    assert (told["refused"], told["error"]) == ([], None)
    assert told["objects"] == {"added": 1, "known": 0, "nameless": 1}
    assert second.get("/api/images")[0]["num_objects"] == 1
    (imported,) = second.get(f"/api/images/{image}/objects")
    assert (imported["mask"], imported["source"]) == (saved["mask"], "imported")
    told = _finished(second, second.send("POST", "/api/import", {"folder": "other.json"})["job"])
    assert "is no COCO instances file" in str(told["error"])


def test_without_a_folder_nothing_is_imported(page: Page) -> None:
    refused = page.ask("POST", "/api/import", json={"folder": "/"}).error
    assert "--images FOLDER" in refused["fix"]


def test_the_page_and_its_files_are_served_and_nothing_else(page: Page) -> None:
    assert b"<canvas" in page.ask("GET", "/").body
    script = page.ask("GET", "/static/api.js")
    assert script.headers["Content-Type"].partition(";")[0].endswith("/javascript")
    for path in ("/static/../cli.py", "/static/%2e%2e/cli.py", "/static/..%2fcli.py", "/static/"):
        assert page.ask("GET", path).status in (403, 404), path


def test_sixteen_bit_pictures_are_shown_as_eight(page: Page) -> None:
    deep = np.full((60, 80, 3), 65535, np.uint16)
    data = cv2.imencode(".tiff", deep)[1].tobytes()
    image = page.add(data, quote("größe 16.tiff"))
    assert page.ask("GET", f"/api/images/{image}/file").headers["Content-Type"] == "image/tiff"
    shown = page.ask("GET", f"/api/images/{image}/view/original.png")
    assert decode(shown.body).dtype == np.uint8
    assert page.get("/api/images")[0]["name"] == "größe 16.tiff"


def _finished(page: Page, job: str) -> dict[str, object]:
    until = time.monotonic() + 5
    while time.monotonic() < until:
        told: dict[str, object] = page.get(f"/api/import/{job}")
        if told["finished"]:
            return told
        time.sleep(0.01)
    raise AssertionError("the import did not finish")
