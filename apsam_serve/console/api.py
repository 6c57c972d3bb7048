"""The page's REST interface. Errors are raised as the package's own, and told by `faults.tell`."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from aiohttp import web

from apsam_serve.client import ProposeOptions
from apsam_serve.console import exported, views
from apsam_serve.console.desk import Desk
from apsam_serve.console.documents import (
    Document,
    changes_of,
    field,
    new_object_of,
    prompt_of,
    proposal_document,
    read_json,
    reply_document,
    segmentation_document,
    strategy_of,
)
from apsam_serve.console.rows import ImageRow
from apsam_serve.contract.categories import CATEGORIES
from apsam_serve.contract.images import MAX_BYTES, MAX_PIXELS, decode, probe
from apsam_serve.errors import ApsamError, InvalidImageError, NotInProjectError

_MESSAGE_ROOM = 64 * 2**10
"""Of a gRPC message, for what stands in it beside the file."""
_FACTS_S = 2.0
"""How long the service may take to say what it is."""
_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "tiff": "image/tiff"}
_ID = r"{id:\d{1,18}}"


class Api:
    """Handlers over one desk."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def routes(self) -> Sequence[web.RouteDef]:
        """Every address below /api."""
        image, thing = f"/api/images/{_ID}", f"/api/objects/{_ID}"
        return [
            web.get("/api/info", self.info),
            web.get("/api/images", self.images),
            web.post("/api/images", self.add_image),
            web.patch(image, self.change_image),
            web.get(f"{image}/file", self.file),
            web.get(image + r"/view/{view:[a-z_]+}.png", self.view),
            web.post(f"{image}/open", self.open),
            web.post(f"{image}/segment", self.segment),
            web.post(f"{image}/propose", self.propose),
            web.get(f"{image}/objects", self.objects),
            web.post(f"{image}/objects", self.save_object),
            web.get(f"{image}/history", self.history),
            web.patch(thing, self.change_object),
            web.delete(thing, self.remove_object),
            web.post("/api/import", self.start_import),
            web.get("/api/import/{job}", self.import_state),
            web.get(r"/api/export/{name:[a-z]+}.zip", self.export),
        ]

    async def info(self, _: web.Request) -> web.Response:
        """What the page must know before anything else; a service that is away is no error here."""
        desk = self._desk
        return web.json_response(
            {
                "server": await self._service(),
                "categories": CATEGORIES,
                "views": views.NAMES,
                "view_notes": dict(views.NOTES),
                "exports": [*exported.NAMES],
                "reviewer": desk.reviewer,
                "round": desk.round,
                "project": str(desk.project.folder),
                "images": None if desk.imports.root is None else str(desk.imports.root),
            }
        )

    async def images(self, _: web.Request) -> web.Response:
        """All of them, in the order they came."""
        rows = await asyncio.to_thread(self._desk.project.images)
        return web.json_response([row.document() for row in rows])

    async def add_image(self, request: web.Request) -> web.Response:
        """Keep a file that the service would take."""
        data = await request.read()
        self._check_size(len(data))
        row = await asyncio.to_thread(self._add, _file_name(request), data)
        return web.json_response(row.document(), status=201)

    async def change_image(self, request: web.Request) -> web.Response:
        """Say that an image is done, or is not."""
        status = field(await read_json(request), "status", str)
        desk = self._desk
        row = await asyncio.to_thread(
            lambda: desk.project.set_status(
                _id(request),
                status,  # type: ignore[arg-type]
                reviewer=desk.reviewer,
                round=desk.round,
            )
        )
        return web.json_response(row.document())

    async def file(self, request: web.Request) -> web.Response:
        """The bytes as they came."""
        row = await self._image(request)
        data = await self._desk.load(row)()
        return web.Response(body=data, content_type=_TYPES[probe(data).format])

    async def view(self, request: web.Request) -> web.Response:
        """What the picture looks like otherwise."""
        name, row = request.match_info["view"], await self._image(request)
        if name not in views.NAMES:
            raise NotInProjectError(
                f"there is no view {name!r}; choose one of {', '.join(views.NAMES)}"
            )
        if name == views.HEAT:
            return _png(await self._heat(row), {"Cache-Control": "no-store"})
        tag = f'"{row.sha256}-{name}"'
        headers = {"ETag": tag}
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers=headers)
        data = await self._desk.pictures.view(name, row.sha256, self._desk.load(row))
        return _png(data, headers)

    async def open(self, request: web.Request) -> web.Response:
        """Have the service hold the picture, from now or for longer."""
        row = await self._image(request)
        reply = await self._desk.leases.open(row.id, self._desk.load(row))
        return web.json_response(reply_document(reply, {}))

    async def segment(self, request: web.Request) -> web.Response:
        """The mask of one object, and the points that it was decoded from."""
        row = await self._image(request)
        document = await read_json(request)
        answer, reply = await self._desk.leases.segment(
            row.id, self._desk.load(row), prompt_of(document), strategy_of(document)
        )
        return await _told(
            lambda: segmentation_document(answer) | reply_document(reply, answer.timings_s)
        )

    async def propose(self, request: web.Request) -> web.Response:
        """Objects that nobody clicked on."""
        row = await self._image(request)
        found, reply = await self._desk.leases.propose(
            row.id, self._desk.load(row), ProposeOptions()
        )
        times = found[0].segmentation.timings_s if found else {}
        return await _told(
            lambda: (
                {"proposals": [proposal_document(one) for one in found]}
                | reply_document(reply, times)
            )
        )

    async def objects(self, request: web.Request) -> web.Response:
        """What was saved of an image."""
        rows = await asyncio.to_thread(self._desk.project.objects, _id(request))
        return web.json_response([row.document() for row in rows])

    async def save_object(self, request: web.Request) -> web.Response:
        """It is on the disk when this answers."""
        new = new_object_of(
            await read_json(request),
            reviewer=self._desk.reviewer,
            number=self._desk.round,
            model_digest=self._desk.leases.model_digest(_id(request)),
        )
        row = await asyncio.to_thread(self._desk.project.save_object, _id(request), new)
        return web.json_response(row.document(), status=201)

    async def history(self, request: web.Request) -> web.Response:
        """What became of an image's objects."""
        rows = await asyncio.to_thread(self._desk.project.history, _id(request))
        return web.json_response([row.document() for row in rows])

    async def change_object(self, request: web.Request) -> web.Response:
        """Some of its fields."""
        changes = changes_of(await read_json(request))
        project = self._desk.project
        row = await asyncio.to_thread(lambda: project.change_object(_id(request), **changes))
        return web.json_response(row.document())

    async def remove_object(self, request: web.Request) -> web.Response:
        """Its history stays."""
        await asyncio.to_thread(self._desk.project.remove_object, _id(request))
        return web.Response(status=204)

    async def start_import(self, request: web.Request) -> web.Response:
        """Begin to take a folder in."""
        folder = field(await read_json(request), "folder", str)
        return web.json_response({"job": self._desk.imports.start(folder)}, status=202)

    async def import_state(self, request: web.Request) -> web.Response:
        """How far that is."""
        return web.json_response(self._desk.imports.document(request.match_info["job"]))

    async def export(self, request: web.Request) -> web.StreamResponse:
        """All of the project in one form, packed."""
        return await exported.send(request, self._desk.project, request.match_info["name"])

    async def _service(self) -> Document:
        desk = self._desk
        facts: Document = {"address": ", ".join(desk.client.servers), "serving": False}
        try:
            async with asyncio.timeout(_FACTS_S):
                info = desk.service = await desk.client.server_info()
                facts["serving"] = await desk.client.is_serving()
        except (ApsamError, TimeoutError) as error:
            return facts | {"message": str(error) or f"no answer within {_FACTS_S:.0f} s"}
        if not info.models:
            return facts
        model = info.models[0]
        return facts | {
            "model": f"{model.preset} {model.digest[:12]}",
            "preset": model.preset,
            "digest": model.digest,
            "build": f"{model.form} {model.precision}",
            "categories": model.categories,
            "version": info.version,
        }

    async def _image(self, request: web.Request) -> ImageRow:
        return await self._desk.image(_id(request))

    async def _heat(self, row: ImageRow) -> bytes:
        load = self._desk.load(row)
        attention = await self._desk.leases.attention(row.id, load)
        data = await load()
        return await asyncio.to_thread(lambda: views.to_png(views.heat(decode(data), attention)))

    def _check_size(self, num_bytes: int) -> None:
        service = self._desk.service
        limit = MAX_BYTES if service is None else service.max_message_bytes - _MESSAGE_ROOM
        if num_bytes > min(limit, MAX_BYTES):
            raise InvalidImageError(
                f"image file has {num_bytes} bytes; send at most {limit}, which the service takes"
            )

    def _add(self, name: str, data: bytes) -> ImageRow:
        """Everything that the service would refuse is refused before it is kept."""
        service = self._desk.service
        image = decode(data, max_pixels=MAX_PIXELS if service is None else service.max_pixels)
        height, width, _ = image.shape
        digest = hashlib.sha256(data).hexdigest()
        return self._desk.project.add_image(name, data, height=height, width=width, sha256=digest)


async def _told(document: Any) -> web.Response:
    """Outlines and run lengths are made beside the event loop."""
    return web.json_response(await asyncio.to_thread(document))


def _png(data: bytes, headers: dict[str, str]) -> web.Response:
    return web.Response(body=data, content_type="image/png", headers=headers)


def _id(request: web.Request) -> int:
    return int(request.match_info["id"])


def _file_name(request: web.Request) -> str:
    """Percent-encoded, because headers are Latin-1; the last part alone."""
    name = unquote(request.headers.get("X-Filename", ""), errors="replace")
    return name.replace("\\", "/").rpartition("/")[2] or "image"
