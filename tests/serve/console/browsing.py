"""A console in this process and who talks to it: a browser without a screen."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aiohttp.test_utils import TestClient, TestServer

from apsam_serve.console.app import Settings, application, desk
from apsam_serve.console.desk import Desk
from apsam_serve.console.guard import Hosts


@dataclass(frozen=True, kw_only=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        """Of a request that must fail."""
        assert self.status >= 400, self.body[:200]
        told: dict[str, Any] = self.json["error"]
        assert told["message"]
        assert told["fix"]
        return told


class Page:
    """Asks one console, from the loop that it runs in."""

    def __init__(self, settings: Settings) -> None:
        self._runner = asyncio.Runner()
        self._stack = AsyncExitStack()
        self._closed = False
        self.desk: Desk
        self._client: TestClient[Any, Any]
        try:
            self._runner.run(self._open(settings))
        except BaseException:
            self._runner.close()
            raise

    async def _open(self, settings: Settings) -> None:
        self.desk = await self._stack.enter_async_context(desk(settings))
        server = TestServer(application(self.desk, Hosts([settings.listen, *settings.hosts])))
        self._client = await self._stack.enter_async_context(TestClient(server))

    def close(self) -> None:
        """Harmless when closed already."""
        if not self._closed:
            self._closed = True
            self._runner.run(self._stack.aclose())
            self._runner.close()

    def ask(self, method: str, path: str, **options: Any) -> Answer:
        return self.ask_together((method, path, options))[0]

    def ask_together(self, *asked: tuple[str, str, dict[str, Any]]) -> list[Answer]:
        """Requests at the same time."""

        async def one(method: str, path: str, options: dict[str, Any]) -> Answer:
            async with self._client.request(method, path, **options) as response:
                return Answer(
                    status=response.status,
                    headers=response.headers,
                    body=await response.read(),
                )

        async def all_of_them() -> list[Answer]:
            return await asyncio.gather(*(one(*request) for request in asked))

        return self._runner.run(all_of_them())

    def get(self, path: str) -> Any:
        answer = self.ask("GET", path)
        assert answer.status == 200, answer.body[:500]
        return answer.json

    def send(self, method: str, path: str, document: Any) -> Any:
        answer = self.ask(method, path, json=document)
        assert answer.status in (200, 201, 202), answer.body[:500]
        return answer.json

    def add(self, data: bytes, name: str = "bag.png") -> int:
        """The image's id."""
        answer = self.ask("POST", "/api/images", data=data, headers={"X-Filename": name})
        assert answer.status == 201, answer.body[:500]
        number: int = answer.json["id"]
        return number

    def click(self, image: int, x: float = 20, y: float = 20, **more: Any) -> Any:
        points = [{"x": x, "y": y, "positive": True}]
        return self.send("POST", f"/api/images/{image}/segment", {"points": points, **more})


def settings_for(server: str, folder: Path, **changes: Any) -> Settings:
    given = Settings(servers=[server], project=folder / "project", reviewer="ada", timeout_s=10)
    return replace(given, **changes)
