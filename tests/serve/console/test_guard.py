"""Who is kept out, and what is refused."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apsam_serve.console.guard import Hosts
from apsam_serve.contract.images import MAX_BYTES
from apsam_serve.errors import InvalidInputError
from apsam_serve.service.background import BackgroundServer
from tests.serve.console.browsing import Page, settings_for

ONE_CLICK = {"points": [{"x": 20, "y": 20}]}


@pytest.fixture(scope="module")
def asked(
    running: BackgroundServer, tmp_path_factory: pytest.TempPathFactory, bag_png: bytes
) -> Iterator[Page]:
    """A console with image 1, for requests that leave it as it is."""
    page = Page(settings_for(running.address, tmp_path_factory.mktemp("asked")))
    assert page.add(bag_png) == 1
    yield page
    page.close()


@pytest.mark.parametrize(
    ("listen", "host", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1:8080", True),
        ("127.0.0.1", "localhost:9000", True),
        ("127.0.0.1", "LOCALHOST", True),
        ("127.0.0.1", "[::1]:8080", True),
        ("127.0.0.1", "127.0.0.1.evil.example:8080", False),
        ("127.0.0.1", "evil.example", False),
        ("127.0.0.1", "10.0.0.7:8080", False),
        ("127.0.0.1", "", False),
        ("127.0.0.1", "[::1", False),
        ("localhost", "127.0.0.1:8080", True),
        ("10.0.0.7", "10.0.0.7:8080", True),
        ("10.0.0.7", "localhost:8080", False),
        ("lane3.example", "lane3.example:8080", True),
        ("lane3.example", "lane4.example:8080", False),
        ("0.0.0.0", "10.0.0.7:8080", True),
        ("0.0.0.0", "localhost:8080", True),
        ("0.0.0.0", "evil.example:8080", False),
        ("::", "[fd00::7]:8080", True),
    ],
)
def test_a_name_that_could_be_pointed_here_is_no_name_of_the_console(
    listen: str, host: str, allowed: bool
) -> None:
    assert Hosts([listen]).allow(host) is allowed


def test_a_name_behind_a_proxy_is_one_when_it_is_given(
    open_page: Callable[..., Page], bag_png: bytes
) -> None:
    page = open_page("127.0.0.1:1", hosts=["lane3.example"])
    headers = {"Host": "lane3.example", "Origin": "https://lane3.example"}
    assert page.ask("POST", "/api/images", data=bag_png, headers=headers).status == 201
    headers["Host"] = "lane4.example"
    assert page.ask("GET", "/", headers=headers).status == 403


def test_another_sites_name_for_this_machine_is_refused_everywhere(page: Page) -> None:
    for path in ("/", "/static/api.js", "/api/images", "/api/export/coco.zip"):
        answer = page.ask("GET", path, headers={"Host": "rebound.example:8080"})
        assert (answer.status, answer.error["reason"]) == (403, "FOREIGN_HOST")


@pytest.mark.parametrize(
    ("headers", "allowed"),
    [
        ({}, True),
        ({"Origin": "http://127.0.0.1:8080"}, True),
        ({"Origin": "http://evil.example"}, False),
        ({"Origin": "http://127.0.0.1:9090"}, False),
        ({"Origin": "null"}, False),
        ({"Sec-Fetch-Site": "same-origin"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, False),
        ({"Sec-Fetch-Site": "same-site"}, False),
    ],
)
def test_other_pages_change_nothing(
    page: Page, bag_png: bytes, headers: dict[str, str], allowed: bool
) -> None:
    own = {"Host": "127.0.0.1:8080", "X-Filename": "a.png"}
    answer = page.ask("POST", "/api/images", data=bag_png, headers=own | headers)
    assert answer.status == (201 if allowed else 403)
    assert len(page.get("/api/images")) == allowed
    for method, path in (("PATCH", "/api/images/1"), ("DELETE", "/api/objects/1")):
        answer = page.ask(method, path, json={"status": "done"}, headers=own | headers)
        assert (answer.status == 403) is not allowed
    assert (page.ask("GET", "/api/images", headers=own | headers).status == 200) is allowed
    assert page.ask("GET", "/", headers=own | headers).status == 200


def test_every_answer_says_that_it_may_not_be_framed_or_sniffed(page: Page) -> None:
    for path in ("/", "/static/api.js", "/api/info", "/api/nothing"):
        headers = page.ask("GET", path).headers
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert "Access-Control-Allow-Origin" not in headers


def _bomb() -> bytes:
    """A PNG header of 60,000 x 60,000 pixels."""
    head = b"IHDR" + struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    size, check = struct.pack(">I", len(head) - 4), struct.pack(">I", zlib.crc32(head))
    return b"\x89PNG\r\n\x1a\n" + size + head + check


@pytest.mark.parametrize(
    ("data", "status", "message"),
    [
        (b"GIF89a and so on", 400, "starts with 47 49 46"),
        (b"", 400, "starts with nothing"),
        (_bomb(), 400, "60000 x 60000 pixels"),
        (bytes(MAX_BYTES + 1), 413, "Maximum request body size"),
    ],
)
def test_what_the_service_would_refuse_is_not_kept(
    page: Page, data: bytes, status: int, message: str
) -> None:
    answer = page.ask("POST", "/api/images", data=io.BytesIO(data))
    assert answer.status == status
    assert message in answer.error["message"]
    assert page.get("/api/images") == []


def test_a_picture_that_is_cut_off_is_not_kept(page: Page, bag_png: bytes) -> None:
    assert "cut off" in page.ask("POST", "/api/images", data=bag_png[:-30]).error["message"]
    assert page.get("/api/images") == []


def test_the_services_own_limit_counts_where_it_is_lower(
    serve: Callable[..., BackgroundServer], open_page: Callable[..., Page], bag_png: bytes
) -> None:
    page = open_page(serve(max_message_bytes=2**16 + 100, max_pixels=10_000).address)
    page.get("/api/info")
    refused = page.ask("POST", "/api/images", data=bag_png).error
    assert "send at most 100" in refused["fix"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "prompt has 0 points and no box"),
        ({"points": [{"x": 80, "y": 20}]}, "click (80.0, 20.0) lies outside the image"),
        ({"points": [{"x": -1, "y": 20}]}, "lies outside the image of 80 x 60"),
        ({"points": [{"x": float("nan"), "y": 20}]}, "is not a number"),
        ({"points": [{"x": 10**400, "y": 20}]}, "is not a number"),
        ({"points": [{"x": "20", "y": 20}]}, "x is '20'"),
        ({"points": [{"x": True, "y": 20}]}, "x is 'True'"),
        ({"points": [{"x": 20, "y": 20, "positive": 1}]}, "positive is '1'"),
        ({"points": [[20, 20]]}, "point is '[20, 20]'"),
        ({"points": {"x": 20}}, "points is"),
        ({"points": [{"x": 20, "y": 20}] * 17}, "prompt has 17 points"),
        ({"box": {"left": 9, "top": 0, "right": 5, "bottom": 5}}, "is empty or outside"),
        ({**ONE_CLICK, "strategy": "magic"}, "strategy is 'magic'"),
        ({**ONE_CLICK, "refine": 7}, "refine is '7'"),
        ([], "request is a JSON list"),
    ],
)
def test_questions_that_cannot_be_answered_say_what_is_wrong(
    asked: Page, document: Any, message: str
) -> None:
    answer = asked.ask("POST", "/api/images/1/segment", json=document)
    assert answer.status == 400
    assert message in answer.error["message"]


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000])
def test_what_is_no_json_is_refused(asked: Page, data: bytes) -> None:
    answer = asked.ask("POST", "/api/images/1/segment", data=data)
    assert answer.status == 400
    assert "is no JSON" in answer.error["message"]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({}, "mask is 'None'"),
        ({"mask": {"size": [60, 80], "counts": [4800]}}, "mask is"),
        ({"mask": {"size": [60, 80], "counts": "P"}}, "cut off"),
        ({"mask": {"size": [60, 81], "counts": "0"}}, "mask is 81 x 60 pixels"),
        ({"mask": "MASK", "category": "Cat"}, "category 'Cat' is none of the 30"),
        ({"mask": "MASK", "verdict": "maybe"}, "verdict 'maybe' must be one of"),
        ({"mask": "MASK", "round": "one"}, "round is 'one'"),
        ({"mask": "MASK", "score": 1.5}, "score 1.5"),
        ({"mask": "MASK", "score": float("nan")}, "score nan"),
    ],
)
def test_objects_that_make_no_sense_are_not_saved(
    asked: Page, document: dict[str, Any], message: str
) -> None:
    if document.get("mask") == "MASK":
        document = {**document, "mask": asked.click(1)["mask"]}
    answer = asked.ask("POST", "/api/images/1/objects", json=document)
    assert answer.status == 400
    told = answer.error
    assert message in told["message"] + told["fix"]
    assert asked.get("/api/images/1/objects") == []


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/images/7/objects", 404),
        ("POST", "/api/images/7/open", 404),
        ("GET", "/api/images/999999999999999999/file", 404),
        ("GET", "/api/images/9999999999999999999/file", 404),
        ("GET", "/api/images/-1/file", 404),
        ("PATCH", "/api/objects/7", 404),
        ("PUT", "/api/images", 405),
        ("GET", "/api/export/..%2f..%2fetc.zip", 404),
        ("GET", "/nothing", 404),
    ],
)
def test_what_is_not_there_is_told_in_the_same_form(
    asked: Page, method: str, path: str, status: int
) -> None:
    answer = asked.ask(method, path, json={"verdict": "rejected"})
    assert answer.status == status
    assert answer.error["reason"]


def test_a_folder_of_pictures_that_is_none_is_refused_at_the_start(
    open_page: Callable[..., Page], tmp_path: Path
) -> None:
    with pytest.raises(InvalidInputError, match=r"--images .*nowhere is no folder"):
        open_page("127.0.0.1:1", images=tmp_path / "nowhere")
