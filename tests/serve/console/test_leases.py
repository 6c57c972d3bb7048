"""What the service holds, and what a page sees when it no longer does."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import grpc
import pytest

from apsam_serve.config import ServeConfig
from apsam_serve.console import leases
from apsam_serve.service.background import BackgroundServer
from apsam_serve.v1 import segmentation_pb2 as pb
from apsam_serve.v1 import segmentation_pb2_grpc as pb_grpc
from tests.serve.console.browsing import Page


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service that is away is told of after two tries."""
    monkeypatch.setattr(leases, "_PAUSE_S", 0.02)
    monkeypatch.setattr(leases, "PATIENCE_S", 0.05)


def num_encoded(server: BackgroundServer) -> int:
    return len(server.server.engine.store)


def forget(server: BackgroundServer, answer: dict[str, Any]) -> None:
    """Have the service forget the picture that an answer is about."""
    request = pb.DeleteEmbeddingRequest(handle=answer["mask_id"].rpartition("/")[0])
    with grpc.insecure_channel(server.address) as channel:
        stub = pb_grpc.SegmentationServiceStub(channel)  # type: ignore[no-untyped-call]
        assert stub.DeleteEmbedding(request, timeout=10).deleted


def test_opening_again_renews_and_encodes_nothing(
    serve: Callable[..., BackgroundServer], open_page: Callable[..., Page], bag_png: bytes
) -> None:
    server = serve(ttl_s=60.0)
    page = open_page(server.address)
    image = page.add(bag_png)
    open_it = ("POST", f"/api/images/{image}/open", {"json": {}})
    answers = page.ask_together(open_it, open_it, open_it)
    for answer in (*answers, page.ask("POST", open_it[1], json={})):
        assert answer.json["lease"] == {"expires_in_s": 60, "ttl_s": 60}
        assert answer.json["encoded_again"] is False
    assert num_encoded(server) == 1


def test_a_picture_whose_lease_ran_out_is_encoded_again_and_says_so(
    serve: Callable[..., BackgroundServer], open_page: Callable[..., Page], bag_png: bytes
) -> None:
    page = open_page(serve(ttl_s=0.5).address)
    image = page.add(bag_png)
    first = page.click(image)
    assert first["lease"]["ttl_s"] == 0.5
    time.sleep(0.6)
    again = page.click(image)
    assert (first["encoded_again"], again["encoded_again"]) == (False, True)
    assert again["mask"] == first["mask"]


def test_a_mask_that_went_with_its_picture_is_not_refined_and_the_page_is_told(
    page: Page, running: BackgroundServer, bag_png: bytes
) -> None:
    image = page.add(bag_png)
    first = page.click(image)
    forget(running, first)
    refined = page.click(image, refine=first["mask_id"])
    assert (refined["encoded_again"], refined["refine_lost"]) == (True, True)
    assert refined["mask"] == first["mask"]
    forget(running, refined)
    for question, again in (("open", True), ("propose", False)):
        answer = page.send("POST", f"/api/images/{image}/{question}", {})
        assert (answer["encoded_again"], answer["refine_lost"]) == (again, False)


def test_a_restart_of_the_service_in_the_middle_costs_nothing_but_time(
    config: ServeConfig, open_page: Callable[..., Page], bag_png: bytes, impatient: None
) -> None:
    with BackgroundServer(config) as server:
        address = server.address
        page = open_page(address)
        image = page.add(bag_png)
        before = page.click(image)
        saved = page.send("POST", f"/api/images/{image}/objects", {"mask": before["mask"]})
    away = page.ask("POST", f"/api/images/{image}/segment", json={"points": [{"x": 20, "y": 20}]})
    assert away.status == 503
    told = away.error
    assert told["reason"] == "NOT_SERVING"
    assert address in told["message"]
    assert "start apsam-serve" in told["fix"]
    assert told["retry_after_s"] == int(away.headers["Retry-After"]) > 0
    info = page.get("/api/info")["server"]
    assert info["serving"] is False
    assert address in info["message"]
    assert page.get(f"/api/images/{image}/objects") == [saved]
    assert page.ask("GET", f"/api/images/{image}/view/original.png").status == 200
    with BackgroundServer(replace(config, listen=address)):
        after = _when_it_answers(page, image, before["mask_id"])
        assert (after["encoded_again"], after["refine_lost"]) == (True, True)
        assert after["mask"] == before["mask"]
        assert page.click(image)["encoded_again"] is False
        assert page.get("/api/info")["server"]["serving"] is True


def test_a_moment_without_the_service_is_waited_for(
    config: ServeConfig, open_page: Callable[..., Page], bag_png: bytes
) -> None:
    with BackgroundServer(config) as server:
        address = server.address
        page = open_page(address)
        image = page.add(bag_png)
        page.click(image)
    with BackgroundServer(replace(config, listen=address)):
        assert page.click(image)["encoded_again"] is True


def test_what_was_used_longest_ago_is_given_back(
    serve: Callable[..., BackgroundServer],
    open_page: Callable[..., Page],
    bag_png: bytes,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(leases, "MAX_LEASES", 2)
    server = serve()
    page = open_page(server.address)
    # PNG readers ignore what stands behind the end.
    images = [page.add(bag_png + bytes([number])) for number in range(3)]
    for image in (images[0], images[1], images[0], images[2]):
        page.click(image)
    assert num_encoded(server) == 2
    page.click(images[0])
    assert num_encoded(server) == 2


def test_a_console_that_ends_gives_everything_back(
    serve: Callable[..., BackgroundServer], open_page: Callable[..., Page], bag_png: bytes
) -> None:
    server = serve()
    page = open_page(server.address)
    page.click(page.add(bag_png))
    assert num_encoded(server) == 1
    page.close()
    assert num_encoded(server) == 0


def _when_it_answers(page: Page, image: int, refine: str) -> dict[str, object]:
    """Asks again as the page does."""
    for _ in range(100):
        document = {"points": [{"x": 20, "y": 20}], "refine": refine}
        answer = page.ask("POST", f"/api/images/{image}/segment", json=document)
        if answer.status == 200:
            told: dict[str, object] = answer.json
            return told
        assert answer.status == 503
        time.sleep(0.05)
    raise AssertionError("the service did not come back")
