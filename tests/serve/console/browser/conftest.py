"""One Chromium for all of these tests, and consoles over real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from selenium import webdriver

from apsam_serve.config import ServeConfig
from apsam_serve.service.background import BackgroundServer
from tests.serve.console.browser.driving import CHROMIUM, DRIVER, Console, Person, chromium
from tests.serve.console.browsing import settings_for


@pytest.fixture(scope="session")
def driver() -> Iterator[webdriver.Chrome]:
    if not (CHROMIUM and DRIVER):
        pytest.skip("no chromium or no chromedriver here: apt-get install chromium chromium-driver")
    opened = chromium()
    yield opened
    opened.quit()


@pytest.fixture(scope="module")
def named_config(named_bundle: Path, config: ServeConfig) -> ServeConfig:
    return replace(config, bundle=named_bundle)


@pytest.fixture(scope="module")
def named_server(named_config: ServeConfig) -> Iterator[BackgroundServer]:
    with BackgroundServer(named_config) as server:
        yield server


@pytest.fixture(scope="session")
def bag_file(tmp_path_factory: pytest.TempPathFactory, bag_png: bytes) -> Path:
    path = tmp_path_factory.mktemp("pictures") / "bag 1.png"
    path.write_bytes(bag_png)
    return path


@pytest.fixture
def open_console(tmp_path: Path) -> Iterator[Callable[..., Console]]:
    """`open_console(server)`; it ends with the test."""
    opened: list[Console] = []

    def start(server: str, **changes: Any) -> Console:
        opened.append(Console(settings_for(server, tmp_path, port=0, **changes)))
        return opened[-1]

    yield start
    for console in opened:
        console.close()


@pytest.fixture
def someone(driver: webdriver.Chrome, bag: NDArray[np.uint8]) -> Person:
    height, width, _ = bag.shape
    return Person(driver, (width, height))


@pytest.fixture
def person(
    someone: Person,
    named_server: BackgroundServer,
    open_console: Callable[..., Console],
    bag_file: Path,
) -> Iterator[Person]:
    """Before a bag that the service holds; the browser must not have complained."""
    someone.visit(open_console(named_server.address).address)
    someone.all("#files")[0].send_keys(str(bag_file))
    someone.wait(lambda: "held" in someone.text("#lease"))
    someone.complaints()
    yield someone
    assert someone.complaints() == []
