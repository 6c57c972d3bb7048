"""A server whose masks are discs around clicks and whose bundle names categories."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from apsam_serve.client import Client
from apsam_serve.config import ServeConfig
from apsam_serve.contract.prompts import Prompt
from apsam_serve.service.background import BackgroundServer
from tests.serve.conftest import NAMED_MODEL, write_tiny_bundle

CLICK = (20.0, 24.0)
"""In pixels of the bag."""


@pytest.fixture(scope="session")
def apsam(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """HOST:PORT of a server."""
    path = tmp_path_factory.mktemp("bundles") / "named"
    write_tiny_bundle(path, NAMED_MODEL)
    config = ServeConfig(bundle=path, listen="127.0.0.1:0", backend="fake", threads=1)
    with BackgroundServer(config) as server:
        yield server.address


@pytest.fixture(scope="session")
def bag_png() -> bytes:
    """80 x 60 pixels, so that height and width cannot be mixed up unseen."""
    image = np.full((60, 80, 3), 255, np.uint8)
    image[10:40, 10:40] = (90, 60, 40)
    return cv2.imencode(".png", image)[1].tobytes()


@pytest.fixture(scope="session")
def disc(apsam: str, bag_png: bytes) -> NDArray[np.bool_]:
    """The server's own mask bool [H, W] for `CLICK`, asked for without any integration."""
    with Client(apsam) as client:
        (answer,) = client.segment(bag_png, [Prompt.click(*CLICK)])
    assert 20 < answer.mask.sum() < answer.mask.size / 2
    return answer.mask
