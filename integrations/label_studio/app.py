"""The protocol of Label Studio's ML back ends over HTTP.

GET /health, POST /setup, /predict and /webhook, JSON both ways. Label Studio shows people nothing
of a failed answer but its reason phrase, so that is where messages go.
"""

from __future__ import annotations

import asyncio
import base64
import hmac
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
from aiohttp import web

from apsam_serve.client import AsyncClient, AsyncRemoteImage
from apsam_serve.contract.segmenter import Segmentation, StrategyName
from apsam_serve.errors import (
    ApsamError,
    DeadlineExceededError,
    InvalidInputError,
    NotServingError,
    OverloadedError,
)
from integrations.label_studio.images import Images, Sources
from integrations.label_studio.tasks import Document, image_of, prediction_of, prompt_of, target_of

_MAX_BODY_BYTES = 32 * 2**20
"""Tasks come with their drafts and annotations, and images as data: URLs."""
_MAX_HELD = 32
"""Images whose next click costs no encoding."""
_HEALTH_S = 0.8
"""Label Studio waits for one second."""
_MAX_REASON = 300
_LATER = (NotServingError, OverloadedError, DeadlineExceededError)
_LOG = logging.getLogger(__name__)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, kw_only=True)
class BackendConfig:
    """servers: HOST:PORT of APSAM servers; propose: answer tasks without prompts with what the
    server finds by itself; simplify_px: how far polygons may leave the mask; login: name and
    password that Label Studio must come with, None for everybody."""

    servers: tuple[str, ...]
    sources: Sources
    strategy: StrategyName = "apg"
    propose: bool = False
    simplify_px: float = 1.0
    login: tuple[str, str] | None = None


def make_app(config: BackendConfig) -> web.Application:
    """The back end as an aiohttp application; it connects when it starts."""
    app = web.Application(
        client_max_size=_MAX_BODY_BYTES, middlewares=[_login_checked(config.login), _told]
    )
    backend = Backend(config)
    app.cleanup_ctx.append(backend.connected)
    app.add_routes(
        [
            web.get("/", backend.health),
            web.get("/health", backend.health),
            web.post("/setup", backend.setup),
            web.post("/predict", backend.predict),
            web.post("/webhook", backend.webhook),
        ]
    )
    return app


class Backend:
    """Handlers over one client, with the images that were clicked on last."""

    def __init__(self, config: BackendConfig) -> None:
        self._config = config
        self._held: OrderedDict[str, AsyncRemoteImage] = OrderedDict()
        self._client: AsyncClient
        self._images: Images

    async def connected(self, app: web.Application) -> AsyncIterator[None]:
        """The context in which handlers work."""
        async with AsyncClient(self._config.servers) as client, aiohttp.ClientSession() as session:
            self._client, self._images = client, Images(session, self._config.sources)
            yield

    async def health(self, request: web.Request) -> web.Response:
        """UP only while an APSAM server serves."""
        try:
            async with asyncio.timeout(_HEALTH_S):
                up = await self._client.is_serving()
        except (ApsamError, TimeoutError):
            up = False
        document = {"status": "UP" if up else "DOWN", "model_class": "APSAM"}
        return web.json_response(document, status=200 if up else 503)

    async def setup(self, request: web.Request) -> web.Response:
        """Refuses a project that has no place for masks. The address and the token that Label
        Studio sends are not kept: anybody who reaches this port could send others."""
        target_of(str((await _body(request)).get("schema")))
        return web.json_response({"model_version": await self._version()})

    async def predict(self, request: web.Request) -> web.Response:
        """One prediction per task; an interactive call has one task and its smart regions."""
        body = await _body(request)
        tasks = body.get("tasks") or []
        regions = ((body.get("params") or {}).get("context") or {}).get("result") or []
        target = target_of(str(body.get("label_config")))
        version = await self._version()
        results = []
        for task in tasks:
            address = image_of(task, target)
            answers: list[tuple[Segmentation, str | None]] = []
            if regions:
                answers = [await self._answer(address, regions)]
            elif self._config.propose:
                found = await (await self._image(address)).propose(strategy=self._config.strategy)
                answers = [(proposal.segmentation, None) for proposal in found]
            results.append(
                prediction_of(
                    answers, target, version=version, simplify_px=self._config.simplify_px
                )
            )
        return web.json_response({"results": results})

    async def webhook(self, request: web.Request) -> web.Response:
        """Nothing is learnt from events; models are trained with `apsam-train`."""
        await _body(request)
        return web.json_response({"status": "ignored"})

    async def _answer(
        self, address: str, regions: list[Document]
    ) -> tuple[Segmentation, str | None]:
        image = await self._image(address)
        prompt, label = prompt_of(regions, height=image.height, width=image.width)
        (answer,) = await image.segment([prompt], strategy=self._config.strategy)
        return answer, label

    async def _image(self, address: str) -> AsyncRemoteImage:
        """Encoded now, or held since an earlier click. What falls out expires by itself: another
        click may be under way on it."""
        if address not in self._held:
            data = await self._images.read(address)
            self._held[address] = await self._client.encode(data)
        self._held.move_to_end(address)
        image = self._held[address]
        if len(self._held) > _MAX_HELD:
            self._held.popitem(last=False)
        return image

    async def _version(self) -> str:
        info = await self._client.server_info()
        current = next((model for model in info.models if model.current), info.models[0])
        return f"apsam-{current.preset}-{current.digest[:12]}"


async def _body(request: web.Request) -> dict[str, Any]:
    try:
        body = await request.json()
    except ValueError as error:
        raise InvalidInputError(
            f"body is no JSON ({error}); send what Label Studio does"
        ) from error
    if not isinstance(body, dict):
        raise InvalidInputError(f"body is a {type(body).__name__}; send a JSON object")
    return body


@web.middleware
async def _told(request: web.Request, handler: Handler) -> web.StreamResponse:
    """The package's errors as status, reason phrase and document."""
    try:
        return await handler(request)
    except ApsamError as error:
        _LOG.warning("%s: %s", request.path, error)
        invalid = isinstance(error, InvalidInputError)
        status = 400 if invalid else 503 if isinstance(error, _LATER) else 500
        document = {"error": {"reason": error.reason, "message": str(error)}}
        phrase = "".join(c if c.isascii() and c.isprintable() else " " for c in str(error))
        return web.json_response(document, status=status, reason=phrase[:_MAX_REASON])


def _login_checked(login: tuple[str, str] | None) -> Any:
    """A middleware: HTTP basic authentication, as Label Studio offers for back ends."""
    expected = "Basic " + base64.b64encode(":".join(login or ()).encode()).decode()

    @web.middleware
    async def checked(request: web.Request, handler: Handler) -> web.StreamResponse:
        given = request.headers.get("Authorization", "")
        if login is None or hmac.compare_digest(given.encode(), expected.encode()):
            return await handler(request)
        return web.Response(status=401, headers={"WWW-Authenticate": 'Basic realm="apsam"'})

    return checked
