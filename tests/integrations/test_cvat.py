"""The interactors: the nuclio function in miniature, both with the tools' own packages (slow)."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from apsam_serve.contract.masks import mask_iou
from integrations.cvat.main import handler, init_context, mask_document, prompt_of
from tests.clients.environments import ROOT, NotToBeHadError, python_with, run
from tests.integrations.conftest import CLICK

PACKAGES = (
    *("cvat-cli==2.80.0", "cvat-sdk[masks]==2.80.0", "nuclio-sdk==0.6.3"),
    *("numpy==2.4.6", "grpcio==1.76.0", "protobuf==6.33.6", "opencv-python-headless==5.0.0.93"),
)


class Context:
    """What a nuclio worker hands to the function."""

    def __init__(self) -> None:
        self.user_data = SimpleNamespace()
        self.logged: list[str] = []
        self.logger = SimpleNamespace(error=self.logged.append)
        self.Response = SimpleNamespace  # keywords become attributes, as nuclio's do


Call = Callable[[dict[str, Any]], tuple[int, Any]]


@pytest.fixture
def context(apsam: str, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("APSAM_SERVER", apsam)
    context = Context()
    init_context(context)
    return context


def called(context: Context, **body: Any) -> tuple[int, Any]:
    """(status, document); the body as CVAT sends it."""
    reply = handler(context, SimpleNamespace(body=body))
    assert reply.content_type == "application/json"
    return reply.status_code, json.loads(reply.body)


def drawn(document: dict[str, Any]) -> NDArray[np.bool_]:
    """A reply as CVAT's page reads it, as bool [60, 80]."""
    left, top, right, bottom = document["bounds"]
    mask = np.zeros((60, 80), bool)
    mask[top : bottom + 1, left : right + 1] = np.array(document["mask"]) > 0
    return mask


def test_a_click_answers_with_the_servers_own_mask(
    context: Context, bag_png: bytes, disc: NDArray[np.bool_]
) -> None:
    image = base64.b64encode(bag_png).decode()
    for box in (None, []):
        status, document = called(
            context, image=image, pos_points=[CLICK], neg_points=[], obj_bbox=box
        )
        assert status == 200
        assert np.array_equal(drawn(document), disc)
    assert len(context.user_data.interactor._held) == 1


def test_a_box_and_points_at_the_edge_are_understood(context: Context, bag_png: bytes) -> None:
    status, _ = called(
        context,
        image=base64.b64encode(bag_png).decode(),
        pos_points=[[80, 60]],
        neg_points=[[-0.2, 3]],
        obj_bbox=[[60.5, 40], [80.3, 60]],
    )
    assert status == 200


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image": "%%%"}, "base64"),
        ({"image": base64.b64encode(b"no picture").decode()}, "PNG, JPEG or TIFF"),
        ({"pos_points": [[1, 2, 3]]}, "pairs of numbers"),
        ({"pos_points": [["a", 2]]}, "pairs of numbers"),
        ({"pos_points": [], "neg_points": []}, "0 points and no box"),
        ({"pos_points": None}, "pairs of numbers"),
    ],
)
def test_what_cannot_be_answered_is_logged_with_its_reason(
    context: Context, bag_png: bytes, change: dict[str, Any], words: str
) -> None:
    image = base64.b64encode(bag_png).decode()
    body = {"image": image, "pos_points": [CLICK], "neg_points": [], "obj_bbox": None} | change
    status, document = called(context, **body)
    assert status == 400
    assert words in document["error"]["message"]
    assert words in context.logged[0]


def test_an_empty_mask_is_one_pixel_of_background_without_points() -> None:
    empty = {"mask": [[0]], "bounds": [0, 0, 0, 0], "points": []}
    assert mask_document(np.zeros((4, 5), bool)) == empty


def test_a_prompt_keeps_which_points_are_negative() -> None:
    prompt = prompt_of([[1, 2]], [[3, 4]], None, height=60, width=80)
    assert [(p.x, p.y, p.positive) for p in prompt.points] == [(1, 2, True), (3, 4, False)]


def test_the_function_says_what_cvat_needs_to_offer_it() -> None:
    function = yaml.safe_load((ROOT / "integrations/cvat/function.yaml").read_text())
    annotations = function["metadata"]["annotations"]
    assert (annotations["type"], annotations["version"]) == ("interactor", 2)
    assert function["spec"]["handler"] == "main:handler"
    assert "APSAM_SERVER" in [variable["name"] for variable in function["spec"]["env"]]


@pytest.mark.slow
def test_agent_and_function_do_with_the_real_packages(
    apsam: str, bag_png: bytes, disc: NDArray[np.bool_], tmp_path: Path
) -> None:
    try:
        python = python_with("cvat", *PACKAGES) / "bin/python"
    except NotToBeHadError as error:
        pytest.skip(f"CVAT's packages {error}")
    (tmp_path / "bag.png").write_bytes(bag_png)
    script = Path(__file__).with_name("cvat_session.py")
    asked = [apsam, tmp_path / "bag.png", *map(str, CLICK)]
    printed = run(python, script, *asked, env={**os.environ, "PYTHONPATH": str(ROOT)})
    found = json.loads(printed.splitlines()[-1])
    assert found["agent"]["kind"] == "interactor"
    assert found["agent"]["fields"]["startswith_box_optional"] is True
    assert 0 <= found["agent"]["confidence"] <= 1
    assert mask_iou(np.array(found["agent"]["mask"]) > 0, disc) == 1.0
    assert found["nuclio"]["status"] == 200
    assert mask_iou(drawn(found["nuclio"]), disc) == 1.0
