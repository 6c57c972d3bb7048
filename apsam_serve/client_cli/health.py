"""Whether servers are loaded, warm and not draining. The exit code is 0 when all of them are."""

from __future__ import annotations

import argparse

from apsam_serve.client import Client
from apsam_serve.client_cli.result import Result
from apsam_serve.errors import NotServingError


def configure(parser: argparse.ArgumentParser) -> None:
    """The verb's own options: none."""


def run(client: Client, options: argparse.Namespace) -> Result:
    """Raises NotServingError when the only server does not answer."""
    states = {server: _state(client, server) for server in client.servers}
    lines = (
        [*states.values()]
        if len(states) == 1
        else [f"{server}: {state}" for server, state in states.items()]
    )
    return Result(
        document={"servers": states},
        text="\n".join(lines),
        code=0 if set(states.values()) == {"SERVING"} else 1,
    )


def _state(client: Client, server: str) -> str:
    try:
        return "SERVING" if client.is_serving(server) else "NOT_SERVING"
    except NotServingError:
        if len(client.servers) == 1:
            raise
        return "NO_ANSWER"
