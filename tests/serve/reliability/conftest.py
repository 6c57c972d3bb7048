"""Servers as processes of their own, which end with the test."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Protocol

import pytest

from tests.serve.reliability.behaviour import Behaviour
from tests.serve.reliability.server_process import ServerProcess

AS_IT_IS = Behaviour()
"""The double without a fault."""


class Launch(Protocol):
    """Starts a server: of the faulty double by default, of the product alone where `behaviour` is
    None."""

    def __call__(
        self,
        *options: str,
        bundle: Path | None = None,
        behaviour: Behaviour | None = ...,
        listen: str = ...,
    ) -> ServerProcess: ...


@pytest.fixture
def launch(tiny_bundle: Path, tmp_path: Path) -> Iterator[Launch]:
    """Servers over the tiny bundle."""
    with ExitStack() as started:
        number = 0

        def start(
            *options: str,
            bundle: Path | None = None,
            behaviour: Behaviour | None = AS_IT_IS,
            listen: str = "127.0.0.1:0",
        ) -> ServerProcess:
            nonlocal number
            number += 1
            folder = tmp_path / f"server-{number}"
            folder.mkdir()
            server = ServerProcess(
                bundle or tiny_bundle,
                *options,
                folder=folder,
                behaviour=behaviour,
                listen=listen,
            )
            return started.enter_context(server)

        yield start
