"""Consoles over real servers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from apsam_serve.service.background import BackgroundServer
from tests.serve.console.browsing import Page, settings_for


@pytest.fixture
def open_page(tmp_path: Path) -> Iterator[Callable[..., Page]]:
    """Consoles for a server: `open_page("127.0.0.1:1", round=2)`; they close with the test."""
    opened: list[Page] = []

    def start(server: str, **changes: Any) -> Page:
        opened.append(Page(settings_for(server, tmp_path, **changes)))
        return opened[-1]

    yield start
    for page in reversed(opened):
        page.close()


@pytest.fixture
def page(running: BackgroundServer, open_page: Callable[..., Page]) -> Page:
    return open_page(running.address)
