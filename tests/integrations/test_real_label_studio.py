"""Label Studio itself, installed into an environment of its own, with the back end connected."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pycocotools import mask as coco_mask

from apsam_serve.contract.masks import mask_iou
from integrations.label_studio.to_coco import coco_of as coco_of_export
from tests.clients.environments import ROOT, NotToBeHadError, python_with, run
from tests.integrations.conftest import CLICK
from tests.integrations.label_studio_double import (
    BRUSH_CONFIG,
    LEGACY_TOKEN,
    POLYGON_CONFIG,
    coco_of,
    keypoint,
)
from tests.integrations.test_from_coco import imported as import_coco

VERSION = "1.23.2"
START_S = 300.0
SETTINGS = {
    "ML_BLOCK_LOCAL_IP": "false",  # it refuses back ends of its own machine otherwise
    "SSRF_PROTECTION_ENABLED": "false",  # and their webhooks
    "COLLECT_ANALYTICS": "false",
    "LATEST_VERSION_CHECK": "false",
    "SENTRY_DSN": "",
    "FRONTEND_SENTRY_DSN": "",
}


@pytest.fixture(scope="module")
def python() -> Path:
    """Of an environment with Label Studio."""
    try:
        return python_with("label-studio", f"label-studio=={VERSION}") / "bin/python"
    except NotToBeHadError as error:
        pytest.skip(f"Label Studio {VERSION} {error}")


@pytest.fixture(scope="module")
def studio(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Label Studio with one user, who has a legacy token."""
    folder, url = tmp_path_factory.mktemp("studio"), f"http://127.0.0.1:{free_port()}"
    user = ["--username", "ada@example.com", "--password", "lovelace-1843"]
    tokens = ["--user-token", LEGACY_TOKEN, "--enable-legacy-api-token"]
    command = [python.with_name("label-studio"), "start", "--no-browser", *user, *tokens]
    command += ["--port", url.rpartition(":")[2], "--data-dir", folder]
    with process([str(word) for word in command], SETTINGS, folder / "log", f"{url}/health"):
        yield url


@contextmanager
def process(
    command: Sequence[str], settings: Mapping[str, str], log: Path, health: str
) -> Iterator[None]:
    """A program, from the time its health check passes."""
    with log.open("wb") as output:
        started = subprocess.Popen(
            command, env={**os.environ, **settings}, stdout=output, stderr=output, cwd=ROOT
        )
        try:
            ends_s = time.monotonic() + START_S
            while not answers(health):
                alive = started.poll() is None and time.monotonic() < ends_s
                assert alive, log.read_text(errors="replace")[-3000:]
                time.sleep(0.5)
            yield
        finally:
            started.terminate()
            started.wait(30)


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except OSError:
        return False


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def personal_token(studio: str) -> str:
    """As a person gets one under Account & Settings."""
    request = urllib.request.Request(
        f"{studio}/api/token/",
        data=b"{}",
        headers={"Authorization": f"Token {LEGACY_TOKEN}", "Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as reply:
        return str(json.load(reply)["token"])


@pytest.fixture(scope="module")
def session(
    python: Path,
    studio: str,
    apsam: str,
    bag_png: bytes,
    disc: NDArray[np.bool_],
    tmp_path_factory: pytest.TempPathFactory,
) -> Any:
    """A project for brushes, one for polygons and a review, see `label_studio_session`."""
    folder, backend = tmp_path_factory.mktemp("backend"), f"127.0.0.1:{free_port()}"
    (folder / "bag.png").write_bytes(bag_png)
    command = [sys.executable, "-m", "integrations.label_studio", "--server", apsam]
    command += ["--label-studio", studio, "--listen", backend, "--propose", "--simplify-px", "0"]
    key = {"LABEL_STUDIO_API_KEY": personal_token(studio)}
    click = json.dumps([keypoint(100 * CLICK[0] / 80, 100 * CLICK[1] / 60)])
    script = Path(__file__).with_name("label_studio_session.py")
    imported = tmp_path_factory.mktemp("coco")
    assert import_coco(imported, coco_of("bag.png", disc, category="Gun")) == 0
    asked = [studio, LEGACY_TOKEN, f"http://{backend}", folder / "bag.png", click]
    asked.append(imported / "tasks.json")
    with process(command, key, folder / "log", f"http://{backend}/health"):
        printed = run(python, script, *asked, BRUSH_CONFIG, POLYGON_CONFIG, timeout_s=300)
    return json.loads(printed.splitlines()[-1])


@pytest.mark.slow
def test_a_click_in_label_studio_is_the_servers_own_mask(
    session: Any, disc: NDArray[np.bool_]
) -> None:
    brushes = session["projects"][0]
    assert brushes["state"] == "CO"
    assert "errors" not in brushes["click"], brushes["click"]
    (region,) = brushes["click"]["data"]["result"]
    assert mask_iou(np.array(region["pixels"]) > 0, disc) == 1.0


@pytest.mark.slow
def test_label_studio_stores_what_the_server_finds_by_itself(session: Any) -> None:
    for project, kind in zip(session["projects"], ("brushlabels", "polygonlabels"), strict=True):
        (stored,) = project["stored"]
        assert stored["model_version"].startswith("apsam-tiny-")
        assert {region["type"] for region in stored["result"]} == {kind}


@pytest.mark.slow
def test_a_click_in_a_project_of_polygons_is_a_polygon(session: Any) -> None:
    (region,) = session["projects"][1]["click"]["data"]["result"]
    assert region["type"] == "polygonlabels"
    assert len(region["value"]["points"]) >= 8


@pytest.mark.slow
def test_masks_go_in_and_come_out_as_coco_unchanged(session: Any, disc: NDArray[np.bool_]) -> None:
    (mask,) = session["review"]["masks"]
    assert mask_iou(np.array(mask) > 0, disc) == 1.0
    document = coco_of_export(session["review"]["exported"], data_key="picture")
    assert [image["file_name"] for image in document["images"]] == ["bags/bag.png"]
    assert [category["name"] for category in document["categories"]] == ["Gun"]
    (found,) = document["annotations"]
    assert mask_iou(coco_mask.decode(found["segmentation"]) > 0, disc) == 1.0
