"""Requests as Label Studio 1.23 sends them, and a stand-in that serves images as it does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer
from numpy.typing import NDArray

from apsam_serve.contract.masks import encode_rle
from integrations.label_studio.app import BackendConfig, make_app
from integrations.label_studio.images import Sources

LEGACY_TOKEN = "0123456789abcdef0123456789abcdef01234567"
PERSONAL_TOKEN = "header.payload.signature"
BRUSH_CONFIG = """
<View>
  <Image name="image" value="$picture" zoom="true"/>
  <BrushLabels name="mask" toName="image"><Label value="Gun"/><Label value="Bullet"/></BrushLabels>
  <KeyPointLabels name="point" toName="image" smart="true"><Label value="Gun"/></KeyPointLabels>
  <RectangleLabels name="box" toName="image" smart="true"><Label value="Gun"/></RectangleLabels>
</View>
"""
POLYGON_CONFIG = BRUSH_CONFIG.replace("BrushLabels", "PolygonLabels")
Client = TestClient[web.Request, web.Application]


def keypoint(x: float, y: float, *, positive: bool = True, label: str = "Bullet") -> dict[str, Any]:
    """A smart keypoint at (x, y) in percent of an image of 80 x 60 pixels."""
    return {
        "original_width": 80,
        "original_height": 60,
        "image_rotation": 0,
        "value": {"x": x, "y": y, "width": 0.5, "keypointlabels": [label]},
        "is_positive": positive,
        "id": "Lz3xQ8Yc1m",
        "from_name": "point",
        "to_name": "image",
        "type": "keypointlabels",
        "origin": "manual",
    }


def rectangle(x: float, y: float, width: float, height: float) -> dict[str, Any]:
    """A smart rectangle, in percent."""
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0}
    region = keypoint(0, 0) | {"from_name": "box", "type": "rectanglelabels"}
    del region["is_positive"]
    return region | {"value": value | {"rectanglelabels": ["Gun"]}}


def prediction(
    address: str, *regions: dict[str, Any], config: str = BRUSH_CONFIG
) -> dict[str, Any]:
    """The body of POST /predict; without regions Label Studio sends no context."""
    context = {"result": list(regions)} if regions else None
    return {
        "tasks": [
            {
                "id": 4,
                "data": {"picture": address},
                "project": 1,
                "annotations": [],
                "predictions": [],
            }
        ],
        "project": "1.1763900000",
        "label_config": config,
        "params": {"login": None, "password": None, "context": context},
    }


def setup(config: str = BRUSH_CONFIG) -> dict[str, Any]:
    """The body of POST /setup."""
    return {
        "project": "1.1763900000",
        "schema": config,
        "hostname": "http://attacker.example",
        "access_token": "stolen",
        "extra_params": None,
    }


def coco_of(name: str, mask: NDArray[np.bool_], *, category: str) -> dict[str, Any]:
    """One image with one mask, and with one object of which only the box is known."""
    encoded = encode_rle(mask)
    size = {"height": encoded.height, "width": encoded.width}
    segmentation = {"size": list(mask.shape), "counts": encoded.counts}
    objects: list[dict[str, Any]] = [
        {"segmentation": segmentation, "score": 0.75},
        {"segmentation": [], "score": 0.0},
    ]
    return {
        "images": [{"id": 9, "file_name": name, **size}],
        "categories": [{"id": 3, "name": category}],
        "annotations": [
            {"id": number, "image_id": 9, "category_id": 3, **found}
            for number, found in enumerate(objects, start=1)
        ],
    }


class LabelStudio:
    """Serves one image to whoever has a token, and notes the headers it was asked with."""

    def __init__(self, image: bytes) -> None:
        self.image = image
        self.asked: list[str] = []
        self.url = ""
        self.elsewhere = "http://storage.example/bag.png"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/data/upload/1/bag.png", self._file)
        app.router.add_get("/public/bag.png", self._public)
        app.router.add_get("/elsewhere", self._redirected)
        app.router.add_post("/api/token/refresh/", self._refresh)
        async with TestServer(app) as server:
            self.url = str(server.make_url("/"))
            yield

    async def _file(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers.get("Authorization", ""))
        if self.asked[-1] not in (f"Token {LEGACY_TOKEN}", "Bearer bought"):
            return web.Response(status=401)
        return web.Response(body=self.image, content_type="image/png")

    async def _public(self, request: web.Request) -> web.Response:
        self.asked.append(request.headers.get("Authorization", ""))
        return web.Response(body=self.image, content_type="image/png")

    async def _redirected(self, request: web.Request) -> web.Response:
        raise web.HTTPFound(self.elsewhere)

    async def _refresh(self, request: web.Request) -> web.Response:
        self.asked.append((await request.json())["refresh"])
        known = self.asked[-1] == PERSONAL_TOKEN
        return web.json_response({"access": "bought"}, status=200 if known else 401)


def run_backend(
    talk: Callable[[Client], Coroutine[Any, Any, Any]],
    apsam: str,
    label_studio: LabelStudio,
    *,
    token: str = LEGACY_TOKEN,
    allowed: LabelStudio | None = None,
    sources: dict[str, Any] | None = None,
    **settings: Any,
) -> Any:
    """What `talk` returns about a back end that stands beside Label Studio, and beside another
    host that it may ask."""

    async def session() -> Any:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(label_studio.running())
            given = {"label_studio": label_studio.url, "token": token, **(sources or {})}
            where = Sources(**given)
            if allowed is not None:
                await stack.enter_async_context(allowed.running())
                where = replace(where, others=(allowed.url,))
            app = make_app(BackendConfig(servers=(apsam,), sources=where, **settings))
            async with TestClient(TestServer(app)) as client:
                return await talk(client)

    return asyncio.run(session())


async def answer(client: Client, body: dict[str, Any]) -> tuple[int, str, Any]:
    """(status, reason phrase, document) of POST /predict."""
    async with client.post("/predict", json=body) as reply:
        return reply.status, reply.reason or "", await reply.json()
